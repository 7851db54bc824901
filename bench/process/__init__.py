"""Our own processes: how they are started next to a command, and how each uses its interpreter and its processor.

child_process   starts one, connected by a socket; `beside` is the program of the new interpreter
mock_process    starts the mock, for calibrations and limits
interpreter     the setup that every process runs first
event_loop      the loop that carries a load
priority        the scheduling priority of processes that send and receive
"""
