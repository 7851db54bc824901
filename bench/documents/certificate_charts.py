"""The plots of a certificate, as data: errors over time, true against measured quantiles, lags of chunks."""

from __future__ import annotations

from collections.abc import Sequence

from bench.documents.charts import Chart, Line, Panel, categories, round_step
from bench.results.certificate import Certificate, ErrorsOverTime, LagCount, OverTime, TrueAndMeasured

_LEAST_SPAN = 0.01
"""The axes of true against measured span at least this share of the value: smaller differences would be magnified."""

_OVER_TIME = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2el_ms": "E2EL"}
_QQ = {"ttft_ms": "TTFT", "itl_ms": "ITL", "tpot_ms": "TPOT", "e2el_ms": "E2EL"}


def build(certificate: Certificate) -> tuple[Chart, ...]:
    """All plots of a certificate."""
    plots = certificate.plots
    charts = [_errors(plots.over_time, metric, title) for metric, title in _OVER_TIME.items()]
    charts += [_qq(plots.qq[metric], metric, title) for metric, title in _QQ.items() if metric in plots.qq]
    if plots.lag:
        charts += [_lag_over_time(plots.over_time), _lags(plots.lag)]
    return tuple(charts)


def _time_chart(series: OverTime, key: str, title: str, meaning: str, lines: tuple[Line, ...]) -> Chart:
    step, times = series.step_s, series.t_s
    last = times[-1] + step
    every = round_step(last, 6)
    return Chart(
        key=key,
        title=title,
        meaning=meaning,
        x_title="seconds since the start of the run",
        x=[at + step / 2 for at in times],
        x_span=(0.0, last),
        x_names=[f"{at:.3g}–{at + step:.3g} s" for at in times],
        ticks=tuple((k * every, f"{k * every:g} s") for k in range(int(last / every + 1e-9) + 1)),
        step=step,
        panels=(Panel("ms", lines),),
        over_time=True,
    )


def _over_time_lines(errors: ErrorsOverTime) -> tuple[Line, ...]:
    return (
        Line("median", errors.p50, "steps"),
        Line("P99", errors.p99, "steps", "second"),
        Line("largest", errors.max, hidden=True),
    )


def _errors(series: OverTime, metric: str, title: str) -> Chart:
    none = [None] * len(series.t_s)
    errors = getattr(series, metric) or ErrorsOverTime(p50=none, p99=none, max=none)
    meaning = f"Measured {title} minus the true one, for the requests that ended in each step."
    return _time_chart(series, f"error-{metric}", f"Error of {title} over time", meaning, _over_time_lines(errors))


def _lag_over_time(series: OverTime) -> Chart:
    meaning = (
        "The client's time of a chunk minus the mock's time of its write, for the chunks that arrived in each step."
    )
    assert series.lag_ms is not None, "chunks have a lag"
    lines = _over_time_lines(series.lag_ms)
    return _time_chart(series, "lag-over-time", "Observation lag over time", meaning, lines)


def _qq(quantiles: TrueAndMeasured, metric: str, title: str) -> Chart:
    true, measured = quantiles.true, quantiles.measured
    low, high = _span([*true, *measured])
    every = round_step(high - low, 4)
    first = int(low / every) + 1
    marks = [k * every for k in range(first, int(high / every + 1e-9) + 1)]
    # The diagonal's endpoints have no name: they only draw the line from edge to edge.
    x = [low, *true, high]
    return Chart(
        key=f"qq-{metric}",
        title=f"{title}: true against measured",
        meaning="Quantiles of the same order: where both agree, the line lies on the dashed one.",
        x_title="true, ms",
        x=x,
        x_span=(low, high),
        x_names=["", *(f"true {at:,.4g} ms" for at in true), ""],
        ticks=tuple((at, f"{at:,.6g}") for at in marks),
        step=0,
        panels=(
            Panel(
                "measured, ms",
                (Line("measured", [None, *measured, None]), Line("true", x, tone="quiet", dashed=True)),
                from_zero=False,
            ),
        ),
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    least = _LEAST_SPAN * max(abs(low), abs(high), 1e-9)
    room = max(high - low, least) * 1.06
    middle = (low + high) / 2
    return max(middle - room / 2, 0.0), middle + room / 2


def _lags(rows: Sequence[LagCount]) -> Chart:
    total = sum(row.n for row in rows)
    tips = [
        "stamped before it was written: the clocks differ by that much"
        if row.from_ms is None
        else f"{row.from_ms:g} ms and more"
        if row.to_ms is None
        else f"{row.from_ms:g}–{row.to_ms:g} ms"
        for row in rows
    ]
    names = ["< 0" if row.from_ms is None else f"{row.from_ms:g}" for row in rows]
    lines = (
        Line("share", [row.n / total * 100 for row in rows], "bars"),
        Line("chunks", [row.n for row in rows], hidden=True, unit=""),
    )
    meaning = "Share of the chunks, by the time from the mock's write to the client's stamp."
    return categories("lag", "Observation lag", meaning, "ms, from", names, tips, Panel("%", lines))
