"""compare.json: what differs between the sides of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta

from bench.results.base import Number, Result, one_of

SCHEMA: Final = "trueload/compare/1"

Share = Annotated[Number, Meta(extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 1})]


class SideRun(Result, frozen=True, kw_only=True):
    """A run of a side."""

    directory: str
    id: str
    started: str
    verdict: Annotated[str, one_of("VALID", "SUSPECT")]


class LeftOut(Result, frozen=True, kw_only=True):
    """A run that is INVALID, or whose target failed."""

    directory: str
    why: str


class ComparedSide(Result, frozen=True, kw_only=True):
    """One side of a comparison."""

    name: Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Z]$"})]
    path: str
    model: str | None
    runs: Annotated[Sequence[SideRun], Meta(min_length=1)]
    """In the order in which they began."""
    left_out: Sequence[LeftOut]
    """Runs that are INVALID, or whose target failed."""


class Difference(Result, frozen=True, kw_only=True):
    """Something that differs between sides: a value for each side, in their order."""

    group: str
    name: str
    values: Annotated[Sequence[str], Meta(min_length=2)]


class ComparedNumber(Result, frozen=True, kw_only=True, omit_defaults=False):
    """One number of two sides."""

    name: str
    """The name in objectives, such as ttft:p90."""
    title: str
    unit: str
    primary: bool
    """Whether it decides; all others are only explored."""
    ratio: bool
    """Whether change is b / a - 1; otherwise it is b - a."""
    a: Number
    """The mean over the runs, or over the ten batches if each side has one run; geometric for ratios. b / a - 1 is the
    change."""
    b: Number
    runs_a: Sequence[Number]
    runs_b: Sequence[Number]
    change: Number | None
    low: Number | None
    """The ends of the 95% interval of change."""
    high: Number | None
    p: Number | None
    """Corrected: by Holm for primary numbers, by Benjamini and Hochberg for others."""
    seen_from: Number | None
    """The smallest change that four of five comparisons would find."""
    margin: Share
    answer: (
        Annotated[str, one_of("differs", "same within the margin", "not shown", "these two differ", "these two agree")]
        | None
    )
    """These two: each side has one run, or search, whose difference does not show a change of the setup."""
    spread_known: bool | None = None
    """Whether the interval includes the spread between runs; null: there is no change."""
    worse: bool | None
    """Whether the number got worse; null unless it differs."""
    missing: str | None
    """Why there is no change, or why one within the margin is not shown to be the same."""


class SideAgainstSide(Result, frozen=True, kw_only=True):
    """One side compared with the first."""

    a: str
    b: str
    method: Annotated[str, one_of("pairs", "runs", "one run against several", "one run each", "searches", "sweeps")]
    headline: str
    warnings: Sequence[str]
    numbers: Sequence[ComparedNumber]


class ComparisonResult(Result, frozen=True, kw_only=True):
    """What differs between the sides of a comparison. Shares are numbers: 0.05 is 5%."""

    schema: Literal["trueload/compare/1"]
    kind: Annotated[str, one_of("runs", "searches", "sweeps")]
    margin: Share
    sides: Annotated[Sequence[ComparedSide], Meta(min_length=2)]
    variations: Sequence[Difference]
    """What differs between sides: a value for each side, in their order."""
    versus: Annotated[Sequence[SideAgainstSide], Meta(min_length=1)]
    """Each side compared with the first."""
