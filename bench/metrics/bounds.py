"""The least and the greatest possible value of each number, if some time stamps are only bounds.

A chunk that shared a read with a later chunk arrived between its earliest possible time and its stamp. In such a record

    TTFT, TTFO, E2EL   lie at most that much below the value that the stamps give
    TPOT               lies between (earliest last - first) / (n - k1) and (last - earliest first) / (n - k1)
    gaps               of the chunks of one read add up to the time that it took: what one of them has, the others lack

If every value grows, a statistic of them does not shrink. So the statistics of all least and of all greatest values are its
bounds.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.arrays import view
from bench.metrics.columns import Columns
from bench.records.record_table import Ints
from bench.results.numbers import QUANTILES, Metric, Statistics

BOUNDED = ("mean", "min", "max", *QUANTILES)
"""The statistics that have bounds."""

WORTH_SAYING_MS = 0.1
WORTH_SAYING_SHARE = 0.01
"""Bounds that are closer than this, or than this share of the value, are left out."""

Bounds = dict[str, list[float]]
"""statistic -> [least, greatest], for the statistics worth reporting."""


def of_request_metric(columns: Columns, key: str, rows: Ints) -> tuple[list[float], list[float]] | None:
    """The least and the greatest values of a request metric, each in ascending order; None if all stamps are exact."""
    if not columns.bounded:
        return None
    has = ~np.isnan(view(columns.metrics[key])[rows])
    least, greatest = (np.sort(view(column[key])[rows][has]).tolist() for column in (columns.least, columns.greatest))
    return least, greatest


def worth_saying(values: Statistics, least: Statistics, most: Statistics, *, unit: str) -> Bounds:
    """The bounds of each statistic whose bounds are further apart than a reader would expect."""
    bounds: Bounds = {}
    for stat in BOUNDED:
        value, low, high = (statistics.of(stat) for statistics in (values, least, most))
        if value is None or low is None or high is None:
            continue
        if high - low > WORTH_SAYING_SHARE * value and (unit != "ms" or high - low > WORTH_SAYING_MS):
            bounds[stat] = [low, high]
    return bounds


def meaningless(row: Metric, stat: str) -> bool:
    """Whether the bounds of a statistic are further apart than its value. Such a number must not be printed."""
    bounds, value = row.bounds.get(stat), row.of(stat)
    if bounds is None or value is None:
        return False
    least, greatest = bounds
    return least is None or greatest is None or greatest - least > value


def shown(row: Statistics, stat: str) -> float | None:
    """The value of a statistic as it may be shown or handed on; None if it is meaningless."""
    return None if isinstance(row, Metric) and meaningless(row, stat) else row.of(stat)
