"""The Python API: what the commands do, as functions with typed results. docs/python.md shows it.

runs         run one load test, read one
searches     the load up to which objectives hold
sweeps       curves over loads
qualities    whether load changes the answers
comparisons  what differs between runs

`bench/__init__.py` says where each name is, and imports it when it is first used: a run does without numpy.
"""
