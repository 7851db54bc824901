"""Turns the records of a visit into the values on which the search decides: how many requests broke each objective, and
so on.

A request that failed or was dropped breaks every objective. A request without a metric (the TPOT of a one-token reply) is
not judged by it. For a token metric, the share of gaps beyond the limit counts as that share of the requests that have
gaps.

A job is judged if it was due so long before the end of the visit that its result is known: if the visit cut it off, it
has already exceeded the limit. Judging every completed job would mean judging the short ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.load_search.decisions import Search
from bench.load_search.goals import Goal, goals
from bench.load_search.visits import Result, Visit, first_p90_s
from bench.metrics.arrays import known
from bench.metrics.catalog import METRICS, RequestMetric
from bench.metrics.job_numbers import S_PER_H
from bench.metrics.jobs import Job, JobEnd, jobs_of
from bench.metrics.objectives import OPERATORS, Objective, own_values
from bench.metrics.request_metrics import e2el_ms
from bench.metrics.run_numbers import JOB
from bench.records import NO_FAILURE, Outcome, RequestRecord
from bench.records.record_table import Mask, RecordTable
from bench.results.numbers import QUANTILES
from bench.statistics.autocorrelation import LEAST_VALUES, Floats, act, tail_act
from bench.statistics.capacity import Mean, mean_of
from bench.statistics.keeps_up import growth, in_flight

FAILED_COUNTS_AS = 2.0
"""In a mean, a failed request counts as this many times the limit: a server must not become faster by refusing."""


@dataclass(frozen=True, slots=True)
class SearchObjective:
    """An objective, and the corresponding goal of the search."""

    objective: Objective
    goal: Goal


def sought(objectives: Sequence[Objective]) -> tuple[SearchObjective, ...]:
    """The objectives of a search. Raises UsageError with every objective that cannot be searched for."""
    objectives = [_as_job_seconds(objective) for objective in objectives]
    parsed = goals((o.text, o.metric, o.stat, o.op, o.limit) for o in objectives)
    return tuple(map(SearchObjective, objectives, parsed))


def _as_job_seconds(objective: Objective) -> Objective:
    """Jobs per hour of one user are 3600 / mean job seconds, so a minimum on them is a maximum on the mean."""
    if objective.metric != "jobs_per_hour_per_user" or objective.limit <= 0:
        return objective
    op = _OTHER_WAY[objective.op]
    return replace(objective, metric=JOB, stat="mean", op=op, limit=S_PER_H / objective.limit, unit="s")


_OTHER_WAY = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


def judged_after_s(wanted: Sequence[SearchObjective]) -> float:
    """How long before the end of a visit a job must be due so that every objective can judge it; 0 if no objective is
    on jobs."""
    return max((_lasting_s(aim) for aim in wanted if aim.objective.of_jobs), default=0.0)


def _lasting_s(aim: SearchObjective) -> float:
    return aim.objective.limit * (FAILED_COUNTS_AS if aim.goal.allowed is None else 1.0)


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of a visit, with facts from its manifest. `start_ns`: when it began to measure."""

    records: Sequence[RequestRecord]
    start_ns: int
    verdict: str
    run_dir: str
    answers: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    """For each share of checked answers: by request id, whether the answer passes (bench/answers/checked.py)."""


def result_of(search: Search, wanted: Sequence[SearchObjective], visit: Visit, load: Load, seconds: float) -> Result:
    """The result of a visit. `seconds` is its total time."""
    # A user who cancelled as planned says nothing about how long the others waited.
    records = (r for r in load.records if r.phase == "run" and r.outcome is not Outcome.CANCELLED)
    run = RecordTable(sorted(records, key=lambda record: record.index))
    stop_ns = load.start_ns + round(visit.measure_s * NS_PER_S)
    jobs = jobs_of(load.records) if any(aim.objective.of_jobs for aim in wanted) else []
    judged = _Judged(visit.load)
    for aim in wanted:
        if aim.objective.of_jobs:
            judged.judge_jobs(aim, _of_jobs(aim, jobs, stop_ns))
        else:
            judged.judge_requests(aim, run, load.answers)
    e2el_of = known(e2el_ms(run))
    return Result(
        n=visit.n,
        phase=visit.phase,
        load=visit.load,
        verdict=load.verdict,
        settle_s=visit.settle_s,
        measure_s=visit.measure_s,
        seconds=seconds,
        requests=len(run),
        violations=judged.violations,
        about=judged.about,
        act=judged.act,
        means=judged.means,
        jobs=judged.jobs,
        kept_up=_kept_up(search, visit, load, stop_ns),
        e2el_p90_s=_p90_s(jobs, e2el_of),
        e2el_first_s=None if jobs else _first_s(load),
        run_dir=load.run_dir,
    )


