"""Where requests come from: simulated prompts, the rows of a file, sessions. Each file has a spec and the source it
opens.

A spec describes a run's data; a worker opens it for its own share. `interface.py` defines what every source offers.
"""
