"""Charts that compare the replicas of a run: their latencies, and how many requests each got."""

from __future__ import annotations

from bench.documents.charts import Chart, Line, Panel, categories
from bench.documents.details import has_tokens
from bench.documents.formatting import number
from bench.documents.time_charts import RunNumbers

_AXIS = "replica"


def latency(run: RunNumbers) -> Chart | None:
    """The median and P99 of TTFT, or of E2EL if replies have no tokens."""
    parts = run.summary.per_target
    if not parts:
        return None
    key, name = ("ttft_ms", "TTFT") if has_tokens(run.summary) else ("e2el_ms", "E2EL")
    rows = [part.latency[key] for part in parts]
    lines = (
        Line("median", [row.p50 for row in rows], style="bars"),
        Line("P99", [row.p99 for row in rows], style="points", tone="second"),
    )
    names = [part.name for part in parts]
    tips = [f"{part.name}: {number(row.n)} requests" for part, row in zip(parts, rows, strict=True)]
    meaning = f"{name} of each replica over the whole run."
    return categories("replica_latency", f"{name} by replica", meaning, _AXIS, names, tips, Panel("ms", lines))


def requests(run: RunNumbers) -> Chart | None:
    """How many requests each got, and how many of them failed."""
    parts = run.summary.per_target
    if not parts:
        return None
    lines = (
        Line("sent", [part.sent for part in parts], style="bars"),
        Line("failed", [part.failed for part in parts], style="points", tone="bad"),
    )
    names = [part.name for part in parts]
    meaning = "Requests that each replica got, and those that failed."
    return categories("replica_requests", "Requests by replica", meaning, _AXIS, names, names, Panel("", lines))
