"""The result of a gate: runs compared with objectives and a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from bench.results.base import Count, Number, Result, every_key, one_of

SCHEMA: Final = "trueload/gate/1"
VERDICTS = ("failed", "held", "not shown")

GateVerdict = Annotated[str, one_of(*VERDICTS)]


class GateRun(Result, frozen=True, kw_only=True):
    """A run of the gate, with the verdict on its measurement."""

    directory: str
    id: str
    verdict: str
    reasons: Sequence[str]
    seconds: Number | None


class GateBaseline(Result, frozen=True, kw_only=True):
    """The baseline with which the runs were compared."""

    path: str
    runs: Count
    """How many runs it had; 0 if it was only started."""


class GateObjective(Result, frozen=True, kw_only=True):
    """An objective over the runs."""

    name: str
    unit: str
    op: Annotated[str, one_of("<", "<=", ">", ">=")]
    limit: Number
    value: Number | None
    low: Number | None
    high: Number | None
    verdict: GateVerdict
    why: str
    """Why there is no interval; otherwise empty."""


class GateMetric(Result, frozen=True, kw_only=True):
    """A number compared with the baseline."""

    name: str
    title: str
    unit: str
    ratio: bool
    """Whether change is b / a - 1; otherwise it is b - a."""
    a: Number
    """The value of the baseline."""
    b: Number
    """The value of the runs."""
    change: Number
    low: Number
    high: Number
    p: Number | None
    seen_from: Number
    """The smallest change that four of five gates would find."""
    margin: Number
    higher_is_worse: bool
    verdict: GateVerdict


class GateLost(Result, frozen=True, kw_only=True):
    """A number that the baseline has and that cannot be compared: it is neither failed nor held."""

    name: str
    title: str
    why: str


class GateResult(Result, frozen=True, kw_only=True):
    """The result of a gate. Shares are numbers: 0.05 is 5%."""

    schema: Literal["trueload/gate/1"]
    exit: int
    """The exit status of the command."""
    strict: bool
    """Whether objectives and numbers that are not shown, or are lost, fail too."""
    runs: Sequence[GateRun]
    baseline: GateBaseline | None
    objectives: Sequence[GateObjective]
    metrics: Sequence[GateMetric]
    lost: Sequence[GateLost]
    counts: Annotated[Mapping[str, Count], every_key(*VERDICTS)]
    notes: Sequence[str]
    command: Sequence[str]
    """The command line."""
