"""May it ship: runs held to objectives and to a baseline. Start reading at `gate.py`."""
