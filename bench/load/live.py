"""The numbers of a running load: its progress, the time left, current latencies, and the objectives so far.

Observers of the run receive them (`bench/observer.py`): the terminal, a search, a page. Reports do not use them: they
read the records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from bench.clock import NS_PER_MS, NS_PER_S, Clock, Timer
from bench.load.progress_tally import PhaseTally, ProgressTally, ReplicaTally, metrics_of
from bench.load.replies_in_flight import NOTHING, Arrived, Counted
from bench.load.worker_health import WorkerHealth
from bench.metrics.step_histograms import coarse
from bench.records import REQUESTS, Outcome, RequestRecord
from bench.run_files.run_state import RunState

if TYPE_CHECKING:
    from bench.metrics.histogram import LogHistogram
    from bench.metrics.objectives import Objective

RECENT_NS = 10 * NS_PER_S
"""Rates and latencies cover the last 10 s: a live view shows the present, the report shows everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGoal:
    """The limits that end the load, and its objectives. Warm-up is added to both limits."""

    requests: int | None = None
    duration_s: float | None = None
    warmup_requests: int = 0
    warmup_s: float = 0.0
    """The length of the warm-up. If the run finds its end itself, the longest that it may take."""
    objectives: tuple[Objective, ...] = ()
    inputs_are: str | None = None
    """The inputs of requests (texts, documents), if their replies are not generated text."""
    load_unit: str = ""
    """The unit of the load: users, or requests/s."""

    @property
    def counts_tokens(self) -> bool:
        """Whether requests or replies have tokens that are counted."""
        return self.inputs_are != REQUESTS