@dataclass(slots=True)
class _Judged:
    """The results of a visit for each objective, by its text (see Result)."""

    load: float
    violations: dict[str, int] = field(default_factory=dict)
    about: dict[str, int] = field(default_factory=dict)
    act: dict[str, float] = field(default_factory=dict)
    means: dict[str, Mean] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)

    def judge_jobs(self, aim: SearchObjective, series: _JobSeries) -> None:
        text, orders = aim.goal.text, (series.by_due, series.by_session)
        self.jobs[text] = len(series.by_due)
        if aim.goal.allowed is None:
            means = [mean for values in orders if (mean := mean_of(self.load, values, aim.objective.limit)) is not None]
            self.means |= {text: max(means, key=lambda mean: mean.error)} if means else {}
            return
        self.violations[text] = series.broken
        if len(series.by_due) >= LEAST_VALUES:
            self.act[text] = max(map(tail_act, orders))

    def judge_requests(self, aim: SearchObjective, run: RecordTable, answers: Mapping[str, Mapping[str, bool]]) -> None:
        """`run`: the requests of the visit."""
        text, objective = aim.goal.text, aim.objective
        marks = answers.get(objective.metric, {}) if objective.of_answers else None
        spoken_of = run.where(objective.applies_to(run) if marks is None else _answered_or_failed(marks, run))
        if objective.part is not None or marks is not None:
            self.about[text] = len(spoken_of)
        if aim.goal.allowed is None:
            if (mean := _mean(objective, self.load, spoken_of)) is not None:
                self.means[text] = mean
            return
        series = _series(objective, spoken_of, marks)
        self.violations[text] = round(series.broken)
        if len(series.values) < len(spoken_of):
            self.about[text] = len(series.values)
        if len(series.values) >= LEAST_VALUES:
            self.act[text] = act(series.values) if series.of_violations else tail_act(series.values)


@dataclass(frozen=True, slots=True)
class _JobSeries:
    """How many of the judged jobs broke an objective, and the job seconds in two orders: jobs that are due one after
    the other meet the same server, and jobs of one session share a conversation. The order with the longer dependence
    counts."""

    broken: int
    by_due: list[float]
    by_session: list[float]


def _of_jobs(aim: SearchObjective, jobs: Sequence[Job], stop_ns: int) -> _JobSeries:
    """The results of the jobs that can be judged. `jobs` are in the order in which they were due."""
    limit, lasting_ns = aim.objective.limit, _lasting_s(aim) * NS_PER_S
    judged: list[tuple[int, float]] = []
    for job in jobs:
        if job.ended in (JobEnd.BEGUN_BEFORE, JobEnd.CANCELLED) or job.due_ns + lasting_ns > stop_ns:
            continue
        seconds = job.seconds if job.ended is JobEnd.COMPLETED else max(job.seconds, FAILED_COUNTS_AS * limit)
        judged.append((job.session, seconds))
    by_session = sorted(judged, key=lambda entry: entry[0])
    return _JobSeries(
        broken=sum(not aim.objective.holds(seconds) for _, seconds in judged),
        by_due=[seconds for _, seconds in judged],
        by_session=[seconds for _, seconds in by_session],
    )


def _answered_or_failed(marks: Mapping[str, bool], run: RecordTable) -> Mask:
    """The probes whose answer has a mark, and the probes without an answer, which break an objective on answers."""
    return np.array(
        [r.id in marks or (r.probe is not None and r.outcome not in NO_FAILURE) for r in run.records], dtype=np.bool_
    )


def _p90_s(jobs: Sequence[Job], e2el_of: Floats) -> float | None:
    """p90 of the time until a judged request or job is over. A job that the visit cut off has taken at least this long."""
    seconds = [job.seconds for job in jobs if job.ended in (JobEnd.COMPLETED, JobEnd.CUT)]
    if not seconds:
        return float(np.quantile(e2el_of, 0.9)) / 1e3 if len(e2el_of) else None
    return float(np.quantile(seconds, 0.9))


