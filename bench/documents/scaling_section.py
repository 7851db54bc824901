"""The section of --watch-scale: the lost times while the server was scaling, with the steps of the load."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET

from bench.documents.charts import Chart, Line, Panel
from bench.documents.document import Block, ChartBlock, Column, Level, Row, Section, Table
from bench.documents.formatting import NOTHING, number
from bench.documents.time_charts import TIME_AXIS, marks, time_ticks
from bench.results.scaling import LostTime, Scaling
from bench.results.summary import RunSummary

_HEADS = ("From", "To", "Lost", "Requests lost", "Refused", "Slow", "Failed", "Not ready at", "Ready by")
NOTE = (
    "A time begins when the first refused, failed or slow request was sent, and ends when the first good answer began to "
    "come. The server became ready between the last two columns. All requests in it count as they ended."
)


def section(summary: RunSummary) -> Iterator[Section]:
    """The section; empty without --watch-scale."""
    if summary.scaling is not None:
        yield Section("Scaling", tuple(_blocks(summary, summary.scaling)))


def _blocks(summary: RunSummary, scaling: Scaling) -> Iterator[Block]:
    heads = (*_HEADS, *(["Replica"] if any(time.target is not UNSET for time in scaling.times) else []))
    steps = [(at, (words, *[""] * (len(heads) - 1))) for at, words in marks(summary)]
    rows = sorted([*steps, *((time.start_s, _cells(time)) for time in scaling.times)], key=lambda row: row[0])
    limits = f"Slow: misses {', '.join(scaling.limits)}. " if scaling.limits else "Without --slo no answer is slow. "
    total = f"In all {scaling.lost:,} requests and {scaling.lost_s:.2f} s were lost."
    columns = tuple(Column(head) for head in heads)
    yield Table("Lost while scaling", columns, tuple(Row(*cells) for _, cells in rows), notes=(total, limits + NOTE))
    if scaling.t_s:
        yield ChartBlock(_chart(summary, scaling), Level.PAGE)


def _cells(time: LostTime) -> tuple[str, ...]:
    def at(seconds: float | None) -> str:
        return NOTHING if seconds is None else f"{seconds:.3f} s"

    why = ", ".join(f"{name}: {n:,}" for name, n in time.refusals.items())
    lasted = NOTHING if time.end_s is None else f"{time.end_s - time.start_s:.3f} s"
    return (
        at(time.start_s),
        at(time.end_s),
        lasted,
        number(time.lost),
        f"{time.refused:,}" + (f" ({why})" if why else ""),
        number(time.slow),
        number(time.failed),
        at(time.not_ready_s),
        at(time.ready_s),
        *([] if time.target is UNSET else [time.target]),
    )


def _chart(summary: RunSummary, scaling: Scaling) -> Chart:
    first, last = scaling.t_s[0], scaling.t_s[-1] + 1
    lines = (
        Line("good", scaling.good),
        Line("slow", scaling.slow, tone="warn"),
        Line("refused", scaling.refused, tone="bad"),
        Line("failed", scaling.failed, tone="bad", dashed=True),
    )
    return Chart(
        key="scaling",
        title="Requests by how they ended",
        meaning="Requests sent in each second. Vertical lines are steps of the load.",
        x_title=TIME_AXIS,
        x=[at + 0.5 for at in scaling.t_s],
        x_span=(first, last),
        x_names=[f"{at:g}–{at + 1:g} s" for at in scaling.t_s],
        ticks=time_ticks(first, last),
        step=1,
        panels=(Panel("requests", lines),),
        marks=marks(summary),
        over_time=True,
        wide=True,
    )
