"""Several workers: the plan is drawn once and dealt out, and their records are merged.

plan       how many workers
processes  the crew of worker processes on this machine: start, progress, stop, and deaths
program    the worker process
messages   the messages between a worker and its parent
"""
