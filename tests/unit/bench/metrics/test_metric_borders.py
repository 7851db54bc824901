"""Numbers of a run at their borders: samples of workers, histograms and the load, all by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bench.metrics.histogram import LogHistogram, counted
from bench.metrics.instrument import WorkerSamples
from bench.metrics.load import Readiness, Spans, dispersion, most_at_once, plan_against_sent
from bench.metrics.step_histograms import StepHistograms
from bench.results.base import to_plain
from tests.support.made_records import MS, START_NS, made_record
from tests.support.results import described, known
from tests.support.tables import table_of

S = 1_000_000_000


# ---- The workers' own samples --------------------------------------------------------------------------------------


def samples(*rows: dict[str, Any]) -> WorkerSamples:
    found = WorkerSamples()
    for row in rows:
        found.add(row)
    return found


def test_lines_that_say_nothing_of_a_kind_leave_it_out() -> None:
    nothing = samples({"t_ns": START_NS})
    assert described(nothing, START_NS, 2.0) == {
        "loop_lag_ms": None, "cpu": None, "run_queue": None, "stolen": None, "workers": 1,
        "pause": {"longest_ms": 0.0, "worker": None, "share_of_run": 0.0},
    }  # fmt: skip
    assert (nothing.in_flight_mean(), nothing.sent(), nothing.windows()) == (None, None, {})
    assert samples().longest_pause(START_NS, 2.0) is None


def test_processors_are_those_of_all_workers_and_busy_seconds_those_of_the_busiest() -> None:
    found = described(samples(*({"worker": 0, "cpu": x, "run_queue_share": 0.5} for x in (0.9, 0.2, 0.4, 0.1)),
                    *({"worker": 1, "cpu": x, "run_queue_share": x} for x in (0.91, 1.0, 0.9))), 0, 1.0)  # fmt: skip
    cpu = found["cpu"]
    assert (cpu["n"], cpu["mean"], cpu["p50"], cpu["max"]) == (7, pytest.approx(4.41 / 7), 0.9, 1.0)
    assert cpu["seconds_over_90"] == pytest.approx(2 / 3)
    assert found["run_queue"]["mean"] == pytest.approx(2.81 / 3)
    assert (found["run_queue"]["p99"], found["run_queue"]["max"]) == (pytest.approx(0.9982), 1.0)
    assert found["workers"] == 2


def test_stolen_time_is_a_share_of_what_was_used_and_that_of_the_worst_machine() -> None:
    here = [{"worker": 0, "used_s": used, "stolen_s": stolen} for used, stolen in ((0.5, 0.25), (1.5, 0.0), (0.0, 0.0))]
    there = [{"worker": 1, "used_s": 2.0, "stolen_s": 0.5}, {"worker": 1, "cpu": 0.5}]
    assert described(samples(*here), 0, 1.0)["stolen"] == {"share": 0.125, "seconds": 0.25}
    assert described(samples(*here, *there), 0, 1.0)["stolen"] == {"share": 0.25, "seconds": 0.5}
    assert described(samples({"worker": 0, "used_s": 0.0, "stolen_s": 0.0}), 0, 1.0)["stolen"] is None


@pytest.mark.parametrize(
    ("pauses", "longest_ms", "worker"),
    [
        ([(None, 0, 30)], 30, 0),
        ([(5, 0, 10), (1, 0, 30)], 30, 1),
        ([(2, 0, 30), (1, 5, 35)], 30, 1),
        ([(1, -20, -10), (2, -20, 0)], 0, None),
        ([(1, -20, 10)], 10, 1),
    ],
)
def test_the_longest_pause_is_that_of_the_run_and_of_the_first_of_equal_workers(
    pauses: list[tuple[int | None, int, int]], longest_ms: float, worker: int | None
) -> None:
    rows: list[dict[str, Any]] = [
        ({} if number is None else {"worker": number}) | {"pause_ns": (START_NS + begin * MS, START_NS + end * MS)}
        for number, begin, end in pauses
    ]
    found = samples(*rows).longest_pause(START_NS, 1.0)
    assert found is not None
    assert (found.longest_ms, found.worker, found.share_of_run) == (
        longest_ms,
        worker,
        pytest.approx(longest_ms / 1_000),
    )


def test_lags_are_of_every_wake_up_or_of_the_worst_second() -> None:
    every = samples({"loop_lag_ms": [1.0, 3.0]}, {"loop_lag_ms": []}, {"loop_lag_ms": [2.0]}).loop_lag_ms()
    assert every is not None
    assert (every.n, every.p50, every.max, every.of) == (3, 2.0, 3.0, "every wake-up")
    worst = samples({"loop_lag_ms": {"p50": 1.0, "p99": 5.0, "max": 9.0}},
                    {"loop_lag_ms": {"p50": 2.0, "p99": 4.0, "max": None}},
                    {"loop_lag_ms": {"p50": None}})  # fmt: skip
    assert to_plain(known(worst.loop_lag_ms())) == {
        "n": 2,
        "p50": 2.0,
        "p99": 5.0,
        "max": 9.0,
        "of": "the worst second",
    }
    assert known(samples({"loop_lag_ms": {"p99": 5.0}}).loop_lag_ms()).p50 is None
    many = samples({"loop_lag_ms": [1.0] * 200_000}, {"loop_lag_ms": [0.5]})
    found = many.loop_lag_ms()
    assert found is not None
    # The middle of the bin from 999,424 to 1,000,448 ns.
    assert (found.n, found.p50, found.max) == (200_001, pytest.approx(0.999936, rel=1e-9), 1.0)
    most = samples({"loop_lag_ms": [1.0, 1.001] * 100_000}).loop_lag_ms()
    assert most is not None
    assert most.p50 == pytest.approx(1.0005, rel=1e-9), "this many values are kept exactly"


def test_a_window_needs_two_instants_and_all_that_was_sent() -> None:
    def said(t: int, sent: int | None, done: int = 0, worker: int = 0) -> dict[str, Any]:
        counts = {} if sent is None else {"sent": sent, "done": done}
        return {"worker": worker, "t_ns": t * S, "in_flight_ns": t * 2.0 * S, **counts}

    assert samples(said(1, 0)).windows() == {}
    assert samples(said(1, 0), said(3, 5, 5)).windows() == {0: (S, 3 * S)}
    assert samples(said(1, 0), said(3, 5, 5)).in_flight_mean() == 2.0
    assert samples(said(1, 0), said(3, 5, 4)).windows() == {}
    assert samples(said(1, 5, 5), said(1, 5, 5)).windows() == {}
    # From the first sample to the last, whatever is between them.
    for between in (1, 2, 3):
        three = samples(said(1, 0), said(between, 0), said(3, 5, 5))
        assert (three.windows(), three.in_flight_mean()) == ({0: (S, 3 * S)}, 2.0)
    two = samples(said(1, 0), said(3, 5, 5), said(1, 0, worker=1), said(2, 4, 4, worker=1))
    assert (two.in_flight_mean(), two.sent()) == (4.0, 9)
    # A worker that does not report how many it sent still has a window, but then the sum is unknown.
    silent = samples(said(1, 0), said(3, 5, 5), said(1, None, worker=1), said(2, None, worker=1))
    assert (set(silent.windows()), silent.sent()) == ({0, 1}, None)


# ---- Histograms ----------------------------------------------------------------------------------------------------


def folded(*values: float, fold: bool = True) -> LogHistogram:
    found = LogHistogram()
    found.extend(values)
    if fold:
        found.fold()
    return found


def test_values_are_taken_out_of_a_histogram_as_they_came_in() -> None:
    whole = folded(5, 1, 3, 3, fold=False)
    whole.remove(folded(1, 3, fold=False))
    assert (whole.count, whole.total, whole.min, whole.max) == (2, 8, 3, 5)
    assert whole.snapshot().quantile(0.5) == 4
    whole.remove(LogHistogram())
    whole.remove(folded())
    assert (whole.count, whole.exact) == (2, True)
    wide = folded(1_000, 2_000, 4_000)
    wide.remove(folded(4_000))
    assert (wide.min, wide.max) == (1_000, pytest.approx(2_000, rel=0.001))
    whole.remove(folded(3, 5, fold=False))
    assert (whole.count, whole.min, whole.max) == (0, math.inf, -math.inf)
    for fold_all, fold_out in ((True, False), (False, True), (True, True)):
        left = folded(1_000, 2_000, 4_000, fold=fold_all)
        left.remove(folded(1_000, fold=fold_out))
        assert (left.exact, left.count, left.total, left.total_of_squares) == (False, 2, 6_000, 20_000_000)
        assert (left.min, left.max) == (pytest.approx(2_000, rel=0.001), 4_000)
        left.remove(folded(4_000))
        assert left.max == pytest.approx(2_000, rel=0.001)
        left.remove(folded(2_000))
        assert (left.count, left.min, left.max) == (0, math.inf, -math.inf)


@pytest.mark.parametrize(("fold", "fold_other"), [(False, False), (False, True), (True, False), (True, True)])
def test_histograms_are_merged_with_their_sums(fold: bool, fold_other: bool) -> None:
    found = folded(1_000, 2_000, fold=fold)
    for other in (folded(4_000, fold=fold_other), folded(fold=fold_other)):
        found.merge(other)
        assert (found.count, found.total, found.total_of_squares) == (3, 7_000, 21_000_000)
        assert (found.min, found.max, found.exact) == (1_000, 4_000, not (fold or fold_other))
        assert found.snapshot().quantile(0.5) == pytest.approx(2_000, rel=0.001)


def test_arrays_are_added_as_values_are_folded_or_not() -> None:
    for fold in (False, True):
        one, other = LogHistogram(), LogHistogram()
        if fold:
            one.fold()
            other.fold()
        one.extend([7, 3, 2**41])
        other.extend(np.array([7, 3, 2**41]))
        other.extend(np.array([], dtype=np.int64))
        assert one.snapshot().describe() == other.snapshot().describe()
        assert (one.total, one.total_of_squares) == (other.total, other.total_of_squares) == (10 + 2**41, 58 + 2**82)
    half = folded(2, 4, 6, fold=False).snapshot().describe(0.5)
    assert (half.n, half.mean, half.std, half.min, half.p50, half.max) == (3, 2.0, 1.0, 1.0, 2.0, 3.0)
    known = LogHistogram()
    known.extend([1.4, 1.4], total=3)
    assert known.total == 3
    assert folded(0.4, 0.6, 1.6, fold=False).total == 3, "whole numbers have the same sum in any order"


def test_ranks_and_counts_of_a_histogram_exact_and_folded() -> None:
    for fold in (False, True):
        found = folded(1_000, 2_000, 2_000, 4_000, fold=fold).snapshot()
        assert [found.at_rank(rank) for rank in range(4)] == [
            1_000,
            pytest.approx(2_000, rel=0.001),
            pytest.approx(2_000, rel=0.001),
            4_000,
        ]
        assert [found.count_above(limit) for limit in (500, 1_500, 3_000, 4_000)] == [4, 3, 1, 0]
        assert found.quantile(0.5) == pytest.approx(2_000, rel=0.001)
    many = LogHistogram()
    many.extend([float(i) for i in range(1_000)])
    assert many.snapshot().quantile(0.5) == 499.5
    many.fold()
    assert many.snapshot().quantile(0.5) == pytest.approx(499.5, rel=0.001)
    assert folded(0.0, 0.0, 5.0).snapshot().quantile(0.5) == 0.0
    assert [folded(*of).snapshot().describe().std for of in ((5,), (5, 5, 5), (4, 6))] == [None, 0.0, math.sqrt(2)]
    assert counted(np.array([3, 3, 9])) == {3: 2, 9: 1}
    assert counted(np.array([3, 3 + 2**15])) == counted(np.array([3 + 2**15, 3])) == {3: 1, 32_771: 1}
    assert counted(np.array([3, 2**40, 2**40])) == {3: 1, 2**40: 2}


def test_steps_are_doubled_when_there_are_too_many_and_hold_what_lies_outside_at_their_ends() -> None:
    one, other = StepHistograms(), StepHistograms()
    times = [second * S for second in range(0, 5_000, 7)] * 2
    values = [1000.0 * (1 + i % 9) for i in range(len(times))]
    order = sorted(range(len(times)), key=times.__getitem__)
    one.extend(np.array(times)[order], np.array(values)[order])
    other.extend(np.array(times[:900]), np.array(values[:900]))
    other.extend(np.array(times[900:]), np.array(values[900:]))
    other.extend(np.array([], dtype=np.int64), np.array([]))
    assert one.width_ns == other.width_ns
    steps = 5_000 * S // one.width_ns + 1
    assert one.per_step(0, one.width_ns, steps) == other.per_step(0, one.width_ns, steps)
    assert sum(sum(step.values()) for step in one.per_step(0, one.width_ns, 3)) == len(times)
    late = one.per_step(4_000 * S // one.width_ns * one.width_ns, one.width_ns, 2)
    assert sum(late[0].values()) > 1_000


# ---- The load ------------------------------------------------------------------------------------------------------


def test_spans_are_kept_by_worker_and_what_was_never_eligible_is_in_none() -> None:
    spans = Spans()
    spans.add(table_of(made_record(0, chunks_ms=(100,))))
    spans.add(table_of(made_record(1, sent_ms=50, chunks_ms=(100,), worker=1)))
    spans.add(table_of(made_record(2, chunks_ms=(100,), eligible_ns=None)))
    assert [len(begins) for begins, _ in spans.of_workers()] == [1, 1]
    assert spans.mean(START_NS, START_NS + 150 * MS) == pytest.approx(200 / 150)
    assert spans.mean(START_NS, START_NS + 150 * MS, 1) == pytest.approx(100 / 150)
    assert (spans.count([0, 7]), spans.count([0, 1]), spans.most()) == (1, 2, 2)
    later = Spans()
    later.add(table_of(made_record(0), made_record(1, sent_ms=500, worker=1)))
    assert later.most() == 1
    assert most_at_once([0, 5], [5, 9]) == 1
    assert most_at_once([], []) == 0


def test_the_dispersion_needs_a_hundred_arrivals_that_are_apart() -> None:
    assert dispersion([0.0] * 100, [0.0] * 100) is None
    plan = [float(k) for k in range(100)]
    assert dispersion(plan, plan) == 0.0
    assert dispersion(plan, plan[:99]) is None
    assert dispersion([], plan) is None
    # Ten slots of ten. With all requests in the first slot, the mean is 10 and the variance (90 x 90 + 9 x 10 x 10) /
    # 9.
    late = [500.0 + k for k in range(101)]
    assert dispersion([500.0] * 100, late) == pytest.approx((90**2 + 9 * 100) / 9 / 10)
    assert dispersion(late, late) == 0.0
    # Slots begin half a gap before an arrival, so neither of these two leaves its slot.
    for k, by in ((9, 0.49), (10, -0.49)):
        assert dispersion([at + by if at == k else at for at in plan], plan) == 0.0
    assert dispersion([at - 0.4 for at in plan], plan) == dispersion([at + 0.4 for at in plan], plan) == 0.0


def test_a_plan_and_what_was_sent_of_it_are_compared_by_rate_and_span() -> None:
    plan, sent = [k * 10.0 * MS for k in range(5)], [k * 12.5 * MS for k in range(5)]
    found = plan_against_sent(plan, sent)
    assert (found.planned_rps, found.sent_rps) == (100.0, 80.0)
    assert found.rate_difference == pytest.approx(-0.2)
    assert found.span_difference_ms == pytest.approx(10.0)
    assert found.dispersion_ratio is None
    unplanned = plan_against_sent([], sent)
    assert (unplanned.planned_rps, unplanned.rate_difference, unplanned.span_difference_ms) == (None, None, None)
    even = [float(k) for k in range(101)]
    # A hundred at once, while the plan has no dispersion: as above, with 0.01 more for each.
    at_once = plan_against_sent(even, [0.0] * 100).dispersion_ratio
    assert at_once == pytest.approx(((90**2 + 9 * 100) / 9 / 10 + 0.01) / 0.01)
    assert (plan_against_sent(even, even).dispersion_ratio, plan_against_sent(even, []).dispersion_ratio) == (1, None)
    none = plan_against_sent(plan, [])
    assert (none.rate_difference, none.span_difference_ms, none.sent_rps) == (None, None, None)


def test_a_wait_counts_from_the_first_send_of_all() -> None:
    found = Readiness()
    # Free at 0 and sent at 40 ms. The other request was sent at 30 ms, so 10 of the 40 ms are after the first send.
    found.add(table_of(made_record(0, sent_ms=40, chunks_ms=(60,), intended_ns=START_NS, eligible_ns=START_NS)))
    found.add(table_of(made_record(1, sent_ms=30, chunks_ms=(70,))))
    assert to_plain(known(found.describe())) == {"share": 10 / 170, "typical_ms": 10.0, "longest_ms": 10.0}
    unsent = Readiness()
    unsent.add(table_of(made_record(0, sent_ns=None, chunks_ms=())))
    assert unsent.describe() is None
    # If replies take no time, there is no share.
    for end_ns, share in ((START_NS, None), (START_NS + 1, 0.0)):
        instant = Readiness()
        instant.add(table_of(made_record(0, chunks_ms=(0,), end_ns=end_ns)))
        told = instant.describe()
        assert (None if told is None else told.share) == share
    agents = Readiness()
    agents.add(table_of(*(made_record(k, chunks_ms=(100,), session="s") for k in range(2))))
    assert agents.user_ns == 200 * MS
    session = Readiness()
    for number, at in ((0, 0), (1, 300)):
        session.add(table_of(made_record(number, sent_ms=at + 10, chunks_ms=(90,), intended_ns=START_NS + at * MS,
                                eligible_ns=START_NS + at * MS, session="s")))  # fmt: skip
    assert to_plain(known(session.describe())) == {
        "share": pytest.approx(10 / 400),
        "typical_ms": 10.0,
        "longest_ms": 10.0,
    }
