"""Every visit of a search as a row of text, for the terminal and the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.documents.formatting import duration, number, share
from bench.load_search.answer import Numbers, load_text
from bench.load_search.decisions import Search
from bench.load_search.goals import Goal
from bench.load_search.visit_numbers import VisitNumbers
from bench.load_search.visits import Result


@dataclass(frozen=True, slots=True)
class Row:
    """A visit. `broke` has one entry per objective: how much broke it, and whether that is more than allowed."""

    n: int
    phase: str
    load: str
    requests: str
    broke: tuple[tuple[str, bool], ...]
    latency: str
    """TTFT p50 / p99; E2EL if replies are not generated text."""
    delivered: str
    """Output tokens per second, or inputs."""
    kept_up: str
    verdict: str
    reasons: tuple[str, ...]
    took: str
    run_dir: str


def rows(search: Search, numbers: Numbers) -> list[Row]:
    """The visits in the order in which they were made."""
    return [_row(search, result, numbers.get(result.n, VisitNumbers())) for result in search.results]


def allowed(goal: Goal) -> str:
    """What an objective allows, as the subheading of its column."""
    return "mean over its limit" if goal.allowed is None else f"{share(goal.allowed)} may break it"


def _row(search: Search, result: Result, numbers: VisitNumbers) -> Row:
    key = "ttft_ms" if numbers.inputs_per_s is None else "e2el_ms"
    latency = [numbers.stat(key, stat) for stat in ("p50", "p99")]
    return Row(
        n=result.n,
        phase=result.phase,
        load=load_text(result.load, search.settings.load_kind),
        requests=f"{result.requests:,}",
        broke=tuple(broke(result, goal) for goal in search.settings.goals),
        latency=" / ".join(map(number, latency)),
        delivered=number(numbers.output_tokens_per_s if numbers.inputs_per_s is None else numbers.inputs_per_s),
        kept_up={True: "yes", False: "no", None: ""}[result.kept_up],
        verdict=result.verdict,
        reasons=numbers.reasons if result.verdict != "VALID" else (),
        took=duration(result.seconds),
        run_dir=result.run_dir,
    )


def broke(result: Result, goal: Goal) -> tuple[str, bool]:
    """How much of an objective a visit broke, as text, and whether that is more than allowed."""
    if goal.allowed is None:
        mean = result.means.get(goal.text)
        if mean is None:
            return "–", False
        off = math.expm1(mean.log_ratio)
        return f"{100 * off:+.1f}%", off > 0
    broken = result.share(goal.text)
    if broken is None:
        return "–", False
    of_jobs = f" of {result.jobs[goal.text]:,}" if goal.text in result.jobs else ""
    return share(broken) + of_jobs, broken > goal.allowed
