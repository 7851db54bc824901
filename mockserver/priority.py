"""The scheduling priority of the process that sends the tokens.

If other programs keep the processors busy, the ordinary scheduler wakes a sleeping process late, and tokens leave late.
Under SCHED_RR (sched(7)) the process runs when its timer fires, and so does the thread that sends streams, if there is
one. With `auto`, a mock that needs most of a processor gives the priority back; otherwise other programs on the
machine, such as a load tester, would starve. Other threads and child processes never get it (SCHED_RESET_ON_FORK).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Literal

from mockserver.clock import NS_PER_S, now_ns, thread_cpu_ns
from mockserver.errors import UsageError

PriorityChoice = Literal["auto", "normal", "realtime"]

LOOK_EVERY_NS = NS_PER_S // 4
MOST_OF_A_PROCESSOR = 0.5


def _realtime(thread: int) -> None:
    if sys.platform != "linux":
        raise OSError(f"{sys.platform} has no SCHED_RR")
    os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def _normal(thread: int) -> None:
    if sys.platform == "linux":
        # Without the flag, the kernel refuses the call to unprivileged processes.
        os.sched_setscheduler(thread, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


class Priority:
    """Acquires the priority in `take`. `look`, called about every LOOK_EVERY_NS, gives it back if `auto` requires it."""

    def __init__(
        self,
        choice: PriorityChoice,
        *,
        realtime: Callable[[int], None] = _realtime,
        normal: Callable[[int], None] = _normal,
        clock: Callable[[], int] = now_ns,
        cpu: Callable[[], int] = thread_cpu_ns,
    ) -> None:
        self._choice = choice
        self._realtime = realtime
        self._normal = normal
        self._clock = clock
        self._threads: dict[int, Callable[[], int]] = {0: cpu}
        """Threads with the priority: kernel id (0 is the calling thread) to a function that returns its CPU time in ns."""
        self._looked_ns = self._cpu_ns = 0
        self.has_realtime = False

    def take(self) -> None:
        """Acquire the priority. Raises UsageError if `realtime` was requested and is not allowed."""
        if self._choice == "normal":
            return
        try:
            self._realtime(0)
        except OSError as e:
            if self._choice == "realtime":
                raise UsageError(
                    f"--cpu-priority realtime is not allowed here ({e.strerror or e}): allow it with CAP_SYS_NICE as an "
                    "ambient capability, or a limit rtprio of 1 (docs/mock.md), or leave the flag out"
                ) from e
            return
        self.has_realtime = True
        self._looked_ns, self._cpu_ns = self._clock(), self._used_ns()

    def include(self, thread: int, cpu: Callable[[], int]) -> None:
        """Give a thread of this process, by kernel id, the same priority. `cpu` returns the thread's CPU time in ns."""
        if self.has_realtime:
            self._realtime(thread)
            self._threads[thread] = cpu

    def _used_ns(self) -> int:
        return sum(cpu() for cpu in self._threads.values())

    def look(self) -> None:
        """Give the priority back if these threads used most of a processor since the last look."""
        if not self.has_realtime or self._choice != "auto" or self._clock() - self._looked_ns < LOOK_EVERY_NS:
            return
        now, cpu = self._clock(), self._used_ns()
        span_ns, used_ns = now - self._looked_ns, cpu - self._cpu_ns
        self._looked_ns, self._cpu_ns = now, cpu
        if used_ns > MOST_OF_A_PROCESSOR * span_ns:
            self.restore()

    def restore(self) -> None:
        """Go back to the ordinary priority."""
        if self.has_realtime:
            self.has_realtime = False
            for thread in self._threads:
                with contextlib.suppress(ProcessLookupError):  # The thread has ended.
                    self._normal(thread)
