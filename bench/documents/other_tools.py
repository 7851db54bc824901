"""The numbers that other tools would print, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.documents import formatting
from bench.documents.details import counts_tokens, has_tokens
from bench.metrics.catalog import METRICS
from bench.results.metric_titles import TITLES
from bench.results.numbers import Metric, Printed
from bench.results.summary import RunSummary

SHOWN = ("ttft", "tpot", "itl", "e2el")

APART = 0.001
"""A number this share away from ours, or further, is marked."""


@dataclass(frozen=True, slots=True)
class ToolCell:
    """One number of a tool: its median, average and P99 in small; `apart`: it differs from ours."""

    value: str
    beside: tuple[str, ...]
    apart: bool


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool and its numbers. `why`: sentences that explain how they differ."""

    title: str
    version: str
    cells: tuple[ToolCell, ...]
    why: tuple[str, ...] = ()


def columns(summary: RunSummary) -> list[tuple[str, str]]:
    """Titles and units of the columns."""
    if not has_tokens(summary):
        return [(METRICS["e2el"].title, METRICS["e2el"].unit), ("Requests", "/s")]
    return [(METRICS[name].title, METRICS[name].unit) for name in SHOWN] + [("Output", "tokens"), ("TPS", "tokens/s")]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The shown latencies by their keys, and the shown rates and amounts."""

    latency: Mapping[str, Metric | Printed | None]
    rates: Sequence[float | None]


def rows(summary: RunSummary) -> list[ToolRow]:
    """Our own numbers first, then those of each tool; no rows where no request gave a number."""
    if not summary.latency["e2el_ms"].n or not counts_tokens(summary):
        return []
    tokens, rates = has_tokens(summary), summary.throughput
    keys = [METRICS[name].key for name in (SHOWN if tokens else ("e2el",))]
    ours = _Numbers(
        {key: summary.latency[key] for key in keys},
        (summary.tokens.output, rates.output_tokens_per_s) if tokens else (rates.requests_per_s,),
    )
    found = [ToolRow("Trueload", "these are the numbers above", _cells(ours, ours))]
    for tool in summary.compat.values():
        why = [f"No {TITLES[key]}: {reason}." for key, reason in tool.missing.items()]
        printed = _Numbers(
            {key: getattr(tool, key) for key in keys},
            (tool.output_tokens, tool.output_tokens_per_s) if tokens else (tool.requests_per_s,),
        )
        found.append(ToolRow(tool.title, tool.version, _cells(printed, ours), (*tool.differences, *why)))
    return found


def _cells(tool: _Numbers, ours: _Numbers) -> tuple[ToolCell, ...]:
    cells = []
    for key, stats in tool.latency.items():
        own = ours.latency[key]
        if stats is None or own is None:
            cells.append(ToolCell(formatting.NOTHING, (), False))
            continue
        mean, p50, p99 = (_statistic(stats, stat) for stat in ("mean", "p50", "p99"))
        cells.append(ToolCell(p50, (mean, p99), _furthest(stats, own) >= APART))
    for value, own_value in zip(tool.rates, ours.rates, strict=True):
        cells.append(ToolCell(formatting.number(value), (), _away(value, own_value) >= APART))
    return tuple(cells)


def _statistic(row: Metric | Printed, stat: str) -> str:
    return formatting.statistic(row, stat) if isinstance(row, Metric) else formatting.number(row.of(stat))


def _away(value: float | None, ours: float | None) -> float:
    """How far a number is from ours, as a share of ours."""
    if value is None or ours is None or value == ours:
        return 0.0
    return abs(value - ours) / abs(ours) if ours else 1.0


def _furthest(printed: Metric | Printed, ours: Metric | Printed) -> float:
    return max(_away(printed.of(stat), ours.of(stat)) for stat in ("mean", "p50", "p99"))
