"""The numbers that other tools would print, as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from bench.documents import formatting
from bench.documents.details import counts_tokens, has_tokens
from bench.documents.document import Cell
from bench.metrics.catalog import METRICS
from bench.results.metric_titles import TITLES
from bench.results.numbers import Metric, Printed
from bench.results.summary import RunSummary

SHOWN = ("ttft", "tpot", "itl", "e2el")

APART = 0.001
"""A number that differs from ours by this share or more is marked."""


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool and its numbers: the median of each, with average and P99 below it. `why`: sentences that explain the
    differences."""

    title: str
    version: str
    cells: tuple[Cell, ...]
    why: tuple[str, ...] = ()


def columns(summary: RunSummary) -> list[tuple[str, str]]:
    """Titles and units of the columns."""
    if not has_tokens(summary):
        return [(METRICS["e2el"].title, METRICS["e2el"].unit), ("Requests", "/s")]
    return [(METRICS[name].title, METRICS[name].unit) for name in SHOWN] + [("Output", "tokens"), ("TPS", "tokens/s")]


def rows(summary: RunSummary) -> list[ToolRow]:
    """Our own numbers first, then each tool's; empty if no request gave a number."""
    if not summary.latency["e2el_ms"].n or not counts_tokens(summary):
        return []
    tokens, rates = has_tokens(summary), summary.throughput
    keys = [METRICS[name].key for name in (SHOWN if tokens else ("e2el",))]
    ours = [summary.latency[key] for key in keys]
    our_rates = (summary.tokens.output, rates.output_tokens_per_s) if tokens else (rates.requests_per_s,)
    own = (*map(_latency, ours, ours), *map(_rate, our_rates, our_rates))
    tool_rows = [ToolRow("Trueload", "these are the numbers above", own)]
    for tool in summary.compat.values():
        why = [f"No {TITLES[key]}: {reason}." for key, reason in tool.missing.items()]
        # Without a rate of tokens, the tool counts no tokens either.
        counted = None if tool.output_tokens_per_s is None else tool.output_tokens
        printed = (counted, tool.output_tokens_per_s) if tokens else (tool.requests_per_s,)
        cells = (*(_latency(getattr(tool, key), own) for key, own in zip(keys, ours, strict=True)),
                 *map(_rate, printed, our_rates))  # fmt: skip
        tool_rows.append(ToolRow(tool.title, tool.version, cells, (*tool.differences, *why)))
    return tool_rows


def _latency(stats: Metric | Printed | None, ours: Metric | Printed) -> Cell:
    if stats is None:
        return Cell(formatting.NOTHING)
    mean, p50, p99 = (_statistic(stats, stat) for stat in ("mean", "p50", "p99"))
    furthest = max(_away(stats.of(stat), ours.of(stat)) for stat in ("mean", "p50", "p99"))
    return Cell(p50, "apart" if furthest >= APART else "", (mean, p99))


def _rate(value: float | None, ours: float | None) -> Cell:
    return Cell(formatting.number(value), "apart" if _away(value, ours) >= APART else "")


def _statistic(row: Metric | Printed, stat: str) -> str:
    return formatting.statistic(row, stat) if isinstance(row, Metric) else formatting.number(row.of(stat))


def _away(value: float | None, ours: float | None) -> float:
    """How far a number is from ours, as a share of ours."""
    if value is None or ours is None or value == ours:
        return 0.0
    return abs(value - ours) / abs(ours) if ours else 1.0
