"""A summary as one HTML file: no network, light and dark, readable on paper and without JavaScript.

`render` is a pure function: the same summary gives the same bytes. All that came from outside (error messages, model
names) is escaped by the template; the content policy forbids every request, and every script but the one whose hash it
names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.metrics.catalog import METRICS, Metric
from bench.report import (
    calibration_words,
    details,
    formatting,
    jobs,
    other_tools,
    parts_table,
    remarks,
    request_tables,
    run_charts,
    segments_table,
    server,
    server_requests,
    token_details,
)
from bench.report.configuration import configuration
from bench.report.formatting import signed, signed_share
from bench.report.page import Tile, chart_view, document
from bench.report.period_data import period_data
from bench.report.time_charts import RunNumbers
from bench.verdict import headline
from bench.verdict.headline import Headline

if TYPE_CHECKING:
    from bench.documents.summary import SummaryDocument

MAIN_METRICS = ("ttft", "tpot", "itl", "e2el", "tps")
STATS = {
    "mean": "Average",
    "p50": "Median",
    "p90": "P90",
    "p95": "P95",
    "p99": "P99",
    "p999": "P99.9",
    "max": "Max",
}
VERDICTS = {
    "VALID": "The client measured correctly: nothing suggests that the client or the load went wrong.",
    "SUSPECT": "Read the numbers with care: something in the measurement may have gone wrong.",
    "INVALID": "Do not use these numbers: the run did not measure what was asked for.",
    "FAILED": "The target failed: these numbers cover only the requests that it answered.",
}


@dataclass(frozen=True, slots=True)
class MetricCell:
    """A value and its interval; `missing` says why there is none."""

    value: str
    ci95: str
    missing: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of the result table."""

    metric: Metric
    n: str
    independent: str
    cells: tuple[MetricCell, ...]
    exact: bool


def render(summary: SummaryDocument, page: Mapping[str, Any] | None = None) -> str:
    """The report of a summary. `run`, `verdict` and `calibration` are shown where they are there.

    `page` is what only a page needs (`Summary.page_data`); without it the page has fewer charts, and no numbers of periods.
    """
    run = RunNumbers(summary, page)
    steady, latency = summary["steady"], summary["latency"]
    cut = steady is not None and any(steady["latency"][key]["n"] != row["n"] for key, row in latency.items())
    window = summary["window"]
    return document(
        "report.html.j2",
        run=summary.get("run", {}),
        verdict=summary.get("verdict"),
        headline=_headline(summary),
        verdict_meaning=VERDICTS.get((summary.get("verdict") or {}).get("status", ""), ""),
        failures=details.failures(summary),
        warnings=remarks.warnings(summary),
        notes=remarks.notes(summary),
        tiles=_tiles(summary),
        stats=STATS,
        latencies=[("Latency over the whole run", _metric_rows(summary, latency))]
        + (
            [(f"Latency in the steady window, {_span(window)}", _metric_rows(summary, steady["latency"]))]
            if cut and steady is not None
            else []
        ),
        segments=segments_table.rows(summary),
        segment_heads=(segments_table.unit(summary), *segments_table.heads(summary)),
        segments_note=segments_table.NOTE,
        part_tables=parts_table.tables(summary),
        jobs=jobs.rows(summary),
        job_tables=jobs.tables(summary),
        job_tables_note=jobs.NOTE,
        changes=segments_table.changes(summary),
        slo=_objectives(summary["slo"]),
        throughput=details.throughput(summary),
        duration=formatting.seconds(summary["throughput"]["duration_s"]),
        steady_span=_span(window) if steady is not None else "none",
        blocks=[
            ("Requests", details.counts(summary)),
            ("Load", details.load(summary) + details.window(summary)),
            ("Tokens" if details.has_tokens(summary) else "Inputs", token_details.tokens(summary)),
            ("The client itself", details.client(summary)),
        ],
        errors=summary["errors"],
        no_errors=remarks.no_errors(summary).capitalize(),
        compat_columns=other_tools.columns(summary),
        compat_rows=other_tools.rows(summary),
        charts=[chart_view(chart) for chart in run_charts.build(run)],
        run_data=period_data(run),
        slowest=request_tables.slowest(page, tokens=details.has_tokens(summary)),
        failed=request_tables.failed(page, tokens=details.has_tokens(summary)),
        server=server.server_view(summary),
        said_times=server_requests.times(summary),
        said_stats=server_requests.STATS.values(),
        said=server_requests.facts(summary),
        gpu=server.gpu_rows(summary),
        configuration=configuration(summary.get("run", {})),
        calibration=_calibration(summary.get("calibration")),
    )


