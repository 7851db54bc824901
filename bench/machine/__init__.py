"""The machine that measures: what it is, and what it has.

identity        what a result must say of it
preflight       whether it has the descriptors, ports and address space for a load
machine_cache   results kept from run to run
worker_place    where a worker of a cluster runs, and what its node's clock says
"""
