"""sweep.json as it is read again, by a report, a page of several sweeps and the console.

What Trueload wrote is right; a file that was changed by hand, or by a disk, is refused with what is wrong in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.results.sweep import NUMBERS, SCHEMA, SweepContent
from bench.run_files.shape import read_result


def read(path: Path) -> SweepContent:
    """The content of a sweep.json. Raises UsageError for a file that is none, with all that is wrong in it."""
    return read_result(path, SweepContent, SCHEMA, "sweep", _missing_numbers)


def _missing_numbers(content: dict[str, Any]) -> Iterator[str]:
    for rows in ("runs", "points"):
        for at, row in enumerate(content[rows]):
            yield from (f"{rows}[{at}].numbers.{name} is missing" for name in NUMBERS if name not in row["numbers"])
