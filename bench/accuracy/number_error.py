"""The error of one number of a report."""

from __future__ import annotations

import math

from bench.results.certificate import NumberRow


def number_error(
    metric: str,
    stat: str,
    unit: str,
    *,
    measured: float,
    true: float,
    spread: float | None = None,
    allowed: tuple[float, float] | None = None,
) -> NumberRow:
    """One number of the report, measured and true, with its error as a share of the true value and of the spread.

    `spread`: true p99 - p50 of the metric; None for rates. `allowed`: the range that the time stamps allow (inf for no
    limit); None if they are exact.
    """
    error = measured - true
    return NumberRow(
        metric=metric,
        stat=stat,
        unit=unit,
        measured=measured,
        true=true,
        error=error,
        allowed=None if allowed is None else [end if math.isfinite(end) else None for end in allowed],
        error_share=error / true if true else None,
        share_of_spread=error / spread if spread is not None and spread > 0 else None,
    )
