"""One worker: prepares, sends its share of the load, and writes what it saw. Every run uses it; a small run has only one.

crew          the protocol: whoever sends a load, seen from the run
this_process  the crew of a small run: one worker in this process
assignment    what a worker must know, and what it reports
components    what a worker sends and with what, made of the configuration
worker        makes requests and connections ahead
active_load   the load of a worker under way
feed          requests made by a process beside the load (feed_program), as frames (frames)
sampling      the client's own state, once a second
live          the progress line
warmup_finder the end of the warm-up, where the run finds it itself
supervision   Ctrl-C, the limit on errors, exceptions that nobody caught
"""
