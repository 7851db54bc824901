"""Series of runs: one after another, in an order that a decision gives, each an ordinary run directory.

drive    the loop of a series: decide, run, write, report, until it ends
runs     the run directories: created, read again on resume, renamed if a run was cut off
lengths  how long a run lasts, given the known latency
files    the file of a series, and its first fields
"""
