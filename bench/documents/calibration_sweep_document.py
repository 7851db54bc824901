"""The document of calibrate --sweep: the error at every load, and up to which load to trust this machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.documents.charts import Chart, Line, Panel
from bench.documents.charts import Tone as ChartTone
from bench.documents.details import joined
from bench.documents.document import (
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    Facts,
    Finding,
    Findings,
    Level,
    Paragraph,
    Row,
    Section,
    Table,
    findings,
)
from bench.documents.formatting import NOTHING, number, signed
from bench.documents.sweep_document import STATUS_TONES
from bench.results.metric_titles import TITLES

if TYPE_CHECKING:
    from bench.accuracy.sweep import Sweep, SweepRow

KINDS = {
    "concurrency": ("streams at once", "Fixed concurrency: streams that start together"),
    "rate": ("requests/s", "Fixed rate: an open loop with Poisson arrivals"),
}
_QUANTILES = (("p50, p90", ("p50", "p90")), ("p99", ("p99",)))
_SHOWN = ("ttft_ms", "itl_ms", "tpot_ms", "e2el_ms")


def calibration_sweep_document(sweep: Sweep) -> Document:
    """The document of a sweep against the mock."""
    note = (
        "A load is measured correctly if its errors against the mock's ledger are within the limits of the verdict and "
        "nothing else makes its run INVALID. Mock and client shared this machine."
    )
    kinds = [kind for kind in KINDS if sweep.of_kind(kind)]
    charts = tuple(
        ChartBlock(_chart(rows, kind, stat), Level.PAGE)
        for kind in kinds
        if len(rows := sweep.of_kind(kind)) > 1  # A single point makes no line.
        for stat in ("p50", "p99")
    )
    machine = tuple(joined({**sweep.host, "version of Trueload": sweep.version}))
    return Document(
        "Accuracy by load",
        (),
        (
            Section("", (Findings((Finding(sentence(sweep)),)), Paragraph(note, level=Level.DETAILS))),
            *(Section("", tuple(_loads(sweep.of_kind(kind), kind))) for kind in kinds),
            Section("Error by load", charts, level=Level.PAGE),
            Section("", (Facts("The machine", machine, level=Level.PAGE),)),
        ),
        about=f"{sweep.host.get('name', 'a machine')} · {sweep.date}",
        footer="Made by Trueload. How numbers are compared: docs/calibration.md.",
    )


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


def _loads(rows: Sequence[SweepRow], kind: str) -> Iterator[Block]:
    unit, title = KINDS[kind]
    heads = (*(f"Worst of {name}" for name, _ in _QUANTILES), "Lag p50 / p99 (ms)")
    columns = (
        Column(f"{unit[:1].upper()}{unit[1:]}"), Column("Chunks/s", drop=1), Column("Verdict", left=True),
        *map(Column, heads),
    )  # fmt: skip
    yield Table(title, columns, tuple(_row(row) for row in rows))
    if reasons := [f"{row.asked:,g} {unit}: {reason}" for row in rows for reason in row.reasons[:1]]:
        yield findings(reasons)


def _row(row: SweepRow) -> Row:
    errors = (Cell(_worst(row, stats)) for _, stats in _QUANTILES)
    lag = f"{number(row.lag_ms['p50'])} / {number(row.lag_ms['p99'])}"
    return Row(
        Cell(f"{row.asked:,g}", href=f"{row.directory}/certificate.html", meaning="; ".join(row.reasons[1:3])),
        number(row.chunks_per_s),
        Cell(row.status, STATUS_TONES.get(row.status, "")),
        *errors,
        lag,
    )


def _worst(row: SweepRow, stats: Sequence[str]) -> str:
    errors = [(metric, of[stat]) for metric, of in row.errors_ms.items() for stat in stats if stat in of]
    if not errors:
        return NOTHING
    metric, error = max(errors, key=lambda item: abs(item[1]))
    return f"{signed(error)} ms ({TITLES[metric]})"


def _chart(rows: Sequence[SweepRow], kind: str, stat: str) -> Chart:
    """Errors against the load, on a logarithmic axis."""
    x = [math.log10(row.asked) for row in rows]
    room = 0.05 * max(x[-1] - x[0], 0.5)
    tones: tuple[ChartTone, ...] = ("main", "second", "good", "quiet")
    lines = tuple(
        Line(TITLES[metric], [row.errors_ms.get(metric, {}).get(stat) for row in rows], tone=tone)
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
