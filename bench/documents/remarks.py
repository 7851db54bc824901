"""What a report says in words, the same on a terminal, on the page and in Markdown: whether an objective held, what was sent,
warnings and notes."""

from __future__ import annotations

from collections.abc import Iterator

from bench.documents import details, jobs
from bench.results.summary import ObjectiveResult, RunSummary

TOO_FEW = "too few"
"""In place of the interval of a number that has too few independent values for one."""


def outcome(objective: ObjectiveResult) -> str:
    """Whether the value of an objective keeps to its limit, and why the interval does not show it, where it does not."""
    held, unsure = "held" if objective.held else "missed", details.uncertainty(objective)
    return f"{held}, {unsure}" if unsure else held


def no_errors(summary: RunSummary) -> str:
    """What stands in place of the errors of a run that has none."""
    return "no request failed" if summary.counts.succeeded else "no request was answered"


def warnings(summary: RunSummary) -> list[str]:
    """What the numbers leave out, or were disturbed by; beside the reasons of the verdict."""
    return [*details.ended_early(summary), *_piles_up(summary), *summary.window.warnings, *jobs.warnings(summary)]


def _piles_up(summary: RunSummary) -> Iterator[str]:
    backlog = summary.load.backlog
    if backlog is not None and backlog.rises:
        first, last, times = (f"{value:,.3g}" for value in (backlog.first, backlog.last, backlog.e2el_growth))
        what = "requests in flight" if backlog.of == "requests" else "sessions under way"
        rate = "these times of the requests" if summary.run.config.get("mode") == "trace" else "this rate"
        yield (
            f"The number of {what} kept rising while the load was sent: {first} in its first third, {last} in its last. "
            f"E2EL became {times} times as long. If the server does not keep up with {rate}, a longer load has longer "
            "latencies."
        )


def notes(summary: RunSummary) -> list[str]:
    """What the run noted of itself."""
    return [*(summary.run.notes or ())]
