"""The objectives of a search: how many requests may break each, and which objectives cannot be searched for.

A search looks for the highest load at which every objective holds, so an objective must get worse as the load rises.
`pXX < limit` allows a share of 1 - XX; `pXX > limit` (tokens/s of a request) allows XX; `error_rate < 1%` allows 1%;
`goodput >= 95%` allows 5%, `accuracy >= 80%` 20% of the checked answers. An objective on a mean has no such share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.errors import UsageError
from bench.results.answers import ANSWER_SHARES
from bench.results.numbers import QUANTILES, may_break

OUTPUT_OF_THE_LOAD = (
    "requests_per_s",
    "inputs_per_s",
    "input_tokens_per_s",
    "output_tokens_per_s",
    "total_tokens_per_s",
    "jobs_per_hour",
    "jobs_per_hour_per_gpu",
)
KEEPS_UP = "keeps up"
"""The objective that every open loop has in addition to the given ones."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective. `allowed` is the share of requests that may break it; None for an objective on a mean."""

    text: str
    allowed: float | None


def goal(text: str, metric: str, stat: str | None, op: str, limit: float) -> Goal:
    """The goal of an objective, from the parsed parts of `--slo`. Raises UsageError if it cannot be searched for."""
    if metric in OUTPUT_OF_THE_LOAD:
        raise UsageError(
            f'--slo "{text}": {metric} rises with the load, so no load is the highest that keeps it; give a latency, '
            "error_rate or goodput, and read the throughput at the load that is found"
        )
    if metric == "jobs_per_hour_per_user":
        raise UsageError(f'--slo "{text}": every load keeps it, so none is the highest; give a limit above 0')
    if metric == "error_rate":
        return Goal(text, _share(text, limit))
    if metric in ("goodput", *ANSWER_SHARES):
        return Goal(text, _share(text, 1 - limit))
    if stat == "mean":
        if not limit > 0:
            raise UsageError(
                f'--slo "{text}": a search compares a mean with its limit by their ratio: give a limit above 0'
            )
        return Goal(text, None)
    if stat not in QUANTILES:
        raise UsageError(
            f'--slo "{text}": one request decides {stat}, so that no load can be shown to hold it; use p99'
        )
    return Goal(text, may_break(stat, op))


def _share(text: str, allowed: float) -> float:
    allowed = round(allowed, 9)
    if not 0 < allowed < 1:
        raise UsageError(
            f'--slo "{text}": allows {"none" if allowed <= 0 else "all"} of the requests to break it, and no number of '
            "requests shows that; allow a share between 0 and 1, such as error_rate<0.1%"
        )
    return allowed


def goals(parts: Iterable[tuple[str, str, str | None, str, float]]) -> tuple[Goal, ...]:
    """The goals of all objectives. Raises UsageError with a sentence for each refused objective, or if there are none."""
    parsed: list[Goal] = []
    problems: list[str] = []
    for part in parts:
        try:
            parsed.append(goal(*part))
        except UsageError as e:
            problems += e.problems
    if not parsed and not problems:
        problems.append('a search needs an objective: give --slo, for example --slo "ttft:p99<500ms"')
    if problems:
        raise UsageError(problems)
    return tuple(parsed)
