"""Precision goals: `ttft:p90=10%` is a number that a run must determine to within that share of its value.

The grammar: METRIC:STATISTIC=SHARE%; spaces are ignored. METRIC is a latency or speed with one value per request,
STATISTIC the mean or a quantile (default p99). A goal is reached if half the width of the number's 95% interval, as in
the report, is at most that share of the number.

A run that stops when an interval happens to be narrow stops too early. So the interval is judged at few, fixed times:
first after a tenth of the run's maximum length, at most a minute; then after another third of that, or a tenth of the
time so far, whichever is longer. All goals must be reached at two of these looks in a row (docs/dev/simulations.md).

Intervals are computed in a separate process, never in the process of the load.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.errors import UsageError
from bench.metrics.catalog import METRICS, OF_FEW, REQUEST_METRICS, WHOLE_RESPONSE
from bench.metrics.objectives import BETWEEN_TOKENS, suggest
from bench.metrics.quantile import quantile
from bench.records.record_table import RecordTable
from bench.results.numbers import QUANTILES
from bench.statistics.autocorrelation import dependence
from bench.statistics.intervals import TooFew, mean_interval, quantile_interval

PRECISE_ENOUGH = "precise enough"
"""The stop reason in the manifest."""

FIRST_LOOK_S = 60.0
LOOKS_IN_A_ROW = 2
DEFAULT_CAP_S = 600.0
"""The maximum length of a run with goals, if neither a duration nor a number of requests is given."""

STATS = ("mean", *QUANTILES)
_OTHER_NAMES = {"avg": "mean", "median": "p50", "p99.9": "p999"}
_FORM = re.compile(r"([a-z][a-z0-9_]*)(?::([a-z0-9_.]+))?=([0-9]*\.?[0-9]+)(%?)")


@dataclass(frozen=True, slots=True)
class PrecisionGoal:
    """Half of the interval of this statistic must be at most this share (0.1 is 10%) of its value."""

    metric: str
    stat: str
    share: float

    @property
    def name(self) -> str:
        """The name of the number as in the flag: ttft:p90."""
        return f"{self.metric}:{self.stat}"

    def __str__(self) -> str:
        return f"{self.name}={written(self.share)}"


@dataclass(frozen=True, slots=True)
class Known:
    """How precisely a number is known. `reach` is half the width of its interval divided by its value, or why there is
    no interval."""

    name: str
    share: float
    reach: float | TooFew

    @property
    def reached(self) -> bool:
        """Whether it is known as precisely as requested."""
        return not isinstance(self.reach, TooFew) and self.reach <= self.share

    def __str__(self) -> str:
        if isinstance(self.reach, TooFew):
            few = self.reach
            return f"{self.name} has too few independent values ({few.effective:.0f} of {few.needed})"
        if math.isinf(self.reach):
            return f"{self.name} has an interval without a bound"
        return f"{self.name} is known to ±{percent(self.reach)}"


@dataclass(frozen=True, slots=True)
class Look:
    """All goals at one look, `at_s` seconds after the warm-up. `enough` ends the run."""

    at_s: float
    known: tuple[Known, ...]
    enough: bool

    def __str__(self) -> str:
        asked = ", ".join(written(number.share) for number in self.known)
        return f"{', '.join(map(str, self.known))} after {self.at_s:.0f} s; asked for {asked}"


def parse_one(text: str) -> PrecisionGoal:
    """Parse one goal. Raises UsageError, which explains the problem and the correct form."""
    match = _FORM.fullmatch("".join(text.lower().split()))
    if match is None:
        raise UsageError(f'--until "{text}": not of the form METRIC:STATISTIC=SHARE%, for example ttft:p90=10%')
    metric, stat, number, sign = match.groups()
    if metric in METRICS and metric not in REQUEST_METRICS:
        raise UsageError(f'--until "{text}": {metric} has many values a request, and a goal needs one: use tpot')
    if metric not in REQUEST_METRICS:
        raise UsageError(
            f'--until "{text}": no metric of requests is called {metric!r}{suggest(metric, REQUEST_METRICS)}'
        )
    stat = "p99" if stat is None else _OTHER_NAMES.get(stat, stat)
    if stat not in STATS:
        raise UsageError(f'--until "{text}": no interval is of {stat!r}{suggest(stat, STATS)}')
    if not sign:
        raise UsageError(f'--until "{text}": the share needs a percent sign: write {metric}:{stat}={number}%')
    if not 0 < float(number) < 100:
        raise UsageError(f'--until "{text}": {number}% must be more than 0% and less than 100%')
    return PrecisionGoal(metric, stat, float(number) / 100)


def parse(texts: Iterable[str]) -> tuple[PrecisionGoal, ...]:
    """The goals in validated `--until` flags."""
    return tuple(parse_one(text) for text in texts)


def impossible(goal: PrecisionGoal, *, streamed: bool, one_token: bool) -> str | None:
    """Why the responses of a run do not have this number. Returns None if they do."""
    if goal.metric in WHOLE_RESPONSE | OF_FEW:
        return None
    if not streamed:
        return f"with --no-stream there is no {goal.metric}, only e2el: leave --no-stream out, or use e2el"
    if one_token and goal.metric in BETWEEN_TOKENS:
        return f"replies of one token have no {goal.metric}: ask for more --output-tokens"
    return None


def look_times(longest_s: float | None) -> Iterator[float]:
    """When to look, in seconds after the warm-up, in a run with this maximum length (None if unknown)."""
    first = FIRST_LOOK_S if longest_s is None else min(FIRST_LOOK_S, longest_s / 10)
    at_s = first
    while True:
        yield at_s
        at_s += max(first / 3, at_s / 10)


class Judge:
    """Takes the records of a load as they end, and checks the goals on request."""

    def __init__(self, goals: Sequence[PrecisionGoal]) -> None:
        self._goals = goals
        self._index = array("q")
        self._values = {goal.metric: array("d") for goal in goals}
        self._in_a_row = 0
        self._begun_ns: int | None = None

    def add(self, table: RecordTable) -> None:
        """Add ended requests. Successful requests of the run phase count, as in the report."""
        run = table.where(table.is_run)
        if not len(run):
            return
        begun_ns = int(run.ints("intended_ns").min())
        self._begun_ns = begun_ns if self._begun_ns is None else min(begun_ns, self._begun_ns)
        done = run.where(run.ok)
        self._index.frombytes(done.ints("index").tobytes())
        for metric, values in self._values.items():
            values.frombytes(REQUEST_METRICS[metric].of(done).tobytes())

    def run_s(self, now_ns: int) -> float:
        """How long requests have been sent after the warm-up, as far as is known; 0 before the first has ended."""
        return 0.0 if self._begun_ns is None else (now_ns - self._begun_ns) / 1e9

    def look(self, at_s: float) -> Look:
        """Check how precisely every number is known now."""
        order = sorted(range(len(self._index)), key=self._index.__getitem__)
        in_send_order = {
            metric: [value for value in map(values.__getitem__, order) if value == value]
            for metric, values in self._values.items()
        }
        known = tuple(known_to(goal, in_send_order[goal.metric]) for goal in self._goals)
        self._in_a_row = self._in_a_row + 1 if all(number.reached for number in known) else 0
        return Look(at_s, known, enough=self._in_a_row >= LOOKS_IN_A_ROW)


def known_to(goal: PrecisionGoal, values: Sequence[float]) -> Known:
    """How precisely the goal's number is known from values in send order, by the same interval as in a report."""
    ordered, p = sorted(values), QUANTILES.get(goal.stat)
    interval = mean_interval(values) if p is None else quantile_interval(ordered, p, dependence(values))
    if isinstance(interval, TooFew):
        return Known(goal.name, goal.share, interval)
    value = math.fsum(values) / len(values) if p is None else quantile(ordered, p)
    half = (interval.high - max(0.0, interval.low)) / 2
    # Values that are all zero are known exactly; an interval around zero has no relative width.
    return Known(goal.name, goal.share, 0.0 if half == 0 else half / value if value > 0 else math.inf)


def percent(share: float) -> str:
    """A share as text: 8.7%, 23.1%, 0.35%."""
    number = share * 100
    return f"{number:.1f}%" if number >= 1 else f"{number:.2g}%"


def written(share: float) -> str:
    """A share as text with all its digits: 10%, 2.25%."""
    return f"{share * 100:.12g}%"
