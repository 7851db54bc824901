"""Job seconds by the ledger: from the due time of a job's first step to the last token that the mock wrote for any of
its steps.

The records define which requests make a job; the ledger defines when each was due, received and answered. This code
shares nothing with bench.metrics (docs/metrics.md, Jobs): a job counts if its first step was sent in the run, and if
all of its steps were served in full.

With a shared clock, the client's record has the due time of a step. Otherwise the step was due before the mock received
it by the time between due and sent in the client's record.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.accuracy.causes import MetricComparison, cause_of
from bench.accuracy.distribution import STATS, Distribution
from bench.accuracy.join import CUT_BY_CLIENT, Pair, expected_outcome
from bench.accuracy.number_error import number_error
from bench.accuracy.truth import TEXT, sent_on_ledger_clock_ns
from bench.clock import NS_PER_MS
from bench.records import Outcome
from bench.results.certificate import CauseRow, NumberRow
from bench.results.sessions import Jobs

METRIC = "job_ms"

SIDE_BY_SIDE = "the times of its steps are added up: what sub-agents do side by side is counted twice"
HUMAN = "the pause of the user before it is included"
RESPONSE_END = "it ends with the response of its last step, not with the last token"
CUT = "jobs that the run cut off"
FAILED = "jobs that failed"
BEGUN_BEFORE = "jobs begun in the warm-up, or in the middle"


@dataclass(frozen=True, slots=True)
class _Step:
    """The times of one step, in ns: on the ledger's clock `due`, `end` (its last token) and `closed` (the end of its
    response).

    `stamped`: due time and last token by the client.
    """

    number: int
    in_run: bool
    served: bool
    failed: bool
    due: int
    end: int
    closed: int
    stamped: tuple[int, int]
    human: int
    tool: int


class JobTruth:
    """Collects the steps of jobs from pairs of a record and its ledger line."""

    def __init__(self, *, shared_clock: bool) -> None:
        self._shared_clock = shared_clock
        self._steps: defaultdict[tuple[int, int], list[_Step]] = defaultdict(list)
        self._planned: dict[tuple[int, int], int] = {}

    def add(self, pair: Pair) -> None:
        """Add a pair of either phase. Requests that are not steps of a job are ignored."""
        record, line = pair.record, pair.line
        if record.session_number is None or record.job is None or record.job_step is None or record.job_steps is None:
            return
        key = record.session_number, record.job
        self._planned[key] = record.job_steps
        by_ledger = expected_outcome(line, pair.endpoint)
        cut = record.outcome in CUT_BY_CLIENT or record.sent_ns is None
        sent = line["received_ns"] if cut else sent_on_ledger_clock_ns(pair, shared_clock=self._shared_clock)
        late = 0 if record.sent_ns is None else record.sent_ns - record.intended_ns
        written = [at for at, kind in zip(line["write_ns"], line["chunk_kind"], strict=True) if kind in TEXT]
        received = [at for at, kind in zip(record.chunk_ns, record.chunk_kind, strict=True) if kind in TEXT]
        pause = 0 if record.pause_ns is None else record.pause_ns
        self._steps[key].append(
            _Step(
                number=record.job_step,
                in_run=record.phase == "run",
                served=not cut and by_ledger is Outcome.OK,
                failed=not cut and by_ledger is not Outcome.OK,
                due=sent - late,
                end=written[-1] if written else line["end_ns"],
                closed=line["end_ns"],
                stamped=(record.intended_ns, received[-1] if received else record.end_ns),
                human=pause if record.pause == "human" else 0,
                tool=pause if record.pause == "tool" else 0,
            )
        )

    def compared(self, jobs: Jobs | None) -> tuple[list[NumberRow], list[str], list[CauseRow]]:
        """The errors of job seconds, the disagreements, and the causes. `jobs` comes from the summary; None if it has
        none."""
        n, measured = (0, {}) if jobs is None else (jobs.job_s.n, in_ms(jobs))
        true, others, extra = Distribution(), defaultdict[str, Distribution](Distribution), Counter[str]()
        recounted = Distribution()
        for key, steps in self._steps.items():
            left_out = self._left_out(steps, self._planned[key])
            if left_out is not None:
                extra[left_out] += any(step.in_run for step in steps)
                continue
            first, ns = min(step.due for step in steps), max(step.end for step in steps)
            true.add([(ns - first) / NS_PER_MS])
            stamped = max(step.stamped[1] for step in steps) - min(step.stamped[0] for step in steps)
            recounted.add([stamped / NS_PER_MS])
            others[SIDE_BY_SIDE].add([sum(step.end - step.due + step.tool for step in steps) / NS_PER_MS])
            others[HUMAN].add([(ns - first + sum(step.human for step in steps)) / NS_PER_MS])
            others[RESPONSE_END].add([(max(step.closed for step in steps) - first) / NS_PER_MS])
        if not true.n and not n:
            return [], [], []
        problems = []
        if n != true.n:
            problems.append(f"{METRIC}: {n} values measured, and {true.n} in the ledger")
        comparison = MetricComparison(
            unit="ms",
            n=n,
            true_n=true.n,
            measured=measured,
            true=true.stats() if true.n else {},
            recounted=recounted.stats() if recounted.n else {},
            mistaken={mistake: d.stats() for mistake, d in others.items()},
            extra=extra,
        )
        cause = cause_of(METRIC, comparison)
        return _rows(measured, comparison.true), problems, [] if cause is None else [cause]

    @staticmethod
    def _left_out(steps: Sequence[_Step], planned: int) -> str | None:
        """Why a job has no job seconds; None if it has."""
        if not any(step.number == 0 and step.in_run for step in steps):
            return BEGUN_BEFORE
        if any(step.failed for step in steps):
            return FAILED
        whole = {step.number for step in steps} == set(range(planned)) and all(step.served for step in steps)
        return None if whole else CUT


def in_ms(jobs: Jobs) -> dict[str, float]:
    """Job seconds of a summary as a latency: the known statistics, in ms."""
    return {stat: 1000 * value for stat in STATS if (value := jobs.job_s.of(stat)) is not None}


def _rows(measured: Mapping[str, float], true: Mapping[str, float]) -> list[NumberRow]:
    return [
        number_error(METRIC, stat, "ms", measured=measured[stat], true=true[stat], spread=true["p99"] - true["p50"])
        for stat in STATS
        if stat in true and stat in measured
    ]
