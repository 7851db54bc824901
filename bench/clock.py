"""The one place where bench reads clocks and waits.

Rules:
- Every instant is an int: ns of CLOCK_MONOTONIC. Only `utc_now` knows the calendar, and only for people.
- Every wait is for an absolute deadline, so that the time spent working between two waits never adds up.
- A call is made at its deadline or later, never earlier.

On Linux one timerfd in the event loop serves every wait of the process: it wakes within about 0.05 ms, while the loop's
own timers are 0.6 ms late (asyncio) or up to 1.4 ms early (uvloop counts whole milliseconds). On other systems, and
under the tests' virtual time, `LoopClock` waits with the loop's own timers and waits again if one fired early.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

now_ns: Callable[[], int] = time.monotonic_ns
"""The current instant on CLOCK_MONOTONIC, in ns."""

cpu_ns: Callable[[], int] = time.process_time_ns
"""The CPU time used by this process, in ns."""

thread_cpu_ns: Callable[[], int] = time.thread_time_ns
"""The CPU time used by the calling thread, in ns."""


def utc_now() -> datetime:
    """The calendar time, for names and headings only: no measurement uses it."""
    return datetime.now(UTC)


def clock_identity() -> dict[str, str | None]:
    """The boot and time namespace of this process's CLOCK_MONOTONIC; None if the system does not report them. Processes
    with equal values share the clock (proc_sys_kernel(5), time_namespaces(7))."""
    identity: dict[str, str | None] = {"boot_id": None, "time_namespace": None}
    with contextlib.suppress(OSError):
        identity["boot_id"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        identity["time_namespace"] = str(Path("/proc/self/ns/time").readlink())
    return identity


class Timer:
    """A pending call. `cancel()` prevents it."""

    __slots__ = ("call", "deadline_ns")

    def __init__(self, deadline_ns: int, call: Callable[[], None]) -> None:
        self.deadline_ns = deadline_ns
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None

    def __lt__(self, other: Timer) -> bool:
        return self.deadline_ns < other.deadline_ns


class Clock(Protocol):
    """Tells the time and makes calls at absolute deadlines, in order, from the event loop."""

    name: str

    def now_ns(self) -> int: ...

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer: ...

    def next_ns(self) -> int | None:
        """The next deadline, so that work without a deadline can give way; None if there is none, or it is not known."""

    def close(self) -> None: ...


async def sleep_until(clock: Clock, deadline_ns: int) -> None:
    """Wait until the clock reaches the deadline."""
    reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(deadline_ns, lambda: None if reached.done() else reached.set_result(None))
    try:
        await reached
    finally:
        timer.cancel()


class LoopClock:
    """Waits with the event loop's own timers and uses the loop's time (virtual in tests)."""

    name = "loop"

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer:
        timer = Timer(deadline_ns, call)
        self._arm(timer)
        return timer

    def _arm(self, timer: Timer) -> None:
        self._loop.call_at(timer.deadline_ns / NS_PER_S, self._fire, timer)

    def next_ns(self) -> int | None:
        return None

    def _fire(self, timer: Timer) -> None:
        if timer.call is None:
            return
        if self.now_ns() < timer.deadline_ns:  # The loop's timer fired early: wait for the rest.
            self._arm(timer)
            return
        call, timer.call = timer.call, None
        call()

    def close(self) -> None:
        """Nothing to release: the timers belong to the loop."""


_CLOCK_REALTIME = 0
_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_TFD_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2
_FAR_FUTURE_S = 2**40


class _Itimerspec(ctypes.Structure):
    """struct itimerspec of timerfd_settime(2): interval, then value, each as seconds and ns."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _timerfd(libc: ctypes.CDLL, clock: int) -> int:
    """A new timer on one of the kernel's clocks. Raises OSError."""
    fd: int = libc.timerfd_create(clock, _NONBLOCK_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed")
    return fd


class TimerfdClock:
    """Serves all waits of a process with one timerfd: a heap holds the deadlines, and the timer is set to the earliest."""

    name = "timerfd"

    def __init__(self) -> None:
        self._libc = _libc()
        self._fd = _timerfd(self._libc, _CLOCK_MONOTONIC)
        self._spec = _Itimerspec()
        self._heap: list[Timer] = []
        self._armed_ns: int | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._on_ready)

    def now_ns(self) -> int:
        return now_ns()

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer:
        timer = Timer(deadline_ns, call)
        heapq.heappush(self._heap, timer)
        self._arm()
        return timer

    def next_ns(self) -> int | None:
        heap = self._heap
        while heap and heap[0].call is None:
            heapq.heappop(heap)
        return heap[0].deadline_ns if heap else None

    def _arm(self) -> None:
        deadline_ns = self.next_ns()
        if deadline_ns is None:
            return
        if self._armed_ns is not None and self._armed_ns <= deadline_ns:
            return  # The timer fires early enough, and is set again then.
        self._armed_ns = deadline_ns
        # A value of zero would disarm the timer; a deadline in the past fires at once.
        self._spec.value_s, self._spec.value_ns = divmod(max(deadline_ns, 1), NS_PER_S)
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _on_ready(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._armed_ns = None
        heap = self._heap
        try:
            while heap and (heap[0].call is None or heap[0].deadline_ns <= now_ns()):
                timer = heapq.heappop(heap)
                call, timer.call = timer.call, None
                if call is not None:
                    call()
        finally:
            self._arm()

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def left_of_a_minute_s() -> int:
    """Seconds until a point one minute away by `now_ns`, as the kernel counts them. Not about 60 if the clocks differ."""
    libc = _libc()
    fd = _timerfd(libc, _CLOCK_MONOTONIC)
    end_s, end_ns = divmod(now_ns() + 60 * NS_PER_S, NS_PER_S)
    minute, left = _Itimerspec(value_s=end_s, value_ns=end_ns), _Itimerspec()
    libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(minute), None)
    libc.timerfd_gettime(fd, ctypes.byref(left))
    os.close(fd)
    return int(left.value_s)


def realtime_offset_ns() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the tightest of 200 brackets: accurate to about 20 ns.

    Slewing moves both clocks alike, so the offset holds until CLOCK_REALTIME is stepped (`StepWatch` reports that).
    """
    tightest, offset = None, 0
    for _ in range(200):
        before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if tightest is None or after - before < tightest:
            tightest, offset = after - before, real - (before + after) // 2
    return offset


class StepWatch:
    """Calls `on_step` when CLOCK_REALTIME is set: setting it cancels a timer on that clock (timerfd_create(2))."""

    def __init__(self, on_step: Callable[[], None]) -> None:
        self._libc = _libc()
        self._on_step = on_step
        self._fd = _timerfd(self._libc, _CLOCK_REALTIME)
        self._arm()
        asyncio.get_running_loop().add_reader(self._fd, self._stepped)

    def _arm(self) -> None:
        never = _Itimerspec(value_s=_FAR_FUTURE_S)
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        if self._libc.timerfd_settime(self._fd, flags, ctypes.byref(never), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _stepped(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        except OSError:  # ECANCELED: the clock was set.
            self._arm()
            self._on_step()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


def process_clock() -> Clock:
    """The best clock on this platform, for the running event loop."""
    return TimerfdClock() if sys.platform == "linux" else LoopClock()
