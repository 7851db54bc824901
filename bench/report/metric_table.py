"""The numbers of a run as a table for other tools: CSV in full precision, Markdown for a ticket. One row a metric."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.report import jobs, parts_table, remarks, segments_table, server, server_requests
from bench.report.details import failures, latencies, rate_names, throughput
from bench.report.formatting import NOTHING, interval, number, objective_value, seconds, statistic
from bench.verdict import headline

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

_SHOWN = {"mean": "Average", "p50": "Median", "p90": "P90", "p95": "P95", "p99": "P99", "max": "Max"}


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


def to_markdown(summary: SummaryDocument) -> str:
    """Verdict, warnings and notes, latencies with their 95% intervals, rates, segments, objectives and errors."""
    run, verdict = summary.get("run", {}), summary.get("verdict")
    parts = [f"# {_cell(run.get('name') or 'Load test')}", ""]
    what = " · ".join(_cell(run[key]) for key in ("model", "url", "mode", "started") if run.get(key))
    parts += [what, ""] if what else []
    if verdict is not None:
        line = headline.of(summary, verdict["status"])
        parts += [f"**{line.status}**{line.rest}", "", *_list([*failures(summary), *verdict["reasons"]])]
    parts += _list([*remarks.warnings(summary), *remarks.notes(summary)])
    parts += [f"{remarks.sent(summary)} in {seconds(summary['throughput']['duration_s'])}.", ""]
    parts += _table(
        ["Metric", "Unit", *_SHOWN.values(), "Values"],
        [[metric.title, metric.unit, *(_with_interval(of, stat) for stat in _SHOWN), _values(of)]
         for metric in latencies(summary).values() if (of := summary["latency"][metric.key])["n"]],
    )  # fmt: skip
    parts += _table(
        ["Rate", "Unit", "Whole run", "95%", "Steady window", "95%"],
        [
            [
                row.name,
                row.unit,
                row.whole,
                row.whole_ci or (remarks.TOO_FEW if row.whole_missing else ""),
                row.steady,
                row.steady_ci or (remarks.TOO_FEW if row.steady_missing else ""),
            ]
            for row in throughput(summary)
        ],
    )
    parts += _table(
        [segments_table.unit(summary), "Measured", *segments_table.heads(summary)],
        [[row.load, row.time, *row.cells] for row in segments_table.rows(summary)],
    )
    parts += _list(segments_table.changes(summary))
    parts += _table(["Jobs", ""], [[row.name, row.value] for row in jobs.rows(summary)])
    for title, heads, body in jobs.tables(summary):
        parts += _table([f"{title}: {heads[0].lower()}", *heads[1:]], [list(row) for row in body])
    parts += _table(
        ["The server, by its replies", *(f"{stat} (ms)" for stat in server_requests.STATS.values())],
        [[row.name, *row.cells] for row in server_requests.times(summary)],
    )
    parts += _table(["Cache and drafts", ""], [[row.name, row.value] for row in server_requests.facts(summary)])
    for table in parts_table.tables(summary):
        parts += _table(list(table.heads), [list(row) for row in table.rows])
        parts += _list(table.notes[1:])
    parts += _table(
        ["Objective", "Measured", ""],
        [[row["objective"], objective_value(row), remarks.outcome(row)] for row in summary["slo"]["objectives"]],
    )
    parts += _table(
        ["Outcome", "Status", "Message", "Requests"],
        [
            [row["outcome"], NOTHING if row["status"] is None else row["status"], row["error"] or "", f"{row['n']:,}"]
            for row in summary["errors"]
        ],
    )
    parts += [] if summary["errors"] else [f"{remarks.no_errors(summary).capitalize()}.", ""]
    parts += _list([*server.text_lines(summary), *server.gpu_lines(summary)])
    return "\n".join(parts).rstrip("\n") + "\n"


def _with_interval(of: Mapping[str, Any], stat: str) -> str:
    ends = interval(of["ci95"].get(stat))
    beside = ends or (remarks.TOO_FEW if stat in of["too_few"] else "")
    return statistic(of, stat) + (f" ({beside})" if beside else "")


def _values(of: Mapping[str, Any]) -> str:
    """How many values there are, and how many independent ones they are worth."""
    return f"{number(of['n'])} (~{math.floor(of['independent']):,})"


def _list(sentences: Sequence[str]) -> list[str]:
    """Sentences, one a line; nothing where there are none."""
    return [*(f"- {_cell(sentence)}" for sentence in sentences), ""] if sentences else []


def _table(head: list[str], body: list[list[Any]]) -> list[str]:
    """A table; nothing where it would have no rows. The first column is left, the others right."""
    if not body:
        return []
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return [*lines, *("| " + " | ".join(map(_cell, row)) + " |" for row in body), ""]


def _cell(value: object) -> str:
    """Text of a server must not end a cell or a line, nor be markup."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return re.sub(r"([\\|`*\[])", r"\\\1", text).replace("<", "&lt;")
