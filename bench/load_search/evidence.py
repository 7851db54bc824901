"""What a single visit shows: whether it counts, whether it kept every objective, and what a scout hints at.

An INVALID visit says nothing about the server, and a FAILED one (most requests failed, or the server went away) says nothing
about the load. Neither is evidence. A FAILED visit is still a hint that a search should look lower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.load_search.goals import Goal
from bench.load_search.visits import Result
from bench.statistics.capacity import LEAST_D, deviance_above, odds_times

_SCOUT_FAILS = 0.2
_SCOUT_MEAN = math.log(1.2)
_LEAST_BROKEN = 3
"""One or two slow requests of a cold server are not a hint."""
_SIGNIFICANT = 9.0
"""From this deviance on (three standard errors), a scout's share is above the allowed share beyond doubt."""


def counts(result: Result) -> bool:
    """Whether a visit is evidence about its load."""
    return result.verdict not in ("INVALID", "FAILED")


def visits(results: Sequence[Result]) -> list[Result]:
    """The visits that are evidence. Scouts are only hints."""
    return [result for result in results if counts(result) and result.phase != "scout"]


def hints(results: Sequence[Result]) -> list[Result]:
    """FAILED visits, and scouts that judged enough to be a hint."""
    return [
        result
        for result in results
        if result.valid and (result.verdict == "FAILED" or (result.phase == "scout" and result.says_enough))
    ]


def kept_objectives(goals: Sequence[Goal], result: Result) -> bool:
    """Whether a visit kept every objective that the user gave."""
    for goal in goals:
        if goal.allowed is None:
            if goal.text in result.means and result.means[goal.text].log_ratio > 0:
                return False
        elif (result.share(goal.text) or 0.0) > goal.allowed:
            return False
    return True


def unmeasured(goals: Sequence[Goal], result: Result) -> list[Goal]:
    """The objectives about which a visit says nothing: too few values for a mean, or no value at all."""
    return [
        goal
        for goal in goals
        if (goal.text not in result.means if goal.allowed is None else not result.judged(goal.text))
    ]


def judge(goals: Sequence[Goal], results: Sequence[Result]) -> list[tuple[Result, bool]]:
    """Each visit that is evidence, and whether it kept every objective and the server kept up.

    A visit that broke nothing does not count if it says nothing about an objective. Requests can pile up by chance. So a
    visit that kept its objectives while requests piled up is judged by its repetition alone.
    """
    judged = []
    for result in visits(results):
        kept = kept_objectives(goals, result)
        piled_up = result.kept_up is False
        if kept and ((piled_up and result.phase == "visit") or (not piled_up and unmeasured(goals, result))):
            continue
        judged.append((result, kept and result.kept_up is not False))
    return judged


def hint_fails(goals: Sequence[Goal], result: Result) -> bool:
    """Whether a hint shows that its load is too high: clearly more is broken than allowed, or requests pile up."""
    if result.kept_up is False or result.verdict == "FAILED":
        return True
    for goal in goals:
        if goal.allowed is None:
            mean = result.means.get(goal.text)
            if mean is not None and mean.log_ratio > _SCOUT_MEAN:
                return True
            continue
        broken, judged = result.violations.get(goal.text, 0), result.judged(goal.text)
        if broken >= _LEAST_BROKEN and broken > judged * max(_SCOUT_FAILS, odds_times(goal.allowed, 3)):
            return True
        d = max(LEAST_D, 3 * result.act.get(goal.text, 0.0))
        if deviance_above(broken, judged, goal.allowed) > _SIGNIFICANT * d:
            return True
    return False
