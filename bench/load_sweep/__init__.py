"""`bench sweep`: the same workload at several loads, and curves over them.

visits      which loads, how often, in which order
options     the flags of a sweep, and a sweep from its settings
points      numbers of each run and each load; knee and Pareto frontier
sweep_file  sweep.json, which the report draws
measure     makes the runs
repeats     the same configuration several times: `run --repeats`
"""
