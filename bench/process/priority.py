"""The scheduling priority of a process that sends and receives.

A server that computes on the same machine keeps its processors, and the ordinary scheduler may wake a process that
mostly sleeps and stamps up to a second late. Under SCHED_RR (sched(7)) that process runs as soon as it is woken. But it
then precedes everything else, including the measured server, so `auto` gives the priority back if the process needs
most of a processor: a process that needs little takes little from the server.

The priority applies to the thread that runs the event loop and to the one that receives for it (bench/native), but to
no child (SCHED_RESET_ON_FORK).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.clock import NS_PER_S, Clock, Timer, thread_cpu_ns
from bench.errors import UsageError
from bench.native import receivers

PriorityChoice = Literal["auto", "normal", "realtime"]

LOOK_EVERY_NS = NS_PER_S // 4
MOST_OF_A_PROCESSOR = 0.5
"""With `auto`, a process that uses more than this share of a processor over LOOK_EVERY_NS gives its priority back."""

REMEDY = (
    "Allow it with CAP_SYS_NICE as an ambient capability (setpriv, or AmbientCapabilities= of systemd), or with a limit: "
    "rtprio 1 in limits.conf, LimitRTPRIO=1 of systemd, docker's --ulimit rtprio=1 (docs/troubleshooting.md)"
)
"""A capability only in the bounding or inheritable set, as docker's --cap-add leaves it for a non-root user, has no
effect: capabilities(7)."""


class Scheduler(Protocol):
    """The scheduling calls of the system. Each raises OSError if it is not allowed."""

    def realtime(self) -> None: ...

    def normal(self) -> None: ...

    def thread_cpu_ns(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityUse:
    """The priority that a process had while it sent. `given_back_ns`: how long after the start it gave the priority
    back."""

    asked: PriorityChoice
    had: Literal["normal", "realtime"]
    refused: str | None = None
    given_back_ns: int | None = None


class Priority:
    """Raises the priority at `take`, watches how much the process needs, and restores the priority at `restore`."""

    def __init__(self, choice: PriorityChoice, clock: Clock, scheduler: Scheduler) -> None:
        self._choice = choice
        self._clock = clock
        self._scheduler = scheduler
        self._realtime = False
        self._refused: str | None = None
        self._given_back_ns: int | None = None
        self._timer: Timer | None = None
        self._taken_ns = self._looked_ns = 0
        self._cpu_ns = 0

    def take(self) -> None:
        """Take the requested priority, if the system allows it."""
        if self._choice == "normal":
            return
        try:
            self._scheduler.realtime()
        except OSError as e:
            self._refused = reason(e)
            return
        self._realtime = True
        self._taken_ns = self._looked_ns = self._clock.now_ns()
        if self._choice == "auto":
            self._cpu_ns = self._scheduler.thread_cpu_ns()
            self._timer = self._clock.call_at(self._taken_ns + LOOK_EVERY_NS, self._look)

    def _look(self) -> None:
        now, cpu = self._clock.now_ns(), self._scheduler.thread_cpu_ns()
        span_ns, used_ns = now - self._looked_ns, cpu - self._cpu_ns
        self._looked_ns, self._cpu_ns = now, cpu
        if used_ns > MOST_OF_A_PROCESSOR * span_ns:
            self._timer = None
            self._scheduler.normal()
            self._given_back_ns = now - self._taken_ns
        else:
            self._timer = self._clock.call_at(now + LOOK_EVERY_NS, self._look)

    def restore(self) -> None:
        """Return to the ordinary priority."""
        if self._timer is not None:
            self._timer.cancel()
        if self._realtime and self._given_back_ns is None:
            self._scheduler.normal()

    @property
    def use(self) -> PriorityUse:
        return PriorityUse(
            asked=self._choice,
            had="realtime" if self._realtime else "normal",
            refused=self._refused,
            given_back_ns=self._given_back_ns,
        )


def ensure_allowed(choice: PriorityChoice, scheduler: Scheduler) -> None:
    """Raises UsageError if `realtime` was requested and the system refuses it."""
    if choice != "realtime":
        return
    try:
        scheduler.realtime()
    except OSError as e:
        raise UsageError(f"--cpu-priority realtime: {reason(e)}. {REMEDY}; or leave the flag out") from e
    scheduler.normal()


def described(uses: Sequence[PriorityUse]) -> str | None:
    """The priority of a run's workers, in words; None if it is unknown."""
    if not uses:
        return None
    refused = next((use.refused for use in uses if use.refused is not None), None)
    if refused is not None:
        return f"normal: real-time was not to be had ({refused})"
    given_back_ns = [use.given_back_ns for use in uses if use.given_back_ns is not None]
    if given_back_ns:
        who = "" if len(uses) == 1 else f" by {len(given_back_ns)} of {len(uses)} workers"
        return f"real-time, given back{who} after {min(given_back_ns) / NS_PER_S:.1f} s: it needed most of a processor"
    return "normal" if uses[0].had == "normal" else "real-time"


def remedy(uses: Sequence[PriorityUse]) -> str | None:
    """What to do if workers waited for a processor; None if priority cannot help or is unknown."""
    if any(use.refused is not None for use in uses):
        return f"the client may not take real-time priority. {REMEDY}"
    if any(use.asked == "normal" for use in uses):
        return "leave out --cpu-priority normal"
    return None


def reason(error: OSError) -> str:
    """Why the system refuses the priority, in words."""
    if error.errno == errno.EPERM:
        return "this process may not take it"
    return error.strerror or str(error)


NICENESS_BESIDE = 10


def give_way() -> None:
    """Run this process only when the ones that send and serve leave time. A nice process of the ordinary class keeps
    its processor for some ms when another wakes up; one of the idle class is preempted at once."""
    if sys.platform == "linux":
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            return
        except OSError:
            pass
    give_way_a_little()


def give_way_a_little() -> None:
    """Lower the priority, but keep a share of a busy processor. On Linux only the calling thread changes."""
    if sys.platform != "win32":
        os.nice(NICENESS_BESIDE)


class LinuxScheduler:
    """SCHED_RR at its lowest priority for the calling thread and for the threads that receive."""

    def thread_cpu_ns(self) -> int:
        return thread_cpu_ns() + sum(receiver.cpu_ns() for receiver in receivers)

    def realtime(self) -> None:
        self._set(realtime=True)

    def normal(self) -> None:
        self._set(realtime=False)

    @staticmethod
    def _set(*, realtime: bool) -> None:
        if sys.platform == "linux":
            policy, priority = (os.SCHED_RR, 1) if realtime else (os.SCHED_OTHER, 0)
            for thread in (0, *(receiver.thread_id for receiver in receivers)):
                # Without privileges the flag cannot be cleared, and a call without it is refused.
                os.sched_setscheduler(thread, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


class NoScheduler:
    """A system without supported real-time priorities."""

    def realtime(self) -> None:
        raise OSError(errno.ENOSYS, f"{sys.platform} has no such priority that Trueload knows")

    def normal(self) -> None:
        """Nothing was changed."""

    def thread_cpu_ns(self) -> int:
        return 0


def scheduler() -> Scheduler:
    """The scheduler of this system."""
    return LinuxScheduler() if sys.platform == "linux" else NoScheduler()
