"""sweep.json as it is read again, by a report, a page of several sweeps and the console.

What Trueload wrote is right; a file that was changed by hand, or by a disk, is refused with what is wrong in it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson

from bench.errors import UsageError
from bench.results.sweep import NUMBERS, SCHEMA, SweepContent
from bench.run_files.shape import misfits

_SHOWN = 10


def read(path: Path) -> SweepContent:
    """The content of a sweep.json. Raises UsageError for a file that is none, with all that is wrong in it."""
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    except orjson.JSONDecodeError as e:
        raise UsageError(f"{path} is damaged: {e}") from e
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(f"{path} is no sweep of this version (schema {SCHEMA})")
    problems = list(misfits(content, SweepContent, f"{path}:")) or [
        f"{path}: {rows}[{at}].numbers.{name} is missing"
        for rows in ("runs", "points")
        for at, row in enumerate(content[rows])
        for name in NUMBERS
        if name not in row["numbers"]
    ]
    if problems:
        more = [f"{path}: and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise UsageError([*problems[:_SHOWN], *more])
    return msgspec.convert(content, SweepContent)
