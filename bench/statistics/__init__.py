"""The statistics behind the numbers of loads: dependence, intervals, the capacity posterior, tests between runs, the
knee.

Pure functions of plain values. Nothing here imports another part of bench. The modules import numpy: import them inside
the function that computes, so that a command which computes nothing starts fast (docs/dev/simulations.md has the
methods).
"""
