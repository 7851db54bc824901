"""sweep.json as it is read again, by a report, a page of several sweeps and the console.

What Trueload wrote is right; a file that was changed by hand, or by a disk, is refused with what is wrong in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from bench.errors import UsageError
from bench.load_sweep.points import NUMBERS
from bench.load_sweep.sweep_file import SCHEMA
from bench.run_files.shape import misfits

_SHOWN = 10
Status = Literal["VALID", "SUSPECT", "INVALID", "FAILED"]


@dataclass(frozen=True, slots=True)
class _Number:
    value: float | None
    low: float | None
    high: float | None
    sd: float | None


@dataclass(frozen=True, slots=True)
class _Place:
    on_frontier: bool
    overlaps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    load: float
    repeat: int
    name: str
    status: Status
    reasons: tuple[str, ...]
    usable: bool
    numbers: Mapping[str, _Number]
    kept_up: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    load: float
    runs: int
    usable_runs: int
    status: Status
    reasons: tuple[str, ...]
    usable: bool
    numbers: Mapping[str, _Number]
    per_user: _Number | None
    per_gpu: _Number | None
    place: _Place | None
    kept_up: bool | None


@dataclass(frozen=True, slots=True)
class _Knee:
    ceiling: float
    ceiling_interval: tuple[float | None, ...] | None
    half_at: float
    half_at_interval: tuple[float | None, ...] | None
    ninety_percent_at: float | None
    warning: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sweep:
    """What load_sweep.schema.json says, in types. Of `host` and `config` every value is shown as it is."""

    schema: str
    date: str
    version: str
    host: Mapping[str, Any]
    command: tuple[str, ...]
    config: Mapping[str, Any]
    config_sha256: str
    url: str
    model: str | None
    kind: Literal["concurrency", "sessions", "rate"]
    unit: str
    loads: tuple[float, ...]
    repeats: int
    gpus: int | None
    ended: str | None
    runs: tuple[_Run, ...]
    points: tuple[_Point, ...]
    knee: _Knee | None
    no_knee: str | None


def read(path: Path) -> dict[str, Any]:
    """The content of a sweep.json. Raises UsageError for a file that is none, with all that is wrong in it."""
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}") from e
    except orjson.JSONDecodeError as e:
        raise UsageError(f"{path} is damaged: {e}") from e
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(f"{path} is no sweep of this version (schema {SCHEMA})")
    problems = list(misfits(content, _Sweep, f"{path}:")) or [
        f"{path}: {rows}[{at}].numbers.{name} is missing"
        for rows in ("runs", "points")
        for at, row in enumerate(content[rows])
        for name in NUMBERS
        if name not in row["numbers"]
    ]
    if problems:
        more = [f"{path}: and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise UsageError([*problems[:_SHOWN], *more])
    return content