def _headline(summary: SummaryDocument) -> Headline | None:
    verdict = summary.get("verdict")
    if verdict is None:
        return None
    return headline.of(summary, verdict["status"])


def _span(window: Mapping[str, Any]) -> str:
    return f"{formatting.seconds(window['start_s'])} to {formatting.seconds(window['end_s'])}"


def _tiles(summary: SummaryDocument) -> list[Tile]:
    latency, counts = summary["latency"], summary["counts"]
    throughput: Mapping[str, Any] = summary["throughput"]
    tiles = [
        Tile(
            f"{METRICS[name].title}, median",
            formatting.statistic(row, "p50"),
            "ms",
            f"P99 {formatting.statistic(row, 'p99')}" + (f" ({remarks.TOO_FEW})" if "p99" in row["too_few"] else ""),
            key=name,
            interval=formatting.interval(row["ci95"].get("p50")),
        )
        for name in ("ttft", "tpot", "e2el")
        if name in details.latencies(summary)
        for row in [latency[METRICS[name].key]]
    ]
    steady = summary["steady"]
    inside: Mapping[str, Any] | None = None if steady is None else steady["throughput"]
    rates = [("output_tokens_per_s", "Output", "tokens/s"), ("requests_per_s", "Requests", "/s")]
    if not details.has_tokens(summary):
        inputs = ("inputs_per_s", summary["inputs"]["are"].capitalize(), "/s")
        rates = [inputs, ("input_tokens_per_s", "Input", "tokens/s"), rates[1]]
    for key, title, unit in rates:
        beside = "" if inside is None else f"steady {formatting.number(inside[key])}"
        interval = formatting.interval(throughput["ci95"][key])
        tiles.append(Tile(title, formatting.number(throughput[key]), unit, beside, key=key, interval=interval))
    tiles += jobs.tiles(summary)
    tried = counts["succeeded"] + counts["failed"]
    succeeded = formatting.share(counts["succeeded"] / tried if tried else None).removesuffix("%")
    tiles.append(Tile("Success", succeeded, "%", f"{counts['failed']:,} of {tried:,} failed", key="success"))
    return tiles


def _metric_rows(summary: SummaryDocument, latency: Mapping[str, Any]) -> list[MetricRow]:
    rows = []
    for metric in sorted(details.latencies(summary).values(), key=lambda m: m.name not in MAIN_METRICS):
        found = latency[metric.key]
        cells = tuple(
            MetricCell(
                formatting.statistic(found, stat),
                formatting.interval(found["ci95"].get(stat)),
                formatting.missing(found["too_few"][stat]) if stat in found["too_few"] else "",
            )
            for stat in STATS
        )
        independent = f"{math.floor(found['independent']):,}" if found["n"] else ""
        rows.append(MetricRow(metric, formatting.number(found["n"]), independent, cells, found["quantiles"] == "exact"))
    return rows


def _objectives(slo: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "text": row["objective"],
            "value": formatting.objective_value(row),
            "ci95": ""
            if row["ci95"] is None
            else "–".join(formatting.measured(end, row["unit"]) for end in row["ci95"]),
            "held": row["held"],
            "outcome": remarks.held(row),
            "unsure": details.uncertainty(row).partition(": 95%")[0],
        }
        for row in slo["objectives"]
    ]


def _calibration(certificate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The calibration of this run, or of an earlier run that covers it, as the report shows it."""
    if certificate is None:
        return None
    own = certificate["from"] == "ledger"
    rows = [
        {
            "name": f"{CALIBRATED[row['metric']]} {calibration_words.STATS[row['stat']]}",
            "measured": formatting.number(row["measured"]),
            "true": formatting.number(row["true"]) if own else "",
            "error": signed(row["error"]),
            "share": signed_share(row["error_share"]),
        }
        for row in certificate["metrics"]
        if row["stat"] in ("p50", "p90", "p99") and row["unit"] == "ms"
    ]
    return {
        "own": own,
        "sentence": "" if own else calibration_words.certainty(certificate),
        "rows": rows,
        "problems": certificate["problems"],
        "causes": [calibration_words.cause_sentence(cause) for cause in certificate.get("causes", ())],
        "facts": details.calibration(certificate),
    }


CALIBRATED = {metric.key: metric.title for metric in METRICS.values()} | {"job_ms": "Job"}
