"""The page of a sweep, or of several beside each other: curves, knee, frontier, and a table of the loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.documents import load_curves
from bench.documents.formatting import interval, number, share
from bench.documents.sweep_words import (
    FELL_BEHIND,
    OUTPUT,
    TITLES,
    UNITS,
    delivered_by,
    half_interval,
    has_goodput,
    has_jobs,
    load_within,
    ninety_percent,
    sentences,
    written,
)
from bench.report.page import chart_view
from bench.report.page import page as document

SHOWN = (
    "output_tokens_per_s",
    "requests_per_s",
    "ttft:p50",
    "ttft:p99",
    "tpot:p50",
    "tpot:p99",
    "e2el:p50",
    "e2el:p99",
)
OF_INPUTS = ("inputs_per_s", "requests_per_s", "e2el:p50", "e2el:p90", "e2el:p99")
"""Where replies are no generated text."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number and its interval, as text."""

    value: str
    ci95: str


@dataclass(frozen=True, slots=True)
class Row:
    """A load, as text ready to show."""

    load: str
    status: str
    usable: bool
    runs: str
    links: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    cells: tuple[Cell, ...]


def render(sweeps: Sequence[Mapping[str, Any]], places: Sequence[str] = ()) -> str:
    """The page. `places` are the directories of the sweeps, seen from the page, where it lies beside none of them."""
    names = names_of(sweeps, places)
    return document(
        "load_sweep.html.j2",
        title="Load sweep" if len(sweeps) == 1 else f"{len(sweeps)} load sweeps",
        subtitle=" · ".join(dict.fromkeys(f"{sweep['model'] or ''} {sweep['url']}".strip() for sweep in sweeps)),
        date=sweeps[-1]["date"],
        charts=[chart_view(chart) for chart in load_curves.build(sweeps, names)],
        blocks=[
            {
                "name": names[k] if len(sweeps) > 1 else "",
                "sentences": sentences(sweep),
                "knee": _knee(sweep),
                "unit": sweep["unit"],
                "heads": [TITLES[name] for name in _shown(sweep)],
                "rows": [_row(sweep, point, places[k] + "/" if places else "") for point in sweep["points"]],
                "command": " ".join(sweep["command"]),
            }
            for k, sweep in enumerate(sweeps)
        ],
    )


def names_of(sweeps: Sequence[Mapping[str, Any]], places: Sequence[str]) -> list[str]:
    """A name for each sweep: that of its runs, or of its directory where runs share one."""
    names = [str(sweep["config"].get("name") or "sweep") for sweep in sweeps]
    if len(set(names)) < len(names) and places:
        return list(places)
    return names if len(set(names)) == len(names) else [f"{name} {k + 1}" for k, name in enumerate(names)]


def _shown(sweep: Mapping[str, Any]) -> list[str]:
    shown: tuple[str, ...] = SHOWN if delivered_by(sweep) == OUTPUT else OF_INPUTS
    if has_jobs(sweep):
        shown = ("jobs_per_hour", "job:p50", "job:p90", *SHOWN)
    return [*shown, "error_rate", *(["goodput"] if has_goodput(sweep) else [])]


def _knee(sweep: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    knee = sweep["knee"]
    if knee is None:
        return []
    return [
        ("Half of the ceiling", load_within(sweep, knee["half_at"]), sweep["unit"], half_interval(sweep) or ""),
        ("90% of the ceiling", ninety_percent(sweep), sweep["unit"], ""),
        ("Ceiling", number(knee["ceiling"]), UNITS[delivered_by(sweep)], interval(knee["ceiling_interval"])),
    ]


def _row(sweep: Mapping[str, Any], point: Mapping[str, Any], place: str) -> Row:
    runs = [run for run in sweep["runs"] if run["load"] == point["load"]]
    return Row(
        load=f"{point['load']:,g}",
        status=point["status"],
        usable=point["usable"],
        runs=f"{point['usable_runs']} of {point['runs']}",
        links=tuple((f"{place}{run['name']}/report.html", f"{run['repeat']}") for run in runs),
        reasons=(*point["reasons"][:2], *([FELL_BEHIND] if point["kept_up"] is False else [])),
        cells=tuple(_cell(point["numbers"][name], name) for name in _shown(sweep)),
    )


def _cell(found: Mapping[str, Any], name: str) -> Cell:
    if found["low"] is None or found["high"] is None:
        return Cell(written(found["value"], name), "")
    if name in ("goodput", "error_rate"):
        return Cell(written(found["value"], name), f"{share(found['low'])}–{share(found['high'])}")
    return Cell(written(found["value"], name), interval((found["low"], found["high"])))
