"""One worker: prepares, sends its share of the load, and writes what it saw. Every run uses it; a small run has only one.

share         pure: what a worker has to send
components    what it sends and with what, made of the configuration
worker        the worker
feed          requests made by a process beside the load (feed_program), as frames
collector     the garbage collector while the load runs
sampling      the client's own state, once a second
live          the progress line
supervision   Ctrl-C, the limit on errors, exceptions that nobody caught
"""
