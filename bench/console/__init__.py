"""The console: load tests from a browser, on the user's own machine.

    pages, API -> Console (service.py) -> TaskFolder (directories), Store (SQLite), Runner (one child process at a time)

Run directories are the truth. The store holds only what they cannot: order of the queue, labels, notes, baselines, targets.
A task is sent by `python -m bench run` in a process of its own; the console sends nothing and computes no number.
"""
