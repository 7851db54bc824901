"""A load changed while it runs, in virtual time: exactly when requests are sent, with one worker and with several."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.modes.concurrency import Concurrency
from bench.modes.rate import Rate
from bench.modes.share import RunLength
from bench.schedule.changing import ChangingArrivals, RateChange
from bench.sources.interface import Source
from bench.transport.scripted import ScriptedReply
from tests.support.changed import replace
from tests.support.virtual_load import MS, START, Load

REPLY = ScriptedReply(ttft_ns=40 * MS)
S = 1000 * MS
RATE = Rate(rate=20.0, arrivals="poisson", burstiness=1.0, seed=3, cap=None, drop_late=False)
CHANGES = [RateChange(2 * S, 60.0), RateChange(4 * S, 5.0)]


def told(changes: list[RateChange], lead_ns: int = 0) -> list[tuple[int, object]]:
    """Each change, announced this long before it begins."""

    def tell(at_ns: int, rate: float) -> object:
        return lambda load: load.dispatcher.change(START + at_ns, rate)

    return [(at_ns - lead_ns, tell(at_ns, rate)) for at_ns, rate in changes]


def planned(rate: Rate, until_ns: int) -> list[int]:
    """The expected offsets from the settings and the changes, drawn again."""
    found: list[int] = []
    for at_ns in rate.planned_arrivals(CHANGES):
        if at_ns >= until_ns:
            return found
        found.append(at_ns)
    return found


@pytest.mark.parametrize("name", ["poisson", "gamma", "constant"])
def test_an_open_loop_sends_at_the_new_rate_from_the_instant_of_the_change(name: str) -> None:
    rate = replace(RATE, arrivals=name, burstiness=0.5)
    load = Load(ends_ns=8 * S, meanwhile=told(CHANGES)).open(ChangingArrivals(rate.offsets(), 20.0), then_daily=False)  # type: ignore[arg-type]
    assert load.sent_at == planned(rate, 8 * S)
    counts = Counter(at // (2 * S) for at in load.sent_at)
    for part, expected in enumerate((40, 120, 10, 10)):
        assert abs(counts[part] - expected) < 4 * expected**0.5
    assert all(record.intended_ns == record.sent_ns for record in load.records)


def test_a_change_that_is_told_ahead_begins_when_it_says() -> None:
    load = Load(ends_ns=8 * S, meanwhile=told(CHANGES, lead_ns=250 * MS)).open(  # type: ignore[arg-type]
        ChangingArrivals(RATE.offsets(), 20.0), then_daily=False
    )
    assert load.sent_at == planned(RATE, 8 * S)


@pytest.mark.parametrize("requests", [None, 100])
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_together_send_the_arrivals_of_one_process(workers: int, requests: int | None) -> None:
    length = RunLength(requests=requests, duration_ns=6 * S)
    shares = RATE.plan(length, no_source()).shares(workers)
    sent: list[int] = []
    for share in shares:
        load = Load(meanwhile=told(CHANGES, lead_ns=250 * MS)).open(RATE.arrivals_of(share), then_daily=False)  # type: ignore[arg-type]
        assert load.stop.reason == "requests"
        sent += load.sent_at
    first = next(RATE.offsets())
    assert sorted(sent) == planned(RATE, first + 6 * S)[:requests]


def test_a_change_lost_in_one_worker_is_seen_in_the_merged_arrivals() -> None:
    shares = RATE.plan(RunLength(requests=None, duration_ns=6 * S), no_source()).shares(2)
    sent: list[int] = []
    for share in shares:
        meanwhile = told(CHANGES) if share.worker == 0 else []
        sent += Load(meanwhile=meanwhile).open(RATE.arrivals_of(share), then_daily=False).sent_at  # type: ignore[arg-type]
    assert sorted(sent) != planned(RATE, next(RATE.offsets()) + 6 * S)


def test_users_come_at_once_and_go_when_their_request_has_ended() -> None:
    changes = [RateChange(100 * MS, 3), RateChange(170 * MS, 1)]
    load = Load(REPLY, ends_ns=300 * MS, meanwhile=told(changes)).closed(1)  # type: ignore[arg-type]
    # One user sends at 0, 40 and 80 ms, two more join at 100 ms. At 170 ms only one may stay: those with replies at 180
    # ms leave.
    assert load.sent_at == [at * MS for at in (0, 40, 80, 100, 100, 120, 140, 140, 160, 200, 240, 280)]
    in_flight = [sum(r.intended_ns <= START + at * MS < r.end_ns for r in load.records) for at in (50, 150, 230)]
    assert in_flight == [1, 3, 1]
    assert all(record.outcome == "ok" for record in load.records)


def test_two_changes_told_before_either_is_due_are_both_made() -> None:
    def tell(load: Load) -> None:
        load.dispatcher.change(START + 100 * MS, 3)
        load.dispatcher.change(START + 120 * MS, 2)

    load = Load(REPLY, ends_ns=300 * MS, meanwhile=[(50 * MS, tell)]).closed(1)
    in_flight = [sum(r.intended_ns <= START + at * MS < r.end_ns for r in load.records) for at in (90, 110, 210)]
    assert in_flight == [1, 3, 2]


def test_a_change_that_is_told_late_counts_from_its_instant() -> None:
    def tell(load: Load) -> None:
        load.dispatcher.change(START + 100 * MS, 2)

    load = Load(REPLY, ends_ns=200 * MS, meanwhile=[(130 * MS, tell)]).closed(1)
    (late,) = [r for r in load.records if r.sent_ns != r.intended_ns]
    assert (late.intended_ns - START, late.sent_ns - START) == (100 * MS, 130 * MS)  # type: ignore[operator]


def test_users_are_divided_as_those_of_the_start() -> None:
    mode = Concurrency(users=5, ramp_ns=0)
    shares = mode.plan(RunLength(requests=None, duration_ns=S), no_source()).shares(2)
    assert [share.users for share in shares] == [mode.part_of(5, share) for share in shares] == [3, 2]
    for users in range(2, 40):
        assert sum(mode.part_of(users, share) for share in shares) == users


def no_source() -> Source[object]:
    return None  # type: ignore[return-value]
