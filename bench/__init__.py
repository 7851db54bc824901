"""Drives an OpenAI-compatible endpoint and reports what its users would feel. Start reading at `load_test.py`.

`bench.run`, `bench.read` and the rest of the Python API (`bench/api.py`) are imported when they are first used: `python -m
bench --help` needs none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import RunResult, compare, read, run, search, sweep
    from bench.load_search.found import SearchResult
    from bench.load_sweep.measure import SweepResult
    from bench.observer import Observer

__all__ = ["Observer", "RunResult", "SearchResult", "SweepResult", "compare", "read", "run", "search", "sweep"]

_HOME = {
    "Observer": "bench.observer",
    "SearchResult": "bench.load_search.found",
    "SweepResult": "bench.load_sweep.measure",
}
"""Where a name comes from, if not from bench.api."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME.get(name, "bench.api")), name)
