"""One worker: prepares, sends its share of the load, and writes its records. Every run uses it; a small run has only one.

crew          the protocol of whatever sends a load
this_process  the crew of a small run: one worker in this process
assignment    what a worker needs, and what it reports
components    source, tokenizer and transport of a configuration
worker        makes requests and connections ahead
active_load   the load of a worker under way
feed          requests made by a process beside the load (feed_program), as frames (frames)
sampling      the client's own state, once a second
live          the progress line
warmup_finder the end of the warm-up, if the run finds it
supervision   Ctrl-C, the limit on errors, uncaught exceptions
"""
