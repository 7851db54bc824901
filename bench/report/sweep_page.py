"""A sweep: the error of every load, as text for a terminal and as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.accuracy.sweep import Sweep, SweepRow
from bench.documents.calibration_words import NAMES
from bench.documents.charts import Chart, Line, Panel, Tone
from bench.documents.details import joined
from bench.documents.formatting import NOTHING, number, signed
from bench.report.page import chart_view
from bench.report.page import page as document
from bench.report.text import COLOURS, render_plain

WIDTH = 110
KINDS = {
    "concurrency": ("streams at once", "Fixed concurrency: streams that start together"),
    "rate": ("requests/s", "Fixed rate: an open loop with Poisson arrivals"),
}
_QUANTILES = (("p50, p90", ("p50", "p90")), ("p99", ("p99",)))
_SHOWN = ("ttft_ms", "itl_ms", "tpot_ms", "e2el_ms")


def progress_line(row: SweepRow) -> str:
    """One line about a point that has just been measured."""
    parts = [f"{name} {_worst(row, stats)}" for name, stats in _QUANTILES]
    return f"  {row.status}; largest error of {', of '.join(parts)}"


def sentence(sweep: Sweep) -> str:
    """Up to which load to trust this machine."""
    parts = []
    for kind, row in sweep.trusted.items():
        unit = KINDS[kind][0]
        if row is None:
            parts.append(f"none of the tried numbers of {unit}")
        else:
            chunks = f" ({number(row.chunks_per_s)} chunks/s)" if row.chunks_per_s is not None else ""
            beyond = any(other.asked > row.asked for other in sweep.of_kind(kind))
            parts.append(f"up to {row.asked:,g} {unit}{chunks}{'' if beyond else ', the largest load tried'}")
    return f"Loads that this machine measures correctly: {'; '.join(parts)}."


def render(sweep: Sweep) -> str:
    """The page of a sweep, sweep.html."""
    kinds = [kind for kind in KINDS if sweep.of_kind(kind)]
    return document(
        "sweep.html.j2",
        host=sweep.host,
        date=sweep.date,
        sentence=sentence(sweep),
        machine=joined({**sweep.host, "version of Trueload": sweep.version}),
        heads=[name for name, _ in _QUANTILES],
        tables=[(KINDS[kind][1], KINDS[kind][0], [_line(row) for row in sweep.of_kind(kind)]) for kind in kinds],
        charts=[
            chart_view(_chart(rows, kind, stat))
            for kind in kinds
            if len(rows := sweep.of_kind(kind)) > 1  # One point is no line.
            for stat in ("p50", "p99")
        ],
    )


def text(sweep: Sweep) -> str:
    """The sweep as plain text of at most 110 columns."""
    parts: list[Any] = [Text(sentence(sweep))]
    for kind in KINDS:
        rows = sweep.of_kind(kind)
        if not rows:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        heads = (KINDS[kind][0], "verdict", *(f"worst of {name}" for name, _ in _QUANTILES), "lag p50 / p99 (ms)")
        for at, head in enumerate(heads):
            table.add_column(head, justify="left" if at == 1 else "right", no_wrap=True)
        for line in map(_line, rows):
            status = Text(line.status, COLOURS.get(line.status, ""))
            table.add_row(line.load, status, *line.errors, line.lag)
        parts.append(Padding(table, (1, 0, 0, 0)))
        for line in map(_line, rows):
            parts += [
                Padding(Text(f"{line.load} {KINDS[kind][0]}: {reason}"), (0, 0, 0, 2)) for reason in line.reasons[:1]
            ]
    return render_plain(Group(*parts), WIDTH)


@dataclass(frozen=True, slots=True)
class LoadLine:
    """One load, as text ready to show."""

    load: str
    chunks: str
    status: str
    trusted: bool
    errors: tuple[str, ...]
    lag: str
    reasons: tuple[str, ...]
    directory: str


def _line(row: SweepRow) -> LoadLine:
    return LoadLine(
        load=f"{row.asked:,g}",
        chunks=number(row.chunks_per_s),
        status=row.status,
        trusted=row.trusted,
        errors=tuple(_worst(row, stats) for _, stats in _QUANTILES),
        lag=f"{number(row.lag_ms['p50'])} / {number(row.lag_ms['p99'])}",
        reasons=row.reasons[:3],
        directory=row.directory,
    )


def _worst(row: SweepRow, stats: Sequence[str]) -> str:
    errors = [(metric, of[stat]) for metric, of in row.errors_ms.items() for stat in stats if stat in of]
    if not errors:
        return NOTHING
    metric, error = max(errors, key=lambda found: abs(found[1]))
    return f"{signed(error)} ms ({NAMES[metric].partition(' (')[0]})"


def _chart(rows: Sequence[SweepRow], kind: str, stat: str) -> Chart:
    """Errors against the load, on a logarithmic axis."""
    x = [math.log10(row.asked) for row in rows]
    room = 0.05 * max(x[-1] - x[0], 0.5)
    tones: tuple[Tone, ...] = ("main", "second", "good", "quiet")
    lines = tuple(
        Line(NAMES[metric].partition(" (")[0], [row.errors_ms.get(metric, {}).get(stat) for row in rows], tone=tone)
        for metric, tone in zip(_SHOWN, tones, strict=True)
    )
    name = {"p50": "median", "p99": "P99"}[stat]
    return Chart(
        key=f"{kind}-{stat}",
        title=f"Error of the {name} by {KINDS[kind][0]}",
        meaning="Measured less true. A flat line at zero means that the load does not disturb the measurement.",
        x_title=f"{KINDS[kind][0]}, logarithmic",
        x=x,
        x_span=(x[0] - room, x[-1] + room),
        x_names=[f"{row.asked:,g} {KINDS[kind][0]}" for row in rows],
        ticks=tuple((at, f"{row.asked:,g}") for at, row in zip(x, rows, strict=True)),
        step=0,
        panels=(Panel("ms", lines),),
    )
