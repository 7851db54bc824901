"""Every limit of the verdict can be configured."""

from __future__ import annotations

import pytest

from bench.config import resolve
from bench.verdict.finding import Status
from bench.verdict.limits import Band, Limits
from tests.support.made_evidence import (
    LAG,
    LATE,
    MISMATCH,
    PLAN,
    PROMPTS,
    cache_off,
    certified,
    connects,
    opened,
    pause,
    ready,
    replicas,
    verdict,
)


def test_how_many_workers_may_die_can_be_configured() -> None:
    # One of four, while the default allows none.
    def status(**band: float) -> Status:
        config = resolve({"url": "http://h"}, {"limits": {"workers_died": band}}, "load.yaml")
        return verdict({"died": ["worker 1 was killed by SIGKILL"]}, config.limits).status

    assert status() is Status.INVALID
    assert status(invalid=0.25) is Status.SUSPECT
    assert status(suspect=0.25, invalid=0.25) is Status.VALID
    assert status(suspect=0.24, invalid=0.24) is Status.INVALID


def test_how_many_records_may_be_missing_and_how_far_usage_may_go_can_be_configured() -> None:
    def status(changes: dict[str, object], **limits: dict[str, float]) -> Status:
        return verdict(changes, resolve({"url": "http://h"}, {"limits": limits}, "load.yaml").limits).status

    missing: dict[str, object] = {"load.littles_law.records": 995}
    assert status(missing) is Status.SUSPECT
    assert status(missing, records_missing={"suspect": 0.005}) is Status.VALID
    assert status(missing, records_missing={"invalid": 0.004}) is Status.INVALID
    far: dict[str, object] = {
        MISMATCH: 0.9,
        PROMPTS: {"compared": 9, "differ": 0},
        "tokens.mismatch.usage_over_counted": 1.5,
    }
    assert status(far) is Status.VALID
    assert status(far, usage_over_counted={"suspect": 1.4}) is Status.SUSPECT
    assert status(LIMIT_OF["user_stamps"], user_stamps={"suspect": 0.0, "invalid": 0.0}) is Status.INVALID
    assert status({"counts.failed": 100}, errors={"failed": 0.05}) is Status.FAILED


LIMIT_OF: dict[str, dict[str, object]] = {  # limit: evidence that only this limit judges
    "send_lateness_p99_ms": {LATE: 0.9},
    "send_lateness_p99_of_ttft": {LATE: 0.4},
    "ready_not_sent": ready(0.009, 100.0),
    "ready_not_sent_ms": ready(0.5, 0.9),
    "late_ends": {"load.late_ends": {"mean_ms": 3_000.0, "share": 0.09}},
    "late_ends_ms": {"load.late_ends": {"mean_ms": 99.0, "share": 5.0}},
    "slow_connects": {"latency.e2el_ms.mean": 5_000.0, **connects(200, 2_000.0)},
    "slow_connects_ms": {"latency.e2el_ms.mean": 50.0, **connects(100, 900.0)},
    "never_sent": {"load.never_sent": {"n": 6, "share": 0.009}},
    "cut_requests": {"counts.interrupted": 10},
    "pause_of_run": pause(3_000, 0.009),
    "pause_ms": pause(99, 0.9),
    "sent_rate_off_ms": {f"{PLAN}.rate_difference": 0.5, f"{PLAN}.span_difference_ms": 9.0},
    "user_stamps": {LAG: 100.0, "instrument.clock": {"kernel": 995, "user": 5, "mixed": 0}},
    "wide_stamps_ms": opened("itl_ms", "p50", 19.9, 20.05),
    "wide_stamps_p99": opened("itl_ms", "p99", 19.0, 20.0),
    "wide_stamps_p99_ms": opened("itl_ms", "p99", 19.6, 20.0),
    "records_missing": {},  # By default none may be missing.
    "files_lost": {},  # By default no file may be lost.
    "target_gone": {"counts.target_gone": {"since_s": 8.0, "requests": 10}},
    "replica_gone": {},  # By default none may be gone.
    "replica_errors": replicas(failed=4, error_rate=0.009, failures_p=0.0001),
    "replica_slower": replicas(change=0.09),
    "replica_share": replicas(share=0.6, share_p=0.0001),
    "cache_hits_unplanned": {"tokens.cached.share_beyond_head": 0.019},
    "cache_hits_off_plan": {"cache": cache_off(-0.019)},
    "usage_over_counted": {},  # It excuses a finding, and has its own test.
    "sent_rate_off": {f"{PLAN}.rate_difference": 0.009},
    "sent_dispersion_off": {f"{PLAN}.dispersion_ratio": 1.04},
    "off_plan": {"load.off_plan": {"of": "arrivals", "share": 0.009, "start_s": 0.0, "end_s": 10.0}},
    "waited_at_cap": {"load.waited_at_cap.n": 9},
    "loop_lag_p99_ms": {LAG: 0.9},
    "loop_lag_p99_of_gap": {LAG: 0.9},
    "cpu_busy_seconds": {"instrument.cpu.seconds_over_90": 0.09},
    "clock_drift_ms": {},  # Not in the summary: it has its own test.
    "workers_died": {},  # By default no worker may die: it has its own test.
    "run_queue_wait": {"instrument.run_queue.mean": 0.019},
    "wide_stamps": opened("itl_ms", "p50", 19.1, 20.05),
    "littles_law_off": {"load.littles_law.difference": 0.004},
    "errors": {"counts.failed": 9, "counts.succeeded": 991},
    "sent_again": {"counts.retried_late": 9},
    "tokens_doubted": {"tokens.doubted.share": 0.009},
    "server_counts_off": {},  # By default no count may differ: the rows above trip it.
    "input_tokens_missing": {"tokens.asked_against_got.input.compared": 1_000, "tokens.usage.input": 510},
    "input_tokens_missing_each": {"tokens.asked_against_got.input.compared": 1_000, "tokens.usage.input": 510},
    "output_tokens_off": {"tokens.asked_against_got.output.share": 0.019},
    "usage_off": {"tokens.mismatch.share": 0.009},
    "usage_contradicted": {},  # By default no usage may be impossible: the rows above trip it.
    "calibration_p50_p90_share": {},
    "calibration_p50_p90_ms": {},
    "calibration_p99_share": {},
    "calibration_p99_ms": {},
    "calibration_throughput_share": {},
}
BOTH = [("send_lateness_p99_ms", "send_lateness_p99_of_ttft"), ("loop_lag_p99_ms", "loop_lag_p99_of_gap"),
        ("ready_not_sent", "ready_not_sent_ms"), ("late_ends", "late_ends_ms"), ("slow_connects", "slow_connects_ms"),
        ("pause_ms", "pause_of_run"), ("sent_rate_off", "sent_rate_off_ms"),
        ("input_tokens_missing", "input_tokens_missing_each"),
        ("wide_stamps", "wide_stamps_ms"), ("wide_stamps_p99", "wide_stamps_p99_ms"),
        ("calibration_p50_p90_ms", "calibration_p50_p90_share"), ("calibration_p99_ms", "calibration_p99_share")]  # fmt: skip


