"""Comparisons from Python: `python -m bench compare` as a function with a typed result."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.comparison import compare as comparison
from bench.comparison.compare import Comparison
from bench.comparison.sides import read_sides
from bench.statistics.between_runs import MARGIN


def compare(*sides: str | Path, margin: float = MARGIN, allow: Iterable[str] = ()) -> Comparison:
    """What differs between sides, each a run directory or a directory of runs. docs/compare.md says what each answer means.

    Raises UsageError where they cannot be compared, and another BenchError where a side may not be used.
    """
    return comparison.compare(read_sides([Path(side) for side in sides]), margin=margin, allow=allow)
