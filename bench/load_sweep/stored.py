"""Reading sweep.json back: for a report, a page of several sweeps, and the console.

A file that Trueload wrote is valid. One that was edited or damaged is refused, with everything that is wrong in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.results.sweep import NUMBERS, SCHEMA, SweepContent
from bench.run_files.shape import read_result


def read(path: Path) -> SweepContent:
    """The content of a sweep.json. Raises UsageError for an invalid file, with everything that is wrong in it."""
    return read_result(path, SweepContent, SCHEMA, "sweep", _missing_numbers)


def _missing_numbers(content: dict[str, Any]) -> Iterator[str]:
    for rows in ("runs", "points"):
        for at, row in enumerate(content[rows]):
            yield from (f"{rows}[{at}].numbers.{name} is missing" for name in NUMBERS if name not in row["numbers"])
