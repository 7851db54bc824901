"""The charts of a run that show how its values are distributed."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate, pairwise

from bench.clock import NS_PER_MS, NS_PER_US
from bench.documents import packing
from bench.documents.charts import Cells, Chart, Line, Panel, Tone, categories, round_values
from bench.documents.formatting import number
from bench.documents.time_charts import RunNumbers, over_time
from bench.metrics.catalog import METRICS
from bench.metrics.step_histograms import PER_OCTAVE, lower_border

_BARS, _ROWS = 48, 24
_LEAST_BINS = 8
"""If all values lie in one bin, the axis still has this many."""
_LEAST = bisect(range(256 * PER_OCTAVE), float(NS_PER_US), key=lower_border) - 1
"""The bin of 1 us. Chunks that arrived together have a gap of 0, which has no place on a logarithmic axis."""


def _ms(position: float) -> float:
    """The value at a position among the bins: between two borders, by linear interpolation."""
    below = math.floor(position)
    low, high = lower_border(below), lower_border(below + 1)
    return (low + (high - low) * (position - below)) / NS_PER_MS


def _place(ms: float, first: int, last: int) -> float:
    """The position of a value among the bins first..last."""
    low, high = first, last
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _ms(middle) <= ms else (low, middle)
    return low + (ms - _ms(low)) / (_ms(low + 1) - _ms(low))


def _marks(first: int, last: int, most: int) -> list[tuple[float, str]]:
    """Round values between two bins, and their positions."""
    values = round_values(_ms(first), _ms(last), most)
    return [(_place(value, first, last), f"{value:,.6g}") for value in values]


def _first(counts: packing.Histogram) -> int:
    """The bin where the axis begins: the smallest value's, but at least half of the first percentile, so that a few
    values near zero do not squeeze the others. Smaller values count in the first bar."""
    at = sorted(bin for bin in counts if bin >= _LEAST)
    cumulative = accumulate(counts[bin] for bin in at)
    few = sum(counts[bin] for bin in at) / 100
    low = next((bin for bin, n in zip(at, cumulative, strict=True) if n > few), _LEAST)
    return max(min(counts), _LEAST, low - PER_OCTAVE)


def _bounds(counts: packing.Histogram) -> tuple[int, int]:
    """The first bin and the one after the last, with room around values that are nearly equal."""
    first = _first(counts)
    last = max(max(counts), first) + 1
    room = max(0, _LEAST_BINS - (last - first))
    return max(first - room // 2, 1), last + (room + 1) // 2


def distribution(run: RunNumbers, name: str, of: str = "the requests") -> Chart | None:
    """For a metric, by name: a histogram and the share that is at least as fast, over a logarithmic axis."""
    if run.page is None:
        return None
    metric = METRICS[name]
    counts = packing.whole(run.page.histograms[metric.key])
    total = sum(counts.values())
    first, last = _bounds(counts) if counts else (1, 1 + _LEAST_BINS)
    group = math.ceil((last - first) / _BARS)
    bars = math.ceil((last - first) / group)
    amounts = [0] * bars
    for at, n in counts.items():
        amounts[max(at - first, 0) // group] += n
    below, so_far = [], 0
    for n in amounts:
        so_far += n
        below.append(so_far)
    borders = [_ms(first + group * k) for k in range(bars + 1)]
    names = [f"{number(low)}–{number(high)} ms" for low, high in pairwise(borders)]
    if counts and min(counts) < first:
        names[0] = f"under {number(borders[1])} ms"

    def shares(values: Sequence[int]) -> list[float | None]:
        return [n / total * 100 if total else None for n in values]

    return Chart(
        key=f"{name}_distribution",
        title=f"Distribution of {metric.title}",
        meaning=f"Share of {of} in each interval, and the cumulative share. Bins are at most 2% wide.",
        x_title="ms, logarithmic",
        x=[k + 0.5 for k in range(bars)],
        x_span=(0, bars),
        x_names=names,
        ticks=tuple(((at - first) / group, text) for at, text in _marks(first, last, 6)),
        step=1,
        panels=(
            Panel("%", (Line("share", shares(amounts), "bars"),)),
            Panel("% at most", (Line("at most", shares(below), "steps", "second", unit="%"),)),
        ),
        recompute={"kind": "distribution", "metric": metric.key, "first": first, "group": group, "bars": bars},
    )


def ttft_heat_map(run: RunNumbers) -> Chart | None:
    """How TTFT is distributed in each step of the run."""
    if run.page is None:
        return None
    steps = run.page.histograms["ttft_ms"]
    whole = packing.whole(steps)
    first, last = _bounds(whole) if whole else (1, 1 + _LEAST_BINS)
    group = math.ceil((last - first) / _ROWS)
    rows = math.ceil((last - first) / group)
    columns = []
    for counts in steps:
        column = [0] * rows
        for at, n in counts.items():
            column[max(at - first, 0) // group] += n
        columns.append(column)
    marks = tuple(((at - first) / group, text) for at, text in _marks(first, last, 5))
    lines = (Line("first tokens", [sum(counts.values()) or None for counts in steps], hidden=True, unit=""),)
    meaning = "The darker, the more first tokens of that latency arrived then. The axis of the latency is logarithmic."
    panel = Panel("TTFT, ms", lines, cells=Cells(columns, marks))
    return over_time(run, "ttft_heat_map", "TTFT over time, all values", meaning, (panel,), wide=True)


def response_time_intervals(run: RunNumbers) -> Chart:
    """The distribution of the response times."""
    rows = run.summary.distributions.response_time_intervals
    tips = [
        f"{row.from_ms:,.6g} ms and more" if row.to_ms is None else f"{row.from_ms:,.6g}–{row.to_ms:,.6g} ms"
        for row in rows
    ]
    names = [f"{row.from_ms:,.6g}" + ("+" if row.to_ms is None else "") for row in rows]
    lines = (
        Line("share", [row.share * 100 for row in rows], "bars"),
        Line("responses", [row.n for row in rows], hidden=True, unit=""),
    )
    meaning = "Share of the responses whose end-to-end latency lies in each interval."
    recompute = {"kind": "intervals", "metric": "e2el_ms", "from_ms": [row.from_ms for row in rows]}
    return categories(
        "response_time_intervals",
        "Response times by interval",
        meaning,
        "ms, from",
        names,
        tips,
        Panel("%", lines),
        recompute,
    )


_TAIL_TICKS = ((0.0, "0"), (0.5, "50%"), (0.9, "90%"), (0.99, "99%"), (0.999, "99.9%"), (1.0, "max"))
_END_OF_TAIL = 0.9998


def response_time_quantiles(run: RunNumbers) -> Chart:
    """Response time against the share of requests at least as fast; each nine has the same width."""
    rows = run.summary.distributions.response_time_quantiles

    def place(q: float) -> float:
        return -math.log10(1 - min(q, _END_OF_TAIL))

    return Chart(
        key="response_time_quantiles",
        title="Quantiles of the response time",
        meaning="The longest time that each share of the responses took. The axis stretches the slow tail.",
        x_title="share of the responses",
        x=[place(row.q) for row in rows],
        x_span=(0, place(1)),
        x_names=["slowest" if row.q == 1 else f"{row.q * 100:g}% took at most" for row in rows],
        ticks=tuple((place(q), name) for q, name in _TAIL_TICKS),
        step=0,
        panels=(Panel("ms", (Line("response time", [row.ms for row in rows]),)),),
        recompute={"kind": "quantiles", "metric": "e2el_ms", "q": [row.q for row in rows]},
    )


def status_codes(run: RunNumbers) -> Chart:
    """Answers by HTTP status."""
    rows = run.summary.distributions.status_codes
    total = sum(rows.values())
    tones: dict[str, Tone] = {"2": "good", "3": "warn", "4": "warn", "5": "bad"}
    lines = (
        Line("requests", list(rows.values()), "bars", tones=tuple(tones.get(code[0], "quiet") for code in rows)),
        Line("share", [count / total * 100 for count in rows.values()], hidden=True, unit="%"),
    )
    tips = ["no response" if code == "none" else f"HTTP {code}" for code in rows]
    names = ["none" if code == "none" else code for code in rows]
    meaning = "Requests by the HTTP status of their response; “none” never got one. An error can still hide in a 200."
    panel = Panel("requests", lines)
    recompute = {"kind": "status", "codes": list(rows)}
    return categories("status_codes", "Status codes", meaning, "status", names, tips, panel, recompute)
