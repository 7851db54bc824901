"""Finds a number in a run's summary by its name in objectives: a latency, a rate, the error rate, a number of jobs.

Used by objectives, comparisons, gates, and Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.metrics.catalog import METRICS
from bench.results.answers import ANSWER_SHARES, CheckedAnswers
from bench.results.numbers import Goodput, Latency, Metric, Throughput
from bench.results.sessions import JobRates, Jobs
from bench.results.summary import PartNumbers, SummaryNumbers

JOB = "job"
"""The metric of job seconds, which takes a statistic like latencies."""
JOB_RATES = ("jobs_per_hour_per_user", "jobs_per_hour", "jobs_per_hour_per_gpu")
JOB_NUMBERS = (JOB, *JOB_RATES)


@dataclass(frozen=True, slots=True)
class RunNumber:
    """A value and its 95% interval, None if there is none. `row`: all statistics of the metric, if it has statistics."""

    value: float | None = None
    ci95: Sequence[float] | None = None
    row: Metric | None = None


NO_NUMBER = RunNumber()
LISTS = {"model": "models", "class": "classes", "target": "per_target"}
"""The key in the summary for the numbers of each kind of part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The numbers on which objectives are possible, for a run or a part of a run."""

    latency: Latency
    throughput: Throughput
    goodput: Goodput | None
    goodput_ci95: Sequence[float] | None = None
    error_rate: float | None
    error_rate_ci95: Sequence[float] | None = None
    jobs: Jobs | None = None
    answers: CheckedAnswers | None = None

    @classmethod
    def of(cls, part: SummaryNumbers | PartNumbers) -> Numbers:
        """The numbers of a summary, which has no intervals of shares, or of a part of it."""
        jobs, ends, answers = None, None, None
        if isinstance(part, PartNumbers):
            error_rate, ends = part.error_rate, part.error_rate_ci95
        else:
            tried = part.counts.succeeded + part.counts.failed
            error_rate, jobs = part.counts.failed / tried if tried else None, part.jobs
            answers = part.answers
        return cls(
            latency=part.latency,
            throughput=part.throughput,
            goodput=part.goodput,
            error_rate=error_rate,
            error_rate_ci95=ends,
            jobs=jobs,
            answers=answers,
        )

    def number(self, metric: str, stat: str | None) -> RunNumber:
        if metric in JOB_NUMBERS:
            if self.jobs is None:
                return NO_NUMBER
            return _of_row(self.jobs.job_s, stat) if metric == JOB else _of_rates(self.jobs.rates, metric)
        if stat is not None:
            row = self.latency.get(METRICS[metric].key)  # A file of an older version lacks later metrics.
            return NO_NUMBER if row is None else _of_row(row, stat)
        if metric in ANSWER_SHARES:
            share = None if self.answers is None else self.answers.of(metric)
            return NO_NUMBER if share is None else RunNumber(share.share, share.interval)
        if metric == "goodput":
            return NO_NUMBER if self.goodput is None else RunNumber(self.goodput.share, self.goodput_ci95)
        if metric != "error_rate":
            return _of_rates(self.throughput, metric)
        return RunNumber(self.error_rate, self.error_rate_ci95)


def part_of(summary: SummaryNumbers, part: tuple[str, str] | None) -> SummaryNumbers | PartNumbers | None:
    """The numbers for an objective: the whole summary, or a part by kind and name. Returns None if there is no such part."""
    if part is None:
        return summary
    kind, name = part
    return next((row for row in parts_of(summary, kind) if row.name == name), None)


def parts_of(summary: SummaryNumbers, kind: str) -> Sequence[PartNumbers]:
    """The numbers of each model or each class, by the kind of part. Empty for a run without such parts."""
    return getattr(summary, LISTS[kind]) or ()


def number_of(part: SummaryNumbers | PartNumbers, metric: str, stat: str | None) -> RunNumber:
    """The number in a summary, or in a part of it."""
    return Numbers.of(part).number(metric, stat)


def _of_row(row: Metric, stat: str | None) -> RunNumber:
    assert stat is not None
    return RunNumber(row.of(stat), row.ci95.get(stat), row)


def _of_rates(rates: Throughput | JobRates, name: str) -> RunNumber:
    return RunNumber(rates.of(name), rates.ci95.get(name))
