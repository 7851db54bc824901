"""Calibration at many loads: decides which loads to try, and up to which load to trust a machine. Pure.

A point is trusted if its errors are within the bands of the verdict (its accuracy is VALID) and nothing else makes its
run INVALID. A machine is trusted up to the greatest load of a kind below which no point failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bench import loads
from bench.errors import UsageError
from bench.results.certificate import Certificate

SCHEMA = "trueload/sweep/1"
TOKENS = "64"
"""Default output tokens per request: two rounds at 20 ms per token take about 3 s."""
ROUNDS = 2
LEAST_REQUESTS = 60
RATE_S = 3.0
"""Seconds of load at a rate."""

DEFAULT: dict[str, tuple[float, ...]] = {"concurrency": (1, 10, 100, 500, 1000), "rate": (20, 100, 400)}
UNITS = {"concurrency": "streams", "rate": "requests/s"}
FAILURES = 2
"""A kind of load ends after this many untrusted points in a row."""


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One load: `kind` is a flag of a run, `value` is its value."""

    kind: str
    value: float

    def flags(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The flags of the point's run. `given` are the flags for all points."""
        flags: dict[str, Any] = {self.kind: self.value if self.kind == "rate" else int(self.value)}
        if not given.keys() & {"requests", "duration"}:
            size = {"requests": max(LEAST_REQUESTS, ROUNDS * int(self.value))}
            flags |= {"duration": RATE_S} if self.kind == "rate" else size
        if not given.keys() & {"output_tokens", "dataset"}:
            flags["output_tokens"] = TOKENS
        return flags

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.value:g}"


def points_of(words: Sequence[str]) -> list[LoadPoint]:
    """The points in words like `concurrency=1,10,100` and `rate=50`, by rising load; DEFAULT without words. Raises
    UsageError."""
    asked: dict[str, tuple[float, ...]] = {}
    problems = []
    for word in words:
        kind, _, listed = word.partition("=")
        how = "write concurrency=1,10,100 (streams) or rate=50,200 (requests/s), or nothing"
        if kind not in DEFAULT:
            problems.append(f"--sweep {word}: {how}")
            continue
        try:
            asked[kind] = tuple(sorted(set(loads.parse(listed, whole=kind == "concurrency"))))
        except ValueError as e:
            problems.append(f"--sweep {word}: {how} ({e})")
    if problems:
        raise UsageError(problems)
    return [LoadPoint(kind, value) for kind, values in (asked or DEFAULT).items() for value in values]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One calibrated load: its measured size, its verdict, and its errors."""

    kind: str
    asked: float
    streams: float | None
    requests_per_s: float | None
    chunks_per_s: float | None
    status: str
    accuracy: str
    """The verdict on the errors alone."""
    reasons: tuple[str, ...]
    errors_ms: Mapping[str, Mapping[str, float]]
    """Measured minus true, by metric and quantile (p50, p90, p99)."""
    lag_ms: Mapping[str, float | None]
    """The observation lag: p50, p99, max."""
    directory: str

    @classmethod
    def of(cls, point: LoadPoint, certificate: Certificate, directory: str) -> SweepRow:
        errors: dict[str, dict[str, float]] = {}
        for row in certificate.metrics:
            if row.unit == "ms" and row.stat in ("p50", "p90", "p99"):
                errors.setdefault(row.metric, {})[row.stat] = row.error
        lag, shape = certificate.observation_lag_ms, certificate.shape
        return cls(
            kind=point.kind,
            asked=point.value,
            streams=shape.streams,
            requests_per_s=shape.requests_per_s,
            chunks_per_s=shape.chunks_per_s,
            status=str(certificate.verdict.status),
            accuracy=str(certificate.accuracy),
            reasons=tuple(certificate.verdict.reasons),
            errors_ms=errors,
            lag_ms={stat: lag.of(stat) for stat in ("p50", "p99", "max")},
            directory=directory,
        )

    @property
    def trusted(self) -> bool:
        """Whether the errors are within the bands of the verdict and nothing else makes the run INVALID."""
        return self.accuracy == "VALID" and self.status != "INVALID"

    def to_json(self) -> dict[str, Any]:
        """The entry in sweep.json."""
        return {**asdict(self), "trusted": self.trusted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All points of a sweep, in the order in which they ran."""

    date: str
    version: str
    host: Mapping[str, str | int]
    rows: tuple[SweepRow, ...]

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """Read a stored sweep. Raises OSError, or ValueError if the file holds something else."""
        content = orjson.loads(path.read_bytes())
        return msgspec.convert({**content, "rows": content.get("points")}, cls)

    @property
    def trusted(self) -> dict[str, SweepRow | None]:
        """For each kind of load, the greatest point up to which all points are trusted; None if the first is not."""
        limits: dict[str, SweepRow | None] = {}
        for kind in dict.fromkeys(row.kind for row in self.rows):
            limits[kind] = None
            for row in self.of_kind(kind):
                if not row.trusted:
                    break
                limits[kind] = row
        return limits

    def of_kind(self, kind: str) -> list[SweepRow]:
        """The rows of one kind of load, by rising load."""
        return sorted((row for row in self.rows if row.kind == kind), key=lambda row: row.asked)

    def to_json(self) -> dict[str, Any]:
        """The content of sweep.json."""
        return {
            "schema": SCHEMA,
            "date": self.date,
            "version": self.version,
            "host": self.host,
            "points": [row.to_json() for row in self.rows],
            "trusted": {kind: None if row is None else row.to_json() for kind, row in self.trusted.items()},
        }


def next_point(points: Sequence[LoadPoint], rows: Sequence[SweepRow]) -> LoadPoint | None:
    """The next load to try, given the rows so far; None after the last. A kind ends if its latest loads are not trusted."""
    tried = {(row.kind, row.asked) for row in rows}
    left = (point for point in points if (point.kind, point.value) not in tried)
    return next((point for point in left if not _ends([row for row in rows if row.kind == point.kind])), None)


def _ends(rows: Sequence[SweepRow]) -> bool:
    latest = [row.trusted for row in rows][-FAILURES:]
    return len(latest) == FAILURES and not any(latest)