def test_every_limit_is_in_the_table() -> None:
    assert set(LIMIT_OF) == set(Limits.model_fields)


@pytest.mark.parametrize(
    "name",
    sorted(
        LIMIT_OF.keys()
        - {
            "workers_died",
            "clock_drift_ms",
            "records_missing",
            "files_lost",
            "usage_over_counted",
            "user_stamps",
            "usage_contradicted",
            "server_counts_off",
            "replica_gone",
        }
    ),
)
def test_each_limit_can_be_configured(name: str) -> None:
    # If two bands must be exceeded, the other band is 0 from the start.
    partner = next((b if a == name else a for a, b in BOTH if name in (a, b)), None)
    zero = {"suspect": 0.0, "invalid": 0.0}
    stat = "p99" if "p99_" in name and name.startswith("calibration") else "p50"
    rows = None
    if name.startswith("calibration"):
        row = {"metric": "requests_per_s", "measured": 10.01, "true": 10.0, "error_share": 0.001}
        rows = certified(stat=stat, error=0.1, error_share=0.001)
        if "throughput" in name:
            rows = {"metrics": [], "throughput": [row], "problems": []}

    def status(**limits: dict[str, float]) -> Status:
        base = {} if partner is None else {partner: zero}
        config = resolve({"url": "http://h"}, {"limits": base | limits}, "load.yaml")
        return verdict(LIMIT_OF[name], config.limits, calibration=rows).status

    assert status() is Status.VALID
    assert status(**{name: {"suspect": 0.0}}) is Status.SUSPECT
    assert status(**{name: zero}) is Status.INVALID


def test_a_file_that_gives_one_limit_of_a_band_leaves_the_other_one() -> None:
    config = resolve({"url": "http://h"}, {"limits": {"sent_rate_off": {"suspect": 0.02}}}, "load.yaml")
    assert config.limits.sent_rate_off == Band(suspect=0.02, invalid=0.05)
    assert config.limits.errors == Limits().errors


def test_a_band_is_passed_when_its_limit_is_passed_and_not_when_it_is_met() -> None:
    band = Band(suspect=1.0, invalid=2.0)
    assert [band.of(x) for x in (1.0, 1.01, 2.0, 2.01)] == [
        Status.VALID, Status.SUSPECT, Status.SUSPECT, Status.INVALID
    ]  # fmt: skip
    assert Band(suspect=1.0).of(10**9) is Status.SUSPECT
