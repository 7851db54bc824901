"""A visit of a search: how long it takes, and its result.

A *scout* is short and only hints at where the capacity lies. A *visit* counts. An *again* repeats a visit in which the
requests in flight kept rising, and takes twice as long.

Before it measures, a visit lets the server settle; afterwards it waits until nothing is in flight, and two seconds
more. A budget under fifteen minutes shortens all of this in proportion, which widens the answer's interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.series.lengths import settle_and_measure_s
from bench.statistics.autocorrelation import Floats
from bench.statistics.capacity import Mean

Phase = Literal["scout", "visit", "again"]

FULL_BUDGET_S = 900.0
_PAUSE_S = 2.0

_FIRST = 10
LEAST_JOBS = 10
"""A scout must judge this many jobs to be a hint."""
_JOBS_OF_SCOUT, _JOBS_OF_VISIT, _LEAST_JOBS_OF_VISIT = 40.0, 200.0, 40.0
_SCOUT_LASTS, _VISIT_LASTS = 2.0, 3.0
"""In multiples of the time after which a job can be judged. Half of such a scout, and a third of such a visit, judges
no jobs."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What to do next: send this load for this time. Every visit has fresh prompts and its own seed (from its number)."""

    n: int
    phase: Phase
    load: float
    settle_s: float
    measure_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a visit. `requests` were sent while it measured; `violations`: how many of them broke each
    objective.

    A failed or cut request breaks every objective, and so does a request that has waited longer than its limit on TTFT.
    """

    n: int
    phase: Phase
    load: float
    verdict: str
    settle_s: float
    measure_s: float
    seconds: float
    """The total time of the visit, from its first send to the start of the next visit."""
    requests: int = 0
    violations: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)
    """For each objective on jobs, the number of judged jobs. Its violations count jobs; those of other objectives count
    requests."""
    about: Mapping[str, int] = field(default_factory=dict)
    """For each objective that judges only some of the requests (those of a class or a model, or with a value), their
    number."""
    act: Mapping[str, float] = field(default_factory=dict)
    """For each objective: `statistics.autocorrelation.tail_act` of the limited values."""
    means: Mapping[str, Mean] = field(default_factory=dict)
    """For each objective on a mean: how far the mean is from its limit (`statistics.capacity.mean_of`)."""
    kept_up: bool | None = None
    """False if requests in flight kept rising (`statistics.keeps_up`); None for a closed loop, and after an early end."""
    e2el_p90_s: float | None = None
    """p90 of E2EL, or of job seconds if objectives are on jobs."""
    e2el_first_s: float | None = None
    """p90 of E2EL of the first requests, when nothing can have piled up; None if objectives are on jobs."""
    run_dir: str = ""

    @property
    def valid(self) -> bool:
        """Whether the visit counts for anything."""
        return self.verdict != "INVALID"

    @property
    def says_enough(self) -> bool:
        """Whether enough jobs were judged for a scout to be a hint; always true if no objective is on jobs.

        An objective on a mean has no violations; it has a mean if there were enough jobs.
        """
        return all(
            judged >= LEAST_JOBS if text in self.violations else text in self.means
            for text, judged in self.jobs.items()
        )

    def judged(self, objective: str) -> int:
        """The number of requests (of the objective's class) or jobs that were judged by this objective."""
        return self.jobs.get(objective, self.about.get(objective, self.requests))

    def share(self, objective: str) -> float | None:
        """The share of them that broke it; None if there were none."""
        judged = self.judged(objective)
        return self.violations.get(objective, 0) / judged if judged else None


def first_p90_s(sent_s: Floats, e2el_s: Floats) -> float | None:
    """p90 of E2EL of the first tenth of a visit's requests, at least ten of them; None if there are fewer."""
    if len(sent_s) < _FIRST:
        return None
    first = np.argsort(sent_s, kind="stable")[: max(_FIRST, len(sent_s) // 10)]
    return float(np.quantile(e2el_s[first], 0.9))


def pause_s(budget_s: float) -> float:
    """How long to wait between two visits, with nothing in flight."""
    return _PAUSE_S * min(1.0, budget_s / FULL_BUDGET_S)


def times(
    phase: Phase,
    requests_per_s: float | None,
    e2el_p90_s: float | None,
    budget_s: float,
    judged_after_s: float = 0.0,
    jobs_per_s: float | None = None,
) -> tuple[float, float]:
    """How long to settle and to measure, in seconds. The rate of a closed loop is not known beforehand.

    With jobs, `e2el_p90_s` is the p90 of job seconds, and `judged_after_s` is how long ago a job must have been due to
    be judged. Jobs that begin in the last `judged_after_s` do not count, so a visit measures three times as long. If
    `jobs_per_s` is known, it also measures until enough jobs can be judged.
    """
    f = min(1.0, budget_s / FULL_BUDGET_S)
    e2el = 0.0 if e2el_p90_s is None else e2el_p90_s
    gap = 0.0 if requests_per_s is None else 1 / requests_per_s
    if phase == "scout":
        measure = max(min(40 * f, max(10 * f, 20 * f * gap)), e2el / 2, _SCOUT_LASTS * judged_after_s)
        measure = max(measure, _until_judged_s(_JOBS_OF_SCOUT, jobs_per_s, judged_after_s, budget_s))
        return max(3 * f, e2el), measure
    settle, measure = settle_and_measure_s(requests_per_s, e2el_p90_s, share=f, settle_at_most_s=judged_after_s)
    jobs = max(_JOBS_OF_VISIT * f, _LEAST_JOBS_OF_VISIT)
    wanted = _until_judged_s(jobs, jobs_per_s, judged_after_s, budget_s)
    measure = max(measure, _VISIT_LASTS * judged_after_s, wanted)
    return settle, 2 * measure if phase == "again" else measure


def _until_judged_s(jobs: float, jobs_per_s: float | None, judged_after_s: float, budget_s: float) -> float:
    """How long it takes until this many jobs can be judged; at most an eighth of the budget, which must cover several
    visits."""
    if not jobs_per_s:
        return 0.0
    return min(judged_after_s + jobs / jobs_per_s, budget_s / 8)


def jobs_per_s(results: Sequence[Result], load: float, judged_after_s: float) -> float | None:
    """How many judged jobs to expect per second at a load (a number of sessions); None if unknown.

    Each session is assumed to have as many as in the other visits. The estimate is too high if jobs are slower, such as
    beyond the edge.
    """
    sessions_s = sum(result.load * max(0.0, result.measure_s - judged_after_s) for result in results if result.jobs)
    judged = sum(min(result.jobs.values()) for result in results if result.jobs)
    return load * judged / sessions_s if sessions_s and judged else None
