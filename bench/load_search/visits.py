"""A visit of a search: how long it takes, and what it brings back.

A *scout* is short and only a hint at where the capacity lies. A *visit* counts. An *again* repeats a visit in which the
requests in flight kept rising, twice as long.

Before it measures, a visit lets the server settle; afterwards it waits until nothing is in flight, and two seconds more.
A budget under fifteen minutes shortens all of it in proportion, and the answer's interval is wider for it.
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
"""So many must have been judged for a scout to be a hint."""
_JOBS_OF_SCOUT, _JOBS_OF_VISIT, _LEAST_JOBS_OF_VISIT = 40.0, 200.0, 40.0
_SCOUT_LASTS, _VISIT_LASTS = 2.0, 3.0
"""Times as long as a job must have had to be judged: half, and a third, of such a visit judges none."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What to do next: send this load, for so long. Every visit has fresh prompts and a seed of its own (its number)."""

    n: int
    phase: Phase
    load: float
    settle_s: float
    measure_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a visit brought back. `requests` were sent while it measured; `violations` of them broke each objective.

    A failed or cut request breaks every objective; so does one that has waited longer than its limit on TTFT.
    """

    n: int
    phase: Phase
    load: float
    verdict: str
    settle_s: float
    measure_s: float
    seconds: float
    """All that the visit took, from its first send to the start of the next."""
    requests: int = 0
    violations: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)
    """By objective on jobs: how many jobs were judged. Its violations are of these, those of others of requests."""
    about: Mapping[str, int] = field(default_factory=dict)
    """By objective that speaks of a part of the requests (a class, a model): how many these are."""
    act: Mapping[str, float] = field(default_factory=dict)
    """By objective: `statistics.autocorrelation.tail_act` of what it limits."""
    means: Mapping[str, Mean] = field(default_factory=dict)
    """By objective on a mean: how far it lies from its limit (`statistics.capacity.mean_of`)."""
    kept_up: bool | None = None
    """False if requests in flight kept rising (`statistics.keeps_up`); None of a closed loop, and of an early end."""
    e2el_p90_s: float | None = None
    """p90 of E2EL; where objectives speak of jobs, that of job seconds: how long it takes until one of them is over."""
    e2el_first_s: float | None = None
    """p90 of E2EL of the requests that were sent first, when nothing can have piled up; None of jobs."""
    run_dir: str = ""

    @property
    def valid(self) -> bool:
        """Whether it counts for anything."""
        return self.verdict != "INVALID"

    @property
    def says_enough(self) -> bool:
        """Whether so many jobs were judged that a scout is a hint; always, where no objective speaks of jobs.

        An objective on a mean breaks no share, and has a mean where there were enough for one.
        """
        return all(
            judged >= LEAST_JOBS if text in self.violations else text in self.means
            for text, judged in self.jobs.items()
        )

    def judged(self, objective: str) -> int:
        """How many requests, of the class that it speaks of, or jobs, were held against this objective."""
        return self.jobs.get(objective, self.about.get(objective, self.requests))

    def share(self, objective: str) -> float | None:
        """The share of them that broke it; None if there were none."""
        judged = self.judged(objective)
        return self.violations.get(objective, 0) / judged if judged else None


def first_p90_s(sent_s: Floats, e2el_s: Floats) -> float | None:
    """p90 of E2EL of the first tenth of the requests of a visit, at least ten of them; None if there are fewer."""
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
    """How long to settle and to measure, in seconds. A closed loop does not know its rate beforehand.

    Of jobs, `e2el_p90_s` is that of job seconds, and `judged_after_s` how long one must have had before it can be judged.
    What begins in the last such while counts for nothing, so that a visit measures three times as long; and at least until
    so many can be judged, where it is known how many come in a second.
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
    """How long until so many jobs can be judged; at most an eighth of the budget, which has to do for several visits."""
    if not jobs_per_s:
        return 0.0
    return min(judged_after_s + jobs / jobs_per_s, budget_s / 8)


def jobs_per_s(results: Sequence[Result], load: float, judged_after_s: float) -> float | None:
    """How many jobs that can be judged to expect in a second at a load, which is a number of sessions; None: not known.

    Each session has as many as elsewhere: too many are expected where jobs are slower, as beyond the edge.
    """
    sessions_s = sum(result.load * max(0.0, result.measure_s - judged_after_s) for result in results if result.jobs)
    judged = sum(min(result.jobs.values()) for result in results if result.jobs)
    return load * judged / sessions_s if sessions_s and judged else None
