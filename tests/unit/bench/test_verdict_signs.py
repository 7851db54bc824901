"""What single signs of the verdict check, and their sentences."""

from __future__ import annotations

import pytest

from bench.verdict.finding import Status, Verdict
from tests.support.made_evidence import (
    CALIBRATION,
    KERNEL,
    LAG,
    LATE,
    MISMATCH,
    PERFECT,
    PLAN,
    PROMPTS,
    certified,
    ready,
    verdict,
)

CALIBRATED: list[tuple[str, float, float, Status]] = [
    # stat, error in ms, its share of the true value
    ("p50", 0.3, 0.02, Status.SUSPECT),
    ("p50", -0.3, -0.02, Status.SUSPECT),
    ("p90", 0.3, 0.02, Status.SUSPECT),
    ("p50", 0.3, 0.005, Status.VALID),
    ("p50", 0.1, 0.02, Status.VALID),
    ("p50", 1.1, 0.06, Status.INVALID),
    ("p90", 1.1, 0.06, Status.INVALID),
    ("p50", 1.1, 0.04, Status.SUSPECT),
    ("p99", 0.3, 0.03, Status.VALID),
    ("p99", 0.6, 0.03, Status.SUSPECT),
    ("p99", 2.1, 0.11, Status.INVALID),
    ("p99", 1.1, 0.11, Status.SUSPECT),
]


@pytest.mark.parametrize(("stat", "error_ms", "share", "status"), CALIBRATED)
def test_calibration_has_its_own_bands(stat: str, error_ms: float, share: float, status: Status) -> None:
    rows = certified(stat=stat, error=error_ms, error_share=share, measured=50.0 + error_ms)
    found = verdict(calibration=rows)
    assert found.status is status
    if found.reasons:
        assert found.reasons == [
            f"calibration: {'median' if stat == 'p50' else stat} of TTFT reads {50 + error_ms:.3f} ms; "
            f"the true value is 50.000 ms ({error_ms:+.3f} ms)"
        ]


@pytest.mark.parametrize(
    ("allowed", "status"),
    [
        ([0.0, 60.0], Status.VALID),  # Wider than 30: the report prints a range, which contains 50.
        ([0.0, None], Status.VALID),
        ([25.0, 51.0], Status.INVALID),  # Narrower than 30: the report prints a wrong number.
        ([0.0, 45.0], Status.INVALID),  # 50 is outside.
        ([51.0, None], Status.INVALID),
    ],
)
def test_what_is_printed_as_what_it_lies_between_is_not_judged_as_a_number(
    allowed: list[float | None], status: Status
) -> None:
    rows = certified(stat="p50", error=-20.0, error_share=-0.4, measured=30.0, allowed=allowed)
    assert verdict(calibration=rows).status is status


def test_a_speed_is_judged_by_its_time_per_token() -> None:
    # 50 tokens/s are 20 ms per token, 47.5 are 21.05 ms: over 5% and over 1 ms.
    for measured, off_ms, status in ((50.0, 0.0, Status.VALID), (49.0, 0.408163, Status.SUSPECT),
                                     (47.5, 1.052632, Status.INVALID), (52.5, 0.952381, Status.SUSPECT)):  # fmt: skip
        error = {"error": measured - 50.0, "error_share": measured / 50.0 - 1.001}
        rows = certified(stat="p50", metric="tps", unit="tokens/s", measured=measured, **error)
        found = verdict(calibration=rows)
        assert found.status is status
        assert [f.value for f in found.findings if f.sign == "calibration"] == pytest.approx([off_ms], abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "status"),
    [*((metric, Status.VALID) for metric in ("ttft_ms", "e2el_ms", "ttfb_ms", "ttfi_ms", "ttfa_ms", "job_ms")),
     ("itl_ms", Status.INVALID)],
)  # fmt: skip
def test_without_a_shared_clock_the_least_that_the_network_takes_is_no_error(metric: str, status: Status) -> None:
    rows = certified(stat="p50", metric=metric, error=5.1, error_share=0.102, measured=55.1)
    assert verdict(calibration=rows).status is Status.INVALID
    assert verdict(calibration=rows | {"network_ms": 5.0}).status is status


