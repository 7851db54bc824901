"""What a report says in words, the same on a terminal, on the page and in Markdown: whether an objective held, what was sent,
warnings and notes."""

from __future__ import annotations

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
    return [*details.ended_early(summary), *summary.window.warnings, *jobs.warnings(summary)]


def notes(summary: RunSummary) -> list[str]:
    """What the run noted of itself."""
    return [*(summary.run.notes or ())]
