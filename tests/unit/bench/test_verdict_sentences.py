"""The sentence of each sign, word for word, with its value; and what it omits when a number is missing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bench.results.metric_titles import in_sentence
from bench.verdict.classes import of_class
from bench.verdict.finding import Finding, Status, Verdict, badness, milder, worst
from bench.verdict.limits import Band, Limits
from tests.support.changed import replace
from tests.support.made_evidence import (
    CALIBRATION,
    LAG,
    LATE,
    MISMATCH,
    PLAN,
    PROMPTS,
    cache_off,
    certified,
    class_of,
    connects,
    ready,
    replicas,
    verdict,
)


def said(sign: str, changes: dict[str, Any] | None = None, **more: Any) -> list[tuple[str, Any]]:
    return [(f.sentence, pytest.approx(f.value)) for f in verdict(changes, **more).findings if f.sign == sign]


def segment(start_s: float, **plan: float) -> dict[str, Any]:
    whole = {"planned_rps": 20.0, "sent_rps": 18.0, "rate_difference": -0.1, "span_difference_ms": 100.0}
    return {
        "start_s": start_s,
        "end_s": start_s + 30,
        "sent": 1_000,
        "plan": {**whole, "dispersion_ratio": 1.0, **plan},
    }


SAID: list[tuple[str, dict[str, Any], str, float]] = [
    ("send_lateness", {LATE: 1.5}, "requests left late: p99 1.50 ms, 3.0% of the median TTFT; the client was busy", 1.5),
    (
        "send_lateness", {LATE: 5.0, "latency.ttft_ms.p50": None},
        "requests left late: p99 5.00 ms, 1.0% of the median E2EL; the client was busy", 5.0,
    ),
    (
        "send_lateness", {LATE: 5.0, "latency.ttft_ms.p50": None, "latency.e2el_ms.p50": None},
        "requests left late: p99 5.00 ms; the client was busy", 5.0,
    ),
    (
        "waited_at_cap", {"load.waited_at_cap": {"n": 20}, "counts.dropped": 30},
        "5.0% of the arrivals found no free slot under --max-concurrency: the cap set the rate", 0.05,
    ),
    (
        "off_plan", {"load.off_plan": {"of": "users", "share": 0.02, "start_s": 5.0, "end_s": 7.5}},
        "from 5.0 to 7.5 s, by the settings and the recorded changes, users were missing or too many in 2.0% of their time",
        0.02,
    ),
    (
        "off_plan", {"load.off_plan": {"of": "arrivals", "share": 0.02, "start_s": 5.0, "end_s": 7.5}},
        "from 5.0 to 7.5 s, 2.0% of the arrivals were not due when the settings and the recorded changes say", 0.02,
    ),
    (
        "pause", {"instrument.pause": {"longest_ms": 1500.0, "worker": 2, "share_of_run": 0.02}},
        "worker 2 stood still for 1.50 s, 2.0% of the run: it sent and read nothing meanwhile", 1500.0,
    ),
    (
        "pause",
        {"instrument.pause": {"longest_ms": 1500.0, "worker": 0, "share_of_run": 0.02}, "instrument.workers": 1},
        "the client stood still for 1.50 s, 2.0% of the run: it sent and read nothing meanwhile", 1500.0,
    ),
    (
        "loop_lag", {LAG: 2.0}, "the client's event loop was late: p99 2.00 ms, 10% of the median gap between tokens", 2.0,
    ),
    (
        "loop_lag", {LAG: 2.0, "latency.chunk_gap_ms.p50": None}, "the client's event loop was late: p99 2.00 ms", 2.0,
    ),
    (
        "littles_law", {"load.littles_law.difference": -0.01, "load.littles_law.dispatched": 0},
        "Little's law is 1.00% off: the dispatcher counted 10.000 requests in flight, the records add up to 10.000", 0.01,
    ),
    (
        "cache_hits", {"cached_share": 0.3, "planned_share": 0.25, "tokens.cached.share_beyond_head": 0.2},
        "the server took 30.0% of the prompt tokens from its cache, where 25.0% was planned: prompts that it "
        "had seen before have a shorter TTFT", 0.05,
    ),
    (
        "cache_hits", {"cached_share": None, "tokens.cached.share_beyond_head": 0.2},
        "the server took 20.0% of the prompt tokens from its cache, where 0.0% was planned: prompts that it had "
        "seen before have a shorter TTFT", 0.2,
    ),
    (
        "cache_hits", {"cached_share": 0.5, "planned_share": 0.2, "tokens.cached": {
            "tokens": 0, "of": 0, "share": None, "share_beyond_head": None, "share_of_probes": 0.25}},
        "the server took 50.0% of the prompt tokens from its cache, where 40.0% was planned (25.0% are of probes, which are "
        "asked again): prompts that it had seen before have a shorter TTFT", 0.1,
    ),
    (
        "cache_hits", {"cache": cache_off(0.03)},
        "the server took 3.0 points more of the prompt tokens from its cache than the 90.0% that was planned, by its "
        "replies: prompts had been seen before", 0.029,
    ),
    (
        "cache_hits", {"cache": cache_off(-0.03, counted_by="metrics")},
        "the server took 3.0 points less of the prompt tokens from its cache than the 90.0% that was planned, by its "
        "metrics: its cache holds less than these sessions need, or is not used", 0.029,
    ),
    (
        "usage", {MISMATCH: 0.9, PROMPTS: {"compared": 50, "differ": 0}, "tokens.mismatch.usage_over_counted": 0.4},
        "the server's usage differs from our count of the text in 90.0% of the replies, while every prompt has the tokens "
        "that we counted; over all replies it says 0.40 times our count", 0.9,
    ),
    (
        "usage", {MISMATCH: 0.9, PROMPTS: {"compared": 50, "differ": 0}, "tokens.mismatch.usage_over_counted": None},
        "the server's usage differs from our count of the text in 90.0% of the replies, while every prompt has the tokens "
        "that we counted", 0.9,
    ),
    (
        "target_gone", {"counts.target_gone": {"since_s": None, "requests": 60}},
        "the target never answered: the last 60 requests got no answer or lost their connection", 0.06,
    ),
    (
        "replica_gone", replicas(gone={"since_s": 8.04, "requests": 1}),
        "replica http://b gave its last answer 8.0 s into the run: 1 request to it failed, and the others took its share",
        1.0,
    ),
    (
        "replica_errors", replicas(failed=50, succeeded=450, error_rate=0.1, others_error_rate=0.02, failures_p=0.0),
        "replica http://b failed 50 of 500 requests (10.0%), the others 2.0%", 0.08,
    ),
    (
        "replica_slower", replicas(change=0.2),
        "replica http://b is 20% slower than the others (TTFT; 95%: 18% to 22%): the latencies of the run mix both", 0.2,
    ),
    (
        "errors", {"counts.failed": 250},
        "250 of 1,250 requests failed (20.0%): the latencies are those of the others", 0.2,
    ),
    (
        "errors",
        {
            "counts.failed": 250, "latency_of_failures_ms": {"mean": 3_000.0}, "sessions": {"turns_not_sent": 40},
            "series": {"t_s": [0.0, 1.0, 2.0, 3.0], "step_s": 1, "end_s": 3.2, "failed": [0, 0, 200, 50]},
        },
        "250 of 1,250 requests failed (20.0%): the latencies are those of the others; 40 later turns of their sessions "
        "were not sent; it took 3,000 ms on average until a request failed, and 500 ms until one was answered; all failures "
        "were between 2 and 3 s of the run, which ended at 3 s", 0.2,
    ),
    (
        "errors",
        {
            "counts.failed": 250, "latency_of_failures_ms": {"mean": 500.0},
            "series": {"t_s": [0.0, 1.0, 2.0, 3.0], "step_s": 1, "end_s": 4.0, "failed": [1, 0, 249, 0]},
        },
        "250 of 1,250 requests failed (20.0%): the latencies are those of the others", 0.2,
    ),
    (
        "files", {"lost": ["samples.jsonl is missing", "gpu.jsonl has 1 of 20 bytes"]},
        "samples.jsonl is missing; gpu.jsonl has 1 of 20 bytes: the signs that need it were not checked", 2,
    ),
    (
        "sent_again", {"counts.sent": 120, "counts.retried_late": 117},
        "117 of 120 requests were sent again (97.5%), because the server kept them for over 10 ms and closed their "
        "connection without an answer: their latencies count from the first attempt, and it may have worked on both", 0.975,
    ),
    (
        "workers", {"died": ["worker 1 was killed by SIGKILL"]},
        "worker 1 was killed by SIGKILL: its share of the load was not sent from then on", 0.25,
    ),
    (
        "run_queue", {"instrument.run_queue.mean": 0.05},
        "the client waited for a processor 5.0% of the time, and its time stamps can be late: other programs "
        "keep this machine busy", 0.05,
    ),
    ("cut_requests", {"counts.succeeded": 1_190, "counts.failed": 10, "counts.interrupted": 300},
     "300 of 1,500 requests were cut when the run stopped: their latencies are missing and may be the longest", 0.2),
    ("cpu", {"instrument.cpu.seconds_over_90": 0.3},
     "the client used over 90% of a processor in 30% of its seconds: it may be the bottleneck", 0.3),
    ("input_tokens", {"tokens.asked_against_got.input.compared": 1_000, "tokens.asked.input": 400_000,
                      "tokens.usage.input": 40_000},
     "the server counts 40,000 input tokens where 400,000 were sent: it cuts the prompts, or leaves tokens out of its count",
     0.9),
    ("usage_contradicted", {"tokens.contradicted": {"share": 0.02, "first": "3 of 2 tokens"}},
     "the server's usage is impossible in 2.0% of the replies and was not used there (for example: 3 of 2 tokens)", 0.02),
    ("tokens_doubted", {"tokens.doubted": {"share": 0.5, "first": "it ended at 16"}},
     "the output tokens of 50.0% of the replies may be wrong, and with them TPOT and all rates of tokens (for example: it "
     "ended at 16)", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("sign", "changes", "sentence", "value"), SAID)
def test_a_sign_says_its_value_and_what_it_means(
    sign: str, changes: dict[str, Any], sentence: str, value: float
) -> None:
    assert said(sign, changes)[0] == (sentence, value)


def test_usage_that_says_half_is_as_far_off_as_one_that_says_twice() -> None:
    exact_prompts: dict[str, Any] = {MISMATCH: 0.9, PROMPTS: {"compared": 50, "differ": 0}}
    for times, status in ((2.0, Status.VALID), (2.1, Status.SUSPECT), (0.5, Status.VALID), (0.4, Status.SUSPECT),
                          (None, Status.SUSPECT)):  # fmt: skip
        assert verdict(exact_prompts | {"tokens.mismatch.usage_over_counted": times}).of("usage") is status


def test_a_segment_is_named_by_its_times_and_only_where_it_is_bad() -> None:
    segments = [segment(0.0, rate_difference=0.001, dispersion_ratio=1.4), segment(30.0), {"plan": None}]
    (whole, _), (part, off) = said("sent_rate", {"segments": segments, f"{PLAN}.sent_rps": 99.0})
    assert whole == "sent 99.00 requests/s instead of the planned 100.00 (0.0% apart)"
    assert part == "from 30.0 to 60.0 s: sent 18.00 requests/s instead of the planned 20.00 (10.0% apart)"
    assert off == 0.1
    (_, of_run), (burst, ratio) = said("sent_dispersion", {"segments": segments})
    assert (of_run, ratio) == (1.0, 1.4)
    assert burst == (
        "from 0.0 to 30.0 s: the sent requests are 1.40 times as bursty as the drawn plan (dispersion of the counts)"
    )
    # A segment without a planned rate is skipped; the others still count.
    without: dict[str, Any] = {"segments": [segment(0.0, rate_difference=None), segment(30.0)]}  # type: ignore[arg-type]
    assert len(said("sent_rate", without)) == 2


def test_a_dispersion_is_judged_by_its_band_from_a_thousand_sends_on() -> None:
    # 5.002% exceeds the band of 5% at 1,000 sends, but not with a weight of 999 / 1,000.
    for sends, status in ((1_000, Status.SUSPECT), (4_000, Status.SUSPECT), (999, Status.VALID)):
        found = verdict({f"{PLAN}.dispersion_ratio": 1.05002, "counts.by_outcome": {"ok": sends}})
        assert found.of("sent_dispersion") is status


def test_a_busy_machine_names_its_remedy_and_what_it_can_have_harmed() -> None:
    late = {"instrument.run_queue.mean": 0.05, LATE: 10.5, "instrument.clock": {"kernel": 9, "user": 0, "mixed": 0}}
    ((sentence, _),) = said("run_queue", late, priority_remedy="nice it")
    assert sentence == (
        "the client waited for a processor 5.0% of the time, and what it sent can be late: other programs keep "
        "this machine busy (nice it)"
    )
    ((sentence, _),) = said("run_queue", late, cpu_limit="0.5")
    assert sentence.endswith(
        "other programs keep this machine busy, or the CPU limit of its container stops it (0.5 processors)"
    )


def test_a_clock_that_went_astray_names_its_node() -> None:
    ((sentence, drift),) = said("clock_drift", {"clock_drift": (6.25, "gpu-2")})
    assert sentence.startswith("the clock of node gpu-2 drifted 6.2 ms from the driver's during the load: ")
    assert drift == 6.25


def test_a_run_without_a_request_that_ended_says_why() -> None:
    nothing = {"counts.succeeded": 0}
    for change, why in (
        ({}, "the run has no record of any request"),
        ({"counts.interrupted": 3}, "the run was stopped before any of its 3 requests had ended"),
        ({"counts.dropped": 1_000}, "all 1,000 requests were dropped before they were sent"),
        ({"counts.warmup": {"requests": 20}}, "the run ended during its warm-up, after 20 requests"),
    ):
        assert said("nothing_measured", nothing | change) == [(f"nothing was measured: {why}", 0.0)]
    assert said("nothing_measured", {"counts.succeeded": 0, "counts.failed": 1}) == []


def test_numbers_that_do_not_exist_are_no_sign() -> None:
    assert said("pause", {"instrument.pause": {"longest_ms": 200.0, "worker": 0, "share_of_run": None}}) == []
    assert said("loop_lag", {"instrument.loop_lag_ms": {"p99": None}}) == []
    assert said("loop_lag", {LAG: 9.0, "instrument.clock": {"kernel": 0, "user": 0, "mixed": 0}}) == []
    assert said("target_gone", {"counts.target_gone": {"since_s": 1.0, "requests": 60}, "counts.succeeded": 0}) == []
    assert said("waited_at_cap", {"counts.by_outcome": {}}) == []
    assert said("server_counts", server=None) == []
    assert said("server_counts", server={"reconciliation": None}) == []
    for unknown in ({"off_share": None}, {"planned_share": None}):
        assert said("cache_hits", {"cache": replace(cache_off(0.03), **unknown)}) == []
    # If the plan was not counted, the sign uses what is known without it.
    nobody = replace(cache_off(0.03), counted_by=None, off_share=None)
    assert said("cache_hits", {"cache": nobody})[0][0].startswith("the server took 0.0% of the prompt tokens")


def test_an_open_loop_of_which_nothing_was_sent_is_not_late() -> None:
    assert said("send_lateness", {LATE: None}) == []
    assert said("ready_not_sent", ready(0.02, 3.0)) == [
        (
            "users were ready and their next request was not sent in 2.0% of their time (up to 3 ms at once): the client "
            "was busy or stood still",
            0.02,
        )
    ]


def test_what_was_never_sent_is_counted_in_the_unit_of_its_mode() -> None:
    row: dict[str, object] = {"load.never_sent": {"n": 1_200, "share": 0.25}}
    due, late = (
        "1,200 requests were due and never sent, 25.0%",
        "the process that makes the prompts had not made them when",
    )
    closed = said("never_sent", row, open_loop=False)
    assert closed == [(f"{due} of the users' time was spent waiting for them: {late} the sending stopped", 0.25)]
    assert said("never_sent", row) == [(f"{due} of all that were due: {late} the sending stopped", 0.25)]
    sessions = said("never_sent", {**row, "load.mode": "sessions"})
    assert sessions[0][0].startswith("1,200 sessions were due and never sent")
    assert said("never_sent", {"load.never_sent": None}) == []


def test_waits_for_connections_are_a_matter_of_the_server() -> None:
    assert said("slow_connects", connects(200, 2_000.0)) == [
        (
            "requests waited 400 ms for a new connection on average, 80.0% of their time from the send to the last token: "
            "requests/s and latencies from due contain this time, and TTFT and E2EL do not",
            0.8,
        )
    ]


@pytest.mark.parametrize(
    ("more", "last"),
    [
        ({}, "token"),
        ({"latency.ttfa_ms": {"n": 5}}, "audio"),
        ({"inputs": {"are": "images"}}, "image"),
        ({"inputs": {"are": "utterances"}, "latency.ttfa_ms": {"n": 5}}, "audio"),
    ],
)
def test_replies_that_stay_open_are_a_matter_of_the_server(more: dict[str, Any], last: str) -> None:
    assert said("late_ends", {"load.late_ends": {"mean_ms": 3_190.4, "share": 93.7}, **more}) == [
        (
            f"the server ended its replies 3,190 ms after their last {last} on average, 9370.0% of the time to that {last}: "
            "requests/s and requests in flight contain this time, and E2EL does not",
            93.7,
        )
    ]


def test_a_calibration_says_what_a_rate_reads() -> None:
    row = {"metric": "requests_per_s", "measured": 98.0, "true": 100.0, "error_share": -0.02}
    found = said("calibration", calibration={"metrics": [], "throughput": [row], "problems": []})
    assert found == [("calibration: requests_per_s reads 98.00; the true value is 100.00 (2.0% off)", 0.02)]
    nothing = row | {"measured": 0.0, "true": 0.0, "error_share": None}
    assert said("calibration", calibration={"metrics": [], "throughput": [nothing], "problems": []})[0][1] == 0.0


def test_an_error_that_two_metrics_share_is_said_once() -> None:
    itl = {
        "metric": "itl_ms",
        "stat": "p99",
        "unit": "ms",
        "measured": 40.0,
        "true": 30.0,
        "error": 10.0,
        "error_share": 1 / 3,
    }
    gap = {"metric": "chunk_gap_ms"}
    rows = [CALIBRATION | itl, CALIBRATION | itl | gap]
    found = said("calibration", calibration={"metrics": rows, "problems": []})
    assert [text for text, _ in found] == [
        "calibration: p99 of ITL reads 40.000 ms; the true value is 30.000 ms (+10.000 ms)"
    ]
    # A different error on the other side changes the sentence.
    rows[1] |= {"measured": 41.0, "error": 11.0}
    assert [
        text.split(" reads")[0] for text, _ in said("calibration", calibration={"metrics": rows, "problems": []})
    ] == [
        "calibration: p99 of ITL",
        "calibration: p99 of chunk gap",
    ]


def test_a_title_begins_small_within_a_sentence_unless_it_is_an_abbreviation() -> None:
    titles = [in_sentence(key) for key in ("e2el_ms", "ttft_from_intended_ms", "chunk_gap_ms", "job_ms")]
    assert titles == ["E2EL", "TTFT from due", "chunk gap", "job"]


def test_an_error_without_a_share_and_statistics_of_no_band_are_no_sign() -> None:
    assert verdict(calibration=certified(stat="p50", error=9.0, error_share=None)).of("calibration") is Status.VALID
    assert said("calibration", calibration=certified(stat="mean", error=9.0, error_share=0.5)) == []


def test_when_requests_came_is_held_against_the_median_of_what_begins_with_them() -> None:
    of = {"n": 100, "min": 0.02, "p50": 3.0, "p90": 0.05, "p99": 0.1}
    # 3 ms are under 1% of the 500 ms until the end, but 15% of a gap of 20 ms.
    rows = [
        CALIBRATION | {"metric": "itl_ms", "stat": "p50", "true": 20.0, "measured": 20.0},
        CALIBRATION | {"metric": "e2el_ms", "stat": "p90", "true": 30.0, "measured": 30.0},
        CALIBRATION | {"metric": "e2el_ms", "stat": "p50", "true": 500.0, "measured": 500.0},
    ]
    found = verdict(calibration={"metrics": rows, "problems": [], "way_in_ms": of})
    assert found.of("calibration") is Status.VALID
    texts = [f.sentence for f in found.findings if "after the client says" in f.sentence]
    assert texts[1] == (
        "calibration: the mock got requests +3.000 ms after the client says it sent them (p50): every latency "
        "from `sent` on includes this"
    )
    assert len(texts) == 4
    short = [*rows[:2], CALIBRATION | {"metric": "ttft_ms", "stat": "p50", "true": 40.0, "measured": 40.0}]
    assert verdict(calibration={"metrics": short, "problems": [], "way_in_ms": of}).of("calibration") is Status.INVALID
    for without in ({"metrics": rows[:2]}, {"metrics": rows, "way_in_ms": of | {"n": 0}}):
        told = verdict(calibration={"problems": [], "way_in_ms": of} | without).findings
        assert not any("after the client says" in f.sentence for f in told)
    at_once = [CALIBRATION | {"stat": "p50", "true": 0.0, "measured": 0.0}]
    assert verdict(calibration={"metrics": at_once, "problems": [], "way_in_ms": of}).of("calibration") is Status.VALID


def test_a_class_has_the_findings_of_the_run_and_failures_of_its_own() -> None:
    late, failed = Finding("send_lateness", Status.SUSPECT, 1.5, "late"), Finding("errors", Status.FAILED, 0.9, "all")
    run = Verdict(Status.FAILED, (late, failed))
    good = of_class(class_of(ok=100), run, Limits())
    assert good.status is Status.SUSPECT
    assert [f.sign for f in good.findings] == ["send_lateness", "errors"]
    bad = of_class(class_of(ok=1, reset=3), run, Limits())
    assert (bad.status, bad.findings[-1].value) == (Status.FAILED, 0.75)
    assert bad.findings[-1].sentence == "3 of 4 requests failed (75.0%): the latencies are those of the others"


def test_a_value_on_the_border_of_a_band_is_on_the_good_side() -> None:
    band = Band(suspect=1.0, invalid=2.0, failed=3.0)
    assert [band.of(value) for value in (1.0, 1.1, 2.0, 2.1, 3.0, 3.1)] == [
        Status.VALID, Status.SUSPECT, Status.SUSPECT, Status.INVALID, Status.INVALID, Status.FAILED,
    ]  # fmt: skip
    assert Band(suspect=1.0).of(99.0) is Status.SUSPECT


def test_bands_are_fixed_and_have_no_other_keys() -> None:
    for made in (Band(suspect=1.0), Limits()):
        with pytest.raises(ValidationError, match="frozen"):
            made.suspect = 2.0  # type: ignore[misc, union-attr]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Band(suspect=1.0, worse=2.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("given", [{"nothing": {"suspect": 1.0}}, {"wide_stamps": 3}, {"wide_stamps": {"bad": 3}}, 3])
def test_limits_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(given)


def test_one_limit_of_a_band_leaves_the_others_where_they_are() -> None:
    given = Limits.model_validate({"errors": {"suspect": 0.02}, "sent_rate_off": Band(suspect=0.3)})
    assert given.errors == Band(suspect=0.02, failed=0.5)
    assert given.sent_rate_off == Band(suspect=0.3)
    assert given.pause_ms == Limits().pause_ms


def test_a_number_that_nobody_has_does_not_hide_the_next_one() -> None:
    open_itl: dict[str, Any] = {f"latency.tpot_ms.{stat}": None for stat in ("mean", "p50", "p90", "p99")}
    found = verdict(open_itl | {"latency.itl_ms.bounds": {"p50": [0.0, 40.0]}})
    assert found.of("wide_stamps") is Status.SUSPECT
    # If the number is zero, any width is all of it.
    nothing = verdict({"latency.itl_ms.p50": 0.0, "latency.itl_ms.bounds": {"p50": [0.0, 0.3]}})
    assert [f.value for f in nothing.findings if f.sign == "wide_stamps"] == [1.0]
    assert verdict({"latency.itl_ms.p50": 0.0}).of("wide_stamps") is Status.VALID
    # Bounds without a number do not count.
    assert said("wide_stamps", {"latency.itl_ms.bounds": {"p99": [19.0, 21.0]}})[0][0] == (
        "p99 of ITL is only known to lie between 19.00 and 21.00 ms: tokens shared reads"
    )


def test_what_a_report_prints_as_bounds_is_judged_of_an_earlier_calibration_alone() -> None:
    row = CALIBRATION | {"stat": "p50", "error": -20.0, "error_share": -0.4, "measured": 30.0, "allowed": [0.0, 60.0]}
    kept = {"from": "certificate", "date": "2026-01-02T03:04:05+00:00", "metrics": [row], "problems": []}
    assert verdict(calibration=kept).of("calibration") is Status.INVALID
    assert verdict(calibration={"metrics": [row], "problems": []}).of("calibration") is Status.VALID
    # A skipped row does not hide the next one.
    bad = CALIBRATION | {"stat": "p90", "error": 9.0, "error_share": 0.2, "measured": 59.0}
    assert verdict(calibration={"metrics": [row, bad], "problems": []}).of("calibration") is Status.INVALID
    mean = CALIBRATION | {"stat": "mean"}
    assert verdict(calibration={"metrics": [mean, bad], "problems": []}).of("calibration") is Status.INVALID


def test_statuses_are_ordered_from_good_to_bad() -> None:
    assert [badness(status) for status in (Status.VALID, Status.SUSPECT, Status.INVALID, Status.FAILED)] == [0, 1, 2, 3]
    assert worst([]) is Status.VALID
    assert worst([Status.SUSPECT, Status.FAILED, Status.VALID]) is Status.FAILED
    assert milder(Status.FAILED, Status.SUSPECT) is Status.SUSPECT
    mild, bad = Finding("a", Status.SUSPECT, 0.0, "mild"), Finding("b", Status.INVALID, 0.0, "bad")
    assert Verdict(Status.INVALID, (mild, bad, Finding("c", Status.VALID, 0.0, "fine"))).reasons == ["bad", "mild"]
