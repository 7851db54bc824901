"""Several workers: the plan is drawn once and dealt out, and their records come together again.

plan       how many workers, and the share of each
program    a worker as a process of its own
processes  the workers of this machine as processes: start, progress, stop, and which of them died
shards     the workers' files, merged in order of time
"""
