"""tune.json: the race of a server's flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal

from bench.results.base import Amount, Count, Number, Positive, Result, Setting, one_of

SCHEMA: Final = "trueload/tune/1"
Goal = Literal["tokens_per_s", "held_load", "dollars_per_million_tokens", "joules_per_million_tokens"]
ENDINGS = ("decided", "budget", "rounds", "nothing works", "interrupted")


class Place(StrEnum):
    """The result of the race for an arm."""

    BEST = "best"
    NOT_TOLD_APART = "not told apart"
    SAME = "same within the margin"
    WORSE = "worse"
    FAR_BEHIND = "far behind"
    """It reached less than half of the leader's value, in too few turns to prove that it is worse."""
    WORSE_ANSWERS = "worse answers"
    FAILED = "failed"
    UNTRIED = "not tried"


class TuneChange(Result, frozen=True):
    """A ratio minus 1: 0.05 is 5% more of the desired quantity."""

    value: Number
    low: Number
    """The low end of the 95% interval, corrected for all pairs of arms and every look at the race."""
    high: Number
    rounds: Count
    """Rounds in which both arms had a value."""


class TuneArm(Result, frozen=True, kw_only=True):
    """A combination of flags, and its result."""

    name: str
    flags: Mapping[str, Setting]
    command: str
    """The command line that starts its server."""
    gpus: Positive
    place: Annotated[str, one_of(*Place)]
    turns: Count
    value: Number | None
    """The value of the goal over its turns (geometric mean)."""
    against_best: TuneChange | None
    """Its value divided by the best arm's; larger is better. For costs, the amount per dollar or joule."""
    left_after: Count | None
    """The round after which it left the race."""
    why: str | None
    """Why its last turn had no value."""
    last_words: Sequence[str]
    """The last lines of its server, if it failed."""
    worse_answers: Sequence[str]
    """Measures of answers that are worse than the default's."""


class TuneLoad(Result, frozen=True, kw_only=True):
    """A run of a turn, or its search."""

    name: str
    """Its directory."""
    load: Number
    """For a search, the load that it found."""
    status: str
    """The verdict on a run, or the conclusion of a search."""
    held: bool
    """Whether every objective held."""
    tokens_per_s: Number | None = None
    latency: Number | None = None
    """In ms: the number named by `latency`."""
    joules_per_token: Number | None = None


class TuneTurn(Result, frozen=True, kw_only=True):
    """One start of an arm's server, and its measurements."""

    arm: Count
    round: Positive
    value: Number | None
    """In the unit of the goal."""
    seconds: Amount
    start_s: Amount | None
    """How long the server took to become ready; null: it did not."""
    loads: Sequence[TuneLoad]
    why: str | None
    """Why it has no value."""
    last_words: Sequence[str]
    """The last lines of its server, if it failed."""
    worse_answers: Sequence[str]
    """Measures of answers in which the arm, up to this turn, is shown to be worse than the default."""

    @property
    def is_lower_bound(self) -> bool:
        """Whether the value comes from a search that found no edge."""
        return self.value is not None and any(row.status == "at least" for row in self.loads)


class TunePoint(Result, frozen=True, kw_only=True):
    """An arm at a load, over its turns."""

    arm: Count
    load: Number
    tokens_per_s: Number | None
    latency: Number | None
    """In ms: the number of the file named by `latency`."""
    dollars: Number | None
    """Per million output tokens."""
    held: bool
    """Whether every objective held in all its turns, and its answers are not worse than the default's."""
    on_front: bool
    """Whether no other arm and load has both more throughput (or load) and less latency (or cost)."""


class TuneContent(Result, frozen=True, kw_only=True):
    """A race. null: did not happen, or cannot be known."""

    schema: Literal["trueload/tune/1"]
    date: str
    version: str
    host: Mapping[str, str | int]
    command: Sequence[str]
    spec: Mapping[str, Setting]
    """The file of the race, without the values of its environment."""
    spec_sha256: str
    goal: Goal
    unit: str
    """The unit of the goal's values."""
    load_unit: str
    budget_s: Amount
    first_budget_s: Amount | None = None
    """The budget with which the race was started, which determines the length of visits."""
    seconds: Amount
    """The time that the turns took."""
    ended: Annotated[str, one_of(*ENDINGS)] | None
    """null: the race is still running."""
    best: Count | None
    """The number of the arm, from 0, which is the default."""
    not_told_apart: Sequence[Count]
    """Arms that cannot be told from the best, or are the same within the margin."""
    gain: TuneChange | None
    """Of the best over the default; null: the best is the default, or one of them has no value."""
    noise: Number | None
    """The standard deviation of a turn, relative."""
    margin: Number
    start: str | None
    """The command line that starts the winner."""
    arms: Sequence[TuneArm]
    turns: Sequence[TuneTurn]
    latency: str
    """The number that the points have: `e2el:p50`."""
    points: Sequence[TunePoint]
