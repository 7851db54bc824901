"""Decides whether a build may ship: compares runs with objectives and a baseline. Start reading at `gate.py`."""
