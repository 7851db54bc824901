"""How tests bear a machine that other programs keep busy: they wait long."""

PATIENCE_S = 200.0
"""How long a test waits: far beyond what anything takes anywhere, so that only what never comes about fails."""
