"""The bands of all signs: configuration (`limits:` in the YAML file). docs/verdict.md lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.verdict.finding import Status

Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""No value lies above nan or infinity, and every value above a number below 0: neither is a limit."""


class Band(BaseModel):
    """Where a sign begins to be suspect, where it makes the run invalid, and where the target has failed (None: never)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suspect: Limit
    invalid: Limit | None = None
    failed: Limit | None = None

    def of(self, value: float) -> Status:
        """Where a value lies."""
        if self.failed is not None and value > self.failed:
            return Status.FAILED
        if self.invalid is not None and value > self.invalid:
            return Status.INVALID
        return Status.SUSPECT if value > self.suspect else Status.VALID


def _band(suspect: float, invalid: float | None = None, failed: float | None = None) -> Band:
    return Band(suspect=suspect, invalid=invalid, failed=failed)


class Limits(BaseModel):
    """The bands of all signs. Where a sign has an absolute and a relative band, both must be passed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    send_lateness_p99_ms: Band = _band(1.0, 10.0)
    send_lateness_p99_of_ttft: Band = _band(0.01, 0.10)
    ready_not_sent: Band = _band(0.01, 0.05)
    ready_not_sent_ms: Band = _band(1.0, 10.0)
    pause_of_run: Band = _band(0.01, 0.05)
    pause_ms: Band = _band(100.0, 100.0)
    sent_rate_off: Band = _band(0.01, 0.05)
    sent_rate_off_ms: Band = _band(10.0, 50.0)
    sent_dispersion_off: Band = _band(0.05, 0.25)
    off_plan: Band = _band(0.01, 0.05)
    waited_at_cap: Band = _band(0.01)
    user_stamps: Band = _band(0.01, 0.01)
    loop_lag_p99_ms: Band = _band(1.0, 10.0)
    loop_lag_p99_of_gap: Band = _band(0.05, 0.50)
    cpu_busy_seconds: Band = _band(0.10, 0.50)
    workers_died: Band = _band(0.0, 0.0)
    clock_drift_ms: Band = _band(5.0, 100.0)
    run_queue_wait: Band = _band(0.02, 0.10)
    wide_stamps: Band = _band(0.05)
    wide_stamps_ms: Band = _band(0.2)
    wide_stamps_p99: Band = _band(0.25)
    wide_stamps_p99_ms: Band = _band(0.5)
    littles_law_off: Band = _band(0.005, 0.05)
    records_missing: Band = _band(0.0, 0.01)
    files_lost: Band = _band(0.0)
    errors: Band = _band(0.01, failed=0.5)
    sent_again: Band = _band(0.01)
    target_gone: Band = _band(0.01, failed=0.01)
    cache_hits_unplanned: Band = _band(0.02)
    cache_hits_off_plan: Band = _band(0.02)
    server_counts_off: Band = _band(0.0)
    output_tokens_off: Band = _band(0.02)
    usage_off: Band = _band(0.01)
    usage_contradicted: Band = _band(0.0, 0.05)
    usage_over_counted: Band = _band(2.0)
    tokens_doubted: Band = _band(0.01)
    calibration_p50_p90_share: Band = _band(0.01, 0.05)
    calibration_p50_p90_ms: Band = _band(0.2, 1.0)
    calibration_p99_share: Band = _band(0.02, 0.10)
    calibration_p99_ms: Band = _band(0.5, 2.0)
    calibration_throughput_share: Band = _band(0.01, 0.05)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: object) -> object:
        """A file that gives one limit of a band leaves the other one where it is."""
        if not isinstance(given, Mapping):
            return given
        bands = {name: field.default.model_dump() for name, field in cls.model_fields.items()}
        return {
            name: {**bands[name], **band} if name in bands and isinstance(band, Mapping) else band
            for name, band in given.items()
        }
