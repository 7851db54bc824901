"""Which requests exceed the target's time limits at given instants."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.clock import NS_PER_MS, NS_PER_S, Clock, now_ns
from bench.records import Outcome
from bench.transport.interface import Target
from bench.transport.overdue import Sweep

MS = NS_PER_MS
NONE: dict[str, int] = {}


class Timers:
    """Records what to call when."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Callable[[], None]]] = []
        self.cancelled = 0

    def call_at(self, at_ns: int, call: Callable[[], None]) -> Any:
        self.calls.append((at_ns, call))
        return SimpleNamespace(cancel=lambda: setattr(self, "cancelled", self.cancelled + 1))


def connection(**of: Any) -> SimpleNamespace:
    """An established connection that was read from twice before the last sweep, and has been quiet since 1,000 ms."""
    usual = {"connected": True, "began_ns": 900 * MS, "reads": 2, "reads_at_sweep": 2, "quiet_since_ns": 1_000 * MS}
    made = SimpleNamespace(parsed=0, **{**usual, **of})
    made.parse = lambda: setattr(made, "parsed", made.parsed + 1)
    return made


def sweep(
    jobs: Any = (), end: Any = None, ahead: Any = (), give_up: Any = None, **limits_ms: int
) -> tuple[Sweep, Timers]:
    limits = {f"timeout_{name}_ns": ms * MS for name, ms in limits_ms.items()}
    clock = Timers()
    target = Target(url="http://h", **cast("Any", limits))
    return Sweep(target, cast("Clock", clock), jobs, end, ahead, give_up), clock


@pytest.mark.parametrize(
    ("state", "limits", "at_ms", "outcome"),
    [
        ({}, {"total": 500}, 1_199, None),
        ({}, {"total": 500}, 1_200, Outcome.TIMEOUT_TOTAL),
        ({"connected": False}, {"connect": 400}, 1_299, None),
        ({"connected": False}, {"connect": 400}, 1_300, Outcome.TIMEOUT_CONNECT),
        ({"connected": False}, {"first_byte": 1, "idle": 1}, 9_000, None),
        ({"reads": 0, "reads_at_sweep": 0}, {"first_byte": 400, "idle": 1}, 1_399, None),
        ({"reads": 0, "reads_at_sweep": 0}, {"first_byte": 400, "idle": 1}, 1_400, Outcome.TIMEOUT_FIRST_BYTE),
        ({"reads": 0, "reads_at_sweep": 0}, {"idle": 1, "connect": 1}, 9_000, None),
        ({}, {"idle": 400, "first_byte": 1}, 1_399, None),
        ({}, {"idle": 400, "first_byte": 1}, 1_400, Outcome.TIMEOUT_IDLE),
        ({}, {"first_byte": 1, "connect": 1}, 9_000, None),
        ({"reads": 3}, {"idle": 400}, 9_000, None),
        ({"connected": False}, {"total": 500, "connect": 1}, 9_000, Outcome.TIMEOUT_TOTAL),
    ],
)
def test_each_timeout_counts_from_its_own_instant(
    state: dict[str, Any], limits: dict[str, int], at_ms: int, outcome: Outcome | None
) -> None:
    of = connection()
    vars(of).update(state)
    job: Any = SimpleNamespace(started_ns=700 * MS, connection=of)
    late = sweep(**limits)[0]._overdue(job, at_ms * MS)
    assert (None if late is None else late[0]) == outcome
    # The buffered bytes of a quiet reply are parsed, in case they contain its end.
    quiet = outcome is None and of.connected and of.reads == 2
    assert of.parsed == quiet


def test_a_read_since_the_last_sweep_ends_the_quiet() -> None:
    of = connection()
    of.reads = 5
    job: Any = SimpleNamespace(started_ns=0, connection=of)
    looking, _ = sweep(idle=400)
    assert looking._overdue(job, 2_000 * MS) is None
    assert (of.reads_at_sweep, of.quiet_since_ns) == (5, 2_000 * MS)
    assert looking._overdue(job, 2_399 * MS) is None
    late = looking._overdue(job, 2_400 * MS)
    assert late is not None
    assert late[0] is Outcome.TIMEOUT_IDLE


def test_a_request_without_a_connection_has_only_the_total_timeout() -> None:
    job: Any = SimpleNamespace(started_ns=0, connection=None)
    assert sweep(connect=1, first_byte=1, idle=1)[0]._overdue(job, 9_000 * MS) is None


@pytest.mark.parametrize(
    ("limits", "every_ns"),
    [
        (NONE, NS_PER_S),
        ({"total": 600_000}, NS_PER_S),
        ({"total": 600_000, "idle": 10_000}, 500 * MS),
        ({"connect": 200}, 10 * MS),
        ({"first_byte": 40}, 5 * MS),
    ],
)
def test_a_sweep_comes_twenty_times_within_the_shortest_timeout(limits: dict[str, int], every_ns: int) -> None:
    before = now_ns()
    looking, clock = sweep(**limits)
    assert before + every_ns <= clock.calls[0][0] <= now_ns() + every_ns
    before = now_ns()
    clock.calls[0][1]()
    assert before + every_ns <= clock.calls[1][0] <= now_ns() + every_ns
    looking.close()
    assert clock.cancelled == 1


def test_a_sweep_ends_the_requests_that_are_late_and_no_others() -> None:
    ended: list[tuple[object, Outcome, str]] = []
    late, early = (SimpleNamespace(started_ns=now_ns() - ms * MS, connection=None) for ms in (60_000, 0))
    _, clock = sweep([early, late], lambda *of: ended.append(of), total=30_000)
    clock.calls[0][1]()
    assert ended == [(late, Outcome.TIMEOUT_TOTAL, "the request took longer than the total timeout")]


@pytest.mark.parametrize("limit", [{"connect": 30_000}, NONE])
def test_a_connection_made_ahead_is_given_up_at_the_connect_timeout(limit: dict[str, int]) -> None:
    given_up: list[object] = []
    late, early = (connection(connected=False, began_ns=now_ns() - ms * MS) for ms in (60_000, 0))
    _, clock = sweep(ahead=[early, late], give_up=given_up.append, **limit)
    clock.calls[0][1]()
    assert given_up == ([late] if limit else [])
