"""Which priority the sending process uses, and when it gives it up, in virtual time and from the real scheduler."""

from __future__ import annotations

import errno
import os
import sys
import threading

import pytest

from bench.clock import LoopClock, sleep_until, thread_cpu_ns
from bench.native import core, receivers
from bench.process.priority import Priority, PriorityChoice, PriorityUse, scheduler
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

S = 1_000_000_000
MS = 1_000_000


class Receiving:
    """A receiver whose thread has used `used_ns` of a processor."""

    def __init__(self, used_ns: int) -> None:
        self._used_ns = used_ns

    def cpu_ns(self) -> int:
        return self._used_ns


class ScriptedScheduler:
    """Records its calls. `busy` is the share of a processor that the process needs from an instant on."""

    def __init__(self, loop: VirtualTimeLoop, busy: list[tuple[int, float]], error: int | None = None) -> None:
        self._loop = loop
        self._begin_ns = loop.virtual_ns
        self._busy = busy
        self._error = error
        self.asked: list[str] = []

    def realtime(self) -> None:
        if self._error is not None:
            raise OSError(self._error, os.strerror(self._error))
        self.asked.append("realtime")

    def normal(self) -> None:
        self.asked.append("normal")

    def thread_cpu_ns(self) -> int:
        now, used = self._loop.virtual_ns - self._begin_ns, 0.0
        for i, (start, share) in enumerate(self._busy):
            end = self._busy[i + 1][0] if i + 1 < len(self._busy) else now
            used += share * max(0, min(now, end) - start)
        return round(used)


def use(
    choice: PriorityChoice, busy: list[tuple[int, float]], error: int | None = None
) -> tuple[PriorityUse, list[str]]:
    """The report about a load of 10 s."""

    async def main(loop: VirtualTimeLoop) -> tuple[PriorityUse, list[str]]:
        clock = LoopClock()
        scripted = ScriptedScheduler(loop, busy, error)
        priority = Priority(choice, clock, scripted)
        priority.take()
        await sleep_until(clock, clock.now_ns() + 10 * S)
        priority.restore()
        return priority.use, scripted.asked

    return run_virtual(main)


def test_a_process_that_needs_little_keeps_it_to_the_end() -> None:
    assert use("auto", [(0, 0.3)]) == (PriorityUse(asked="auto", had="realtime"), ["realtime", "normal"])


def test_auto_gives_it_back_within_a_quarter_second_of_needing_most_of_a_processor() -> None:
    found, asked = use("auto", [(0, 0.1), (3 * S, 0.9)])
    assert found == PriorityUse(asked="auto", had="realtime", given_back_ns=3250 * MS)
    assert asked == ["realtime", "normal"]


def test_a_burst_that_is_short_within_its_quarter_second_gives_nothing_back() -> None:
    assert use("auto", [(0, 0.1), (3 * S, 1.0), (3 * S + 100 * MS, 0.1)])[0].given_back_ns is None


def test_realtime_keeps_it_whatever_the_process_needs() -> None:
    assert use("realtime", [(0, 1.0)]) == (PriorityUse(asked="realtime", had="realtime"), ["realtime", "normal"])


def test_normal_asks_for_nothing() -> None:
    assert use("normal", [(0, 1.0)]) == (PriorityUse(asked="normal", had="normal"), [])


@pytest.mark.parametrize(
    ("error", "why"), [(errno.EPERM, "this process may not take it"), (errno.ENOSYS, "Function not implemented")]
)
def test_where_the_system_refuses_it_goes_on_without_and_says_why(error: int, why: str) -> None:
    assert use("auto", [(0, 1.0)], error) == (PriorityUse(asked="auto", had="normal", refused=why), [])


@pytest.mark.skipif(sys.platform != "linux", reason="the priorities of Linux")
def test_linux_gives_it_to_the_thread_of_the_load_alone_and_to_no_child() -> None:
    before = os.sched_getscheduler(0)
    try:
        scheduler().realtime()
    except PermissionError:
        pytest.skip("this user may not take real-time priority")
    others: list[int] = []
    try:
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
        thread = threading.Thread(target=lambda: others.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
    finally:
        scheduler().normal()
    assert others == [os.SCHED_OTHER]
    assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER == before & ~os.SCHED_RESET_ON_FORK


@pytest.mark.skipif(core is None, reason="the compiled core is not there: a C compiler makes it")
def test_the_thread_that_receives_has_the_priority_of_the_loop() -> None:
    assert core is not None
    receiver = core.Receiver()
    receivers.append(receiver)
    try:
        scheduler().realtime()
    except PermissionError:
        pytest.skip("this user may not take real-time priority")
    else:
        assert os.sched_getscheduler(receiver.thread_id) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
    finally:
        scheduler().normal()
        assert os.sched_getscheduler(receiver.thread_id) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
        receivers.remove(receiver)
        receiver.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the priorities of Linux")
def test_the_processor_time_is_that_of_the_loop_and_of_every_thread_that_receives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.process.priority.receivers", [Receiving(3 * S), Receiving(4 * S)])
    before = thread_cpu_ns()
    used = scheduler().thread_cpu_ns()
    assert 0 < before <= used - 7 * S <= thread_cpu_ns()
