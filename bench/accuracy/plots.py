"""The data for the plots of a certificate: errors over time, true against measured quantiles, lags of chunks."""

from __future__ import annotations

from bench.accuracy.distribution import STATS
from bench.accuracy.pair_statistics import OVER_TIME, SLICES, PairStatistics
from bench.results.certificate import ErrorsOverTime, LagCount, OverTime, Plots, TrueAndMeasured
from bench.results.numbers import Latency

LAG_BORDERS_MS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)
QQ_LEVELS = tuple(i / 40 for i in range(41))


def build(pairs: PairStatistics, latency: Latency, duration_s: float | None) -> Plots:
    """The key `plots` of certificate.json. `latency` comes from the summary."""
    return Plots(over_time=_over_time(pairs, duration_s), qq=_qq(pairs, latency), lag=_lags(pairs))


def _over_time(pairs: PairStatistics, duration_s: float | None) -> OverTime:
    width_s = (1.0 if duration_s is None else duration_s) / SLICES
    series: dict[str, ErrorsOverTime] = {}
    for name in (*OVER_TIME, "lag_ms"):
        rows = [pairs.over_time[name, i] for i in range(SLICES)]
        if any(row.n for row in rows):
            series[name] = ErrorsOverTime(
                p50=[row.quantile(0.5) if row.n else None for row in rows],
                p99=[row.quantile(0.99) if row.n else None for row in rows],
                max=[row.max if row.n else None for row in rows],
            )
    return OverTime(step_s=width_s, t_s=[i * width_s for i in range(SLICES)], **series)


def _qq(pairs: PairStatistics, latency: Latency) -> dict[str, TrueAndMeasured]:
    """True and measured quantiles of the same order: from the values of requests, and for tokens from the summary."""
    quantiles: dict[str, TrueAndMeasured] = {}
    for metric in ("ttft_ms", "tpot_ms", "e2el_ms"):
        true, measured = pairs.true[metric], pairs.measured[metric]
        if true.n and measured.n:
            quantiles[metric] = TrueAndMeasured(
                true=[true.quantile(p) for p in QQ_LEVELS], measured=[measured.quantile(p) for p in QQ_LEVELS]
            )
    of_tokens, row = pairs.true["itl_ms"].stats(), latency.get("itl_ms")
    if of_tokens and row is not None and row.n:
        stats = [s for s in STATS if s != "mean" and s in of_tokens]
        both = [(of_tokens[s], value) for s in stats if (value := row.of(s)) is not None]
        quantiles["itl_ms"] = TrueAndMeasured(true=[true for true, _ in both], measured=[value for _, value in both])
    return quantiles


def _lags(pairs: PairStatistics) -> list[LagCount]:
    """The number of chunks by lag. The last interval has no upper end."""
    if not pairs.lag.n:
        return []
    below = [pairs.lag.count_below(border) for border in LAG_BORDERS_MS] + [pairs.lag.n]
    borders = (None, *LAG_BORDERS_MS, None)
    return [
        LagCount(from_ms=borders[i], to_ms=borders[i + 1], n=n - (below[i - 1] if i else 0))
        for i, n in enumerate(below)
    ]
