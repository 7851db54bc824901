"""The measuring machine: its identity and its limits.

identity        the machine and software that a result records
preflight       whether descriptors, ports and address space suffice for a load
machine_cache   results kept from run to run
worker_place    where a cluster worker runs, and the offset of its node's clock
"""
