"""Drives an OpenAI-compatible endpoint and reports what its users would feel. Start reading at `load_test.py`."""
