"""sweep.json and repeats.json: the numbers of several runs, and their combined results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta

from bench.results.base import Between, Count, Number, Positive, Result, Setting, every_key

SCHEMA: Final = "trueload/load_sweep/1"
REPEATS_SCHEMA: Final = "trueload/repeats/1"
RATES = ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s", "goodput_per_s")
LATENCIES = tuple(f"{name}:{stat}" for name in ("ttft", "tpot", "e2el") for stat in ("p50", "p90", "p99"))
SHARES = ("goodput", "error_rate")
NUMBERS = (*RATES, *LATENCIES, "in_flight", *SHARES)
"""The numbers of every run: times in ms, shares as shares."""
INPUTS = "inputs_per_s"
"""Runs whose replies are not generated text have it too; the knee is then one of inputs."""
OF_JOBS = ("job:p50", "job:p90", "jobs_per_hour")
"""Runs of sessions have these too; in seconds."""

RunStatus = Literal["VALID", "SUSPECT", "INVALID", "FAILED"]


class SweepNumber(Result, frozen=True, omit_defaults=False):
    """A value, its 95% interval, and the standard deviation between runs (relative; for a share absolute)."""

    value: Number | None
    low: Number | None = None
    high: Number | None = None
    sd: Number | None = None


SweepNumbers = Annotated[Mapping[str, SweepNumber], every_key(*NUMBERS, optional=(INPUTS, *OF_JOBS))]


class RepeatedRun(Result, frozen=True, kw_only=True):
    """One of the runs."""

    name: str
    """The directory of the run."""
    status: RunStatus
    reasons: Sequence[str]
    usable: bool
    """Whether its numbers are about the requested load."""
    numbers: SweepNumbers
    inputs_are: str | None = None
    """The input type of the requests, if replies are not generated text: `texts`, `images`."""


class SweepRun(RepeatedRun, frozen=True, kw_only=True):
    """One run of a sweep."""

    load: Number
    repeat: Positive
    kept_up: bool | None
    """In an open loop: false if requests in flight kept rising. null: a closed loop, or too short to tell."""


class ParetoPlace(Result, frozen=True, kw_only=True):
    """The position of a load relative to the Pareto frontier of tokens/s per GPU and per user."""

    on_frontier: bool
    overlaps: bool
    """Whether the intervals do not distinguish a load behind the frontier from the frontier."""


class SweepPoint(Result, frozen=True, kw_only=True):
    """All runs of one load."""

    load: Number
    runs: Count
    usable_runs: Count
    status: RunStatus
    """The status of the worst run."""
    reasons: Sequence[str]
    numbers: SweepNumbers
    kept_up: bool | None
    """In an open loop: false if requests in flight kept rising. null: a closed loop, or too short to tell."""
    per_user: SweepNumber | None
    """Tokens per second that a user gets. null without --gpus."""
    per_gpu: SweepNumber | None
    place: ParetoPlace | None
    usable: bool
    """Whether any of its runs is usable."""


class FittedKnee(Result, frozen=True, kw_only=True):
    """The saturation curve through the runs."""

    ceiling: Number
    ceiling_interval: Between | None
    half_at: Number
    """N1/2 of the fitted curve. Above the highest usable load of points it is an extrapolation."""
    half_at_interval: Between | None
    ninety_percent_at: Number | None
    """The load that reaches 90% of the ceiling; null: above the highest measured load."""
    warning: str | None


class SweepContent(Result, frozen=True, kw_only=True):
    """Times in ms, shares as shares. null: did not happen, or cannot be known."""

    schema: Literal["trueload/load_sweep/1"]
    date: str
    version: str
    host: Mapping[str, str | int]
    command: Sequence[str]
    config_sha256: str
    url: str
    model: str | None
    config: Mapping[str, Setting]
    kind: Literal["concurrency", "sessions", "rate"]
    unit: str
    loads: Sequence[Number]
    repeats: Positive
    gpus: Positive | None
    ended: str | None
    """Why it ended before its last run."""
    runs: Sequence[SweepRun]
    points: Sequence[SweepPoint]
    knee: FittedKnee | None
    no_knee: str | None


class RepeatsContent(Result, frozen=True, kw_only=True):
    """Times in ms, shares as shares. null: did not happen, or cannot be known."""

    schema: Literal["trueload/repeats/1"]
    date: str
    version: str
    host: Mapping[str, str | int]
    command: Sequence[str]
    config: Mapping[str, Setting]
    repeats: Annotated[int, Meta(extra_json_schema={"minimum": 2})]
    ended: str | None
    """Why it ended before its last run."""
    runs: Sequence[RepeatedRun]
    numbers: Annotated[Mapping[str, SweepNumber], every_key(optional=(*NUMBERS, INPUTS, *OF_JOBS))]
    """The numbers of all runs together; empty if there are none."""
