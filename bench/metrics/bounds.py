"""What stamps that are bounds leave open: the least and the greatest value that each number can have.

A chunk that shared a read with a later one arrived somewhere between its earliest moment and its stamp. Of such a record

    TTFT, TTFO, E2EL   lie at most that much below the value that the stamps give
    TPOT               lies between (earliest last - first) / (n - k1) and (last - earliest first) / (n - k1)
    a gap              lies between earliest end - begin and end - earliest begin, and is never negative

and a statistic of values that each grow does not shrink: so the statistic of all least values and that of all greatest ones
are bounds of it, and no closer ones are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Any

from bench.metrics import per_request
from bench.metrics.columns import Columns
from bench.metrics.quantile import QUANTILES
from bench.records import TOKEN_KINDS, RequestRecord

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
    """The gaps of a request that begin or end with a bound, and its ITL."""

    gaps: Times
    itl: Times


def loose_times(record: RequestRecord) -> LooseTimes | None:
    """What is open of the times between the tokens of a request; None where every stamp of them is exact."""
    if record.chunk_bound_ns is None:
        return None
    is_token = [kind in TOKEN_KINDS for kind in record.chunk_kind]
    latest = list(compress(record.chunk_ns, is_token))
    bounds = compress(record.chunk_bound_ns, is_token)
    earliest = [at if bound is None else min(bound, at) for at, bound in zip(latest, bounds, strict=True)]
    if earliest == latest or len(latest) < 2:
        return None
    values = [end - begin for begin, end in pairwise(latest)]
    least = [max(0, end - begin) for begin, end in zip(latest, earliest[1:], strict=False)]
    most = [end - begin for begin, end in zip(earliest, latest[1:], strict=False)]
    loose = [low != value or high != value for value, low, high in zip(values, least, most, strict=True)]
    gaps: Times = tuple(list(compress(column, loose)) for column in (values, least, most))  # type: ignore[assignment]
    tokens = per_request.token_chunk_tokens(record)
    if tokens is None or tokens[1:].count(1) == len(tokens) - 1:
        return LooseTimes(gaps, gaps)
    return LooseTimes(gaps, tuple(per_request.shared_gaps(column, tokens) for column in (values, least, most)))  # type: ignore[arg-type]


def of_request_metric(columns: Columns, key: str, rows: Sequence[int]) -> tuple[list[float], list[float]] | None:
    """The least and the greatest values of a request metric, each in ascending order; None where all stamps are exact."""
    if not columns.bounded:
        return None
    open_ms = {"ttft": columns.first_open_ms, "ttfo": columns.output_open_ms, "e2el": columns.last_open_ms}
    values, least, most = columns.metrics[key], [], []
    for row in rows:
        value = values[row]
        if value != value:
            continue
        low = high = value
        if key in ("tpot_ms", "tps"):
            tokens = columns.tokens_after_first[row]
            tpot_ms = columns.metrics["tpot_ms"][row]
            low = max(0.0, tpot_ms - columns.last_open_ms[row] / tokens)
            high = tpot_ms + columns.first_open_ms[row] / tokens
            if key == "tps":
                low, high = 1000 / high, 1000 / low if low > 0 else math.inf
        else:
            low = value - open_ms[key[:4]][row]
        least.append(low)
        most.append(high)
    return sorted(least), sorted(most)


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
