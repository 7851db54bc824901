"""Where requests come from: simulated prompts, the rows of a file, sessions. Each file has a spec and the source it opens.

A spec says what a run's data is; a worker opens it for its own share. `interface.py` says what every source can do.
"""
