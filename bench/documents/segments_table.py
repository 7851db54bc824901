"""The segments of a load that changes over time: one row each, for the page and the terminal."""

from __future__ import annotations

from bench.documents.details import counts_tokens, has_tokens
from bench.documents.document import Cell, Row
from bench.documents.formatting import NOTHING, number, statistic
from bench.documents.parts_table import heads_of_inputs
from bench.results.summary import RunSummary, Segment

_HEADS_OF_INPUTS = ("E2EL p50", "p99", "req/s", "inputs/s", "in flight", "failed")
_HEADS_OF_REQUESTS = tuple(head for head in _HEADS_OF_INPUTS if head != "inputs/s")
_HEADS = ("TTFT p50", "p99", "TPOT p50", "p99", "E2EL p50", "p99", "req/s", "tokens/s", "in flight", "failed")
NOTE = (
    "Latencies in ms, of requests sent in the measured time: a step is measured once it has settled (10 s, or 2.5 times the "
    "p90 of E2EL; at most half of it). A rising load is shown in ten parts, none of them settled: do not read a "
    "capacity from it."
)


CHANGED_BY = {"terminal": "in a terminal", "console": "in the console", "python": "by a script"}


def changes(summary: RunSummary) -> list[str]:
    """A sentence for each change of the load that was asked for while it went on."""
    return [
        f"{change.at_s:.1f} s: from {number(change.from_)} to {number(change.to)} {unit(summary)}, "
        f"set {CHANGED_BY.get(change.by, 'by ' + change.by)}"
        for change in summary.changes
    ]


def unit(summary: RunSummary) -> str:
    """What the loads of the segments are in."""
    return "requests/s" if summary.load.mode == "rate" else "users"


def heads(summary: RunSummary) -> tuple[str, ...]:
    """What stands over the cells of a row."""
    of_inputs = heads_of_inputs(_HEADS_OF_INPUTS, summary) if counts_tokens(summary) else _HEADS_OF_REQUESTS
    return _HEADS if has_tokens(summary) else of_inputs


def rows(summary: RunSummary) -> list[Row]:
    """The rows of a summary; none where the load stays."""
    tokens = has_tokens(summary) if counts_tokens(summary) else None
    return [_row(segment, tokens=tokens) for segment in summary.segments or ()]


def _row(segment: Segment, *, tokens: bool | None) -> Row:
    """`tokens` is None if no tokens are counted, and True if replies are generated text."""
    latency, throughput = segment.latency, segment.throughput
    first, last = (number(load) for load in (segment.first, segment.last))
    keys = ("ttft_ms", "tpot_ms", "e2el_ms") if tokens else ("e2el_ms",)
    times = (statistic(latency[key], stat) for key in keys for stat in ("p50", "p99"))
    delivered = [] if tokens is None else [number(throughput.of("output_tokens_per_s" if tokens else "inputs_per_s"))]
    load = first if first == last else f"{first}–{last}"
    return Row(
        Cell(load, meaning=f"{segment.measured_from_s:.1f}–{segment.end_s:.1f} s"),
        *times,
        number(throughput.requests_per_s),
        *delivered,
        number(segment.concurrency_mean),
        Cell(f"{segment.failed:,}" if segment.sent else NOTHING, "bad" if segment.failed else ""),
    )
