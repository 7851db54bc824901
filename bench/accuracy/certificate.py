"""What a calibration finds: the block `calibration` of summary.json, and the body of certificate.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.accuracy.causes import Cause
from bench.accuracy.closed_form import Deviation
from bench.accuracy.join import Agreement, JoinCounts
from bench.accuracy.number_error import NumberError
from bench.accuracy.pair_statistics import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Errors of all numbers, disagreements with the ledger, their likely causes, and data for plots.

    Lags are statistics by name, with `n`; only `n` where there are no values. `plots`: as in certificate.schema.json.
    """

    clock: Literal["shared", "other"]
    metrics: tuple[NumberError, ...]
    throughput: tuple[NumberError, ...]
    observation_lag_ms: Mapping[str, float]
    way_in_ms: Mapping[str, float]
    network_ms: float | None
    mock_lateness_ms: Mapping[str, float]
    closed_form: tuple[Deviation, ...]
    counts: JoinCounts
    agreement: tuple[Agreement, ...]
    problems: tuple[str, ...]
    causes: tuple[Cause, ...]
    worst: tuple[RequestError, ...]
    plots: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As it stands in certificate.json."""
        return {
            "from": "ledger",
            "clock": self.clock,
            "metrics": [row.to_json() for row in self.metrics],
            "throughput": [row.to_json() for row in self.throughput],
            "observation_lag_ms": self.observation_lag_ms,
            "way_in_ms": self.way_in_ms,
            "network_ms": self.network_ms,
            "mock": {
                "done_minus_planned_ms": self.mock_lateness_ms,
                "closed_form": [asdict(row) for row in self.closed_form],
            },
            "counts": asdict(self.counts),
            "agreement": [asdict(row) for row in self.agreement],
            "problems": list(self.problems),
            "causes": [cause.to_json() for cause in self.causes],
            "worst": [asdict(row) for row in self.worst],
            "plots": self.plots,
        }
