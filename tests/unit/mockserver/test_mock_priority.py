"""Which priority the mock uses, and when it gives it up."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from mockserver.errors import UsageError
from mockserver.priority import Priority, PriorityChoice

MS = 1_000_000


class Machine:
    """A scheduler, a clock and a meter of CPU time that tests set by hand."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.now_ns = self.cpu_ns = 0
        self.asked: list[str] = []
        self._allowed = allowed

    def realtime(self, thread: int) -> None:
        if not self._allowed:
            raise OSError(errno.EPERM, "Operation not permitted")
        self.asked.append("realtime" if thread == 0 else f"realtime {thread}")

    def priority(self, choice: PriorityChoice) -> Priority:
        return Priority(
            choice,
            realtime=self.realtime,
            normal=lambda thread: self.asked.append("normal" if thread == 0 else f"normal {thread}"),
            clock=lambda: self.now_ns,
            cpu=lambda: self.cpu_ns,
        )

    def pass_time(self, ns: int, share: float) -> None:
        self.now_ns += ns
        self.cpu_ns += round(share * ns)


@pytest.mark.parametrize(
    ("choice", "share", "asked"),
    [
        ("auto", 0.4, ["realtime"]),
        ("auto", 0.6, ["realtime", "normal"]),
        ("realtime", 1.0, ["realtime"]),
        ("normal", 1.0, []),
    ],
)
def test_auto_alone_gives_it_back_and_only_above_half_a_processor(
    choice: PriorityChoice, share: float, asked: list[str]
) -> None:
    machine = Machine()
    priority = machine.priority(choice)
    priority.take()
    for _ in range(10):
        machine.pass_time(100 * MS, share)
        priority.look()
    assert machine.asked == asked


def test_less_than_a_quarter_second_decides_nothing() -> None:
    machine = Machine()
    priority = machine.priority("auto")
    priority.take()
    machine.pass_time(200 * MS, 1.0)
    priority.look()
    machine.pass_time(300 * MS, 0.0)
    priority.look()
    assert machine.asked == ["realtime"]


def test_where_it_is_not_allowed_auto_goes_on_and_realtime_is_refused() -> None:
    machine = Machine(allowed=False)
    machine.priority("auto").take()
    with pytest.raises(UsageError, match="--cpu-priority realtime is not allowed here"):
        machine.priority("realtime").take()


def test_linux_is_asked_for_one_policy_and_then_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(
        os, "sched_setscheduler",
        lambda thread, policy, param: asked.append((thread, policy, param.sched_priority)),
    )  # fmt: skip
    priority = Priority("realtime")
    priority.take()
    priority.restore()
    assert asked == [(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, 1), (0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, 0)]


def test_it_is_restored_once() -> None:
    machine = Machine()
    priority = machine.priority("auto")
    priority.take()
    priority.restore()
    priority.restore()
    assert machine.asked == ["realtime", "normal"]


def test_a_thread_that_sends_has_it_too_and_its_time_counts() -> None:
    machine = Machine()
    priority = machine.priority("auto")
    priority.include(7, lambda: 0)  # Without the priority there is nothing to share.
    priority.take()
    priority.include(8, lambda: machine.now_ns // 2)
    for _ in range(10):
        machine.pass_time(100 * MS, 0.2)
        priority.look()
    assert machine.asked == ["realtime", "realtime 8", "normal", "normal 8"]


def test_a_thread_that_has_ended_keeps_nobody_from_giving_it_back() -> None:
    machine = Machine()

    def normal(thread: int) -> None:
        machine.asked.append(f"normal {thread}")
        if thread == 8:
            raise ProcessLookupError(errno.ESRCH, "No such process")

    priority = Priority("auto", realtime=machine.realtime, normal=normal, clock=lambda: 0, cpu=lambda: 0)
    priority.take()
    for thread in (8, 9):
        priority.include(thread, lambda: 0)
    priority.restore()
    assert machine.asked[-3:] == ["normal 0", "normal 8", "normal 9"]