@dataclass(frozen=True, slots=True)
class RecentLatency:
    """A latency over the last seconds, in ms."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A latency of the requests that ended in a second, in ms."""

    n: int
    p50: float
    p90: float
    p99: float
    histogram: tuple[int, ...] = ()
    """Bins of `step_histograms` with their counts: bin, count, bin, count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """The events since the previous line: about a second's worth, warm-up included. Output tokens and times to first
    token are counted on arrival, including requests in flight; everything else covers the requests that ended."""

    succeeded: int
    input_tokens: int
    output_tokens: int
    bytes_sent: int
    bytes_received: int
    latencies: dict[str, Quantiles]
    """By metric (ttft, tpot, itl, e2el); a metric without values is left out."""
    errors: dict[Outcome, str]
    """The error of the first failed request of each outcome."""
    status: dict[str, int]
    """Requests by HTTP status; `none` counts those without a response."""
    inputs: int | None = None
    """None if replies are generated text."""


@dataclass(frozen=True, slots=True)
class ObjectiveSoFar:
    """An objective and its value over the run so far, in the objective's unit; None if there is no value yet."""

    objective: Objective
    value: float | None

    @property
    def held(self) -> bool | None:
        """Whether it holds so far; None if there is no value yet."""
        return None if self.value is None else self.objective.holds(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReplica:
    """A replica: its requests and mean latency over the last 10 s, and its failures since the warm-up. `latency_ms`: to
    the first token, or to the end if replies have no tokens; None if no request succeeded."""

    replica: str
    requests_per_s: float
    latency_ms: float | None
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveNumbers:
    """A load at an instant. Rates and latencies cover the last 10 s; tokens and TTFT include requests in flight.
    Failures and objectives cover the run without warm-up."""

    goal: LoadGoal
    elapsed_s: float
    """Since the load began."""
    run_s: float
    """Since the warm-up ended; 0 before."""
    warming_up: bool
    all_sent: bool
    share_done: float | None
    """From 0 to 1; None if the end of the load is unknown."""
    left_s: float | None
    """About how long until the load ends; None if unknown."""
    planned: int
    sent: int
    done: int
    in_flight: int
    dropped: int
    failures: tuple[tuple[Outcome, int], ...]
    """The most frequent first."""
    failed: int
    failed_share: float | None
    """Share of the requests that ended by themselves; None if there are none."""
    requests_per_s: float
    output_tokens_per_s: float
    latencies: dict[str, RecentLatency]
    """By metric (ttft, tpot, e2el); a metric without values is left out."""
    objectives: tuple[ObjectiveSoFar, ...]
    inputs_per_s: float = 0.0
    input_tokens_per_s: float = 0.0
    precision: str | None = None
    """How precise the numbers of `--until` were at the last check; None before the first."""
    load: float | None = None
    """Users, or requests per second, as currently planned; None in modes that plan no number."""
    load_unit: str = ""
    workers: tuple[WorkerHealth, ...] = ()
    """One entry per worker. Empty if a single process sends."""
    replicas: tuple[LiveReplica, ...] = ()
    """One entry per replica, sorted by name. Empty for a single address if no reply names its replica."""

    @property
    def waiting(self) -> int:
        """Arrivals that are due and wait for a slot."""
        return max(self.planned - self.sent - self.dropped, 0)

    @property
    def state(self) -> RunState:
        """The state of the load by its own limits. An earlier end is not known here."""
        if self.all_sent:
            return RunState.DRAINING
        return RunState.WARMING_UP if self.warming_up else RunState.RUNNING


SECOND_METRICS = ("ttft", "tpot", "itl", "e2el")
"""The metrics of a second."""


@dataclass(slots=True)
class _Follower:
    """A follower of the numbers: how often it receives them, and when next."""

    tell: Callable[[LiveNumbers], None]
    every_ns: int
    timer: Timer


class Live:
    """Receives every record, or tallies of them. `counts` gives the dispatchers' numbers at an instant."""

    def __init__(self, clock: Clock, counts: Callable[[int], dict[str, int]], goal: LoadGoal) -> None:
        self._clock = clock
        self._counts = counts
        self._goal = goal
        self._metrics = metrics_of(goal.objectives)
        self._new = ProgressTally(self._metrics)
        self._recent = deque[tuple[int, ProgressTally]]()
        self._second = PhaseTally(SECOND_METRICS).fold()
        self._run = PhaseTally(self._metrics).fold()
        """Everything that has ended since the warm-up: the objectives cover only this."""
        self._dropped = 0
        self._run_start_ns: int | None = None
        self._followers: list[_Follower] = []
        self.precision: str | None = None
        """See LiveNumbers."""
        self.load_at: Callable[[int], float | None] = lambda now_ns: None
        """The planned load at an instant."""
        self.workers: Callable[[], tuple[WorkerHealth, ...]] = tuple
        """The state of each worker, if there are several."""

    def arrive(self, arrived: Arrived) -> None:
        self._new.arrive(arrived)

    def add(self, record: RequestRecord, counted: Counted = NOTHING) -> None:
        self._new.add(record, counted)

    def merge(self, tally: ProgressTally) -> None:
        """Requests that ended in another process since its last report."""
        self._new.merge(tally)

    def start(self) -> None:
        self._start_ns = self._clock.now_ns()
        self._warmup_until_ns = self._start_ns + round(self._goal.warmup_s * NS_PER_S)

    def warmup_ends(self, at_ns: int) -> None:
        """The run has found the end of its warm-up: this instant."""
        self._warmup_until_ns = at_ns

    def follow(self, tell: Callable[[LiveNumbers], None], first_s: float, every_s: float) -> None:
        """Report the numbers `first_s` after the start, then every `every_s`, and a last time at `stop`."""
        first_ns = self._start_ns + round(first_s * NS_PER_S)

        def tick() -> None:
            due_ns = follower.timer.deadline_ns
            follower.tell(self.numbers(self._clock.now_ns()))
            follower.timer = self._clock.call_at(due_ns + follower.every_ns, tick)

        follower = _Follower(tell, round(every_s * NS_PER_S), self._clock.call_at(first_ns, tick))
        self._followers.append(follower)

    def stop(self) -> None:
        """Report the numbers a last time."""
        for follower in self._followers:
            follower.timer.cancel()
            follower.tell(self.numbers(self._clock.now_ns()))

    def second(self) -> Second:
        """The events between the last call and the last numbers."""
        tally, self._second = self._second, PhaseTally(SECOND_METRICS).fold()
        return Second(
            succeeded=tally.succeeded,
            input_tokens=tally.input_tokens,
            output_tokens=max(tally.tokens_arrived, 0),
            bytes_sent=tally.bytes_sent,
            bytes_received=tally.bytes_received,
            latencies={name: _quantiles(values) for name, values in tally.live_values.items() if values.count},
            errors=tally.errors,
            status={"none" if status is None else str(status): n for status, n in tally.statuses.items()},
            inputs=None if self._goal.inputs_are is None else tally.inputs,
        )

    def numbers(self, now_ns: int) -> LiveNumbers:
        counts, goal = self._counts(now_ns), self._goal
        recent, span_s = self._take(now_ns)
        begun = counts["sent"] > goal.warmup_requests and now_ns >= self._warmup_until_ns
        if self._run_start_ns is None and begun:
            self._run_start_ns = now_ns if goal.warmup_requests else self._warmup_until_ns
        run_s = 0.0 if self._run_start_ns is None else (now_ns - self._run_start_ns) / NS_PER_S
        ended_per_s = recent.outcomes.total() / span_s
        share, left_s = self._way(counts["done"] + self._dropped, run_s, ended_per_s)
        everything = goal.requests is not None and (
            counts["sent"] + self._dropped >= goal.requests + goal.warmup_requests
        )
        return LiveNumbers(
            goal=goal,
            elapsed_s=(now_ns - self._start_ns) / NS_PER_S,
            run_s=run_s,
            warming_up=self._run_start_ns is None and bool(goal.warmup_requests or goal.warmup_s),
            all_sent=everything or (goal.duration_s is not None and run_s >= goal.duration_s),
            share_done=share,
            left_s=left_s,
            planned=counts["planned"],
            sent=counts["sent"],
            done=counts["done"],
            in_flight=counts["in_flight"],
            dropped=self._dropped,
            failures=tuple(self._run.failures.most_common()),
            failed=self._run.failures.total(),
            failed_share=self._run.failed_share,
            requests_per_s=ended_per_s,
            output_tokens_per_s=max(recent.tokens_arrived, 0) / span_s,
            inputs_per_s=recent.inputs / span_s,
            input_tokens_per_s=recent.input_tokens / span_s,
            latencies={name: _latency(values) for name, values in recent.live_values.items() if values.count},
            objectives=tuple(ObjectiveSoFar(o, self._run.value_of(o, run_s)) for o in goal.objectives),
            precision=self.precision,
            load=self.load_at(now_ns),
            load_unit=goal.load_unit,
            workers=self.workers(),
            replicas=tuple(self._replicas(recent, span_s)),
        )

    def _replicas(self, recent: PhaseTally, span_s: float) -> Iterator[LiveReplica]:
        now, since = recent.replicas, self._run.replicas
        for name in sorted(now.keys() | since.keys()):
            tally = now.get(name, ReplicaTally())
            yield LiveReplica(
                replica=name,
                requests_per_s=(tally.succeeded + tally.failed) / span_s,
                latency_ms=tally.latency_ms / tally.measured if tally.measured else None,
                failed=since[name].failed if name in since else 0,
            )

    def _take(self, now_ns: int) -> tuple[PhaseTally, float]:
        """The tally of the last RECENT_NS, and how many seconds it covers."""
        new, self._new = self._new, ProgressTally(self._metrics)
        self._run.merge(new.run)
        self._second.merge(new.run)
        self._second.merge(new.warmup)
        self._dropped += new.run.outcomes[Outcome.DROPPED] + new.warmup.outcomes[Outcome.DROPPED]
        self._recent.append((now_ns, new))
        while self._recent[0][0] <= now_ns - RECENT_NS:
            self._recent.popleft()
        recent = PhaseTally()
        for _, tally in self._recent:
            recent.merge(tally.run)
            recent.merge(tally.warmup)
        return recent, max(min(now_ns - self._start_ns, RECENT_NS) / NS_PER_S, 1e-9)

    def _way(self, done: int, run_s: float, ended_per_s: float) -> tuple[float | None, float | None]:
        """The share of the load that is done, and the seconds that are left; the nearer of the two limits decides."""
        goal = self._goal
        shares, left_s = [], []
        if goal.requests is not None:
            total = goal.requests + goal.warmup_requests
            shares.append(done / total)
            if ended_per_s > 0:
                left_s.append(max(total - done, 0) / ended_per_s)
        if goal.duration_s is not None:
            shares.append(min(run_s / goal.duration_s, 1.0))
            left_s.append(max(goal.duration_s - run_s, 0.0))
        return min(max(shares), 1.0) if shares else None, min(left_s, default=None)


def _quantiles(histogram: LogHistogram) -> Quantiles:
    ordered = histogram.snapshot()
    p50, p90, p99 = (round(ordered.quantile(p) / NS_PER_MS, 4) for p in (0.5, 0.9, 0.99))
    return Quantiles(histogram.count, p50, p90, p99, tuple(chain.from_iterable(coarse(histogram.bins).items())))


def _latency(histogram: LogHistogram) -> RecentLatency:
    ordered = histogram.snapshot()
    return RecentLatency(p50=ordered.quantile(0.5) / NS_PER_MS, p99=ordered.quantile(0.99) / NS_PER_MS)
