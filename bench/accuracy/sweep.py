"""Many loads, calibrated one after the other: pure decisions over which, and up to which of them a machine is trusted.

A point is trusted where its errors are within the bands of the verdict (its accuracy is VALID) and nothing else makes its
run INVALID. A machine is trusted up to the greatest load of a kind below which no point failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UsageError

SCHEMA = "trueload/sweep/1"
TOKENS = "64"
"""Output tokens of a request where none are asked for: two rounds at 20 ms a token are some 3 s."""
ROUNDS = 2
LEAST_REQUESTS = 60
RATE_S = 3.0
"""Seconds of load at a rate."""

DEFAULT: dict[str, tuple[float, ...]] = {"concurrency": (1, 10, 100, 500, 1000), "rate": (20, 100, 400)}
UNITS = {"concurrency": "streams", "rate": "requests/s"}
FAILURES = 2
"""A kind of load ends after so many points in a row that are not trusted."""


@dataclass(frozen=True, slots=True)
class Point:
    """One load: `kind` is a flag of a run, `value` what is given to it."""

    kind: str
    value: float

    def flags(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The flags of its run, `given` those that hold for all points."""
        flags: dict[str, Any] = {self.kind: self.value if self.kind == "rate" else int(self.value)}
        if not given.keys() & {"requests", "duration"}:
            size = {"requests": max(LEAST_REQUESTS, ROUNDS * int(self.value))}
            flags |= {"duration": RATE_S} if self.kind == "rate" else size
        if not given.keys() & {"output_tokens", "dataset"}:
            flags["output_tokens"] = TOKENS
        return flags

    @property
    def name(self) -> str:
        """A name for its directory."""
        return f"{self.kind}-{self.value:g}"


def points_of(words: Sequence[str]) -> list[Point]:
    """The points that `concurrency=1,10,100 rate=50` names, by rising load; none named: DEFAULT. Raises UsageError."""
    asked: dict[str, tuple[float, ...]] = {}
    problems = []
    for word in words:
        kind, _, values = word.partition("=")
        try:
            numbers = tuple(sorted({float(value) for value in values.split(",")}))
        except ValueError:
            numbers = ()
        whole = kind == "rate" or all(number.is_integer() for number in numbers)
        if kind not in DEFAULT or not numbers or not whole or not all(0 < number <= 1e6 for number in numbers):
            problems.append(
                f"--sweep {word}: write concurrency=1,10,100 (streams) or rate=50,200 (requests/s), or nothing"
            )
        asked[kind] = numbers
    if problems:
        raise UsageError(problems)
    return [Point(kind, value) for kind, values in (asked or DEFAULT).items() for value in values]


def row_of(point: Point, certificate: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """What a sweep keeps of one point: its load as it was, its verdict, and its errors in ms by metric and quantile."""
    verdict = certificate["verdict"]
    errors: dict[str, dict[str, float]] = {}
    for row in certificate["metrics"]:
        if row["unit"] == "ms" and row["stat"] in ("p50", "p90", "p99"):
            errors.setdefault(row["metric"], {})[row["stat"]] = row["error"]
    lag = certificate["observation_lag_ms"]
    return {
        "kind": point.kind,
        "asked": point.value,
        **{key: certificate["shape"][key] for key in ("streams", "requests_per_s", "chunks_per_s")},
        "status": verdict["status"],
        "accuracy": certificate["accuracy"],
        "reasons": verdict["reasons"],
        "trusted": certificate["accuracy"] == "VALID" and verdict["status"] != "INVALID",
        "errors_ms": errors,
        "lag_ms": {stat: lag.get(stat) for stat in ("p50", "p99", "max")},
        "directory": directory,
    }


def ended(rows: Sequence[Mapping[str, Any]], kind: str) -> bool:
    """Whether no greater load of a kind needs to be tried."""
    latest = [row["trusted"] for row in rows if row["kind"] == kind][-FAILURES:]
    return len(latest) == FAILURES and not any(latest)


def trusted(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any] | None]:
    """By kind of load the greatest point up to which all are trusted; None where not even the first is."""
    found: dict[str, Mapping[str, Any] | None] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        found[kind] = None
        for row in sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["asked"]):
            if not row["trusted"]:
                break
            found[kind] = row
    return found