def test_the_errors_of_an_earlier_calibration_are_held_against_this_runs_values() -> None:
    row = {"metric": "ttft_ms", "stat": "p99", "unit": "ms", "error": 0.6, "measured": 20.0, "error_share": 0.03}
    kept = {"from": "certificate", "date": "2026-01-02T03:04:05+00:00", "metrics": [row], "problems": []}
    found = verdict(calibration=kept)
    assert found.status is Status.SUSPECT
    assert found.reasons == [
        "calibration: on 2026-01-02, at this load, p99 of TTFT was +0.600 ms off on this machine (3.0% of what it reads now)"
    ]


def test_what_did_not_agree_in_an_earlier_calibration_makes_a_run_suspect_at_most() -> None:
    kept = {"from": "certificate", "date": "2026-01-02T03:04:05+00:00", "metrics": [], "problems": ["one is missing"]}
    found = verdict(calibration=kept)
    assert (found.status, found.reasons) == (Status.SUSPECT, ["calibration of 2026-01-02: one is missing"])


def test_of_a_run_without_a_success_no_latency_is_spoken_of() -> None:
    none = verdict({"counts.failed": 5, "counts.succeeded": 0})
    assert none.reasons == ["every request failed, all 5: there are no latencies"]
    assert not any("those of the others" in reason for reason in none.reasons)


def test_counts_that_disagree_with_the_ledger_make_a_run_invalid() -> None:
    found = verdict(calibration={"metrics": [], "problems": ["1 record without a line in the ledger: a-7"]})
    assert found.status is Status.INVALID
    assert found.reasons == ["calibration: 1 record without a line in the ledger: a-7"]


def test_a_closed_loop_has_no_schedule_to_be_late_for() -> None:
    changes: dict[str, object] = {LATE: 100.0, "load.plan": None, "load.waited_at_cap": None}
    found = verdict(changes, open_loop=False)
    assert found.status is Status.VALID
    assert {f.sign for f in found.findings}.isdisjoint(
        {"send_lateness", "sent_rate", "sent_dispersion", "waited_at_cap"}
    )


@pytest.mark.parametrize(
    ("waited", "late_ms", "signs"),
    [
        (9, 0.1, ["sent_rate", "sent_dispersion"]),
        (11, 0.1, ["waited_at_cap"]),
        (11, 20.0, ["send_lateness", "waited_at_cap"]),  # A late client is distinguished from the cap.
    ],
)
def test_where_the_cap_set_the_rate_that_it_differs_from_the_plan_is_no_fault_of_the_client(
    waited: int, late_ms: float, signs: list[str]
) -> None:
    plan = {f"{PLAN}.rate_difference": -0.4, f"{PLAN}.dispersion_ratio": 2.0}
    found = verdict({"load.waited_at_cap.n": waited, LATE: late_ms, **plan})
    assert [f.sign for f in found.findings if f.status is not Status.VALID] == signs


def test_what_was_sent_and_what_failed_add_up_in_words() -> None:
    found = verdict({"counts.succeeded": 360, "counts.failed": 640, "counts.failed_unsent": 600})
    assert found.reasons == [
        "640 of 1,000 requests failed (64.0%): the latencies are those of the others; of the failed, 40 were sent and 600 "
        "were not, because no connection could be made"
    ]


def test_a_target_that_was_gone_is_told_with_when() -> None:
    found = verdict({"counts.target_gone": {"since_s": 8.04, "requests": 60}})
    assert found.reasons == [
        "the target gave its last answer 8.0 s into the run: the last 60 requests got no answer or lost their connection"
    ]


def test_waiting_for_a_processor_is_judged_by_what_it_can_have_harmed() -> None:
    waited: dict[str, object] = {"instrument.run_queue.mean": 0.227}
    # The stamps are the client's own, so the run queue makes them late.
    assert verdict(waited).of("run_queue") is Status.INVALID
    # The stamps come from the kernel; sends are punctual, late, or very late.
    for late_ms, status in ((0.1, Status.VALID), (1.5, Status.SUSPECT), (10.5, Status.INVALID)):
        assert verdict(waited | KERNEL | {LATE: late_ms}).of("run_queue") is status
    for share, status in ((0.001, Status.VALID), (0.02, Status.SUSPECT), (0.2, Status.INVALID)):
        found = verdict(waited | KERNEL | ready(share, 20.0), open_loop=False)
        assert found.of("run_queue") is status
    assert any("22.7%" in reason and "what it sent can be late" in reason for reason in found.reasons)


