"""Load from more than one process: the plan is drawn once and dealt out, what is seen comes together again.

share      pure: what each worker has to do
worker     one worker: prepares, loads, writes its shard; the only worker of a small run is the process itself
parts      what it sends and with what, made of the configuration
collector  the garbage collector while it sends
program    a worker as a process of its own
processes  the workers of this machine as processes: start, progress, stop, and which of them died
shards     the workers' files, merged in order
"""
