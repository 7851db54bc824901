"""Each sign of a bad measurement, tripped by evidence made by hand; a perfect run is VALID."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from bench.config import resolve
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.records import Outcome
from bench.verdict import SIGNS, judge
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Status, Verdict
from bench.verdict.limits import Band, Limits
from tests.support.made_records import MS, START_NS, made_record

CALIBRATION = {"metric": "ttft_ms", "unit": "ms", "measured": 50.0, "true": 50.0, "error": 0.0, "error_share": 0.0}

PERFECT: dict[str, Any] = {
    "counts": {
        "succeeded": 1_000,
        "failed": 0,
        "failed_unsent": 0,
        "target_gone": None,
        "dropped": 0,
        "by_outcome": {"ok": 1_000},
    },
    "load": {
        "plan": {
            "planned_rps": 100.0,
            "sent_rps": 100.0,
            "rate_difference": 0.0,
            "span_difference_ms": 100.0,
            "dispersion_ratio": 1.0,
        },
        "waited_at_cap": {"n": 0},
        "ready_not_sent": {"share": 0.0, "typical_ms": 100.0, "longest_ms": 100.0},
        "littles_law": {
            "dispatcher_mean": 10.0,
            "records_mean": 10.0,
            "difference": 0.0,
            "dispatched": 1_000,
            "records": 1_000,
        },
    },
    "latency": {
        name: {"mean": value, "p50": value, "p90": value, "p99": value, "bounds": {}}
        for name, value in (
            ("ttft_ms", 50.0),
            ("tpot_ms", 20.0),
            ("itl_ms", 20.0),
            ("e2el_ms", 500.0),
            ("chunk_gap_ms", 20.0),
        )
    },
    "tokens": {
        "asked_against_got": {"output": {"share": 0.0}, "input": {"compared": 0, "differ": 0}},
        "mismatch": {"share": 0.0, "usage_over_counted": 1.0},
        "cached": {"share_beyond_head": 0.0},
        "contradicted": {"share": 0.0, "first": None},
    },
    "instrument": {
        "send_lateness_ms": {"p99": 0.1},
        "loop_lag_ms": {"p99": 0.1},
        "clock": {"kernel": 0, "user": 1_000, "mixed": 0},
        "cpu": {"seconds_over_90": 0.0},
        "run_queue": {"mean": 0.0},
        "pause": {"longest_ms": 0.0, "worker": None, "share_of_run": 0.0},
        "workers": 4,
    },
}


EVIDENCE = {"died", "cached_share", "planned_share"}


def evidence(changes: dict[str, object] | None = None, *, calibration: Any = None, **facts: Any) -> RunEvidence:
    """The perfect evidence with changes: by dotted path in the summary, or a field of the evidence."""
    changes = dict(changes or {})
    facts = {name: changes.pop(name) for name in EVIDENCE & changes.keys()} | facts
    summary = copy.deepcopy(PERFECT)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = summary
        for parent in parents:
            place = place[parent]
        assert last in place, path
        place[last] = value
    return RunEvidence(summary=summary, calibration=calibration, **({"open_loop": True, "exact_lengths": True} | facts))


def verdict(changes: dict[str, object] | None = None, limits: Limits | None = None, **more: Any) -> Verdict:
    return judge(evidence(changes, **more), Limits() if limits is None else limits)


def certified(**row: object) -> dict[str, Any]:
    return {"metrics": [CALIBRATION | row], "problems": []}


def test_a_perfect_run_is_valid_and_every_sign_has_looked_at_it() -> None:
    found = verdict(calibration=certified(stat="p50"))
    assert (found.status, found.reasons) == (Status.VALID, [])
    # That no worker died is no finding, and that the target is there neither.
    assert {f.sign for f in found.findings} == set(SIGNS) - {"workers", "target_gone"}
    assert found.to_json() == {"status": "VALID", "reasons": []}


LATE, LAG = "instrument.send_lateness_ms.p99", "instrument.loop_lag_ms.p99"
PLAN = "load.plan"
READY, PAUSE = "load.ready_not_sent", "instrument.pause"
MISMATCH, PROMPTS = "tokens.mismatch.share", "tokens.asked_against_got.input"
KERNEL = {"instrument.clock": {"kernel": 1_000, "user": 0, "mixed": 0}}


def pause(longest_ms: float, share: float) -> dict[str, object]:
    return {PAUSE: {"longest_ms": longest_ms, "worker": 2, "share_of_run": share}}


def ready(share: float, typical_ms: float) -> dict[str, object]:
    return {READY: {"share": share, "typical_ms": typical_ms, "longest_ms": typical_ms}}


def opened(metric: str, stat: str, least: float, greatest: float | None) -> dict[str, object]:
    return {f"latency.{metric}.bounds": {stat: [least, greatest]}}


TRIPPED: list[tuple[str, dict[str, object], Status]] = [
    ("send_lateness", {LATE: 1.5}, Status.SUSPECT),
    ("send_lateness", {LATE: 10.5}, Status.INVALID),
    ("send_lateness", {LATE: 1.5, "latency.ttft_ms.p50": 200.0}, Status.VALID),  # Over 1 ms, but under 1%.
    ("send_lateness", {LATE: 0.9, "latency.ttft_ms.p50": 5.0}, Status.VALID),  # Over 1%, but under 1 ms.
    ("send_lateness", {LATE: 10.5, "latency.ttft_ms.p50": 200.0}, Status.SUSPECT),  # Over 10 ms, but under 10%.
    ("send_lateness", {LATE: 20.0, "latency.ttft_ms.p50": None}, Status.SUSPECT),  # Not streamed: 4% of E2EL.
    ("ready_not_sent", ready(0.011, 1.1), Status.SUSPECT),
    ("ready_not_sent", ready(0.051, 10.1), Status.INVALID),
    ("ready_not_sent", ready(0.051, 9.9), Status.SUSPECT),  # Over 5%, made of waits under 10 ms.
    ("ready_not_sent", ready(0.5, 0.9), Status.VALID),  # As long as the replies, and under 1 ms.
    ("ready_not_sent", ready(0.009, 3_000.0), Status.VALID),
    ("pause", pause(3_000, 0.011), Status.SUSPECT),
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
    ("workers", {"died": ["worker 1 was killed by SIGKILL"]}, Status.INVALID),
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
    ),  # 12%, which one stamp of twenty may leave open.
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
    ("errors", {"counts.failed": 11, "counts.succeeded": 989}, Status.SUSPECT),
    ("errors", {"counts.failed": 500, "counts.succeeded": 500}, Status.SUSPECT),
    ("errors", {"counts.failed": 501, "counts.succeeded": 499}, Status.FAILED),
    ("errors", {"counts.failed": 1_000, "counts.succeeded": 0}, Status.FAILED),
    ("target_gone", {"counts.target_gone": {"since_s": 8.0, "requests": 11}}, Status.FAILED),
    ("target_gone", {"counts.target_gone": {"since_s": None, "requests": 11}}, Status.FAILED),
    ("target_gone", {"counts.target_gone": {"since_s": 8.0, "requests": 10}}, Status.VALID),
    ("cache_hits", {"cached_share": 0.021, "planned_share": None}, Status.SUSPECT),
    ("cache_hits", {"cached_share": 0.521, "planned_share": 0.5}, Status.SUSPECT),
    ("cache_hits", {"cached_share": 0.519, "planned_share": 0.5}, Status.VALID),
    ("cache_hits", {"tokens.cached.share_beyond_head": 0.021}, Status.SUSPECT),
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
    ("usage_contradicted", {"tokens.contradicted.share": 0.001}, Status.SUSPECT),
    ("usage_contradicted", {"tokens.contradicted.share": 0.05}, Status.SUSPECT),
    ("usage_contradicted", {"tokens.contradicted.share": 0.051}, Status.INVALID),
]


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


def without_numbers(sentence: str) -> str:
    return re.sub(r"[0-9]+(?:[.,][0-9]+)*", "N", " ".join(sentence.split()))


def test_troubleshooting_quotes_what_the_signs_say() -> None:
    earlier = {"from": "certificate", "date": "2026-01-01", "metrics": [CALIBRATION | {"stat": "p50"}], "problems": []}
    found = [verdict(changes) for _, changes, _ in TRIPPED]
    found += [verdict(pause(3_000, 0.1) | {"instrument.workers": 1})]
    found += [verdict(calibration=certified(stat="p50")), verdict(calibration=earlier)]
    said = {(f.sign, without_numbers(f.sentence)) for one in found for f in one.findings}
    page = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### [^\n]*\(`(\w+)`\)\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
    assert {sign for sign, _ in sections} == set(SIGNS)
    for sign, section in sections:
        quotes = re.findall(r'\*"(.*?)"\*', section, re.DOTALL)
        assert quotes, sign
        for part in (part for quote in quotes for part in without_numbers(quote).split(" ...")):
            assert any(part.strip() in sentence for of, sentence in said if of == sign), (sign, part)


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
            f"calibration: {stat} of ttft_ms reads {50 + error_ms:.3f} ms where the truth is 50.000 ms ({error_ms:+.3f} ms)"
        ]


@pytest.mark.parametrize(
    ("allowed", "status"),
    [
        ([0.0, 60.0], Status.VALID),  # Wider than 30: the report prints what it lies between, and 50 is inside.
        ([0.0, None], Status.VALID),
        ([25.0, 51.0], Status.INVALID),  # Narrower than 30: a number is printed, and it is wrong.
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
    # 50 tokens/s are 20 ms a token, 47.5 are 21.05: over 5% and over 1 ms.
    for measured, status in ((50.0, Status.VALID), (49.0, Status.SUSPECT), (47.5, Status.INVALID)):
        error = {"error": measured - 50.0, "error_share": measured / 50.0 - 1.001}
        rows = certified(stat="p50", metric="tps", unit="tokens/s", measured=measured, **error)
        assert verdict(calibration=rows).status is status


@pytest.mark.parametrize(
    ("metric", "status"), [("ttft_ms", Status.VALID), ("e2el_ms", Status.VALID), ("itl_ms", Status.INVALID)]
)
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
        "calibration: at this load this machine read p99 of ttft_ms +0.600 ms wrong on 2026-01-02 (3.0% of what it reads now)"
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
    # The stamps are the client's own: they are late by it.
    assert verdict(waited).of("run_queue") is Status.INVALID
    # The stamps are the kernel's, and the sends are punctual, late, or very late.
    for late_ms, status in ((0.1, Status.VALID), (1.5, Status.SUSPECT), (10.5, Status.INVALID)):
        assert verdict(waited | KERNEL | {LATE: late_ms}).of("run_queue") is status
    for share, status in ((0.001, Status.VALID), (0.02, Status.SUSPECT), (0.2, Status.INVALID)):
        found = verdict(waited | KERNEL | ready(share, 20.0), open_loop=False)
        assert found.of("run_queue") is status
    assert any("22.7%" in reason and "what it sent can be late" in reason for reason in found.reasons)


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
    assert way_in(min=6.0).status is Status.VALID  # What the network takes at least is no error of the stamp.
    assert way_in(p50=6.0).status is Status.INVALID
    assert way_in(p90=-6.0).status is Status.INVALID


def test_the_networks_least_scales_the_share_too() -> None:
    # 5.1 ms off of 50 ms, of which the network takes 4.7: 0.4 ms and 0.8% are left.
    row = certified(stat="p50", metric="ttft_ms", error=5.1, error_share=0.102, measured=55.1)
    assert verdict(calibration=row | {"network_ms": 4.7}).status is Status.VALID
    # 4.1 ms: 1 ms, of which the share is 2% and not 10.2.
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
        "load.littles_law.difference": None, "load.littles_law.dispatched": None, "load.waited_at_cap": None,
        "counts.succeeded": 0, "tokens.asked_against_got.output.share": None, "tokens.mismatch.share": None,
        "tokens.cached.share_beyond_head": None,
        **{f"latency.{key}.{stat}": None for key in PERFECT["latency"] for stat in ("mean", "p50", "p90", "p99")},
        "tokens.contradicted.share": None,
    }  # fmt: skip
    found = verdict(nothing)
    assert found.findings == ()
    assert found.status is Status.VALID


def test_every_worker_that_died_is_named() -> None:
    died = ["worker 1 was killed by SIGKILL", "worker 3 ended with status 70"]
    found = verdict({"died": died})
    assert [(f.sign, f.value) for f in found.findings if f.sign == "workers"] == [("workers", 0.5)]
    assert found.reasons == [f"{died[0]}; {died[1]}: their share of the load was not sent from then on"]


def test_how_many_workers_may_die_can_be_configured() -> None:
    # One of four, where the default allows none.
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


def test_a_worker_that_died_before_its_first_sample_counts_too() -> None:
    found = verdict({"died": ["worker 0 was killed by SIGKILL"], "instrument.workers": 0})
    assert [f.value for f in found.findings if f.sign == "workers"] == [1.0]


def test_the_worst_finding_is_the_verdict_and_its_reason_stands_first() -> None:
    found = verdict({"tokens.mismatch.share": 0.5, f"{PLAN}.rate_difference": 0.1, "counts.failed": 100})
    assert found.status is Status.INVALID
    assert len(found.reasons) == 3
    assert found.reasons[0].startswith("sent 100.00 requests/s where the drawn plan has 100.00 (10.0% apart)")


LIMIT_OF = {  # limit: evidence that it judges alone
    "send_lateness_p99_ms": {LATE: 0.9},
    "send_lateness_p99_of_ttft": {LATE: 0.4},
    "ready_not_sent": ready(0.009, 100.0),
    "ready_not_sent_ms": ready(0.5, 0.9),
    "pause_of_run": pause(3_000, 0.009),
    "pause_ms": pause(99, 0.9),
    "sent_rate_off_ms": {f"{PLAN}.rate_difference": 0.5, f"{PLAN}.span_difference_ms": 9.0},
    "user_stamps": {LAG: 100.0, "instrument.clock": {"kernel": 995, "user": 5, "mixed": 0}},
    "wide_stamps_ms": opened("itl_ms", "p50", 19.9, 20.05),
    "wide_stamps_p99": opened("itl_ms", "p99", 19.0, 20.0),
    "wide_stamps_p99_ms": opened("itl_ms", "p99", 19.6, 20.0),
    "records_missing": {},  # By default none may be.
    "target_gone": {"counts.target_gone": {"since_s": 8.0, "requests": 10}},
    "cache_hits_unplanned": {"tokens.cached.share_beyond_head": 0.019},
    "usage_over_counted": {},  # A test of its own: it excuses.
    "sent_rate_off": {f"{PLAN}.rate_difference": 0.009},
    "sent_dispersion_off": {f"{PLAN}.dispersion_ratio": 1.04},
    "waited_at_cap": {"load.waited_at_cap.n": 9},
    "loop_lag_p99_ms": {LAG: 0.9},
    "loop_lag_p99_of_gap": {LAG: 0.9},
    "cpu_busy_seconds": {"instrument.cpu.seconds_over_90": 0.09},
    "workers_died": {},  # By default no worker may die: it has a test of its own.
    "run_queue_wait": {"instrument.run_queue.mean": 0.019},
    "wide_stamps": opened("itl_ms", "p50", 19.1, 20.05),
    "littles_law_off": {"load.littles_law.difference": 0.004},
    "errors": {"counts.failed": 9, "counts.succeeded": 991},
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
        ("ready_not_sent", "ready_not_sent_ms"), ("pause_ms", "pause_of_run"), ("sent_rate_off", "sent_rate_off_ms"),
        ("wide_stamps", "wide_stamps_ms"), ("wide_stamps_p99", "wide_stamps_p99_ms"),
        ("calibration_p50_p90_ms", "calibration_p50_p90_share"), ("calibration_p99_ms", "calibration_p99_share")]  # fmt: skip


def test_every_limit_is_in_the_table() -> None:
    assert set(LIMIT_OF) == set(Limits.model_fields)


@pytest.mark.parametrize(
    "name",
    sorted(
        LIMIT_OF.keys() - {"workers_died", "records_missing", "usage_over_counted", "user_stamps", "usage_contradicted"}
    ),
)
def test_each_limit_can_be_configured(name: str) -> None:
    # A run inside the default band is not valid any more where the limit is 0, and invalid where both limits are.
    # Where two bands must be passed, the other one is 0 from the start.
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


def judged(records: list[Any], samples: list[dict[str, Any]], mode: str = "rate") -> Verdict:
    facts = RunFacts(
        mode=mode,
        open_loop=mode == "rate",
        endpoint="chat",
        start_ns=START_NS,
        seed=0,
        offered_rps=100.0,
        max_concurrency=50,
    )
    summary = Summary(facts)
    for record in records:
        summary.add(record)
    for row in samples:
        summary.add_sample(row)
    return judge(RunEvidence(summary=summary.close(), open_loop=facts.open_loop, exact_lengths=True), Limits())


def perfect_samples(seconds: int, in_flight: float) -> list[dict[str, Any]]:
    return [
        {
            "t_ns": START_NS + s * 1_000 * MS,
            "worker": 0,
            "in_flight_ns": s * in_flight * 1_000 * MS,
            "sent": 100 * s,
            "done": 100 * s,
            **({"cpu": 0.2, "loop_lag_ms": [0.05] * 50, "run_queue_share": 0.001} if s else {}),
        }
        for s in range(seconds + 1)
    ]


def test_the_signs_find_their_numbers_where_the_summary_puts_them() -> None:
    # 100 a second, each 70 ms in flight: 7 at once.
    records = [made_record(i, sent_ms=10 * i, output_tokens_asked=3, output_tokens_counted=3) for i in range(1_000)]
    # The first sends' ramp of 70 ms is less than 0.5% of 10 s.
    found = judged(records, perfect_samples(10, 7.0 * 0.997))
    assert found.status is Status.VALID, found.reasons
    said_by_others = {"calibration", "workers", "target_gone", "cache_hits", "ready_not_sent"}
    assert {f.sign for f in found.findings} == set(SIGNS) - said_by_others


@pytest.mark.parametrize(
    ("sign", "status", "change"),
    [
        (
            "send_lateness",
            Status.INVALID,
            {"sent_ns": START_NS + 30 * MS, "intended_ns": START_NS, "eligible_ns": START_NS},
        ),
        ("errors", Status.FAILED, {"outcome": Outcome.RESET}),
        ("target_gone", Status.FAILED, {"outcome": Outcome.RESET}),
        ("cache_hits", Status.SUSPECT, {"cached_tokens": 18}),
        ("cache_hits", Status.VALID, {"cached_tokens": 17}),
        ("waited_at_cap", Status.SUSPECT, {"intended_ns": START_NS, "eligible_ns": START_NS + MS}),
        ("wide_stamps", Status.SUSPECT, {"chunk_bound_ns": (START_NS, START_NS, None), "coalesced": 2}),
        ("output_tokens", Status.SUSPECT, {"output_tokens_asked": 9}),
        ("usage", Status.SUSPECT, {"output_tokens_counted": 9}),
        ("usage_contradicted", Status.INVALID, {"usage_contradiction": "usage says -5 output tokens"}),
    ],
)
def test_records_that_show_a_sign_trip_it_through_the_summary(
    sign: str, status: Status, change: dict[str, Any]
) -> None:
    records = [made_record(i, sent_ms=0.01 * i, **change) for i in range(300)]
    found = judged(records, [])
    assert {f.status for f in found.findings if f.sign == sign} == {status}


def test_a_rate_that_was_not_sent_is_seen_in_the_records() -> None:
    # Planned every 10 ms, sent every 12 ms: waits relative to the last send.
    records = [
        made_record(i, sent_ms=12 * i, intended_ns=START_NS + i * 10 * MS, eligible_ns=START_NS + i * 10 * MS)
        for i in range(300)
    ]
    found = judged(records, [])
    assert {f.status for f in found.findings if f.sign == "sent_rate"} == {Status.INVALID}
