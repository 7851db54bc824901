"""The numbers of each segment of a load that changes over time.

A step is measured after it has settled: requests sent in its first 10 s, or 2.5 times the p90 of E2EL if that is
longer, are only counted. At least half of each step is measured, even of a short one. A line is shown in ten parts,
each measured as a whole: none of them has settled, so a capacity cannot be read from it.

As everywhere, latencies cover the requests sent in the measured time, and rates count what arrived in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics.columns import happened
from bench.metrics.facts import RunFacts
from bench.metrics.load import Spans, plan_against_sent
from bench.metrics.planned_load import PlannedLoad
from bench.metrics.quantile import quantile
from bench.metrics.scope import RunData, Scope
from bench.metrics.window import Window
from bench.results.summary import Segment

PARTS_OF_A_LINE = 10
SETTLE_S = 10.0
SETTLE_REQUESTS = 2.5
"""As a multiple of the p90 of E2EL."""


def describe_segments(facts: RunFacts, data: RunData, spans: Spans) -> list[Segment] | None:
    """`segments` of a summary. Returns None for a load that never changes. If the load ended early, only the segments
    it reached."""
    if not facts.segments:
        return None
    shown = [p for s in facts.segments for p in ([s] if s.is_step else s.parts(PARTS_OF_A_LINE))]
    if facts.ended_early:
        last_ns = round(max(data.columns.end, default=0.0))
        shown = [replace(s, end_ns=min(s.end_ns, last_ns)) for s in shown if s.start_ns < last_ns]
    elif facts.open_end:
        last_ns = round(max(data.columns.intended, default=-1.0)) + 1
        shown = [replace(s, end_ns=min(s.end_ns, last_ns)) for s in shown if s.start_ns < last_ns]
    return [_describe(s, data, spans, facts) for s in shown]


def _describe(segment: PlannedLoad, data: RunData, spans: Spans, facts: RunFacts) -> Segment:
    columns = data.columns
    rows = [row for row, at in enumerate(columns.intended) if segment.start_ns <= at < segment.end_ns]
    begin_ns = segment.start_ns + _settle_ns(segment, happened([columns.metrics["e2el_ms"][row] for row in rows]))
    # A window includes its end, and requests sent at the border belong to the next segment.
    scope = Scope(data, Window(begin_ns, segment.end_ns - 1, "segment"))
    return Segment(
        first=segment.first,
        last=segment.last,
        start_s=segment.start_ns / NS_PER_S,
        end_s=segment.end_ns / NS_PER_S,
        measured_from_s=begin_ns / NS_PER_S,
        sent=sum(columns.sent[row] == columns.sent[row] for row in rows),
        succeeded=sum(columns.ok[row] for row in rows),
        failed=sum(columns.failed[row] for row in rows),
        plan=plan_against_sent([columns.intended[row] for row in rows], happened([columns.sent[row] for row in rows]))
        if facts.open_loop
        else None,
        concurrency_mean=spans.mean(facts.start_ns + begin_ns, facts.start_ns + segment.end_ns),
        latency=scope.of_requests(),
        throughput=scope.throughput(),
        goodput=scope.goodput() if facts.has_latency_objectives else None,
    )


def _settle_ns(segment: PlannedLoad, e2el_ms: Sequence[float]) -> int:
    """How long after its start a step is measured."""
    if not segment.is_step:
        return 0
    p90_ns = quantile(sorted(e2el_ms), 0.9) * NS_PER_MS if e2el_ms else 0.0
    wanted_ns = max(SETTLE_S * NS_PER_S, SETTLE_REQUESTS * p90_ns)
    return round(min(wanted_ns, (segment.end_ns - segment.start_ns) / 2))
