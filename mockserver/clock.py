"""The only place where the mock reads clocks and creates kernel timers.

Rules:
- Every instant is an int in ns of CLOCK_MONOTONIC, the clock of the bench's records and of the ledger.
- The kernel stamps arrivals with CLOCK_REALTIME. One offset, measured as tightly as this machine allows, converts them.
  Slewing moves both clocks alike, so only a step of the wall clock changes the offset. The kernel tells `RealtimeOffset`
  about steps, and it measures again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

now_ns: Callable[[], int] = time.monotonic_ns
"""The current time on CLOCK_MONOTONIC, in ns."""

thread_cpu_ns: Callable[[], int] = time.thread_time_ns
"""The CPU time of the calling thread, in ns."""

HAS_TIMERFD = sys.platform == "linux"
"""Whether this system has timerfd_create(2)."""

_CLOCK_REALTIME = 0
_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_TFD_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2
_FAR_FUTURE_S = 2**40


def identity() -> dict[str, str | None]:
    """Identifies CLOCK_MONOTONIC of this process: the boot (proc_sys_kernel(5), random/boot_id) and the time namespace
    (time_namespaces(7)). A value is None if the system does not provide it."""
    boot_id = namespace = None
    with contextlib.suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(Path("/proc/self/ns/time").readlink())
    return {"boot_id": boot_id, "time_namespace": namespace}


async def give_way() -> None:
    """Let other tasks run."""
    await asyncio.sleep(0)


def utc_seconds() -> int:
    """Calendar time in whole seconds, only for `created` fields. Nothing is measured with it."""
    return int(time.time())


def measure_offset_ns(tries: int = 100) -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the narrowest of `tries` readings monotonic, realtime, monotonic."""
    narrowest, offset = None, 0
    for _ in range(tries):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if narrowest is None or after - before < narrowest:
            narrowest, offset = after - before, wall - (before + after) // 2
    return offset


class _Itimerspec(ctypes.Structure):
    """struct itimerspec of timerfd_settime(2): interval, then value, each as seconds and ns."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timerfd:
    """One kernel timer behind a file descriptor that becomes readable at an absolute instant (Linux)."""

    def __init__(self, clock_id: int = _CLOCK_MONOTONIC) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(clock_id, _NONBLOCK_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._settime = libc.timerfd_settime
        self._spec = _Itimerspec()
        self._spec_pointer = ctypes.byref(self._spec)

    def set(self, deadline_ns: int, flags: int = _TFD_TIMER_ABSTIME) -> None:
        """Fire once at `deadline_ns`, or at once if it is past. timerfd_settime(2) drops an unread expiration, so there is
        no need to `clear` first."""
        # A value of zero would disarm the timer.
        spec = self._spec
        spec.value_s, spec.value_ns = divmod(deadline_ns if deadline_ns > 0 else 1, NS_PER_S)
        if self._settime(self.fd, flags, self._spec_pointer, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def clear(self) -> None:
        """Make the descriptor unreadable until it fires again. Raises OSError (ECANCELED) if a clock was stepped."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class RealtimeOffset:
    """Converts CLOCK_REALTIME stamps to CLOCK_MONOTONIC, and measures the offset again when the wall clock is stepped.

    `watch_fd` (Linux; else None) becomes readable at a step. Call `on_step` then.
    """

    def __init__(self, measure: Callable[[], int] = measure_offset_ns) -> None:
        self._measure = measure
        self.offset_ns = measure()
        self._timer = Timerfd(_CLOCK_REALTIME) if HAS_TIMERFD else None
        self._arm()

    @property
    def watch_fd(self) -> int | None:
        return None if self._timer is None else self._timer.fd

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.set(_FAR_FUTURE_S * NS_PER_S, _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET)

    def on_step(self) -> None:
        """The wall clock was stepped: measure again and keep watching."""
        if self._timer is not None:
            with contextlib.suppress(OSError):  # ECANCELED means that the clock was set.
                self._timer.clear()
        self.offset_ns = self._measure()
        self._arm()

    def to_monotonic_ns(self, realtime_ns: int) -> int:
        """The instant of a kernel stamp on CLOCK_MONOTONIC."""
        return realtime_ns - self.offset_ns

    def close(self) -> None:
        if self._timer is not None:
            self._timer.close()
