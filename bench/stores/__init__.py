"""Object stores (S3, and what else fsspec has): results copied there, runs and data copied from there.

Nothing is measured into a store: a run writes to the local disk, and the directory is copied when it ends (`words.py`). The
copying is a program of its own (`transfer.py`), because fsspec's clients start threads and take a second to import.
"""
