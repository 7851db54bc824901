"""The bookkeeping of a dispatcher, tested alone: requests in flight, due calls, the end of sending, and which users
stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import pytest

from bench.clock import Timer
from bench.dispatch.in_flight import InFlightCounter
from bench.dispatch.sending import Sending
from bench.dispatch.sessions import Course
from bench.dispatch.stop import Stop
from bench.dispatch.users import Users

START = 1_000_003


class Clock:
    """A clock set by hand."""

    name = "by hand"

    def __init__(self) -> None:
        self.at_ns = START
        self.timers: list[Timer] = []

    def now_ns(self) -> int:
        return self.at_ns

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(deadline_ns, call))
        return self.timers[-1]

    def next_ns(self) -> int | None:
        return None

    def close(self) -> None:
        """Nothing to release."""

    def reach(self, at_ns: int) -> None:
        """Make the calls that are due by this offset, in order."""
        while due := sorted(t for t in self.timers if t.call is not None and t.deadline_ns <= START + at_ns):
            self.at_ns = max(self.at_ns, due[0].deadline_ns)
            call, due[0].call = due[0].call, None
            assert call is not None
            call()
        self.at_ns = max(self.at_ns, START + at_ns)

    @property
    def due(self) -> list[int]:
        return sorted(timer.deadline_ns - START for timer in self.timers if timer.call is not None)


# In flight


def test_what_is_in_flight_is_counted_and_weighted_by_time() -> None:
    counter = InFlightCounter()
    assert (counter.now, counter.max, counter.integral_ns(100)) == (0, 0, 0)
    counter.begin(10)
    counter.begin(20)
    assert (counter.now, counter.max) == (2, 2)
    assert counter.integral_ns(25) == 15 + 5
    counter.end(30)
    counter.begin(50)
    assert (counter.now, counter.max) == (2, 2)
    counter.end(55)
    counter.end(60)
    # Requests at 10 to 30, 20 to 55 and 50 to 60, in any order of their ends.
    assert (counter.now, counter.max, counter.integral_ns(999)) == (0, 2, 20 + 35 + 10)


# Courses


def course(after: Sequence[Sequence[int]], pauses: Sequence[int], ended: dict[int, int] | None = None) -> Course:
    return Course(after, pauses, began_ns=100, ended_ns=ended or {})


def test_a_turn_is_due_its_pause_after_the_last_of_those_that_it_waits_for() -> None:
    made = course([(), (0,), (0,), (1, 2), ()], [5, 1, 2, 10, 7])
    assert made.left == 5
    assert made.first() == [(0, 105), (4, 107)]
    assert made.left == 3
    assert [list(made.children(turn)) for turn in range(5)] == [[1, 2], [3], [3], [], []]
    assert made.ended(0, 200) == [(1, 201), (2, 202)]
    assert made.ended(2, 400) == []
    assert made.left == 1
    assert made.ended(1, 300) == [(3, 410)]
    assert (made.ended(3, 500), made.left) == ([], 0)


def test_turns_that_ended_before_are_not_named_again() -> None:
    made = course([(), (0,), (0, 1), ()], [0, 0, 3, 4], {0: 50, 1: 130})
    assert made.left == 2
    assert made.first() == [(2, 133), (3, 104)]
    assert made.left == 0


# The end of the sending


def phases(stop: Stop, *offsets: int) -> list[str | None]:
    return [stop.next_phase(START + offset) for offset in offsets]


def stopping(clock: Clock | None = None, **limits: int | None) -> Stop:
    given: dict[str, int | None] = {"requests": None, "duration_ns": None, **limits}
    return Stop(clock or Clock(), start_ns=START, **given)  # type: ignore[arg-type]


def test_without_a_warm_up_the_first_request_is_of_the_run() -> None:
    stop = stopping()
    assert phases(stop, 0, 1) == ["run", "run"]
    assert stop.run_start_ns == START
    assert not stop.stopped
    assert (stop.reason, stop.interrupted) == (None, False)


def test_warm_up_requests_are_the_first_ones_and_warm_up_time_goes_on_until_it_is_over() -> None:
    stop = stopping(warmup_requests=2, warmup_ns=10)
    assert phases(stop, 0, 50) == ["warmup", "warmup"]
    assert stop.run_start_ns is None
    assert phases(stop, 9, 10, 11, 3) == ["warmup", "run", "run", "run"]
    assert stop.run_start_ns == START + 10


@pytest.mark.parametrize(("told", "phase"), [(5, "run"), (6, "warmup"), (99, "warmup")])
def test_the_end_of_the_warm_up_may_be_told_and_only_brings_it_forward(told: int, phase: str) -> None:
    stop = stopping(warmup_ns=10)
    stop.warmup_ends(START + told)
    assert phases(stop, 5, 10) == [phase, "run"]


def test_the_duration_begins_with_the_run_and_its_end_belongs_to_it_no_more() -> None:
    clock = Clock()
    stop = stopping(clock, duration_ns=100, warmup_ns=10)
    assert clock.due == []
    assert phases(stop, 0, 12, 111, 112, 50) == ["warmup", "run", "run", None, None]
    assert (stop.reason, clock.due) == ("duration", [112])


def test_a_planned_end_counts_from_the_start_and_comes_by_itself() -> None:
    clock = Clock()
    stop = stopping(clock, ends_ns=100, warmup_ns=40)
    assert clock.due == [100]
    assert phases(stop, 0, 60, 99) == ["warmup", "run", "run"]
    assert clock.due == [100]
    clock.reach(99)
    assert not stop.stopped
    clock.reach(100)
    assert stop.reason == "duration"
    other = stopping(ends_ns=100)
    assert phases(other, 99, 100, 99) == ["run", None, None]


@pytest.mark.parametrize(
    ("requests", "warmup", "taken", "stopped"),
    [(3, 0, 2, False), (3, 0, 3, True), (3, 2, 4, False), (3, 2, 5, True), (0, 2, 2, False), (None, 0, 9, False)],
)
def test_so_many_requests_of_the_run_are_taken(requests: int | None, warmup: int, taken: int, stopped: bool) -> None:
    stop = stopping(requests=requests, warmup_requests=warmup)
    for offset in range(taken):
        assert stop.next_phase(START + offset) is not None
        stop.check_count()
    assert (stop.stopped, stop.reason) == (stopped, "requests" if stopped else None)


def test_every_listener_hears_every_reason_and_the_first_one_stays() -> None:
    stop = stopping()
    heard: list[tuple[str, str]] = []
    for name in "ab":
        stop.on_stop(lambda reason, name=name: heard.append((name, reason)))  # type: ignore[misc]
    stop.now("requests")
    stop.interrupt()
    assert heard == [("a", "requests"), ("b", "requests"), ("a", "interrupted"), ("b", "interrupted")]
    assert (stop.reason, stop.interrupted) == ("requests", True)
    assert phases(stop, 0) == [None]


# Users


class Watched:
    """Users, the instant at which each came, and the clock."""

    def __init__(self, *changes: tuple[int, int]) -> None:
        self.clock = Clock()
        self.stop = stopping()
        self.came: list[int] = []
        sending = cast(Sending, type("Given", (), {"clock": self.clock, "stop": self.stop}))
        self.users = Users(sending, iter(changes), lambda at_ns: self.came.append(at_ns - START))

    def change(self, at_ns: int, users: float) -> None:
        self.users.change(START + at_ns, users)

    def stays(self, *at_ns: int) -> list[bool]:
        return [self.users.stays(START + at) for at in at_ns]


def test_users_come_at_the_instants_of_the_plan_though_it_is_looked_at_late() -> None:
    watched = Watched((0, 2), (30, 3), (40, 5))
    watched.users.start(START)
    assert watched.clock.due == [0]
    watched.clock.reach(0)
    assert (watched.came, watched.clock.due) == ([0, 0], [30])
    # The user whose request ends at 35 also applies the change of instant 30.
    assert watched.stays(35) == [True]
    assert watched.came == [0, 0, 30]
    watched.clock.reach(100)
    assert watched.came == [0, 0, 30, 40, 40]


def test_users_go_when_they_have_finished_until_there_are_as_few_as_wanted() -> None:
    watched = Watched((0, 3), (50, 1))
    watched.users.start(START)
    watched.clock.reach(0)
    assert watched.stays(49, 50, 60, 70, 80) == [True, False, False, True, True]
    watched.change(90, 3)
    watched.clock.reach(90)
    assert watched.came == [0, 0, 0, 90, 90]


def test_changes_that_are_told_come_behind_those_of_the_plan_and_are_rounded() -> None:
    watched = Watched((0, 1), (20, 2))
    watched.users.start(START)
    watched.change(30, 3.6)
    watched.change(40, 5.4)
    watched.clock.reach(25)
    assert watched.came == [0, 20]
    watched.clock.reach(30)
    assert watched.came == [0, 20, 30, 30]
    watched.clock.reach(40)
    assert watched.came == [0, 20, 30, 30, 40]
    watched.change(45, 6)
    assert watched.clock.due == [45]
    watched.clock.reach(45)
    assert watched.came[-1] == 45


def test_no_change_is_waited_for_when_sending_has_ended() -> None:
    watched = Watched((0, 1), (20, 2))
    watched.users.start(START)
    watched.stop.now("interrupted")
    watched.clock.reach(0)
    assert watched.clock.due == []
    idle = Watched((0, 1))
    idle.users.start(START)
    idle.clock.reach(0)
    idle.stop.now("interrupted")
    idle.change(10, 2)
    assert idle.clock.due == []


def test_a_plan_without_users_waits_for_nothing() -> None:
    watched = Watched()
    watched.users.start(START)
    assert watched.clock.due == []
    watched.change(5, 1)
    watched.clock.reach(5)
    assert watched.came == [5]
