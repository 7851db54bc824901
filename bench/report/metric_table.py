"""The numbers of a run as a table for other tools: CSV in full precision, one row per metric."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from bench.documents import parts_table
from bench.documents.details import latencies, rate_names
from bench.metrics.bounds import shown
from bench.results.numbers import Latency, Metric, Statistics, Throughput
from bench.results.summary import RunSummary

STATS = ("mean", "min", "p50", "p75", "p90", "p95", "p99", "p999", "max")
WITH_INTERVAL = ("mean", "p50", "p90", "p95", "p99")
COLUMNS = (
    "metric",
    "unit",
    "values",
    *STATS,
    *(f"{stat}_{end}" for stat in WITH_INTERVAL for end in ("low", "high")),
)
"""`values` is their number, `..._low` and `..._high` the ends of the 95% interval. A rate is under `mean`."""

TableRow = dict[str, str | float | None]


def rows(summary: RunSummary) -> list[TableRow]:
    """A row for each latency, rate and count; cells without a value are empty."""
    counts = summary.counts
    tried = counts.succeeded + counts.failed
    table = _numbers(summary, summary.latency, summary.throughput, "")
    table.append({"metric": "error_rate", "unit": "share", "values": tried,
                  "mean": counts.failed / tried if tried else None})  # fmt: skip
    table += _rows_of_jobs(summary)
    table += _rows_of_server_requests(summary)
    for of_it, part in parts_table.of_every_kind(summary):
        tried = part.succeeded + part.failed
        table += _numbers(summary, part.latency, part.throughput, of_it)
        table.append({"metric": f"error_rate{of_it}", "unit": "share", "values": tried, "mean": part.error_rate})
    return table


def _numbers(summary: RunSummary, latency: Latency, rates: Throughput, of_it: str) -> list[TableRow]:
    """The latencies and rates of a run, or of one model or class; metrics have the names that objectives use."""
    table = [
        _statistics(metric.name + of_it, metric.unit, latency[metric.key]) for metric in latencies(summary).values()
    ]
    for key, (_, unit) in rate_names(summary).items():
        table.append({"metric": key + of_it, "unit": unit, "mean": rates.of(key), **_ends("mean", rates.ci95[key])})
    return table


def _statistics(name: str, unit: str, row: Statistics) -> TableRow:
    """A row of statistics, with the available intervals."""
    cells: TableRow = {"metric": name, "unit": unit, "values": row.n, **{stat: shown(row, stat) for stat in STATS}}
    if isinstance(row, Metric):
        for stat in WITH_INTERVAL:
            cells |= _ends(stat, None if cells[stat] is None else row.ci95.get(stat))
    return cells


def _rows_of_jobs(summary: RunSummary) -> list[TableRow]:
    """Job seconds, and jobs an hour, if available."""
    if summary.jobs is None:
        return []
    rates = summary.jobs.rates
    table = [_statistics("job", "s", summary.jobs.job_s)]
    for name, ends in rates.ci95.items():
        if (value := rates.of(name)) is not None:
            table.append({"metric": name, "unit": "1/h", "mean": value, **_ends("mean", ends)})
    return table


def _rows_of_server_requests(summary: RunSummary) -> list[TableRow]:
    """The times in replies, the cached share, and the acceptance of drafts, if available."""
    requests = summary.server_requests
    if requests is None:
        return []
    table = [_statistics(f"server_{name.removesuffix('_ms')}", "ms", row) for name, row in requests.times().items()]
    cached, drafts = requests.cached, requests.drafts
    if cached is not None and cached.share is not None:
        table.append({"metric": "cached_share", "unit": "share", "values": cached.replies, "mean": cached.share})
    if drafts is not None:
        for metric, unit, value in (
            ("draft_acceptance", "share", drafts.acceptance_rate),
            ("tokens_per_step", "tokens", drafts.tokens_per_step),
        ):
            if value is not None:
                table.append({"metric": metric, "unit": unit, "values": drafts.replies, "mean": value})
    return table


def _ends(stat: str, ends: Sequence[float] | None) -> dict[str, float]:
    return {} if ends is None else {f"{stat}_low": ends[0], f"{stat}_high": ends[1]}


def to_csv(summary: RunSummary) -> str:
    """The rows as CSV with a head."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(inert, rows(summary)))
    return out.getvalue()


def inert(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with an apostrophe before each text that a spreadsheet would run as a formula: servers name models and
    errors. A lone carriage return, which the csv module does not quote, becomes a line feed."""
    return {key: _inert(value) if isinstance(value, str) else value for key, value in row.items()}


def _inert(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
