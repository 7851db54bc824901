"""What a calibration finds: the block `calibration` of summary.json, and the body of certificate.json."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from bench.accuracy.causes import Cause
from bench.accuracy.number_error import NumberError
from bench.results.certificate import (
    Agreement,
    Clock,
    Deviation,
    JoinCounts,
    LedgerCalibration,
    MockAccuracy,
    Plots,
    RequestError,
    Spread,
    TargetErrors,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Errors of all numbers, disagreements with the ledger, their likely causes, and data for plots."""

    clock: Clock
    metrics: tuple[NumberError, ...]
    throughput: tuple[NumberError, ...]
    observation_lag_ms: Spread
    way_in_ms: Spread
    network_ms: float | None
    mock_lateness_ms: Spread
    closed_form: tuple[Deviation, ...]
    counts: JoinCounts
    agreement: tuple[Agreement, ...]
    problems: tuple[str, ...]
    causes: tuple[Cause, ...]
    worst: tuple[RequestError, ...]
    per_target: tuple[TargetErrors, ...]
    plots: Plots

    def calibration(self) -> LedgerCalibration:
        """As it stands in summary.json."""
        return LedgerCalibration(
            clock=self.clock,
            metrics=[row.result() for row in self.metrics],
            throughput=[row.result() for row in self.throughput],
            observation_lag_ms=self.observation_lag_ms,
            way_in_ms=self.way_in_ms,
            network_ms=self.network_ms,
            mock=MockAccuracy(done_minus_planned_ms=self.mock_lateness_ms, closed_form=list(self.closed_form)),
            counts=self.counts,
            agreement=list(self.agreement),
            problems=list(self.problems),
            causes=[cause.result() for cause in self.causes],
            worst=list(self.worst),
            per_target=list(self.per_target) or UNSET,
        )
