"""A certificate as one HTML file: no network, light and dark, readable on paper and without JavaScript."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.documents import certificate_charts
from bench.documents.calibration_words import STATS, THROUGHPUT, cause_sentence
from bench.documents.details import joined
from bench.documents.document import Fact, Tile
from bench.documents.formatting import NOTHING, interval, measured, number, signed, signed_share
from bench.metrics.catalog import METRICS
from bench.report.certificate_text import OTHER_CLOCK, wide
from bench.report.page import chart_view
from bench.report.page import page as document

MEANINGS = {
    "VALID": "On this machine, the numbers of this load are right within the errors below.",
    "SUSPECT": "Some numbers of this load are off, or something in the measurement may have gone wrong.",
    "INVALID": "On this machine, the numbers of this load are wrong: do not use them.",
}


@dataclass(frozen=True, slots=True)
class _Named:
    """What a metric is called."""

    title: str
    unit: str
    description: str


_METRIC = {metric.key: _Named(metric.title, metric.unit, metric.description) for metric in METRICS.values()} | {
    "job_ms": _Named("Job", "ms", "From when the first step of a job was due to the last token of its last step.")
}
_SIZE = (
    ("streams", "Most streams at once"),
    ("requests_per_s", "Requests/s"),
    ("chunks_per_s", "Chunks of text/s"),
)
_KIND = (("loop", "Kind of load"), ("transport", "Transport"), ("workers", "Workers"), ("stream", "Replies"),
         ("clock", "Time stamps"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """One number of the table of errors."""

    error: str
    true: str
    share: str
    allowed: str


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One metric of the table of errors, a cell for each statistic (None: too few values)."""

    title: str
    unit: str
    meaning: str
    cells: tuple[ErrorCell | None, ...]


def render(certificate: Mapping[str, Any]) -> str:
    """The page of certificate.json."""
    run, mock = certificate["run"], certificate["mock"]
    return document(
        "certificate.html.j2",
        run=run,
        date=certificate["date"],
        verdict=certificate["verdict"],
        meaning=MEANINGS[certificate["verdict"]["status"]],
        problems=certificate["problems"],
        causes=[cause_sentence(cause) for cause in certificate["causes"]],
        other_clock=OTHER_CLOCK if certificate["clock"] == "other" else "",
        tiles=_tiles(certificate),
        stats=STATS,
        rows=_rows(certificate),
        throughput=[
            (THROUGHPUT[row["metric"]], number(row["measured"]), number(row["true"]), signed_share(row["error_share"]))
            for row in certificate["throughput"]
        ],
        charts=[chart_view(chart) for chart in certificate_charts.build(certificate)],
        agreement=[
            (row["what"].capitalize(), f"{row['here']:,}", f"{row['there']:,}", row["here"] == row["there"])
            for row in certificate["agreement"]
        ],
        stamps=_stamps(certificate),
        closed_form=[
            (
                f"{_title(row['metric'])} {STATS[row['stat']]}",
                row["unit"],
                number(row["expected"]),
                number(row["done"]),
                signed(row["difference"]),
                NOTHING if row["noise"] is None else f"± {number(row['noise'])}",
            )
            for row in mock["closed_form"]
        ],
        worst=[
            (
                row["id"],
                _METRIC[row["metric"]].title,
                number(row["measured"]),
                number(row["true"]),
                signed(row["error"]),
            )
            for row in certificate["worst"]
        ],
        load=_load(certificate),
        limits=_limits(run["config"].get("limits", {})),
        machine=joined({**run["host"], **run["versions"]}),
    )


def _title(metric: str) -> str:
    return _METRIC[metric].title if metric in _METRIC else "Output tokens"


def _tiles(certificate: Mapping[str, Any]) -> list[Tile]:
    tiles = []
    for stat in ("p50", "p90", "p99"):
        rows = [row for row in certificate["metrics"] if row["stat"] == stat and row["unit"] == "ms"]
        if rows:
            worst = max(rows, key=lambda row: abs(row["error"]))
            title = f"Largest error, {STATS[stat]}"
            tiles.append(Tile(title, signed(worst["error"]), "ms", f"of {_METRIC[worst['metric']].title}"))
    lag = certificate["observation_lag_ms"]
    if lag["n"]:
        tiles.append(Tile("Observation lag", number(lag["p50"]), "ms", f"P99 {number(lag['p99'])}"))
    compared = {row["what"]: row["there"] for row in certificate["agreement"]}
    for what in ("requests", "chunks"):
        if what in compared:
            differing = certificate["counts"]["differing"]
            beside = "all agree" if not differing else f"{differing:,} differ"
            tiles.append(Tile(f"{what.capitalize()} compared", number(compared[what]), "", beside))
    return tiles


def _rows(certificate: Mapping[str, Any]) -> list[ErrorRow]:
    found = certificate["metrics"]
    rows = []
    for key in dict.fromkeys(row["metric"] for row in found):
        of = {row["stat"]: row for row in found if row["metric"] == key}
        metric = _METRIC[key]
        rows.append(
            ErrorRow(metric.title, metric.unit, metric.description, tuple(_cell(of.get(stat)) for stat in STATS))
        )
    return rows


def _cell(row: Mapping[str, Any] | None) -> ErrorCell | None:
    if row is None:
        return None
    return ErrorCell(
        signed(row["error"]),
        number(row["true"]),
        signed_share(row["error_share"]),
        interval(row["allowed"]) if wide(row) else "",
    )


def _stamps(certificate: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = (
        ("Observation lag", "The client's time of a chunk minus the mock's time of its write.",
         certificate["observation_lag_ms"]),
        ("Way in", "The mock's time of a request's arrival minus the client's time of its send.", certificate["way_in_ms"]),
        ("The mock's own accuracy", "Its time of a write minus the planned time. No error above includes it.",
         certificate["mock"]["done_minus_planned_ms"]),
    )  # fmt: skip
    return [
        (name, meaning, f"{row['n']:,}", *(f"{row[stat]:.4f}" for stat in ("p50", "p99", "max")))
        for name, meaning, row in rows
        if row["n"]
    ]


_LIMITS = {
    "calibration_p50_p90_ms": ("Median and p90", "ms"),
    "calibration_p50_p90_share": ("and their share", "share"),
    "calibration_p99_ms": ("P99", "ms"),
    "calibration_p99_share": ("and its share", "share"),
    "calibration_throughput_share": ("Rates per second", "share"),
}
_BANDS = ("suspect", "invalid", "failed")


def _limits(bands: Mapping[str, Any]) -> list[Fact]:
    """The errors above which the verdict is SUSPECT or INVALID."""
    found = []
    for key, (name, unit) in _LIMITS.items():
        given = bands.get(key) or {}
        words = [f"over {measured(over, unit)} {what}" for what in _BANDS if (over := given.get(what)) is not None]
        found += [Fact(name, ", ".join(words), "")] if words else []
    return found


def _load(certificate: Mapping[str, Any]) -> list[Fact]:
    shape, run = certificate["shape"], certificate["run"]
    rows = [Fact(name, NOTHING if shape[key] is None else number(shape[key]), "") for key, name in _SIZE]
    rows += [Fact(name, str(shape[key]), "") for key, name in _KIND]
    command = run.get("command")
    rows.append(Fact("Command", shlex.join(map(str, command)) if isinstance(command, list) else str(command), ""))
    return rows
