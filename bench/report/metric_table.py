"""The numbers of a run as a table for other tools: CSV in full precision, one row a metric."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.documents import parts_table
from bench.documents.details import latencies, rate_names

if TYPE_CHECKING:
    from bench.documents.summary import SummaryDocument

STATS = ("mean", "min", "p50", "p75", "p90", "p95", "p99", "p999", "max")
WITH_INTERVAL = ("mean", "p50", "p90", "p95", "p99")
COLUMNS = (
    "metric",
    "unit",
    "values",
    *STATS,
    *(f"{stat}_{end}" for stat in WITH_INTERVAL for end in ("low", "high")),
)
"""`values` is how many there are, `..._low` and `..._high` the ends of the 95% interval. A rate stands under `mean`."""


def rows(summary: SummaryDocument) -> list[dict[str, Any]]:
    """A row for each latency, rate and count; empty cells where there is no such number."""
    found = []
    for metric in latencies(summary).values():
        of: Mapping[str, Any] = summary["latency"][metric.key]
        row = {"metric": metric.name, "unit": metric.unit, "values": of["n"], **{stat: of[stat] for stat in STATS}}
        for stat in WITH_INTERVAL:
            row |= _ends(stat, of["ci95"].get(stat))
        found.append(row)
    rates: Mapping[str, Any] = summary["throughput"]
    counts = summary["counts"]
    for key, (_, unit) in rate_names(summary).items():
        found.append({"metric": key, "unit": unit, "mean": rates[key], **_ends("mean", rates["ci95"][key])})
    tried = counts["succeeded"] + counts["failed"]
    found.append({"metric": "error_rate", "unit": "share", "values": tried,
                  "mean": counts["failed"] / tried if tried else None})  # fmt: skip
    found += _rows_of_jobs(summary)
    found += _rows_of_server_requests(summary)
    for of_it, part in parts_table.of_every_kind(summary):
        found += _rows_of_part(summary, of_it, part)
    return found


def _rows_of_jobs(summary: SummaryDocument) -> list[dict[str, Any]]:
    """Job seconds, and jobs an hour as far as they are known."""
    found = summary.get("jobs")
    if found is None:
        return []
    of: Mapping[str, Any] = found["job_s"]
    rates: Mapping[str, Any] = found["rates"]
    row = {"metric": "job", "unit": "s", "values": of["n"], **{stat: of[stat] for stat in STATS}}
    for stat in WITH_INTERVAL:
        row |= _ends(stat, of["ci95"].get(stat))
    known = [name for name, ends in rates["ci95"].items() if rates[name] is not None]
    return [
        row,
        *({"metric": name, "unit": "1/h", "mean": rates[name], **_ends("mean", rates["ci95"][name])} for name in known),
    ]


def _rows_of_server_requests(summary: SummaryDocument) -> list[dict[str, Any]]:
    """The times that replies say, what was cached, and what drafts were worth, as far as they are known."""
    said: Mapping[str, Any] | None = summary.get("server_requests")
    if said is None:
        return []
    found = [
        {
            "metric": f"server_{key.removesuffix('_ms')}",
            "unit": "ms",
            "values": of["n"],
            **{stat: of[stat] for stat in STATS},
        }
        for key, of in said.items()
        if key.endswith("_ms") and of["n"]
    ]
    drafts = said["drafts"]
    for name, unit, of, key in (
        ("cached_share", "share", said["cached"], "share"),
        ("draft_acceptance", "share", drafts, "acceptance_rate"),
        ("tokens_per_step", "tokens", drafts, "tokens_per_step"),
    ):
        if of is not None and of[key] is not None:
            found.append({"metric": name, "unit": unit, "values": of["replies"], "mean": of[key]})
    return found


def _rows_of_part(summary: SummaryDocument, of_it: str, part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The latencies and rates of one model or class; the metric is called as an objective calls it."""
    found = []
    for metric in latencies(summary).values():
        of = part["latency"][metric.key]
        row = {"metric": metric.name + of_it, "unit": metric.unit, "values": of["n"]}
        row |= {stat: of[stat] for stat in STATS}
        for stat in WITH_INTERVAL:
            row |= _ends(stat, of["ci95"].get(stat))
        found.append(row)
    rates = part["throughput"]
    for key, (_, unit) in rate_names(summary).items():
        found.append({"metric": key + of_it, "unit": unit, "mean": rates[key], **_ends("mean", rates["ci95"][key])})
    tried = part["succeeded"] + part["failed"]
    found.append({"metric": f"error_rate{of_it}", "unit": "share", "values": tried, "mean": part["error_rate"]})
    return found


def _ends(stat: str, ends: Sequence[float] | None) -> dict[str, float]:
    return {} if ends is None else {f"{stat}_low": ends[0], f"{stat}_high": ends[1]}


def to_csv(summary: SummaryDocument) -> str:
    """The rows as CSV with a head."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(summary))
    return out.getvalue()
