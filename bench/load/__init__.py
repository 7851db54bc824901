"""One worker: prepares, sends its share of the load, and writes its records. Every run uses it; a small run has only
one.

crew          the protocol of anything that sends a load
this_process  the crew of a small run: one worker in this process
assignment    a worker's task, and its report
components    source, tokenizer and transport of a configuration
worker        prepares requests and connections
active_load   a worker's load in progress
feed          requests made by another process during the load (feed_program), as frames (frames)
sampling      the client's own state, once a second
live          the progress line
warmup_finder the end of the warm-up, if the run finds it
supervision   Ctrl-C, the limit on errors, uncaught exceptions
"""
