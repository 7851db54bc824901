"""Series, response time intervals, server details, planned loads and precision goals, computed by hand."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest

from bench.errors import UsageError
from bench.metrics import scope
from bench.metrics.arrivals import Arrivals
from bench.metrics.catalog import request_values
from bench.metrics.columns import Columns
from bench.metrics.histogram import bins_of_array
from bench.metrics.planned_load import ChangedLoad, PlannedLoad, parts_between
from bench.metrics.precision import Judge, PrecisionGoal, impossible, known_to, look_times, parse_one, percent, written
from bench.metrics.scope import RunData, Scope
from bench.metrics.series import Steps, by_status, distributions, intervals, over_time
from bench.metrics.server_requests import ServerRequests
from bench.metrics.step_histograms import RELATIVE_ERROR, bins_of, lower_border, representative
from bench.metrics.sureness import Sureness, of_error_rate, of_groups, of_rates, of_requests, shown
from bench.metrics.token_gaps import TokenGaps
from bench.metrics.tokens import TokenTimes
from bench.metrics.window import Window
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.summary import Change
from bench.statistics.intervals import TooFew
from tests.support.made_records import MS, START_NS, made_record
from tests.support.results import known
from tests.support.tables import ints, table_of

S = 1_000_000_000


def columns_of(*records: RequestRecord) -> Columns:
    columns = Columns(START_NS)
    table = table_of(*records)
    columns.add(table, request_values(table), np.zeros(len(records), dtype=np.bool_))
    return columns


RUN = (
    made_record(0, sent_ms=100, chunks_ms=(400, 500), bytes_sent=50, status=200),
    made_record(1, sent_ms=900, chunks_ms=(200, 600), bytes_sent=70, status=200),
    made_record(2, sent_ms=1_200, chunks_ms=(), outcome=Outcome.HTTP_ERROR, status=500, end_ns=START_NS + 1_300 * MS),
    made_record(3, sent_ns=None, chunks_ms=(), outcome=Outcome.DROPPED, status=None, intended_ns=START_NS + 1_250 * MS,
                eligible_ns=None, end_ns=START_NS + 1_250 * MS),
    made_record(4, sent_ms=2_000, chunks_ms=(), outcome=Outcome.RESET, status=None, end_ns=START_NS + 2_100 * MS),
)  # fmt: skip


def test_every_request_is_in_the_step_in_which_it_happened() -> None:
    columns = columns_of(*RUN)
    tokens, bytes_in = Arrivals(), Arrivals(S)
    tokens.add(ints(500 * MS, 600 * MS, 1_100 * MS, 1_500 * MS))
    found = over_time(columns, tokens, bytes_in)
    assert (found.step_s, found.t_s, found.end_s) == (1, [0.0, 1.0, 2.0], 2.1)
    assert (found.planned, found.sent, found.completed, found.failed) == (
        [2, 2, 1],
        [2, 1, 1],
        [1, 1, 0],
        [0, 1, 1],
    )
    assert found.failed_by_outcome == {"http_error": [0, 1, 0], "reset": [0, 0, 1]}
    # 100 to 600 ms and 900 to 1,500 ms; 1,200 to 1,300; 2,000 to 2,100.
    assert found.in_flight == pytest.approx([0.6, 0.6, 0.1])
    # First tokens at 500 and 1,100 ms.
    assert found.ttft_ms.p50 == [pytest.approx(400), pytest.approx(200), None]
    assert found.e2el_ms.mean == [pytest.approx(500), pytest.approx(600), None]
    assert found.output_tokens == [2, 2, 0]
    assert found.bytes_out == [120, 500, 500]
    assert found.status == {"none": [0, 0, 1], "200": [1, 1, 0], "500": [0, 1, 0]}
    assert by_status(columns) == {"none": 1, "200": 2, "500": 1}
    told = distributions(columns, found)
    assert (told.requests_per_s.mean, told.responses_per_s.max) == (pytest.approx(4 / 3), 1)
    assert told.ttft.p50_ms.mean == pytest.approx(300)
    assert [row.q for row in told.response_time_quantiles] == pytest.approx(
        [*(k / 100 for k in range(1, 100)), 0.995, 0.999, 1]
    )
    assert [told.response_time_quantiles[k].ms for k in (49, 98, 101)] == pytest.approx([550, 599, 600])
    before = made_record(7, sent_ns=None, chunks_ms=(), outcome=Outcome.DROPPED, end_ns=START_NS - 500 * MS)
    assert over_time(columns_of(*RUN, before), tokens, bytes_in).t_s == [-1, 0, 1, 2]
    assert over_time(columns_of(), tokens, bytes_in).t_s == []
    # The step is never finer than the coarser of the two.
    assert (
        over_time(columns, Arrivals(2 * S), bytes_in).t_s == over_time(columns, tokens, Arrivals(2 * S)).t_s == [0, 2]
    )


def test_what_happens_at_the_borders_of_a_window_is_in_it() -> None:
    left = made_record(5, sent_ms=700, chunks_ms=(), outcome=Outcome.CANCELLED, end_ns=START_NS + 1_400 * MS)
    cut = made_record(8, sent_ms=750, chunks_ms=(), outcome=Outcome.INTERRUPTED, end_ns=START_NS + 1_450 * MS)
    columns = columns_of(*RUN, left, cut, made_record(6, sent_ms=800, chunks_ms=(250, 600), input_tokens=1))
    columns.good = bytearray(columns.ok)

    def of(start_ms: int, end_ms: int) -> Scope:
        data = RunData(columns, TokenTimes(0), Arrivals(), Arrivals())
        return Scope(data, Window(start_ms * MS, end_ms * MS, "given"))

    assert of(100, 900).latency()["e2el_ms"].n == 3, "three requests are sent at 100, 800 and 900 ms"
    # Successes ended at 600, 1,400 and 1,500 ms, failures at 1,250 and 1,300. First tokens came at 500, 1,050 and
    # 1,100.
    assert of(600, 1_500).throughput().requests_per_s == pytest.approx(3 / 0.9)
    assert (of(600, 1_500).goodput().share, of(600, 1_500).goodput().requests_per_s) == (3 / 5, pytest.approx(3 / 0.9))
    assert (of(600, 600).goodput().share, of(600, 600).duration_s, of(600, 1_500).duration_s) == (None, None, 0.9)
    assert of(500, 1_100).throughput().input_tokens_per_s == pytest.approx(201 / 0.6)


def test_requests_are_in_the_order_of_their_sends_and_those_that_were_not_sent_of_their_ends() -> None:
    # Sent at 100, 900, 1,200 and 2,000 ms. One request was dropped at 1,250.
    assert scope.in_send_order(columns_of(*RUN[::-1])).tolist() == [4, 3, 2, 1, 0]
    assert scope.in_send_order(columns_of(*RUN)).tolist() == [0, 1, 2, 3, 4]


def test_a_window_from_the_first_send_on_has_every_gap_and_rates_of_its_own_steps() -> None:
    table = table_of(*[made_record(k, sent_ms=300.5 + 100 * k, chunks_ms=(20, 40)) for k in range(2_000)])
    columns, times = Columns(START_NS), TokenTimes(0)
    columns.add(table, request_values(table), np.zeros(len(table), dtype=np.bool_))
    times.add(table, TokenGaps(table), START_NS)
    data = RunData(columns, times, Arrivals(), Arrivals())
    whole = Scope(data, Window(min(map(int, columns.sent)), 150 * S, "given"))
    assert whole.latency()["itl_ms"].n == 2_000
    later = Scope(data, Window(100 * S, 200 * S, "given")).throughput()
    assert later.ci95["requests_per_s"] == pytest.approx([10, 10], rel=0.01)


@pytest.mark.parametrize(
    ("span_s", "step_s", "steps"), [(1_000, 1, 1_000), (32, 0.5, 64), (9.6, 0.15, 64), (3, 0.15, 20)]
)
def test_the_steps_of_a_rate_are_seconds_or_64_or_as_many_as_are_not_too_short(
    span_s: float, step_s: float, steps: int
) -> None:
    assert scope._steps(span_s) == (step_s * S, steps)


def test_inputs_are_in_the_step_in_which_their_request_ended_well() -> None:
    def asked(index: int, end_ms: int, inputs: int, tokens: int | None, outcome: Outcome = Outcome.OK) -> RequestRecord:
        return made_record(index, chunks_ms=(), inputs=inputs, input_tokens=tokens, outcome=outcome, n=0,
                           end_ns=START_NS + end_ms * MS)  # fmt: skip

    found = over_time(
        columns_of(asked(0, 500, 3, 30), asked(1, 1_500, 4, None), asked(2, 600, 9, 90, Outcome.RESET), RUN[4]),
        Arrivals(),
        Arrivals(S),
    )
    assert (found.inputs, found.input_tokens) == ([3, 4, 0], [30, 0, 0])
    assert over_time(columns_of(*RUN), Arrivals(), Arrivals(S)).inputs is None


def test_steps_begin_at_whole_ones_and_widen_with_the_run() -> None:
    steps = Steps(-0.5 * S, 1.5 * S)
    assert (steps.first, steps.count, steps.start_ns) == (-1, 3, -S)
    for first_s, last_s, ns, count in (
        (0, 9.9, S, 10),
        (0, 10, 2 * S, 6),
        (-0.5, 9.4, 2 * S, 6),
        (-10, 10, 4 * S, 6),
        (3, 4, S, 5),
    ):
        few = Steps(first_s * S, last_s * S, most=10)
        assert (few.ns, few.count) == (ns, count)
    assert steps.in_flight([-S // 2, 0], [S // 2, S]) == [0.5, 1.5, 0.0]
    assert steps.counts([-2 * S, -0.2 * S, 1.9 * S, 2 * S]) == [1, 0, 1]
    values = steps.quantiles(np.array([0.0, 0.5 * S, 1.2 * S]), np.array([4.0, 8.0, math.nan]))
    assert (values.mean, values.p50) == ([None, 6.0, None], [None, 6.0, None])


def test_intervals_have_round_borders_and_the_last_is_open() -> None:
    rows = intervals([float(k) for k in range(100)] + [500.0])
    # From 0 to the p99 of 99 in twelve pieces: 10 is the round width above 8.25.
    assert [row.from_ms for row in rows] == [10.0 * k for k in range(11)]
    assert [row.n for row in rows] == [10] * 10 + [1]
    assert (rows[-1].to_ms, rows[-1].share) == (None, pytest.approx(1 / 101))
    assert [(row.from_ms, row.n) for row in intervals([5.0])] == [(pytest.approx(5.0), 1)]
    # The width depends on the range of the values, not on where it begins.
    late = intervals([1_000.0 + k for k in range(100)])
    assert [(row.from_ms, row.n) for row in late] == [(1_000 + 10 * k, 10) for k in range(10)]


# ---- Server details ------------------------------------------------------------------------------------------------


def test_drafts_of_which_steps_or_positions_are_not_said_count_where_they_can() -> None:
    said = ServerRequests()
    said.add(table_of(made_record(0, draft_tokens=6, accepted_tokens=3)))
    said.add(table_of(made_record(1, draft_tokens=4, accepted_tokens=2, draft_steps=2)))
    said.add(table_of(made_record(2, draft_tokens=8, accepted_tokens=5, draft_steps=4, acceptance=(3, 2))))
    said.add(table_of(made_record(3, draft_tokens=2, accepted_tokens=None, draft_steps=9)))
    said.add(
        table_of(made_record(4, draft_tokens=1, accepted_tokens=1, draft_steps=1, acceptance=(1,), cached_tokens=25))
    )
    found = said.describe()
    assert found is not None
    drafts = found.drafts
    assert drafts is not None
    assert (drafts.replies, drafts.steps, drafts.tokens, drafts.accepted) == (4, 7, 19, 11)
    assert (drafts.acceptance_rate, drafts.tokens_per_step) == (11 / 19, 1 + 8 / 7)
    assert to_plain(drafts)["positions"] == [
        {"position": 1, "accepted": 4, "share": 0.8}, {"position": 2, "accepted": 2, "share": 0.4},
    ]  # fmt: skip
    # One of 5 steps gave one token, two gave two, and two gave three.
    assert [(row.tokens, row.steps) for row in drafts.steps_by_tokens] == [(1, 1), (2, 2), (3, 2)]
    assert found.cached is not None
    assert to_plain(found.cached) == {"replies": 1, "tokens": 25, "of": 100, "share": 0.25}
    silent = ServerRequests()
    silent.add(table_of(made_record(0, cached_tokens=5)))
    assert silent.describe() is None
    none = ServerRequests()
    none.add(table_of(made_record(0, draft_tokens=0, accepted_tokens=0, cached_tokens=0, input_tokens=0)))
    described = none.describe()
    assert described is not None
    assert described.drafts is not None
    assert described.cached is not None
    assert (described.drafts.acceptance_rate, described.drafts.steps, described.drafts.positions) == (
        None,
        None,
        [],
    )
    assert described.cached.share is None


# ---- Planned loads -------------------------------------------------------------------------------------------------


def test_a_line_is_cut_into_parts_of_equal_length_and_steps_begin_where_they_were_asked_for() -> None:
    line = PlannedLoad(10.0, 20.0, 100, 201)
    assert not line.is_step
    assert line.parts(2) == [PlannedLoad(10.0, 15.0, 100, 150), PlannedLoad(15.0, 20.0, 150, 201)]
    changes = (ChangedLoad(-5, 1.0, 2.0, "me"), ChangedLoad(40, 2.0, 3.0, "me"), ChangedLoad(90, 3.0, 4.0, "me"))
    assert parts_between(1.0, changes, 60) == (PlannedLoad(2.0, 2.0, 0, 40), PlannedLoad(3.0, 3.0, 40, 60))
    assert parts_between(1.0, (), 60) == (PlannedLoad(1.0, 1.0, 0, 60),)
    assert ChangedLoad(2_500_000_000, 1.0, 2.0, "me").result() == Change(at_s=2.5, from_=1.0, to=2.0, by="me")


# ---- Goals ---------------------------------------------------------------------------------------------------------


def test_looks_come_after_a_time_and_then_a_tenth_later_each() -> None:
    # In a run of 60 s the first check is after 6 s, the next 2 s later, and then each after another tenth of the
    # elapsed time.
    assert list(islice(look_times(60), 3)) == [6.0, 8.0, 10.0]
    times = list(islice(look_times(60), 12))
    assert times[-1] - times[-2] == pytest.approx(times[-2] / 10)
    assert next(look_times(None)) == next(look_times(1e9))


def test_a_goal_is_a_share_of_one_number_a_request() -> None:
    assert parse_one(" TTFT:P90 = 10% ") == PrecisionGoal("ttft", "p90", 0.1)
    assert parse_one("e2el=5%").stat == "p99"
    wrong = {
        "itl:p90=5%": "many values a request",
        "nothing:p90=5%": "no metric of requests",
        "ttft:p17=5%": "no interval is of",
        "ttft:p90=5": "needs a percent sign",
        "ttft:p90=0%": "more than 0%",
        "ttft:p90=100%": "less than 100%",
        "ttft": "not of the form",
    }
    for text, says in wrong.items():
        with pytest.raises(UsageError, match=says):
            parse_one(text)
    assert parse_one("ttft=99.9%").share == pytest.approx(0.999)
    assert impossible(parse_one("e2el=5%"), streamed=False, one_token=True) is None
    assert "--no-stream" in str(impossible(parse_one("ttft=5%"), streamed=False, one_token=False))
    assert impossible(parse_one("ttft=5%"), streamed=True, one_token=True) is None
    assert "more --output-tokens" in str(impossible(parse_one("tpot=5%"), streamed=True, one_token=True))
    assert [percent(share) for share in (0.0869, 0.2309, 0.0035, 0.01, 0.00999)] == [
        "8.7%",
        "23.1%",
        "0.35%",
        "1.0%",
        "1%",
    ]
    assert [written(share) for share in (0.1, 0.0225)] == ["10%", "2.25%"]


def test_a_number_is_known_to_half_its_interval() -> None:
    mean = PrecisionGoal("ttft", "mean", 0.1)
    alternating = [9.0, 11.0] * 50
    known = known_to(mean, alternating)
    # The values are worth 50, or 41.7 after correction: 2.091 standard errors of 1.005 / sqrt(41.7), with 19.8 degrees
    # of freedom.
    assert known.reach == pytest.approx(2.0872 * 1.00504 / math.sqrt(2500 / 60) / 10, rel=1e-3)
    assert known_to(mean, [0.0] * 100).reach == 0.0
    few, nothing = known_to(PrecisionGoal("ttft", "p99", 0.1), [1.0] * 30), known_to(mean, [])
    assert isinstance(few.reach, TooFew)
    assert isinstance(nothing.reach, TooFew)
    assert (few.reach.needed, nothing.reach.effective) == (368, 0.0)
    around_zero = known_to(mean, [-1.0, 1.0] * 50)
    assert around_zero.reach == math.inf


def test_a_judge_takes_good_requests_of_the_run_in_the_order_in_which_they_were_sent() -> None:
    judge = Judge([PrecisionGoal("ttft", "mean", 0.2)])
    assert judge.run_s(START_NS) == 0.0
    for index in reversed(range(100)):
        judge.add(table_of(made_record(index, sent_ms=10.0 * index, chunks_ms=(9 + 2 * (index % 2), 50))))
    judge.add(table_of(made_record(200, sent_ms=-500, phase="warmup", chunks_ms=(900,))))
    judge.add(table_of(made_record(201, sent_ms=5, outcome=Outcome.RESET)))
    judge.add(table_of(made_record(202, chunks_ms=(), n=3)))
    assert judge.run_s(START_NS + 2 * S) == 2.0
    looks = [judge.look(at) for at in (1.0, 2.0, 3.0)]
    assert all(look.known[0].reached for look in looks)
    assert [look.enough for look in looks][-1]
    assert not looks[0].enough


# ---- Precision of numbers --------------------------------------------------------------------------------------------


def test_too_few_values_say_how_long_a_run_would_do() -> None:
    few = of_requests([5.0] * 19, [5.0] * 19, 10.0)
    assert few.ci95["mean"] is None
    # A mean needs one more value, a p99 349 more: 20 and 368, where 10 s gave 19.
    assert to_plain(few.too_few["mean"]) == {"independent": 1.0, "needed": 10, "run_s": 11}
    assert to_plain(few.too_few["p99"]) == {"independent": 1.0, "needed": 368, "run_s": 194}
    assert of_requests([5.0] * 19, [5.0] * 19, None).too_few["mean"].run_s is None
    assert of_requests([], [], 10.0) == Sureness(0.0, dict.fromkeys(few.ci95), {})


def test_no_interval_of_a_result_goes_below_zero() -> None:
    low, high = known(of_requests([0.0, 0.0, 0.0, 40.0] * 10, [1.0] * 40, 10.0).ci95["mean"])
    assert low == 0.0
    assert high > 10.0


def test_a_rate_whose_interval_would_reach_zero_has_none_and_says_how_long_a_run_would_do() -> None:
    """A wave of prompts in the first of 64 steps, a wave of replies that ended with the last, incomplete step, and no
    reply."""
    wave, nothing = [10.0, *[0.0] * 63], [0.0] * 64
    found = of_rates({"in": 10 / 6.4, "out": 10 / 6.4, "ok": 0.0}, {"in": wave, "out": nothing, "ok": nothing}, 0.1)
    assert found.ci95 == {"in": None, "out": None, "ok": [0.0, 0.0]}
    assert found.too_few.keys() == {"in", "out"}
    assert (found.too_few["out"].needed, found.too_few["out"].run_s) == (10, 64)
    longer = known(found.too_few["in"].run_s)
    waves = ([10.0, *[0.0] * 63] * math.ceil(longer / 6.4))[: round(longer / 0.1)]
    assert of_rates({"in": 10 / 6.4}, {"in": waves}, 0.1).ci95["in"] is not None
    assert of_rates({}, {}) == Sureness(0.0, {}, {})


def test_groups_are_each_one_piece_of_evidence() -> None:
    groups = [[9.0, 9.0, 9.0], [11.0, 11.0, 11.0]] * 30
    found = of_groups(groups, 60.0)
    low, high = known(found.ci95["mean"])
    assert (low + high) / 2 == pytest.approx(10.0)
    assert found.independent == pytest.approx(30.0)
    assert of_groups([], 60.0).too_few == {}


def test_an_error_rate_where_nothing_failed_rests_on_the_dependence_of_the_latencies() -> None:
    # The latencies of 1,000 requests are worth 1,000 / 1.5: 3.84 / (667 + 3.84).
    latencies = np.random.default_rng(1).permutation(np.arange(1_000.0))
    ends = of_error_rate([0] * 1_000, latencies)
    assert ends is not None
    assert ends[0] == pytest.approx(0.0)
    assert ends[1] == pytest.approx(3.84 / (1_000 / 1.5 + 3.84), rel=0.15)
    every = of_error_rate([1] * 100, [])
    assert every is not None
    assert every[0] == pytest.approx(100 / 103.84, rel=1e-3)
    assert of_error_rate([0] * 5, [1.0] * 5) is None
    assert [shown([1.0, 2.0], limit, True) for limit in (0.5, 1.5, 3.0)] == ["failed", "not shown", "held"]
    assert shown(None, 1.0, True) == "not shown"


@pytest.mark.parametrize("value", [1.0, 1.4999, 1.5, 777.0, 1_048_575.0, 3.7e9])
def test_what_stands_for_a_bin_of_a_step_is_within_a_hundredth_of_what_it_holds(value: float) -> None:
    (bin_number,) = bins_of(bins_of_array(np.array([value]))).tolist()
    assert representative(bin_number) == pytest.approx(value, rel=0.01)
    assert lower_border(bin_number) <= value < lower_border(bin_number + 1)
    assert RELATIVE_ERROR == 0.01
