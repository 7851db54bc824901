"""Each sign of a bad measurement, tripped by hand-made evidence. A perfect run is VALID."""

from __future__ import annotations

import pytest

from bench.verdict import SIGNS
from bench.verdict.finding import Status
from tests.support.made_evidence import (
    AGREED,
    KERNEL,
    LAG,
    LATE,
    MISCOUNTED,
    MISMATCH,
    PAUSE,
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


def test_a_perfect_run_is_valid_and_every_sign_has_looked_at_it() -> None:
    found = verdict(calibration=certified(stat="p50"), server=AGREED)
    assert (found.status, found.reasons) == (Status.VALID, [])
    # If no worker died and no file was lost, there is no finding about it; likewise if the target is there and
    # something was measured. No prompt was compared with its usage, either.
    silent = {"input_tokens", "workers", "clock_drift", "target_gone", "files", "nothing_measured", "imported"}
    silent |= {sign for sign in SIGNS if sign.startswith("replica_")}  # The run has one server.
    assert {f.sign for f in found.findings} == set(SIGNS) - silent, (
        "a perfect run has a VALID finding for each sign: add what the sign needs to made_evidence.py"
    )
    assert (found.status, found.reasons) == ("VALID", [])


def off_plan(of: str, share: float) -> dict[str, object]:
    return {"load.off_plan": {"of": of, "share": share, "start_s": 30.0, "end_s": 60.0}}


def segment(*, sent: int = 1_000, **plan: float) -> dict[str, object]:
    whole = {"planned_rps": 20.0, "sent_rps": 20.0, "rate_difference": 0.0, "span_difference_ms": 100.0}
    return {"start_s": 30.0, "end_s": 60.0, "sent": sent, "plan": {**whole, "dispersion_ratio": 1.0, **plan}}


ALL_COUNTED = {PROMPTS: {"compared": 1_000, "differ": 9}, "tokens.asked.input": 1_000_000}
TRIPPED: list[tuple[str, dict[str, object], Status]] = [
    ("nothing_measured", {"counts.succeeded": 0}, Status.INVALID),
    ("nothing_measured", {"counts.succeeded": 0, "counts.interrupted": 3}, Status.INVALID),
    ("cut_requests", {"counts.succeeded": 99, "counts.interrupted": 1}, Status.VALID),
    ("cut_requests", {"counts.succeeded": 98, "counts.interrupted": 1}, Status.SUSPECT),
    ("nothing_measured", {"counts.succeeded": 0, "counts.dropped": 1_000, "counts.by_outcome": {}}, Status.INVALID),
    ("nothing_measured", {"counts.succeeded": 0, "counts.warmup": {"requests": 20}}, Status.INVALID),
    ("send_lateness", {LATE: 1.5}, Status.SUSPECT),
    ("send_lateness", {LATE: 10.5}, Status.INVALID),
    ("send_lateness", {LATE: 1.5, "latency.ttft_ms.p50": 200.0}, Status.VALID),  # Over 1 ms, but under 1%.
    ("send_lateness", {LATE: 0.9, "latency.ttft_ms.p50": 5.0}, Status.VALID),  # Over 1%, but under 1 ms.
    ("send_lateness", {LATE: 10.5, "latency.ttft_ms.p50": 200.0}, Status.SUSPECT),  # Over 10 ms, but under 10%.
    ("send_lateness", {LATE: 20.0, "latency.ttft_ms.p50": None}, Status.SUSPECT),  # Not streamed: 4% of E2EL.
    ("ready_not_sent", ready(0.011, 1.1), Status.SUSPECT),
    ("ready_not_sent", ready(0.051, 10.1), Status.INVALID),
    ("ready_not_sent", ready(0.051, 9.9), Status.SUSPECT),  # Over 5%, from waits under 10 ms.
    ("ready_not_sent", ready(0.5, 0.9), Status.VALID),  # Waits as long as the replies, but under 1 ms.
    ("ready_not_sent", ready(0.009, 3_000.0), Status.VALID),
    ("never_sent", {"load.never_sent": {"n": 6, "share": 0.011}}, Status.SUSPECT),
    ("never_sent", {"load.never_sent": {"n": 6, "share": 0.051}}, Status.INVALID),
    ("never_sent", {"load.never_sent": {"n": 6, "share": 0.009}}, Status.VALID),
    ("pause", pause(3_000, 0.011), Status.SUSPECT),
    ("late_ends", {"load.late_ends": {"mean_ms": 3_000.0, "share": 0.11}}, Status.SUSPECT),
    ("late_ends", {"load.late_ends": {"mean_ms": 3_000.0, "share": 0.09}}, Status.VALID),
    ("late_ends", {"load.late_ends": {"mean_ms": 99.0, "share": 5.0}}, Status.VALID),
    ("slow_connects", connects(200, 1_000.0), Status.SUSPECT),  # 200 ms per request, 40% of 500 ms.
    ("slow_connects", connects(200, 499.0), Status.VALID),
    ("slow_connects", {"latency.e2el_ms.mean": 5_000.0, **connects(200, 2_000.0)}, Status.VALID),
    ("pause", pause(3_000, 0.051), Status.INVALID),
    ("pause", pause(101, 0.051), Status.INVALID),
    ("pause", pause(99, 0.9), Status.VALID),  # A run of a tenth of a second.
    ("pause", pause(3_000, 0.009), Status.VALID),  # Three seconds of six minutes.
    ("sent_rate", {f"{PLAN}.rate_difference": 0.5, f"{PLAN}.span_difference_ms": 9.0}, Status.VALID),  # 6 sends.
    ("sent_rate", {f"{PLAN}.rate_difference": 0.5, f"{PLAN}.span_difference_ms": -49.0}, Status.SUSPECT),
    ("sent_rate", {f"{PLAN}.rate_difference": -0.011}, Status.SUSPECT),
    ("sent_rate", {f"{PLAN}.rate_difference": 0.011}, Status.SUSPECT),
    ("sent_rate", {f"{PLAN}.rate_difference": -0.051}, Status.INVALID),
    ("sent_dispersion", {f"{PLAN}.dispersion_ratio": 1.06}, Status.SUSPECT),
    ("sent_dispersion", {f"{PLAN}.dispersion_ratio": 0.94}, Status.SUSPECT),
    ("sent_dispersion", {f"{PLAN}.dispersion_ratio": 1.26}, Status.INVALID),
    ("sent_dispersion", {f"{PLAN}.dispersion_ratio": 1.26, "counts.by_outcome": {"ok": 250}}, Status.SUSPECT),
    ("sent_dispersion", {f"{PLAN}.dispersion_ratio": 2.01, "counts.by_outcome": {"ok": 250}}, Status.INVALID),
    ("sent_dispersion", {f"{PLAN}.dispersion_ratio": 0.74}, Status.INVALID),
    ("sent_rate", {"segments": [segment(rate_difference=-0.1)]}, Status.INVALID),  # Only in one part.
    ("sent_rate", {"segments": [segment(), segment(rate_difference=-0.02)]}, Status.SUSPECT),
    ("sent_dispersion", {"segments": [segment(), segment(dispersion_ratio=1.3)]}, Status.INVALID),
    ("sent_dispersion", {"segments": [segment(dispersion_ratio=1.3, sent=100)]}, Status.VALID),  # Only 100 sends.
    ("off_plan", off_plan("arrivals", 0.011), Status.SUSPECT),
    ("off_plan", off_plan("arrivals", 0.051), Status.INVALID),
    ("off_plan", off_plan("users", 0.25), Status.INVALID),
    ("waited_at_cap", {"load.waited_at_cap.n": 11}, Status.SUSPECT),
    ("waited_at_cap", {"load.waited_at_cap.n": 1_000}, Status.SUSPECT),
    ("waited_at_cap", {"counts.dropped": 20, "counts.by_outcome": {"ok": 980, "dropped": 20}}, Status.SUSPECT),
    ("loop_lag", {LAG: 1.5}, Status.SUSPECT),
    ("loop_lag", {LAG: 10.5}, Status.INVALID),
    ("loop_lag", {LAG: 1.5, "latency.chunk_gap_ms.p50": 50.0}, Status.VALID),
    ("loop_lag", {LAG: 10.5, "latency.chunk_gap_ms.p50": 50.0}, Status.SUSPECT),
    ("loop_lag", {LAG: 10.5, "latency.chunk_gap_ms.p50": None}, Status.INVALID),
    ("cpu", {"instrument.cpu.seconds_over_90": 0.11}, Status.SUSPECT),
    ("cpu", {"instrument.cpu.seconds_over_90": 0.51}, Status.INVALID),
    ("cpu", {"instrument.cpu.seconds_over_90": 0.5, **KERNEL}, Status.VALID),  # Nothing is late by it.
    ("cpu", {"instrument.cpu.seconds_over_90": 0.51, **KERNEL}, Status.SUSPECT),
    ("clock_drift", {"clock_drift": (5.1, "b")}, Status.SUSPECT),
    ("clock_drift", {"clock_drift": (100.1, "b")}, Status.INVALID),
    (
        "workers",
        {"died": ["worker 1 was killed by SIGKILL (which the system does when memory runs out)"]},
        Status.INVALID,
    ),
    ("run_queue", {"instrument.run_queue.mean": 0.021}, Status.SUSPECT),
    ("run_queue", {"instrument.run_queue.mean": 0.11}, Status.INVALID),
    ("run_queue", {"instrument.run_queue.mean": 0.5, **KERNEL}, Status.VALID),  # Nothing is late by it.
    ("wide_stamps", opened("ttft_ms", "p50", 47.0, 50.0), Status.SUSPECT),
    ("wide_stamps", opened("itl_ms", "p50", 0.0, 40.0), Status.SUSPECT),
    ("wide_stamps", opened("e2el_ms", "p50", 490.0, 500.0), Status.VALID),  # 2%.
    (
        "wide_stamps",
        opened("ttft_ms", "mean", 44.0, 50.0),
        Status.VALID,
    ),  # 12%, which one uncertain stamp of twenty may cause.
    ("wide_stamps", opened("ttft_ms", "mean", 37.0, 50.0), Status.SUSPECT),
    ("wide_stamps", opened("itl_ms", "p90", 19.9, 20.05), Status.VALID),
    ("wide_stamps", opened("itl_ms", "p999", 0.0, 40.0), Status.VALID),  # Shown with its bounds, and not judged.
    ("wide_stamps", opened("tpot_ms", "p99", 16.0, 20.0), Status.VALID),  # 20% of a tail.
    ("wide_stamps", opened("tpot_ms", "p99", 14.0, 20.0), Status.SUSPECT),
    ("littles_law", {"load.littles_law.difference": -0.006}, Status.SUSPECT),
    ("littles_law", {"load.littles_law.difference": 0.051}, Status.INVALID),
    ("littles_law", {"load.littles_law.records": 999}, Status.SUSPECT),
    ("littles_law", {"load.littles_law.records": 1_001}, Status.SUSPECT),
    ("littles_law", {"load.littles_law.records": 989}, Status.INVALID),
    ("files", {"lost": ["samples.jsonl is missing, which the run wrote"]}, Status.SUSPECT),
    ("errors", {"counts.failed": 11, "counts.succeeded": 989}, Status.SUSPECT),
    ("errors", {"counts.failed": 500, "counts.succeeded": 500}, Status.SUSPECT),
    ("errors", {"counts.failed": 501, "counts.succeeded": 499}, Status.FAILED),
    ("errors", {"counts.failed": 1_000, "counts.succeeded": 0}, Status.FAILED),
    ("sent_again", {"counts.retried_late": 10}, Status.VALID),
    ("sent_again", {"counts.retried_late": 11}, Status.SUSPECT),
    ("target_gone", {"counts.target_gone": {"since_s": 8.0, "requests": 11}}, Status.FAILED),
    ("target_gone", {"counts.target_gone": {"since_s": None, "requests": 11}}, Status.FAILED),
    ("target_gone", {"counts.target_gone": {"since_s": 8.0, "requests": 10}}, Status.VALID),
    ("replica_gone", replicas(gone={"since_s": 8.0, "requests": 3}), Status.SUSPECT),
    ("replica_errors", replicas(failed=6, error_rate=0.011, failures_p=0.0019), Status.SUSPECT),
    ("replica_errors", replicas(failed=5, error_rate=0.010, failures_p=0.001), Status.VALID),
    ("replica_slower", replicas(change=0.11), Status.SUSPECT),
    ("replica_slower", replicas(change=0.10), Status.VALID),
    ("replica_share", replicas(share=0.63, share_p=0.001), Status.SUSPECT),
    ("replica_share", replicas(share=0.62, share_p=0.001), Status.VALID),
    ("cache_hits", {"cached_share": 0.021, "planned_share": None}, Status.SUSPECT),
    ("cache_hits", {"cached_share": 0.521, "planned_share": 0.5}, Status.SUSPECT),
    ("cache_hits", {"cached_share": 0.519, "planned_share": 0.5}, Status.VALID),
    ("cache_hits", {"tokens.cached.share_beyond_head": 0.021}, Status.SUSPECT),
    ("cache_hits", {"cache": cache_off(-0.0215)}, Status.SUSPECT),
    ("cache_hits", {"cache": cache_off(0.0215)}, Status.SUSPECT),
    ("cache_hits", {"cache": cache_off(-0.0205)}, Status.VALID),
    ("cache_hits", {"cache": cache_off(-0.5, rounding_share=0.49)}, Status.VALID),
    ("cache_hits", {"cache": cache_off(-0.5, counted_by=None)}, Status.VALID),
    ("server_counts", {"server": MISCOUNTED}, Status.SUSPECT),
    ("server_counts", {"server": AGREED}, Status.VALID),
    ("output_tokens", {"tokens.asked_against_got.output.share": 0.021}, Status.SUSPECT),
    ("usage", {MISMATCH: 0.011}, Status.SUSPECT),
    ("usage", {MISMATCH: 0.9, PROMPTS: {"compared": 1_000, "differ": 1}}, Status.SUSPECT),
    ("usage", {MISMATCH: 0.9, PROMPTS: {"compared": 1_000, "differ": 0}}, Status.VALID),  # Text does not re-tokenize.
    (
        "usage",
        {MISMATCH: 0.9, PROMPTS: {"compared": 9, "differ": 0}, "tokens.mismatch.usage_over_counted": 2.1},
        Status.SUSPECT,
    ),
    (
        "usage",
        {MISMATCH: 0.9, PROMPTS: {"compared": 9, "differ": 0}, "tokens.mismatch.usage_over_counted": 0.4},
        Status.SUSPECT,
    ),
    ("input_tokens", {**ALL_COUNTED, "tokens.usage.input": 500_000}, Status.VALID),
    ("input_tokens", {**ALL_COUNTED, "tokens.usage.input": 499_000}, Status.SUSPECT),
    (
        "input_tokens",
        {**ALL_COUNTED, "tokens.usage.input": 9_000_000},
        Status.VALID,
    ),  # Images, or a tokenizer of letters.
    ("input_tokens", {**ALL_COUNTED, "tokens.asked.input": 257_000, "tokens.usage.input": 1_000}, Status.VALID),
    ("input_tokens", {**ALL_COUNTED, "tokens.asked.input": 258_000, "tokens.usage.input": 1_000}, Status.SUSPECT),
    ("usage_contradicted", {"tokens.contradicted.share": 0.001}, Status.SUSPECT),
    ("usage_contradicted", {"tokens.contradicted.share": 0.05}, Status.SUSPECT),
    ("usage_contradicted", {"tokens.contradicted.share": 0.051}, Status.INVALID),
    ("tokens_doubted", {"tokens.doubted.share": 0.01}, Status.VALID),
    ("tokens_doubted", {"tokens.doubted.share": 0.011}, Status.SUSPECT),
    ("imported", {"imported_from": "aiperf 0.13.0"}, Status.SUSPECT),
]


def test_an_imported_run_is_never_valid_and_our_client_is_not_judged() -> None:
    changes: dict[str, object] = {LATE: 1e6, PAUSE: {"longest_ms": 1e9, "worker": 0, "share_of_run": 1.0}}
    found = verdict(changes, imported_from="aiperf 0.13.0", not_in_file=("the file has no start times",))
    assert (found.status, found.signs) == (Status.SUSPECT, ["imported", "imported"])
    assert found.reasons[1] == "the file has no start times"
    failing = verdict({"counts.failed": 600, "counts.succeeded": 400}, imported_from="aiperf")
    assert failing.status is Status.FAILED


def test_every_sign_is_tripped() -> None:
    """`calibration` concerns certificates, which have their own tests."""
    tripped = {sign for sign, _, status in TRIPPED if status is not Status.VALID}
    assert tripped == set(SIGNS) - {"calibration"}, (
        "TRIPPED needs rows that trip each sign, and rows just below its limit"
    )


@pytest.mark.parametrize(
    ("sign", "changes", "status"), TRIPPED, ids=[f"{i}-{s}" for i, (s, _, _) in enumerate(TRIPPED)]
)
def test_a_sign_says_what_its_band_says_and_no_other_sign_moves(
    sign: str, changes: dict[str, object], status: Status
) -> None:
    found = verdict(changes)
    assert found.of(sign) is status
    assert sign in {f.sign for f in found.findings}
    assert {f.sign for f in found.findings if f.status is not Status.VALID} <= {sign}
    assert found.status is status
    assert len(found.reasons) == (status is not Status.VALID)


@pytest.mark.parametrize(
    ("sign", "changes"),
    [
        ("replica_errors", replicas(failed=6, error_rate=0.011, failures_p=0.002)),
        ("replica_errors", replicas(failed=9, error_rate=0.5, failures_p=0.0, gone={"since_s": 8.0, "requests": 9})),
        ("replica_slower", replicas(change=0.5, p=0.002)),
        ("replica_share", replicas(share=0.9, share_p=0.002)),
    ],
)
def test_what_may_be_chance_or_is_said_already_names_no_replica(sign: str, changes: dict[str, object]) -> None:
    assert [found for found in verdict(changes).findings if found.sign == sign] == []