def _kept_up(search: Search, visit: Visit, load: Load, stop_ns: int) -> bool | None:
    """Whether the server kept up; None for a closed loop, which never sends more than the server returns.

    A request counts as in flight from its due time, because a request that waits for a slot under a cap is backlog too.
    """
    if search.settings.load_kind != "rate" or not load.records:
        return None
    due_s = [(record.intended_ns - load.start_ns) / NS_PER_S for record in load.records]
    end_s = [(record.end_ns - load.start_ns) / NS_PER_S for record in load.records]
    stop_s = (stop_ns - load.start_ns) / NS_PER_S
    flight = in_flight(due_s, end_s, 0.0, stop_s)
    # From the first send on: requests that pile up while the server settles are already slow when the measurement
    # begins.
    sent = [(due, end - due) for due, end in zip(due_s, end_s, strict=True) if due < stop_s]
    grown = growth([due for due, _ in sent], [took for _, took in sent])
    return search.kept_up(visit, flight, max(0.0, max(end_s) - stop_s), grown)


def _first_s(load: Load) -> float | None:
    """How long the first requests took, including those sent while the server settles."""
    succeeded = [record for record in load.records if record.outcome is Outcome.OK]
    due_s = np.array([record.intended_ns for record in succeeded], dtype=np.float64) / NS_PER_S
    end_s = np.array([record.end_ns for record in succeeded], dtype=np.float64) / NS_PER_S
    return first_p90_s(due_s, end_s - due_s)


@dataclass(frozen=True, slots=True)
class _Series:
    """How many requests broke an objective, and a badness value for each request that it judges, in the order of
    sending."""

    broken: float
    values: Floats
    of_violations: bool = False
    """Whether the values are 0 and 1, which have no tail."""


def _series(objective: Objective, run: RecordTable, marks: Mapping[str, bool] | None) -> _Series:
    """The violations of an objective on a share. `marks`: for an objective on answers, whether it holds, by request id."""
    failed = ~run.ok
    if objective.stat is None:  # A share: error_rate, goodput, or one of answers.
        good = (
            None if marks is None else np.array([marks.get(record.id, False) for record in run.records], dtype=np.bool_)
        )
        broken_by = (objective.broken(run) if good is None else ~good).astype(np.float64)
        return _Series(float(broken_by.sum()), broken_by, of_violations=True)
    metric = METRICS[objective.metric]
    if isinstance(metric, RequestMetric):
        values = metric.of(run)
        broken = float((~np.isnan(values) & ~_holds(objective, values)).sum())
    else:
        q, pauses = QUANTILES[objective.stat], metric.of(run)
        by_request = np.split(pauses.ns, pauses.starts(len(run))[1:-1])
        values = np.array([np.quantile(each, q) if len(each) else np.nan for each in by_request], dtype=np.float64)
        beyond = int((~_holds(objective, pauses.ns / NS_PER_MS)).sum())
        broken = beyond / len(pauses.ns) * int((~np.isnan(values)).sum()) if len(pauses.ns) else 0.0
    sign = 1.0 if objective.op.startswith("<") else -1.0
    has_value = ~np.isnan(values) & ~failed
    worst = max(sign * values[has_value], default=0.0) + 1.0
    badness = np.where(has_value, sign * values, worst)[failed | has_value]
    return _Series(broken + float(failed.sum()), badness.astype(np.float64))


def _holds(objective: Objective, values: Floats) -> Mask:
    return OPERATORS[objective.op](values, objective.limit)  # type: ignore[arg-type, return-value]


def _mean(objective: Objective, load: float, run: RecordTable) -> Mean | None:
    """How far the mean is from its limit; above 0 if the objective is broken."""
    upper = objective.op.startswith("<")
    failed = objective.limit * (FAILED_COUNTS_AS if upper else 1 / FAILED_COUNTS_AS)
    values = np.where(run.ok, own_values(replace(objective, stat="mean"), run), failed)
    mean = mean_of(load, known(values).tolist(), objective.limit)
    return mean if mean is None or upper else Mean(load, -mean.log_ratio, mean.error)
