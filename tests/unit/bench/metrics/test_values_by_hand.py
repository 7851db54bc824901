"""Numbers of a summary, computed by hand, where a mistake would give a wrong number and no error."""

from __future__ import annotations

import math
from statistics import stdev

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.jobs import answered_ns
from bench.metrics.kept_plan import _users_off
from bench.metrics.planned_load import parts_between
from bench.metrics.summary import Summary
from bench.metrics.sureness import of_rates
from bench.metrics.window import Window, describe_window, steady_window
from bench.records import Outcome
from bench.results.series import Series
from tests.support.changed import replace
from tests.support.made_records import MS, START_NS, made_record
from tests.support.results import filled, known
from tests.support.tables import table_of

S = 1_000_000_000


def test_a_request_has_answered_with_its_last_token_and_a_failed_one_at_its_end() -> None:
    served = replace(made_record(chunks_ms=(50, 60), kinds="cc"), end_ns=START_NS + 95 * MS)
    failed = replace(served, outcome=Outcome.STREAM_ERROR)
    whole = replace(served, chunk_ns=(), chunk_kind="", chunk_tokens=())
    assert (answered_ns(table_of(served, failed, whole)) - START_NS).tolist() == [60 * MS, 95 * MS, 95 * MS]


def test_the_interval_of_a_rate_is_as_wide_as_its_seconds_vary() -> None:
    # 98 to 102 per second, independent from second to second.
    values = [100.0 + (i * 7 % 5 - 2) for i in range(100)]
    low, high = known(of_rates({"requests_per_s": 103.0}, {"requests_per_s": values}).ci95["requests_per_s"])
    assert (low + high) / 2 == pytest.approx(103.0)
    # Worth 50 values, or 41.7 after correction: 2.1 standard errors of those, or 3.2 of all 100, on both sides.
    assert 0 < high - low < 2 * 3.3 * stdev(values) / math.sqrt(len(values))


def test_the_interval_of_requests_per_second_counts_each_request_once() -> None:
    # 8 requests end in each even second, 12 in each odd one.
    summary = Summary(RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=1))
    at = [1000.0 * second + 1000.0 * i / n for second in range(60) for n in [8 + 4 * (second % 2)] for i in range(n)]
    summary.add(table_of(*(made_record(index, sent_ms=ms, chunks_ms=(5.0, 6.0)) for index, ms in enumerate(at))))
    found = summary.close().throughput
    low, high = known(found.ci95["requests_per_s"])
    assert found.requests_per_s == pytest.approx(10.0, rel=0.01)
    # The standard error of the mean of 60 values, each 2 away from it, is 0.26. The interval has 2 to 4 of them on each
    # side.
    assert 2 * 1.9 * 0.26 < high - low < 2 * 4 * 0.26


def test_what_comes_after_the_window_says_nothing_of_it() -> None:
    # The series begins 100 s after the clock's zero. The window is its first half; then the server breaks down.
    calm, broken = [100.0 + i % 3 for i in range(60)], [5_000.0 + 90 * i for i in range(60)]
    over_time = filled(
        Series,
        {
            "step_s": 1,
            "t_s": [100.0 + i for i in range(120)],
            "output_tokens": [100.0] * 120,
            **{name: {"mean": calm + broken} for name in ("ttft_ms", "tpot_ms", "e2el_ms")},
        },
    )
    whole = describe_window(Window(100 * S, 220 * S, "all of it", []), [5.0] * 9, over_time, True)
    first_half = describe_window(Window(100 * S, 160 * S, "the first half", []), [5.0] * 9, over_time, True)
    assert first_half.warnings == []
    assert any("TTFT" in warning for warning in whole.warnings)
    assert first_half.rounds == 12_000


def test_replies_that_took_no_time_have_no_rounds() -> None:
    over_time = filled(Series, {"step_s": 1, "t_s": [0.0], "output_tokens": [1.0],
                 **{name: {"mean": [0.0]} for name in ("ttft_ms", "tpot_ms", "e2el_ms")}})  # fmt: skip
    assert (
        describe_window(Window(0, S, "all of it", []), over_time=over_time, e2el_ms=[0.0], open_loop=False).rounds
        is None
    )


def test_of_users_nothing_is_said_while_a_worker_has_sent_nothing() -> None:
    parts = parts_between(2, (), 10 * S)
    sent = ([0, 0, 5 * S], [4 * S, 5 * S, 9 * S])
    assert list(_users_off(parts, [sent, ([], [])], 0)) == []
    assert list(_users_off(parts, [], 0)) == []
    (found,) = _users_off(parts, [sent], 0)
    # Two users were planned from 0 to 5 s, and one was missing from 4 s on: 1 of 10.
    assert found.share == pytest.approx(0.1)


def test_a_start_is_cut_where_it_ends_by_the_clock_whose_zero_is_not_the_run_s() -> None:
    # The series begins 50 s after the clock's zero. The server is slow for the first 20 s.
    slow_start = [10.0] * 20 + [100.0 + i % 5 for i in range(80)]
    over_time = filled(Series, {"step_s": 1, "t_s": [50.0 + i for i in range(100)], "output_tokens": [100.0] * 100,
                 **{name: {"mean": slow_start} for name in ("ttft_ms", "tpot_ms", "e2el_ms")}})  # fmt: skip
    found = steady_window(50 * S, 150 * S, 55 * S, S, over_time, int, True)
    assert found is not None
    assert (found.start_ns, found.end_ns) == (70 * S, 150 * S)
