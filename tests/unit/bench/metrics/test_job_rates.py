"""From when the ends of jobs are counted that make the rate of jobs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.metrics.job_numbers import JobNumbers
from bench.metrics.jobs import JobEnd

S = 1_000_000_000


def job(end_s: float, ended: JobEnd = JobEnd.COMPLETED, *, whole: bool = True) -> Any:
    return SimpleNamespace(end_ns=round((100 + end_s) * S), whole=whole, ended=ended)


@pytest.mark.parametrize(
    ("span", "seconds"), [(None, [7.0, 9.0]), ((0.0, 20.0 * S), [7.0, 9.0]), ((2.5 * S, 20.0 * S), [4.5, 6.5])]
)
def test_ends_of_jobs_are_counted_from_the_first_send(span: tuple[float, float] | None, seconds: list[float]) -> None:
    numbers = cast(JobNumbers, SimpleNamespace(_start_ns=100 * S))
    left_out = [
        job(8, whole=False),
        *(job(8, end) for end in JobEnd if end not in (JobEnd.COMPLETED, JobEnd.BEGUN_BEFORE)),
    ]
    jobs = [job(7), *left_out, job(9, JobEnd.BEGUN_BEFORE)]
    assert JobNumbers._ended_s(numbers, jobs, span) == pytest.approx(seconds)
