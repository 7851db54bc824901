"""The instant from which job ends are counted for the rate of jobs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.metrics.job_numbers import JobNumbers, _rates
from bench.metrics.jobs import JobEnd
from bench.metrics.sureness import of_rates
from bench.results.numbers import Metric
from tests.support.results import filled

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
    assert JobNumbers._ended_s(numbers, jobs, span) == seconds


def test_jobs_an_hour_have_an_interval_of_what_ended_in_each_second() -> None:
    seconds = filled(Metric, n=400, mean=2.0, ci95={"mean": [1.5, 3.0]})
    # Two per second, the first two at once. Ends after the last whole second count in no second.
    rates = _rates([*(k // 2 for k in range(400)), 200.5], seconds, 200.9, 4)
    assert rates.jobs_per_hour == pytest.approx(401 * 3600 / 200.9)
    assert rates.ci95["jobs_per_hour"] == pytest.approx([401 * 3600 / 200.9] * 2)
    assert rates.ci95["jobs_per_hour_per_gpu"] == pytest.approx([401 * 900 / 200.9] * 2)
    assert (rates.jobs_per_hour_per_user, rates.ci95["jobs_per_hour_per_user"]) == (1800, [1200, 2400])
    # Each second, from the first send to the last whole second, counts its own ends.
    ended_s = [-0.5, 0.0, 0.0, 0.9, *(x / 4 for x in range(40, 700, 3)), 199.5, 200.0, 200.5]
    each = [3600.0 * sum(k <= at < k + 1 for at in ended_s) for k in range(200)]
    rate = len(ended_s) * 3600 / 200.75
    assert _rates(ended_s, seconds, 200.75, 4).ci95["jobs_per_hour"] == of_rates({"": rate}, {"": each}).ci95[""]
    # A single job that ended after the last whole second does not show how steady the rate is.
    assert _rates([200.5], seconds, 200.75, None).ci95["jobs_per_hour"] is None
    # Ends in the first second count like all others: one more end there makes the rate less steady.
    uneven = _rates([0.0, *(k // 2 for k in range(400))], seconds, 200.0, None).ci95["jobs_per_hour"]
    assert uneven is not None
    assert uneven[0] < 7_200 < uneven[1]
