"""Compares two or more sides. A side is a run, repeats, a search or a sweep. Start reading at `compare.py`."""
