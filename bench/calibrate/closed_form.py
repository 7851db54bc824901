"""What the mock did against what its configuration says must come of it, from its GET /truth: the mock's own accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.calibrate.distribution import Distribution

UNITS = {"ttft_ms": "ms", "tpot_ms": "ms", "itl_ms": "ms", "e2el_ms": "ms", "output_tokens": "tokens"}
_STATS = ("mean", "p50", "p90", "p95", "p99")
_SAME_LENGTH = 0.02


def against_closed_form(truth: Mapping[str, Any] | None, done: Mapping[str, Distribution]) -> list[dict[str, Any]]:
    """A row for each number that the mock publishes: expected, done, their difference, and for means what chance alone
    does (two standard errors). Latencies count from the arrival, as the plans do.

    An E2EL speaks of replies of the lengths that the mock chooses: it is left out where they were others.
    """
    if truth is None:
        return []
    expected = truth.get("expected", {})
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
                noise = _noise(values) if stat == "mean" else None
                rows.append({"metric": metric, "stat": stat, "unit": unit, "expected": says, "done": stats[stat],
                             "difference": stats[stat] - says, "noise": noise})  # fmt: skip
    return rows


def _number(row: Any, stat: str) -> float | None:
    value = row.get(stat) if isinstance(row, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _noise(values: Distribution) -> float | None:
    """Two standard errors of the mean."""
    return None if values.std is None else 2 * values.std / math.sqrt(values.n)
