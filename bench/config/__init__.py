"""The configuration of a run: what may be given, how it is checked, and the complete values that come of it."""

from bench.config.settings import RunConfig, read_yaml, resolve

__all__ = ["RunConfig", "read_yaml", "resolve"]
