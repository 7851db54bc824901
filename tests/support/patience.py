"""How tests tolerate a busy machine: with long timeouts."""

PATIENCE_S = 200.0
"""How long a test waits: far beyond the duration of anything on any machine, so that only what never happens fails."""
