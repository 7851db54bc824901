"""The numbers that other tools would print, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.documents import formatting
from bench.documents.details import has_tokens
from bench.metrics.catalog import METRICS

if TYPE_CHECKING:
    from bench.documents.summary import SummaryDocument

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


def columns(summary: SummaryDocument) -> list[tuple[str, str]]:
    """Titles and units of the columns."""
    if not has_tokens(summary):
        return [(METRICS["e2el"].title, METRICS["e2el"].unit), ("Requests", "/s")]
    return [(METRICS[name].title, METRICS[name].unit) for name in SHOWN] + [("Output", "tokens"), ("TPS", "tokens/s")]


def rows(summary: SummaryDocument) -> list[ToolRow]:
    """Our own numbers first, then those of each tool; no rows where no request gave a number."""
    latency, throughput = summary["latency"], summary["throughput"]
    ours: dict[str, Any] = {METRICS[name].key: latency[METRICS[name].key] for name in SHOWN}
    ours |= {"output_tokens": summary["tokens"]["output"], "output_tokens_per_s": throughput["output_tokens_per_s"]}
    if not ours["e2el_ms"]["n"]:
        return []
    shown: tuple[str, ...] = SHOWN
    rates: tuple[str, ...] = ("output_tokens", "output_tokens_per_s")
    if not has_tokens(summary):
        ours["requests_per_s"] = throughput["requests_per_s"]
        shown, rates = ("e2el",), ("requests_per_s",)
    found = [ToolRow("Trueload", "these are the numbers above", _cells(ours, ours, shown, rates))]
    for tool in summary["compat"].values():
        why = [f"No {_title(key)}: {reason}." for key, reason in tool["missing"].items()]
        found.append(
            ToolRow(tool["title"], tool["version"], _cells(tool, ours, shown, rates), (*tool["differences"], *why))
        )
    return found


def _title(key: str) -> str:
    return next(metric.title for metric in METRICS.values() if metric.key == key)


def _cells(
    tool: Mapping[str, Any], ours: Mapping[str, Any], shown: Sequence[str], rates: Sequence[str]
) -> tuple[ToolCell, ...]:
    cells = []
    for name in shown:
        key = METRICS[name].key
        stats = tool[key]
        if stats is None:
            cells.append(ToolCell(formatting.NOTHING, (), False))
            continue
        mean, p50, p99 = (formatting.statistic(stats, stat) for stat in ("mean", "p50", "p99"))
        cells.append(ToolCell(p50, (mean, p99), _furthest(stats, ours[key]) >= APART))
    for key in rates:
        cells.append(ToolCell(formatting.number(tool[key]), (), _away(tool[key], ours[key]) >= APART))
    return tuple(cells)


def _away(value: float | None, ours: float | None) -> float:
    """How far a number is from ours, as a share of ours."""
    if value is None or ours is None or value == ours:
        return 0.0
    return abs(value - ours) / abs(ours) if ours else 1.0


def _furthest(found: Mapping[str, Any], ours: Mapping[str, Any]) -> float:
    return max(_away(found[stat], ours[stat]) for stat in ("mean", "p50", "p99"))
