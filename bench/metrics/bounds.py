"""What stamps that are bounds leave open: the least and the greatest value that each number can have.

A chunk that shared a read with a later one arrived somewhere between its earliest moment and its stamp. Of such a record

    TTFT, TTFO, E2EL   lie at most that much below the value that the stamps give
    TPOT               lies between (earliest last - first) / (n - k1) and (last - earliest first) / (n - k1)
    gaps               of the chunks of one read add up to the time that it took: what one of them has, the others lack

and a statistic of values that each grow does not shrink: so the statistic of all least values and that of all greatest ones
are bounds of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import TYPE_CHECKING, Any

from bench.metrics import per_request
from bench.metrics.columns import Columns
from bench.metrics.quantile import QUANTILES
from bench.records import TOKEN_KINDS, RequestRecord

if TYPE_CHECKING:
    from bench.run_files.record_blocks import Ints

BOUNDED = ("mean", "min", "max", *QUANTILES)
"""The statistics that have bounds."""

WORTH_SAYING_MS = 0.1
WORTH_SAYING_SHARE = 0.01
"""Bounds that are closer than this, or than this share of the value, are left out."""

Bounds = dict[str, list[float]]
"""statistic -> [least, greatest], of those that are worth saying."""


Times = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""Times in ns: as the stamps give them, at least, at most."""


@dataclass(frozen=True, slots=True)
class LooseTimes:
    """The gaps of a request that begin or end with a bound, and its ITL. `*_sums` are the least and the greatest sum."""

    gaps: Times
    gap_sums: tuple[float, float]
    itl: Times
    itl_sums: tuple[float, float]


def loose_times(record: RequestRecord) -> LooseTimes | None:
    """What is open of the times between the tokens of a request; None where every stamp of them is exact.

    `loose_block` has the same of many records at once.
    """
    if record.chunk_bound_ns is None:
        return None
    is_token = [kind in TOKEN_KINDS for kind in record.chunk_kind]
    latest = list(compress(record.chunk_ns, is_token))
    bounds = compress(record.chunk_bound_ns, is_token)
    earliest = [at if bound is None else min(bound, at) for at, bound in zip(latest, bounds, strict=True)]
    if earliest == latest or len(latest) < 2:
        return None
    is_open = [at for at, (bound, stamp) in enumerate(zip(earliest, latest, strict=True)) if bound != stamp]
    gaps, sums = _loose_gaps(latest, earliest, is_open)
    tokens = per_request.token_chunk_tokens(record)
    if tokens is None or tokens[1:].count(1) == len(tokens) - 1:
        return LooseTimes(gaps, sums, gaps, sums)
    # Chunks of several tokens share their gaps: each gap for itself, as though the others were not.
    columns = _each_gap(latest, earliest)
    itl: Times = tuple(per_request.shared_gaps(column, tokens) for column in columns)  # type: ignore[assignment, arg-type]
    return LooseTimes(gaps, sums, itl, (sum(itl[1]), sum(itl[2])))


def _each_gap(latest: Sequence[int], earliest: Sequence[int]) -> Times:
    """Every gap between chunks, as though nothing were known of the others."""
    return (
        [end - begin for begin, end in pairwise(latest)],
        [max(0, end - begin) for begin, end in zip(latest, earliest[1:], strict=False)],
        [end - begin for begin, end in zip(earliest, latest[1:], strict=False)],
    )


def _loose_gaps(
    latest: Sequence[int], earliest: Sequence[int], is_open: Sequence[int]
) -> tuple[Times, tuple[float, float]]:
    """The gaps next to the chunks that are open, and the least and the greatest sum of them."""
    values: list[float] = []
    least: list[float] = []
    most: list[float] = []
    least_sum = most_sum = 0
    n, position = len(latest), 0
    while position < len(is_open):
        at = is_open[position]
        end = at
        while position < len(is_open) and is_open[position] == end:
            end, position = end + 1, position + 1
        first, last = max(at - 1, 0), min(end, n - 1)  # the exact chunks around the open ones, or the outermost of them
        if last > first:
            stamps, bounds = latest[first : last + 1], earliest[first : last + 1]
            one_read = len(set(latest[at : last + 1])) == 1
            found = _gaps_of_a_read(stamps, bounds) if one_read else _each_gap(stamps, bounds)
            for column, gaps in zip((values, least, most), found, strict=True):
                column += gaps
            least_sum += max(0, bounds[-1] - stamps[0])
            most_sum += stamps[-1] - bounds[0]
    return (values, least, most), (least_sum, most_sum)


