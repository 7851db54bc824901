"""Series of runs: one after another, in an order that a decision gives, each an ordinary run directory.

drive    the way through a series: decide, make, write down, tell, until it ends
runs     the run directories: made, read again when a series goes on, moved aside where a run was cut off
lengths  how long a run lasts, by the latency that is known
files    the file of a series, and what stands at its head
"""
