"""The segments of a load that changes over time: one row each, for the page and the terminal."""

from __future__ import annotations

from bench.documents.document import Cell, Row
from bench.documents.formatting import NOTHING, number
from bench.documents.parts_table import number_heads, numbers
from bench.results.summary import RunSummary, Segment

NOTE = (
    "Latencies in ms, of requests sent in the measured time: a step is measured once it has settled (10 s, or 2.5 times the "
    "p90 of E2EL; at most half of it). A rising load is shown in ten parts, none of them settled: do not read a "
    "capacity from it."
)


CHANGED_BY = {"terminal": "in a terminal", "console": "in the console", "python": "by a script"}


def changes(summary: RunSummary) -> list[str]:
    """A sentence for each change of the load that was made during the run."""
    return [
        f"{change.at_s:.1f} s: from {number(change.from_)} to {number(change.to)} {unit(summary)}, "
        f"set {CHANGED_BY.get(change.by, 'by ' + change.by)}"
        for change in summary.changes
    ]


def unit(summary: RunSummary) -> str:
    """The unit of the segments' loads."""
    if summary.load.mode == "rate":
        return "requests/s"
    new = summary.sessions is not None and summary.sessions.offered_per_s is not None
    return "sessions/s" if new else "users"


def heads(summary: RunSummary) -> list[str]:
    """The heads of a row, without the load."""
    return [*number_heads(summary), "in flight", "failed"]


def rows(summary: RunSummary) -> list[Row]:
    """The rows of a summary; empty if the load is constant."""
    return [_row(segment, summary) for segment in summary.segments or ()]


def _row(segment: Segment, summary: RunSummary) -> Row:
    first, last = (number(load) for load in (segment.first, segment.last))
    load = first if first == last else f"{first}–{last}"
    return Row(
        Cell(load, meaning=f"{segment.measured_from_s:.1f}–{segment.end_s:.1f} s"),
        *numbers(segment, summary),
        number(segment.concurrency_mean),
        Cell(f"{segment.failed:,}" if segment.sent else NOTHING, "bad" if segment.failed else ""),
    )
