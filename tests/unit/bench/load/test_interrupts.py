"""The effect of Ctrl-C on a load, its message, and how too many failed requests end a load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from bench.load.crew import Crew, Order
from bench.load.supervision import ERRORS_SEEN_EVERY_NS, ErrorWatch, Interrupts


class InFlight:
    """Workers with this many requests in flight, which keep their messages."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.told: list[Order] = []
        self.failures, self.why = 0, ""

    def tell(self, order: Order, why: str = "") -> None:
        self.told.append(order)
        self.why = why


@pytest.mark.parametrize(
    ("in_flight", "said"),
    [
        (0, "stopping: waiting for what is in flight (Ctrl-C again cuts it)"),
        (1, "stopping: waiting for a request in flight (Ctrl-C again cuts it)"),
        (1_200, "stopping: waiting for 1,200 requests in flight (Ctrl-C again cuts them)"),
    ],
)
def test_the_first_ctrl_c_says_what_is_waited_for_and_the_second_cuts(in_flight: int, said: str) -> None:
    crew, lines = InFlight(in_flight), list[str]()
    interrupts = Interrupts(cast("Crew", crew), lines.append)
    interrupts.interrupt()
    interrupts.interrupt()
    assert lines == [said]
    assert crew.told == [Order.INTERRUPT, Order.CUT]
    assert interrupts.seen


def test_sigterm_cuts_at_once() -> None:
    crew, lines = InFlight(3), list[str]()
    interrupts = Interrupts(cast("Crew", crew), lines.append)
    assert not interrupts.seen
    interrupts.terminate()
    assert (crew.told, lines, interrupts.seen) == ([Order.CUT], [], True)


@dataclass
class Timer:
    """A clock with one timer, fired by the test."""

    at_ns: int = 1000
    calls: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def now_ns(self) -> int:
        return self.at_ns

    def call_at(self, at_ns: int, call: Callable[[], None]) -> Timer:
        self.calls.append((at_ns, call))
        return self

    def cancel(self) -> None:
        self.calls.clear()

    def ring(self) -> int:
        """Fire the timer. Returns its time, counted in looks from the start."""
        (self.at_ns, call) = self.calls.pop()
        call()
        return (self.at_ns - 1000) // ERRORS_SEEN_EVERY_NS


@dataclass
class Following:
    """The observer of the load behind the watch."""

    heard: list[tuple[Any, ...]] = field(default_factory=list)

    def arrive(self, *what: object) -> None:
        self.heard.append(("arrive", *what))

    def add(self, *what: object) -> None:
        self.heard.append(("add", *what))

    def merge(self, *what: object) -> None:
        self.heard.append(("merge", *what))


def watch(limit: int) -> tuple[ErrorWatch, InFlight, Timer, Following]:
    crew, timer, following = InFlight(0), Timer(), Following()
    of: Any = (crew, timer, limit, following)
    return ErrorWatch(*of), crew, timer, following


@pytest.mark.parametrize(("failures", "stops"), [(0, False), (3, False), (4, True)])
@pytest.mark.parametrize("event", ["add", "merge", "look"])
def test_more_failures_than_the_limit_stop_the_load_whoever_sees_them(event: str, failures: int, stops: bool) -> None:
    errors, crew, timer, following = watch(3)
    crew.failures = failures
    if event == "look":
        assert timer.ring() == 1
        # It keeps looking until it has stopped the load.
        assert [timer.ring()] == [2] if timer.calls else stops
        assert following.heard == []
    else:
        words: Any = ("record", "counted") if event == "add" else ("tally",)
        getattr(errors, event)(*words)
        assert following.heard == [(event, *words)]
    assert (set(crew.told), crew.why) == (({Order.STOP}, "errors") if stops else (set(), ""))


def test_an_arrival_is_passed_on_and_a_watch_that_is_over_looks_no_more() -> None:
    errors, crew, timer, following = watch(0)
    crew.failures = 9
    arrived: Any = "arrived"
    errors.arrive(arrived)
    errors.stop()
    assert (following.heard, timer.calls, crew.told) == ([("arrive", "arrived")], [], [])
