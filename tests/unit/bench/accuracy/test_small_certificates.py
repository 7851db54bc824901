"""Certificates of one or two requests, whose numbers need no computation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from bench.accuracy.causes import MetricComparison, cause_of, late_stamps, whole_ms
from bench.accuracy.coverage import CertificateBrief, kept_with
from bench.accuracy.distribution import Distribution
from bench.accuracy.jobs import CUT, FAILED, JobTruth
from bench.accuracy.join import Join, Pair
from bench.accuracy.metamorphic import Observation, reasoning, slow_reader
from bench.accuracy.pair_statistics import PairStatistics
from bench.accuracy.planned_arrivals import GATED, PlannedArrivals
from bench.accuracy.truth import true_values
from bench.records import Outcome, RequestRecord
from bench.results.sessions import Jobs
from bench.results.summary import RunSummary
from tests.support.made_ledger import LAG_NS, ledger_of, made_line
from tests.support.made_records import MS, START_NS, made_record
from tests.support.results import filled
from tests.unit.bench.accuracy.test_coverage import CERTIFICATE, SHAPE

LAG_MS = LAG_NS / MS


# ---- The truth of a request ------------------------------------------------------------------------------------------


def test_a_whole_reply_took_so_long_since_it_was_sent_and_longer_since_it_was_due() -> None:
    # Due at 0, sent at 30 ms, received by the server 120 ms after that.
    record = made_record(sent_ms=30, chunks_ms=(), intended_ns=START_NS, end_ns=START_NS + 150 * MS)
    assert true_values(Pair(record, made_line(record))) == {
        "e2el_ms": [pytest.approx(120 - LAG_MS)],
        "e2el_from_intended_ms": [pytest.approx(150 - LAG_MS)],
    }


def test_a_thousand_values_have_a_thousandth_and_one_less_has_none() -> None:
    values = Distribution()
    values.add(float(i) for i in range(999))
    assert "p999" not in values.stats()
    values.add([999.0])
    # Position 999 x 0.999 of 0, 1, 2, ...
    assert values.stats()["p999"] == pytest.approx(998.001)


def test_where_values_are_infinite_a_quantile_is_one_of_them_or_one_that_is_not() -> None:
    values = Distribution()
    values.add([1.0, math.inf, math.inf])
    assert [values.quantile(p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1.0, math.inf, math.inf, math.inf, math.inf]


def test_tokens_that_the_client_does_not_know_are_none_in_its_sum() -> None:
    records = [made_record(0), made_record(1, output_tokens=None)]
    joining = Join(ledger_of([made_line(record) for record in records]))
    list(joining.pairs(records))
    sums = {row.what: (row.here, row.there) for row in joining.agreement()}
    assert sums["tokens"] == (3, 6)
    assert joining.problems() == [
        "requests whose number of tokens differs from the ledger (1): made-1 (None here, 3 there)"
    ]


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT_TOTAL, Outcome.TIMEOUT_IDLE, Outcome.CANCELLED])
def test_a_mock_may_go_on_behind_a_timeout_and_not_behind_a_user_who_left(outcome: Outcome) -> None:
    record = made_record(0, outcome=outcome, end_ns=START_NS + 50 * MS)
    line = made_line(record)
    joining = Join(ledger_of([line | {"end_ns": line["received_ns"] + 1000 * MS}]))
    list(joining.pairs([record]))
    left = "requests whose end of a cancelled request differs from the ledger (1): made-0 "
    left += "(left after 50 ms here, 1000 ms there)"
    assert joining.problems() == ([left] if outcome is Outcome.CANCELLED else [])


# ---- Jobs ----------------------------------------------------------------------------------------------------------


def jobs_of(*records: RequestRecord) -> JobTruth:
    truth = JobTruth(shared_clock=True)
    for record in records:
        truth.add(Pair(record, made_line(record)))
    return truth


def step(number: int = 0, of: int = 1, **fields: Any) -> RequestRecord:
    return made_record(number, session_number=0, job=0, job_step=number, job_steps=of, **fields)


def reported(seconds: Sequence[float]) -> Jobs:
    stats: dict[str, Any] = dict.fromkeys(("mean", "p50", "p75", "p90", "p95", "p99", "p999", "max"))
    if seconds:
        stats = dict.fromkeys(stats, seconds[0]) | {"p999": None}
    return filled(Jobs, job_s={"n": len(seconds), **stats})


def test_jobs_that_one_side_alone_has_are_a_problem() -> None:
    rows, problems, _ = JobTruth(shared_clock=True).compared(reported([1.0, 1.0, 1.0]))
    assert (rows, problems) == ([], ["job_ms: 3 values measured, and 0 in the ledger"])
    for nothing in (None, reported([])):
        rows, problems, _ = jobs_of(step()).compared(nothing)
        assert (rows, problems) == ([], ["job_ms: 0 values measured, and 1 in the ledger"])
        assert JobTruth(shared_clock=True).compared(nothing) == ([], [], [])


def test_a_job_of_one_step_took_from_when_it_was_due_to_its_last_token() -> None:
    # Sent 20 ms after it was due; the last token came 70 ms after that.
    rows, problems, causes = jobs_of(step(sent_ms=20, intended_ns=START_NS)).compared(reported([0.090]))
    assert (problems, causes) == ([], [])
    assert {row.stat for row in rows} == {"mean", "p50", "p75", "p90", "p95", "p99", "max"}
    for row in rows:
        assert (row.measured, row.true, row.share_of_spread) == (90.0, pytest.approx(90 - LAG_MS), None)


def test_a_job_one_of_whose_steps_the_client_cut_was_cut_whatever_the_mock_says_of_it() -> None:
    cut = made_record(1, session_number=1, job=0, job_step=0, job_steps=1, outcome=Outcome.TIMEOUT_TOTAL)
    broken = made_record(2, session_number=2, job=0, job_step=0, job_steps=1, outcome=Outcome.RESET)
    for record, why in ((cut, CUT), (broken, FAILED)):
        truth = jobs_of(step())
        truth.add(Pair(record, made_line(record, fault="reset")))
        _, problems, causes = truth.compared(reported([0.070, 0.070]))
        assert problems == ["job_ms: 2 values measured, and 1 in the ledger"]
        assert [one.cause.split(" are included")[0] for one in causes] == [why]


# ---- Causes --------------------------------------------------------------------------------------------------------

TRUE = {"mean": 50.0, "p50": 50.0, "p90": 54.0, "p99": 60.0, "max": 70.0}


def of(**fields: Any) -> MetricComparison:
    given: dict[str, Any] = {"unit": "ms", "n": 9, "true_n": 9, "measured": TRUE, "true": TRUE}
    return MetricComparison(**(given | fields))


@pytest.mark.parametrize(("mean", "how"), [(-0.25, "rounded"), (-0.26, "cut"), (0.5, "rounded")])
def test_whole_milliseconds_are_cut_where_the_mean_lost_more_than_a_quarter(mean: float, how: str) -> None:
    true = {"p50": 50.2, "p90": 54.2, "max": 70.2}
    comparison = of(measured={"p50": 50.0, "p90": 54.0, "max": 70.0}, true=true)
    assert whole_ms(comparison, {"mean": mean, "p50": -0.2, "p90": -0.2}) == f"values are {how} to whole milliseconds"


@pytest.mark.parametrize(("error", "whole"), [(-1.0, True), (1.0, True), (-1.01, False), (1.01, False)])
def test_whole_milliseconds_are_at_most_one_away(error: float, whole: bool) -> None:
    comparison = of(
        measured={"p50": 50.0, "p90": 54.0, "max": 70.0}, true={"p50": 50.0 - error, "p90": 54.2, "max": 70.2}
    )
    assert (whole_ms(comparison, {"p50": error, "p90": -0.2}) is not None) is whole


def test_stamps_whose_median_and_tail_are_not_known_are_early_where_the_others_are() -> None:
    measured = {"mean": 45.0, "p90": 53.0}
    comparison = of(measured=measured, recounted=measured, true={"mean": 50.0, "p90": 54.0})
    said = late_stamps(comparison, {"mean": -5.0, "p90": -1.0})
    assert (
        said
        == "the time stamps are early, most of all in the tail: the client was busy, or looked at the clock after its work"
    )


@pytest.mark.parametrize(
    ("measured", "true", "noticed"),
    [(60.0, 50.0, False), (50.0, 60.0, False), (60.01, 50.0, True), (55.0, 49.99, True), (49.99, 55.0, True)],
)  # fmt: skip
def test_what_the_stamps_allow_needs_no_cause(measured: float, true: float, noticed: bool) -> None:
    comparison = of(measured={"p50": measured}, true={"p50": true}, allowed={"p50": (50.0, 60.0)})
    assert (cause_of("x", comparison) is not None) is noticed


@pytest.mark.parametrize(("measured", "true"), [(0.8, 0.5), (0.5, 0.8), (0.8, 1.5), (1.5, 0.8)])
def test_a_speed_below_one_token_a_second_is_judged_as_any_other(measured: float, true: float) -> None:
    assert cause_of("tps", of(unit="tokens/s", true={"p50": true}, measured={"p50": measured})) is not None


# ---- Plans, and stored certificates --------------------------------------------------------------------------------


def test_as_many_arrivals_are_drawn_again_as_were_sent_and_none_more() -> None:
    drawn = count()
    arrivals = PlannedArrivals(START_NS + 10 * MS * i for i in drawn)
    for index in range(3):
        arrivals.add(made_record(index, sent_ms=10.0 * index))
    assert arrivals.slip() is None
    assert next(drawn) == 3


def test_the_latest_32_certificates_of_a_machine_are_kept() -> None:
    found: list[CertificateBrief] = []
    for day in range(1, 29):
        for hour in (0, 12):
            shape = SHAPE | {"streams": 2 ** (2 * day + hour // 12)}
            one = CertificateBrief.from_json(
                CERTIFICATE | {"date": f"2026-01-{day:02}T{hour:02}:00:00+00:00", "shape": shape}
            )
            found = kept_with(found, one)
    assert len(found) == 32
    assert (found[0].date, found[-1].date) == ("2026-01-28T12:00:00+00:00", "2026-01-13T00:00:00+00:00")


def test_a_cause_is_told_of_the_statistic_that_stamps_do_not_explain() -> None:
    measured = {"p50": 50.5, "p99": 70.0}
    found = cause_of("x", of(measured=measured, true={"p50": 50.0, "p99": 60.0}, allowed={"p99": (55.0, 75.0)}))
    assert found is not None
    assert (found.stat, found.size) == ("p50", 0.5)


def test_a_delay_of_a_nanosecond_is_one() -> None:
    # Each request is due one nanosecond late, a hundredth of a millisecond after the end of the previous one.
    arrivals = PlannedArrivals(START_NS + 10 * MS * i for i in count())
    for index in range(20):
        due = START_NS + 10 * MS * index + (index > 0)
        arrivals.add(made_record(index, intended_ns=due, end_ns=due + 9_990_000))
    found = arrivals.slip()
    assert found is not None
    assert (found.cause.cause, found.problem.split(",")[0]) == (
        GATED,
        "19 of 20 arrivals were not due when the drawn plan says",
    )


def test_a_reply_that_never_began_says_nothing_of_the_mock_s_speed() -> None:
    record = made_record(0, outcome=Outcome.CANCELLED, chunks_ms=(), end_ns=START_NS + 20 * MS)
    line = made_line(record)
    line["planned"] = line["planned"] | {"ttft_ns": 50 * MS, "gaps_ns": [10 * MS]}
    statistics = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=1.0)
    statistics.add(Pair(record, line))
    assert (dict(statistics.mock), statistics.mock_error.n) == ({}, 0)


def test_a_slow_reader_leaves_one_chunk_marked_at_least() -> None:
    latency = {name: {"p50": 30.0, "mean": 30.0} for name in ("ttft_ms", "tpot_ms")}
    seen = Observation(filled(RunSummary, {"latency": latency}), blocked_slow=3, blocked=0)
    marked, others, *_ = slow_reader(seen, seen)
    assert (marked.expected, marked.seen, marked.held) == (1, 3, True)
    assert (others.expected, others.seen, others.held) == (0, 0, True)


@pytest.mark.parametrize(("ttft", "tpot"), [(None, 6.0), (30.0, None), (None, None)])
def test_reasoning_cannot_be_judged_by_a_first_run_without_its_numbers(ttft: float | None, tpot: float | None) -> None:
    def seen(ttft: float | None, tpot: float | None) -> Observation:
        values = {"ttft_ms": ttft, "tpot_ms": tpot, "ttfo_ms": 90.0, "e2el_ms": 200.0}
        return Observation(filled(RunSummary, {"latency": {name: {"p50": value} for name, value in values.items()}}))

    output, *_ = reasoning(10)(seen(30.0, 6.0), seen(ttft, tpot))
    assert (output.what, output.expected, output.held) == ("median TTFO (ms)", None, False)
    output, *_ = reasoning(10)(seen(30.0, 6.0), seen(30.0, 6.0))
    assert (output.expected, output.seen, output.held) == (90.0, 90.0, True)
