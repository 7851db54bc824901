"""Comparisons from Python: `python -m bench compare` as a function with a typed result."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.comparison import compare as comparison
from bench.comparison.compare import Comparison
from bench.comparison.sides import read_sides
from bench.statistics.between_runs import MARGIN


def compare(*sides: str | Path, margin: float = MARGIN, allow: Iterable[str] = ()) -> Comparison:
    """Compare sides, each a run directory or a directory of runs. docs/compare.md explains the answers.

    Raises UsageError if they cannot be compared, and another BenchError if a side cannot be used.
    """
    return comparison.compare(read_sides([Path(side) for side in sides]), margin=margin, allow=allow)
