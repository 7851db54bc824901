"""The bands of the signs match docs/troubleshooting.md. A file that sets one limit of a band keeps the others."""

from __future__ import annotations

import pytest

from bench.verdict.finding import Status
from bench.verdict.limits import Band, Limits

# suspect, invalid, failed: shares of 1, or ms if the name says so
BANDS: dict[str, tuple[float, float | None, float | None]] = {
    "send_lateness_p99_ms": (1, 10, None), "send_lateness_p99_of_ttft": (0.01, 0.1, None),
    "ready_not_sent": (0.01, 0.05, None), "ready_not_sent_ms": (1, 10, None), "never_sent": (0.01, 0.05, None),
    "cut_requests": (0.01, None, None), "late_ends": (0.10, None, None), "late_ends_ms": (100, None, None),
    "slow_connects": (0.10, None, None), "slow_connects_ms": (100, None, None),
    "pause_ms": (100, 100, None), "pause_of_run": (0.01, 0.05, None),
    "sent_rate_off": (0.01, 0.05, None), "sent_rate_off_ms": (10, 50, None),
    "sent_dispersion_off": (0.05, 0.25, None), "off_plan": (0.01, 0.05, None), "waited_at_cap": (0.01, None, None),
    "user_stamps": (0.01, 0.01, None), "loop_lag_p99_ms": (1, 10, None), "loop_lag_p99_of_gap": (0.05, 0.5, None),
    "cpu_busy_seconds": (0.1, 0.5, None), "workers_died": (0, 0, None), "clock_drift_ms": (5, 100, None),
    "run_queue_wait": (0.02, 0.1, None), "wide_stamps": (0.05, None, None), "wide_stamps_ms": (0.2, None, None),
    "wide_stamps_p99": (0.25, None, None), "wide_stamps_p99_ms": (0.5, None, None),
    "littles_law_off": (0.005, 0.05, None), "records_missing": (0, 0.01, None), "files_lost": (0, None, None),
    "errors": (0.01, None, 0.5), "sent_again": (0.01, None, None), "target_gone": (0.01, None, 0.01),
    "replica_gone": (0, None, None), "replica_errors": (0.01, None, None), "replica_slower": (0.1, None, None),
    "replica_share": (0.25, None, None),
    "cache_hits_unplanned": (0.02, None, None), "cache_hits_off_plan": (0.02, None, None),
    "server_counts_off": (0, None, None), "input_tokens_missing": (0.5, None, None),
    "input_tokens_missing_each": (256, None, None),
    "output_tokens_off": (0.02, None, None), "usage_off": (0.01, None, None),
    "usage_over_counted": (2, None, None), "tokens_doubted": (0.01, None, None), "usage_contradicted": (0, 0.05, None),
    "calibration_p50_p90_share": (0.01, 0.05, None), "calibration_p50_p90_ms": (0.2, 1, None),
    "calibration_p99_share": (0.02, 0.1, None), "calibration_p99_ms": (0.5, 2, None),
    "calibration_throughput_share": (0.01, 0.05, None),
}  # fmt: skip


def test_the_bands_are_those_of_the_page() -> None:
    found = {name: (band.suspect, band.invalid, band.failed) for name, band in Limits()}
    assert found == BANDS


@pytest.mark.parametrize(
    ("band", "value", "status"),
    [
        (Band(suspect=1), 1, Status.VALID),
        (Band(suspect=1), 1.1, Status.SUSPECT),
        (Band(suspect=1, invalid=2), 2, Status.SUSPECT),
        (Band(suspect=1, invalid=2), 2.1, Status.INVALID),
        (Band(suspect=1, failed=2), 2, Status.SUSPECT),
        (Band(suspect=1, failed=2), 2.1, Status.FAILED),
        (Band(suspect=1, invalid=2, failed=3), 3, Status.INVALID),
        (Band(suspect=0, invalid=0), 0, Status.VALID),
        (Band(suspect=0, failed=0), -1, Status.VALID),
    ],
)
def test_a_value_at_a_limit_is_within_it(band: Band, value: float, status: Status) -> None:
    assert band.of(value) is status


def test_a_limit_that_is_given_leaves_the_others_of_its_band() -> None:
    given = Limits.model_validate({"target_gone": {"failed": 0.5}, "errors": {"invalid": 0.2}})
    assert given.target_gone == Band(suspect=0.01, failed=0.5)
    assert given.errors == Band(suspect=0.01, invalid=0.2, failed=0.5)
    assert given.usage_off == Limits().usage_off
