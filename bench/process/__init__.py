"""Processes of ours: how they are started beside a command, and how each uses its interpreter and its processor.

child_process   starts one, with a socket between the two; beside is what a new interpreter runs
mock_process    starts the mock, for calibrations and limits
interpreter     set up first in each process
event_loop      the loop that carries a load
priority        the scheduling priority of who sends and receives
"""
