"""Two or more sides, each a run, repeats, a search or a sweep: what differs between them. Start reading at `compare.py`."""
