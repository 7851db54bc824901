"""The error of one number of a report."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.results.certificate import NumberRow


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberError:
    """One number of the report, measured and true."""

    metric: str
    stat: str
    unit: str
    measured: float
    true: float
    spread: float | None = None
    """True p99 - p50 of the metric; None for rates."""
    allowed: tuple[float, float] | None = None
    """The least and the greatest number that the time stamps allow (inf: no limit); None where they are exact."""

    @property
    def error(self) -> float:
        """Measured less true."""
        return self.measured - self.true

    def result(self) -> NumberRow:
        """A row of `metrics` or `throughput`, with the error as shares of the true value and of the spread."""
        return NumberRow(
            metric=self.metric,
            stat=self.stat,
            unit=self.unit,
            measured=self.measured,
            true=self.true,
            error=self.error,
            allowed=None if self.allowed is None else [end if math.isfinite(end) else None for end in self.allowed],
            error_share=self.error / self.true if self.true else None,
            share_of_spread=self.error / self.spread if self.spread is not None and self.spread > 0 else None,
        )
