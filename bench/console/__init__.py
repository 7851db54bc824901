"""The console: load tests from a browser, on the user's own machine.

    pages, API -> Console (service.py) -> TaskFolder (directories), Store (SQLite), Runner (one child process at a time)

Run directories are the source of truth. The store holds only what they do not: queue order, labels, notes, baselines,
targets. Each task runs as a separate `python -m bench run` process. The console itself sends no load and computes no
numbers.
"""
