"""A number of a run by the name that objectives use, out of its summary: a latency, a rate, the error rate, a number of jobs.

One place for all that ask: objectives, comparisons, gates, and Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.metrics.catalog import METRICS

JOB = "job"
"""The metric of job seconds, which takes a statistic as latencies do."""
JOB_RATES = ("jobs_per_hour_per_user", "jobs_per_hour", "jobs_per_hour_per_gpu")
JOB_NUMBERS = (JOB, *JOB_RATES)


@dataclass(frozen=True, slots=True)
class RunNumber:
    """A value and its 95% interval, None where there is none; `row`: all statistics of the metric, where it has some."""

    value: float | None = None
    ci95: Sequence[float] | None = None
    row: Mapping[str, Any] | None = None


NO_NUMBER = RunNumber()
LISTS = {"model": "models", "class": "classes"}
"""Where the numbers of the parts of a run stand in its summary, by their kind."""


def part_of(summary: Mapping[str, Any], part: tuple[str, str] | None) -> Mapping[str, Any] | None:
    """What of a summary an objective speaks of: all of it, or a part by kind and name; None where it has no such part."""
    if part is None:
        return summary
    kind, name = part
    return next((one for one in parts_of(summary, kind) if one[kind] == name), None)


def parts_of(summary: Mapping[str, Any], kind: str) -> Sequence[Mapping[str, Any]]:
    """The numbers of each model or each class, by the kind of part; none of a run without such parts."""
    return summary.get(LISTS[kind]) or ()


def number_of(part: Mapping[str, Any], metric: str, stat: str | None) -> RunNumber:
    """The number of a summary, or of a part of one. The error rate needs the keys `error_rate` and `error_rate_ci95`, or
    `counts`; goodput has an interval where there is a key `goodput_ci95`."""
    if metric in JOB_NUMBERS:
        jobs = part.get("jobs")
        if jobs is None:
            return NO_NUMBER
        return _of_row(jobs["job_s"], stat) if metric == JOB else _of_rates(jobs["rates"], metric)
    if stat is not None:
        return _of_row(part["latency"][METRICS[metric].key], stat)
    if metric == "goodput":
        good = part.get("goodput")
        return NO_NUMBER if good is None else RunNumber(good["share"], part.get("goodput_ci95"))
    if metric != "error_rate":
        return _of_rates(part["throughput"], metric)
    if "error_rate" in part:
        return RunNumber(part["error_rate"], part["error_rate_ci95"])
    tried = part["counts"]["succeeded"] + part["counts"]["failed"]
    return RunNumber(part["counts"]["failed"] / tried if tried else None)


def _of_row(row: Mapping[str, Any], stat: str | None) -> RunNumber:
    assert stat is not None
    return RunNumber(row[stat], row["ci95"].get(stat), row)


def _of_rates(rates: Mapping[str, Any], name: str) -> RunNumber:
    return RunNumber(rates.get(name), rates["ci95"].get(name))