def test_a_busy_client_is_judged_by_what_it_can_have_harmed() -> None:
    for busy, late_ms, status in (
        (0.2, 0.1, Status.VALID), (0.2, 1.5, Status.SUSPECT), (0.2, 10.5, Status.SUSPECT),
        (0.6, 0.1, Status.SUSPECT), (0.6, 1.5, Status.SUSPECT), (0.6, 10.5, Status.INVALID),
    ):  # fmt: skip
        assert verdict(KERNEL | {"instrument.cpu.seconds_over_90": busy, LATE: late_ms}).of("cpu") is status


def test_a_few_user_stamps_among_kernel_stamps_harm_no_quantile() -> None:
    clock = {"kernel": 990, "user": 4, "mixed": 6}
    assert verdict({LAG: 100.0, "instrument.clock": clock}).status is Status.VALID
    assert verdict({LAG: 100.0, "instrument.clock": clock | {"mixed": 7}}).status is Status.INVALID


def test_of_several_open_numbers_the_worst_is_told() -> None:
    found = verdict(
        {
            "latency.itl_ms.bounds": {"p50": [0.0, 41.0], "p99": [10.0, 20.0]},
            "latency.tpot_ms.bounds": {"p50": [18.0, 20.0]},
        }
    )
    assert found.reasons == ["p50 of ITL is only known to lie between 0.00 and 41.00 ms: tokens shared reads"]


def test_what_turns_of_a_session_share_is_planned_by_nobody() -> None:
    cached: dict[str, object] = {"cached_share": 0.8, "planned_share": None}
    assert verdict(cached).status is Status.SUSPECT
    assert verdict(cached, sharing_known=False).status is Status.VALID


def test_usage_that_differs_says_what_is_known_of_the_tokenizer() -> None:
    (other,) = verdict({MISMATCH: 0.9, PROMPTS: {"compared": 50, "differ": 50}}).reasons
    assert other == (
        "the server's usage differs from our count of the text in 90.0% of the replies, and that of 50 of 50 prompts too: "
        "it uses another tokenizer"
    )
    (unknown,) = verdict({MISMATCH: 0.9}).reasons
    assert unknown == "the server's usage differs from our count of the text in 90.0% of the replies"


def test_the_worst_of_several_findings_of_one_sign_is_that_of_the_sign() -> None:
    rows = [
        CALIBRATION | {"stat": "p50"},
        CALIBRATION | {"stat": "p90", "error": 9.0, "error_share": 0.2, "measured": 59.0},
    ]
    found = verdict(calibration={"metrics": rows, "problems": []})
    assert found.of("calibration") is Status.INVALID
    assert found.of("errors") is Status.VALID


def way_in(**stats: float) -> Verdict:
    of = {"n": 100, "min": 0.02, "p50": 0.03, "p90": 0.05, "p99": 0.1}
    return verdict(calibration=certified(stat="p50") | {"way_in_ms": of | stats})


def test_a_request_that_is_said_to_be_sent_after_it_arrived_is_found_out() -> None:
    # The true TTFT is 50 ms: a min of -2.1 ms is over 2 ms, and under 10% of it.
    assert way_in().status is Status.VALID
    assert way_in(min=-0.4).status is Status.VALID
    assert way_in(min=-2.1).status is Status.SUSPECT
    assert way_in(min=-6.0).status is Status.INVALID
    assert way_in(min=6.0).status is Status.VALID  # The least time of the network is no error of the stamp.
    assert way_in(p50=6.0).status is Status.INVALID
    assert way_in(p90=-6.0).status is Status.INVALID


