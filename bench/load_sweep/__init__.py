"""`bench sweep`: the same workload at several loads, and curves over them.

visits      which loads, how often, in which order
options     the flags of a sweep, and a sweep from its settings
points      what a run says, what the runs of one load say together; knee and Pareto frontier
sweep_file  sweep.json, which the report draws
measure     drives the runs
repeats     the same configuration several times: `run --repeats`
"""
