"""Object stores (S3, and others that fsspec supports): results are copied to them, runs and data from them.

Nothing is measured into a store: a run writes to the local disk, and the directory is copied when it ends (`words.py`).
A separate program does the copying (`transfer.py`), because fsspec's clients start threads and take a second to import.
"""
