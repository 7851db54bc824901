"""Several workers: the plan is drawn once and dealt out, and their records come together again.

plan       how many workers
processes  the crew of worker processes on this machine: start, progress, stop, and which of them died
program    a worker as a process of its own
messages   what a worker and its parent tell each other
"""
