"""The live view's data on ended requests: counts, latencies, and the objectives' values so far.

Tallies can be added in any order: worker processes send theirs, and the first process adds them. Reports do not use
them: they read the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.clock import NS_PER_MS
from bench.load.replies_in_flight import NOTHING, Arrived, Counted
from bench.metrics.arrays import known
from bench.metrics.catalog import METRICS, REQUEST_METRICS, TokenMetric
from bench.metrics.histogram import LogHistogram
from bench.records import NO_FAILURE, Outcome, RequestRecord
from bench.records.record_table import RecordTable
from bench.records.request_record import Phase
from bench.results.numbers import QUANTILES

if TYPE_CHECKING:
    from bench.metrics.objectives import Objective

ALWAYS = ("ttft", "tpot", "e2el")
"""The metrics that the view always shows."""

COUNTED_AT_ONCE = 32
"""Requests whose metrics are computed together: one by one costs more, and larger batches delay the load."""

_TOKEN_METRICS = {name: metric for name, metric in METRICS.items() if isinstance(metric, TokenMetric)}


@dataclass(slots=True)
class ReplicaTally:
    """The ended requests of one replica, and the sum of the times to first token of the `measured` ones, or to their
    ends if replies have no tokens."""

    succeeded: int = 0
    failed: int = 0
    latency_ms: float = 0.0
    measured: int = 0

    def merge(self, other: ReplicaTally) -> None:
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.latency_ms += other.latency_ms
        self.measured += other.measured


class PhaseTally:
    """Requests that ended within some time. Metrics have their catalog names; latencies are histograms in ns."""

    def __init__(self, metrics: Iterable[str] = ALWAYS) -> None:
        self._values = {name: LogHistogram() for name in dict.fromkeys((*ALWAYS, *metrics))}
        self._first_tokens = LogHistogram()
        self._waiting: list[RequestRecord] = []
        self._untold: list[bool] = []
        for name, histogram in self._values.items():
            if name in _TOKEN_METRICS:
                histogram.fold()  # One value per token: too many to keep and sort during the load.
        self.outcomes = Counter[Outcome]()
        self.statuses = Counter[int | None]()
        """By HTTP status, without requests that were never sent."""
        self.errors: dict[Outcome, str] = {}
        """The error of the first failed request of each outcome."""
        self.input_tokens = self.output_tokens = 0
        self.tokens_arrived = 0
        """Output tokens that have arrived, including those of requests in flight."""
        self.inputs = 0
        """For requests whose replies are not generated text."""
        self.bytes_sent = self.bytes_received = 0
        self._replicas: dict[str, ReplicaTally] = {}

    def arrive(self, arrived: Arrived) -> None:
        """Requests in flight have received tokens."""
        self.tokens_arrived += arrived.tokens
        self._first_tokens.extend(arrived.ttft_ns)

    def add(self, record: RequestRecord, counted: Counted = NOTHING) -> None:
        """A request has ended; `counted` was already counted while it was in flight."""
        self.outcomes[record.outcome] += 1
        if record.outcome is not Outcome.DROPPED:
            self.statuses[record.status] += 1
        self.bytes_sent += record.bytes_sent
        self.bytes_received += record.bytes_received
        if record.target is not None:
            replica = self._replicas.setdefault(record.target, ReplicaTally())
            replica.succeeded += record.outcome is Outcome.OK
            replica.failed += record.outcome is not Outcome.OK and record.outcome not in NO_FAILURE
        if record.outcome is not Outcome.OK:
            if record.error is not None and record.outcome not in self.errors:
                refused = record.outcome is Outcome.HTTP_ERROR and record.status is not None
                self.errors[record.outcome] = f"status {record.status}: {record.error}" if refused else record.error
            return
        # As in the report: the requested length counts if the server does not count the prompt.
        self.input_tokens += (record.input_tokens_asked if record.input_tokens is None else record.input_tokens) or 0
        self.output_tokens += record.output_tokens or 0
        self.tokens_arrived += (record.output_tokens or 0) - counted.tokens
        self.inputs += record.inputs or 0
        self._waiting.append(record)
        self._untold.append(not counted.has_first)
        if len(self._waiting) >= COUNTED_AT_ONCE:
            self._count_waiting()

    def _count_waiting(self) -> None:
        if not self._waiting:
            return
        records, untold = self._waiting, np.array(self._untold)
        table = RecordTable(records)
        self._waiting, self._untold = [], []
        ttft_ms = REQUEST_METRICS["ttft"].of(table)
        self._first_tokens.extend(known(ttft_ms[untold]) * NS_PER_MS)
        if self._replicas:
            latencies = np.where(np.isnan(ttft_ms), REQUEST_METRICS["e2el"].of(table), ttft_ms).tolist()
            for record, latency_ms in zip(records, latencies, strict=True):
                if record.target is not None and latency_ms == latency_ms:
                    replica = self._replicas[record.target]
                    replica.latency_ms += latency_ms
                    replica.measured += 1
        for name, histogram in self._values.items():
            if (of_tokens := _TOKEN_METRICS.get(name)) is not None:
                histogram.extend(of_tokens.of(table).ns)
            else:
                histogram.extend(known(REQUEST_METRICS[name].of(table)) * NS_PER_MS)

    @property
    def values(self) -> dict[str, LogHistogram]:
        """The metrics of all added requests, in ns."""
        self._count_waiting()
        return self._values

    @property
    def replicas(self) -> dict[str, ReplicaTally]:
        """By name, for requests that name their replica."""
        self._count_waiting()
        return self._replicas

    @property
    def live_values(self) -> dict[str, LogHistogram]:
        """The same, except that TTFT includes requests in flight, counted when the token arrived."""
        return {**self.values, "ttft": self._first_tokens}

    def merge(self, other: PhaseTally) -> None:
        """Add the counts of another worker or another span of time."""
        self.outcomes.update(other.outcomes)
        self.statuses.update(other.statuses)
        self.errors = {**other.errors, **self.errors}
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.tokens_arrived += other.tokens_arrived
        self.inputs += other.inputs
        self.bytes_sent += other.bytes_sent
        self.bytes_received += other.bytes_received
        for name, histogram in self.values.items():
            if name in other.values:
                histogram.merge(other.values[name])
        self._first_tokens.merge(other._first_tokens)
        for target, replica in other.replicas.items():
            self._replicas.setdefault(target, ReplicaTally()).merge(replica)

    def fold(self) -> PhaseTally:
        """Stop keeping single values. Memory stays small, and quantiles are within 0.1%."""
        for histogram in (*self.values.values(), self._first_tokens):
            histogram.fold()
        return self

    @property
    def succeeded(self) -> int:
        return self.outcomes[Outcome.OK]

    @property
    def failures(self) -> Counter[Outcome]:
        return Counter({outcome: n for outcome, n in self.outcomes.items() if outcome not in NO_FAILURE})

    @property
    def failed_share(self) -> float | None:
        """Share of the requests that ended by themselves; None if there are none."""
        failed = self.failures.total()
        tried = failed + self.succeeded
        return failed / tried if tried else None

    def value_of(self, objective: Objective, elapsed_s: float) -> float | None:
        """The value of an objective so far, in its unit; None if there is none yet."""
        if objective.metric == "goodput":
            return None  # The live view keeps no single requests: only the report has it.
        if objective.of_jobs:
            return None  # A job is only known once it has ended: only the report has it.
        if objective.stat is None:
            per_second = {
                "requests_per_s": self.succeeded,
                "inputs_per_s": self.inputs,
                "input_tokens_per_s": self.input_tokens,
                "output_tokens_per_s": self.output_tokens,
                "total_tokens_per_s": self.input_tokens + self.output_tokens,
            }
            if objective.of_answers:
                return None  # Answers are graded after the load.
            if objective.metric == "error_rate":
                return self.failed_share
            return per_second[objective.metric] / elapsed_s if elapsed_s > 0 else None
        values = self.values[objective.metric]
        if not values.count:
            return None
        if objective.stat in QUANTILES:
            value = values.snapshot().quantile(QUANTILES[objective.stat])
        else:
            value = {"mean": values.total / values.count, "min": values.min, "max": values.max}[objective.stat]
        return value / NS_PER_MS


class ProgressTally:
    """Separate tallies of the warm-up and the run. Objectives cover only the run."""

    def __init__(self, metrics: Iterable[str] = ()) -> None:
        self.run, self.warmup = PhaseTally(metrics), PhaseTally(metrics)

    def arrive(self, arrived: Arrived) -> None:
        """Requests in flight have received tokens."""
        self._of(arrived.phase).arrive(arrived)

    def add(self, record: RequestRecord, counted: Counted = NOTHING) -> None:
        """A request has ended; `counted` was already counted while it was in flight."""
        self._of(record.phase).add(record, counted)

    def _of(self, phase: Phase) -> PhaseTally:
        return self.run if phase == "run" else self.warmup

    def merge(self, other: ProgressTally) -> None:
        """Add the counts of another worker or another span of time."""
        self.run.merge(other.run)
        self.warmup.merge(other.warmup)

    def fold(self) -> None:
        self.run.fold()
        self.warmup.fold()


def metrics_of(objectives: Iterable[Objective]) -> tuple[str, ...]:
    """The metrics that live.jsonl and these objectives need in addition to the standard ones."""
    return ("itl", *(objective.metric for objective in objectives if objective.of_requests))
