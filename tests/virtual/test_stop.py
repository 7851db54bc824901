"""When sending ends, and which requests are warm-up."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records import Outcome
from bench.transport.scripted import ScriptedReply
from tests.support.virtual_load import MS, START, Load

EVERY_10_MS = [i * 10 * MS for i in range(1_000)]


def phases(load: Load) -> list[str]:
    return [load.of(i).phase for i in range(len(load.records))]


def test_a_number_of_requests_ends_it() -> None:
    load = Load(requests=7).open(EVERY_10_MS)
    assert (len(load.records), load.stop.reason) == (7, "requests")
    assert load.ended_ns == 65 * MS


def test_a_duration_ends_the_sending_and_leaves_alone_what_is_in_flight() -> None:
    load = Load(ScriptedReply(ttft_ns=500 * MS), duration_ns=100 * MS).open(EVERY_10_MS)
    assert load.sent_at == EVERY_10_MS[:10]  # The arrival exactly at the end is not sent.
    assert {r.outcome for r in load.records} == {Outcome.OK}
    assert (load.stop.reason, load.ended_ns) == ("duration", 590 * MS)


def test_a_duration_ends_a_load_whose_next_arrival_is_far_off() -> None:
    load = Load(duration_ns=100 * MS).open([0])
    assert (load.ended_ns, load.stop.reason) == (100 * MS, "duration")


def test_arrivals_of_the_duration_that_come_late_are_sent_and_those_behind_its_end_are_not() -> None:
    pause = [(95 * MS, lambda load: load.loop.charge(200 * MS))]
    load = Load(duration_ns=100 * MS, meanwhile=pause).open([0, 98 * MS, 99 * MS, 100 * MS, 101 * MS])
    assert [r.intended_ns - START for r in load.records] == [0, 98 * MS, 99 * MS]
    assert load.sent_at == [0, 295 * MS, 295 * MS]


def test_of_number_and_duration_the_first_one_ends_it() -> None:
    few = Load(requests=3, duration_ns=100 * MS).open(EVERY_10_MS)
    short = Load(requests=50, duration_ns=100 * MS).open(EVERY_10_MS)
    assert (len(few.records), few.stop.reason) == (3, "requests")
    assert (len(short.records), short.stop.reason) == (10, "duration")


def test_a_duration_ends_a_closed_loop() -> None:
    load = Load(ScriptedReply(ttft_ns=30 * MS), duration_ns=100 * MS).closed(2)
    assert load.sent_at == [t * MS for t in (0, 0, 30, 30, 60, 60, 90, 90)]
    assert load.ended_ns == 120 * MS


def test_warm_up_requests_come_first_and_on_top() -> None:
    load = Load(requests=5, warmup_requests=3).open(EVERY_10_MS)
    assert phases(load) == ["warmup"] * 3 + ["run"] * 5
    assert load.stop.run_start_ns == START + 30 * MS


def test_a_warm_up_time_comes_first_and_on_top_of_the_duration() -> None:
    load = Load(duration_ns=50 * MS, warmup_ns=35 * MS).open(EVERY_10_MS)
    assert phases(load) == ["warmup"] * 4 + ["run"] * 5
    assert load.stop.run_start_ns == START + 40 * MS
    assert load.sent_at[-1] == 80 * MS


def test_workers_that_find_the_end_of_their_warm_up_end_together() -> None:
    every_70_ms = [i * 70 * MS for i in range(40)]
    found = [(50 * MS, lambda load: load.stop.warmup_ends(START + 100 * MS))]
    loads = [
        Load(duration_ns=300 * MS, warmup_ns=900 * MS, one_of_several=True, meanwhile=found).open(every_70_ms[k::4])
        for k in range(4)
    ]
    assert sorted(at for load in loads for at in load.sent_at) == every_70_ms[:6]
    assert {load.stop.reason for load in loads} == {"duration"}


@pytest.mark.parametrize(
    ("reply_ms", "warmup", "sent_ms"),
    [
        # The duration counts from the end of the warm-up, not from 60 ms.
        (30, {"warmup_ns": 50 * MS}, [0, 30, 60, 90, 120]),
        (160, {"warmup_ns": 50 * MS}, [0, 160]),  # The first request of the run comes after the end of the warm-up's.
        # Each worker ends this kind of warm-up at a different time.
        (30, {"warmup_requests": 2}, [0, 30, 60, 90, 120, 150]),
    ],
)
def test_a_user_of_one_of_several_workers_ends_with_the_others(
    reply_ms: int, warmup: dict[str, Any], sent_ms: list[int]
) -> None:
    load = Load(ScriptedReply(ttft_ns=reply_ms * MS), duration_ns=100 * MS, one_of_several=True, **warmup).closed(1)
    assert load.sent_at == [at * MS for at in sent_ms]


def test_warm_up_of_a_closed_loop_counts_towards_no_limit() -> None:
    load = Load(ScriptedReply(ttft_ns=10 * MS), requests=4, warmup_requests=2).closed(2)
    assert sorted(phases(load)) == ["run"] * 4 + ["warmup"] * 2


def test_the_first_interruption_lets_what_is_in_flight_end() -> None:
    load = Load(ScriptedReply(ttft_ns=50 * MS), requests=100, meanwhile=[(25 * MS, lambda load: load.stop.interrupt())])
    load.open(EVERY_10_MS)
    assert [r.outcome for r in load.records] == [Outcome.OK] * 3
    assert (load.stop.reason, load.stop.interrupted) == ("interrupted", True)


def test_an_interruption_of_a_closed_loop_keeps_its_users_from_sending_again() -> None:
    load = Load(ScriptedReply(ttft_ns=50 * MS), requests=100, meanwhile=[(25 * MS, lambda load: load.stop.interrupt())])
    assert len(load.closed(4).records) == 4


def test_an_interruption_while_the_last_ones_are_in_flight_is_still_an_interruption() -> None:
    load = Load(ScriptedReply(ttft_ns=50 * MS), requests=2, meanwhile=[(30 * MS, lambda load: load.stop.interrupt())])
    load.closed(2)
    assert (load.stop.reason, load.stop.interrupted) == ("requests", True)


def test_a_reason_of_the_callers_own_ends_it() -> None:
    load = Load(requests=100, meanwhile=[(25 * MS, lambda load: load.stop.now("errors"))]).open(EVERY_10_MS)
    assert (len(load.records), load.stop.reason) == (3, "errors")
