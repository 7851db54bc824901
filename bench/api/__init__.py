"""The Python API: the commands as functions with typed results. docs/python.md shows it.

runs         run one load test, read one
searches     the highest load that keeps the objectives
sweeps       curves over loads
qualities    whether load changes the answers
tunes        the flags that make a server best
comparisons  what differs between runs

`bench/__init__.py` maps each name to its module and imports it on first use, so a run does not import numpy.
"""