@pytest.mark.parametrize(
    ("least_ms", "status"),
    [(0.003, Status.VALID), (-0.4, Status.VALID), (-0.6, Status.SUSPECT), (-5.0, Status.INVALID), (5.0, Status.VALID)],
)
def test_a_chunk_that_is_seen_before_it_was_written_is_wrong_however_long_it_took(
    least_ms: float, status: Status
) -> None:
    row = certified(stat="p50", measured=995.0, true=1000.0, error=-5.0, error_share=-0.005)
    assert verdict(calibration=row | {"observation_lag_ms": {"n": 100, "min": least_ms}}).status is status


def test_the_networks_least_scales_the_share_too() -> None:
    # An error of 5.1 of 50 ms; the network takes 4.7 ms of it, so 0.4 ms and 0.8% are left.
    row = certified(stat="p50", metric="ttft_ms", error=5.1, error_share=0.102, measured=55.1)
    assert verdict(calibration=row | {"network_ms": 4.7}).status is Status.VALID
    # With 4.1 ms for the network, 1 ms is left, which is 2%, not 10.2%.
    assert verdict(calibration=row | {"network_ms": 4.0}).status is Status.SUSPECT


def test_a_speed_of_nothing_has_no_time_per_token() -> None:
    for measured, true in ((0.0, 50.0), (50.0, 0.0)):
        rows = certified(
            stat="p50", metric="tps", unit="tokens/s", measured=measured, true=true, error=50.0, error_share=1.0
        )
        assert verdict(calibration=rows).status is Status.VALID


def test_kernel_stamps_do_not_care_for_the_loops_lag() -> None:
    assert verdict({LAG: 100.0, "instrument.clock": {"kernel": 9, "user": 0, "mixed": 0}}).status is Status.VALID
    assert verdict({LAG: 100.0, "instrument.clock": {"kernel": 9, "user": 0, "mixed": 1}}).status is Status.INVALID


def test_lengths_that_were_not_asked_for_exactly_are_no_sign() -> None:
    assert verdict({"tokens.asked_against_got.output.share": 1.0}, exact_lengths=False).status is Status.VALID


def test_a_sign_whose_number_does_not_exist_says_nothing() -> None:
    nothing: dict[str, object] = {
        LATE: None, f"{PLAN}.rate_difference": None, f"{PLAN}.dispersion_ratio": None, "instrument.loop_lag_ms": None,
        "instrument.cpu": None, "instrument.run_queue": None, "instrument.pause": None, "load.ready_not_sent": None,
        "load.never_sent": None, "load.late_ends": None,
        "load.littles_law.difference": None, "load.littles_law.dispatched": None, "load.waited_at_cap": None,
        "load.off_plan": None, "counts.succeeded": 0, "counts.sent": 0, "tokens.asked_against_got.output.share": None,
        "tokens.mismatch.share": None, "tokens.cached.share_beyond_head": None,
        **{f"latency.{key}.{stat}": None for key in PERFECT["latency"] for stat in ("mean", "p50", "p90", "p99")},
        "tokens.contradicted.share": None, "tokens.doubted.share": None, "instrument.connect_ms": {"n": 0, "mean": None},
    }  # fmt: skip
    found = verdict(nothing)
    assert [f.sign for f in found.findings] == ["nothing_measured"]


def test_every_worker_that_died_is_named() -> None:
    died = ["worker 1 was killed by SIGKILL", "worker 3 ended with status 70"]
    found = verdict({"died": died})
    assert [(f.sign, f.value) for f in found.findings if f.sign == "workers"] == [("workers", 0.5)]
    assert found.reasons == [f"{died[0]}; {died[1]}: their share of the load was not sent from then on"]


def test_a_worker_that_died_before_its_first_sample_counts_too() -> None:
    found = verdict({"died": ["worker 0 was killed by SIGKILL"], "instrument.workers": 0})
    assert [f.value for f in found.findings if f.sign == "workers"] == [1.0]


def test_the_worst_finding_is_the_verdict_and_its_reason_stands_first() -> None:
    found = verdict({"tokens.mismatch.share": 0.5, f"{PLAN}.rate_difference": 0.1, "counts.failed": 100})
    assert found.status is Status.INVALID
    assert len(found.reasons) == 3
    assert found.reasons[0].startswith("sent 100.00 requests/s instead of the planned 100.00 (10.0% apart)")
