"""The mock's own accuracy: its behaviour compared with what its configuration promises (its GET /truth).

The noise of a mean comes from the interval for dependent values (`bench/statistics/`), because requests that an engine
with a queue served one after the other are not independent. This does not determine any true value, so it may share
code with the reports.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any

from bench.accuracy.distribution import Distribution
from bench.results.certificate import Deviation
from bench.statistics.intervals import Interval, mean_interval, ratio_interval

UNITS = {"ttft_ms": "ms", "tpot_ms": "ms", "itl_ms": "ms", "e2el_ms": "ms", "output_tokens": "tokens"}
_STATS = ("mean", "p50", "p90", "p95", "p99")
_SAME_LENGTH = 0.02


class MockSeries:
    """The mock's own values: one per request for each metric, and the sum and number of the gaps between tokens.

    Requests may be added in any order; their dependence is computed in the order of arrival.
    """

    __slots__ = ("_columns", "_gap_sums", "_gaps", "_received")

    def __init__(self) -> None:
        self._received = array("q")
        self._columns = {metric: array("d") for metric in UNITS if metric != "itl_ms"}
        self._gap_sums, self._gaps = array("d"), array("q")

    def add(self, received_ns: int, values: Mapping[str, float], gaps_ms: float, gaps: int) -> None:
        """Add a request: its value of each metric that it has, and its number of gaps, which add up to `gaps_ms`."""
        self._received.append(received_ns)
        for metric, column in self._columns.items():
            column.append(values.get(metric, math.nan))
        self._gap_sums.append(gaps_ms)
        self._gaps.append(gaps)

    def noise(self, metric: str) -> float | None:
        """The difference of a metric's mean that chance exceeds in at most 5 of 100 runs; None if there are too few
        independent values."""
        order = sorted(range(len(self._received)), key=self._received.__getitem__)
        if metric == "itl_ms":
            interval = ratio_interval(*([column[i] for i in order] for column in (self._gap_sums, self._gaps)))
        else:
            values = map(self._columns[metric].__getitem__, order)
            interval = mean_interval([value for value in values if value == value])
        return (interval.high - interval.low) / 2 if isinstance(interval, Interval) else None


def against_closed_form(
    truth: Mapping[str, Any] | None, done: Mapping[str, Distribution], series: MockSeries
) -> list[Deviation]:
    """A row for each number that the mock publishes: the expected value, the actual value, and their difference; for
    means also the difference that chance exceeds in at most 5 of 100 runs. Latencies count from the arrival, like the
    plans. `series` has the values of `done` request by request.

    The expected E2EL is for the reply lengths that the mock chooses; with other lengths it is left out.
    """
    expected = None if truth is None else truth.get("expected")
    if not isinstance(expected, Mapping):
        return []
    lengths, length = done.get("output_tokens"), _number(expected.get("output_tokens"), "mean")
    as_chosen = (
        lengths is not None
        and lengths.n > 0
        and length is not None
        and abs(lengths.mean - length) <= _SAME_LENGTH * length
    )
    rows = []
    for metric, unit in UNITS.items():
        values = done.get(metric)
        if values is None or not values.n or (metric in ("e2el_ms", "output_tokens") and not as_chosen):
            continue
        stats = values.stats()
        for stat in _STATS:
            says = _number(expected.get(metric), stat)
            if says is not None and stat in stats:
                noise = series.noise(metric) if stat == "mean" else None
                done_stat = stats[stat]
                rows.append(
                    Deviation(
                        metric=metric,
                        stat=stat,
                        unit=unit,
                        expected=says,
                        done=done_stat,
                        difference=done_stat - says,
                        noise=noise,
                    )
                )
    return rows


def _number(row: object, stat: str) -> float | None:
    value = row.get(stat) if isinstance(row, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