def _gaps_of_a_read(latest: Sequence[int], earliest: Sequence[int]) -> Times:
    """The m gaps of the chunks of one read, the first of them from the last chunk before it, where there is one.

    They add up to S at most, and the first is B at least; G = S - B is what is open. However the chunks lie,

        the k-th greatest gap    is at most min(S / k, G / (k - 1))
        the greatest one         is at least max(B, (the least sum) / m)

    so that these, and the greatest alone with zeros beside it, are bounds of every quantile.
    """
    m = len(latest) - 1
    whole, head = latest[-1] - earliest[0], max(0, min(earliest[1:]) - latest[0])
    greatest = [whole if k == 1 else min(whole / k, (whole - head) / (k - 1)) for k in range(1, m + 1)]
    certain = max(0, earliest[-1] - latest[0])
    return [b - a for a, b in pairwise(latest)], [max(head, certain / m), *[0.0] * (m - 1)], greatest


OPENED_BY = {
    "ttft_ms": "first_open_ms",
    "ttft_from_intended_ms": "first_open_ms",
    "ttfo_ms": "output_open_ms",
    "e2el_ms": "last_open_ms",
    "e2el_from_intended_ms": "last_open_ms",
}
"""Metrics that end with one chunk, and the column of `Columns` that says how much earlier it may have come."""
PACE = ("tpot_ms", "tps")
"""Metrics that two chunks open, the first and the last."""


def of_request_metric(columns: Columns, key: str, rows: Ints) -> tuple[list[float], list[float]] | None:
    """The least and the greatest values of a request metric, each in ascending order; None where all stamps are exact, and of
    a metric whose bounds nobody has stated (`OPENED_BY`)."""
    if not columns.bounded or (key not in OPENED_BY and key not in PACE):
        return None
    import numpy as np

    from bench.metrics.arrays import view

    values = view(columns.metrics[key])[rows]
    rows, values = rows[values == values], values[values == values]
    if key in OPENED_BY:
        return np.sort(values - view(getattr(columns, OPENED_BY[key]))[rows]).tolist(), np.sort(values).tolist()
    tokens, tpot_ms = view(columns.tokens_after_first)[rows], view(columns.metrics["tpot_ms"])[rows]
    low = np.maximum(0.0, tpot_ms - view(columns.last_open_ms)[rows] / tokens)
    high = tpot_ms + view(columns.first_open_ms)[rows] / tokens
    if key == "tps":
        with np.errstate(divide="ignore"):
            low, high = 1000 / high, np.where(low > 0, 1000 / low, math.inf)
    return np.sort(low).tolist(), np.sort(high).tolist()


def worth_saying(values: Mapping[str, Any], least: Mapping[str, Any], most: Mapping[str, Any], *, unit: str) -> Bounds:
    """The bounds of each statistic, of those that are further apart than a reader would expect."""
    found: Bounds = {}
    for stat in BOUNDED:
        value, low, high = values[stat], least[stat], most[stat]
        if value is None or low is None or high is None:
            continue
        if high - low > WORTH_SAYING_SHARE * value and (unit != "ms" or high - low > WORTH_SAYING_MS):
            found[stat] = [low, high]
    return found


def meaningless(row: Mapping[str, Any], stat: str) -> bool:
    """Whether the bounds of a statistic are further apart than it is large: then it is not to be printed as a number."""
    found = row.get("bounds", {}).get(stat)
    return found is not None and (found[1] is None or found[1] - found[0] > row[stat])
