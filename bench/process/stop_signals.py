"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal) from the start of a load until its report is written.

The first Ctrl-C ends the sending; the second cuts what is in flight, as SIGTERM and SIGHUP do. A load that has not
ended `ABANDONED_AFTER_S` after that, or by a third Ctrl-C, is abandoned: KeyboardInterrupt ends the event loop. While
the report is made, one Ctrl-C is only acknowledged, because it may have been meant for the load. The next one, or the
third of a run, raises KeyboardInterrupt. SIGHUP does not end a report: when a terminal is closed, its shell and the
kernel may both send one.

Before and after, SIGTERM and SIGHUP end a command as Ctrl-C does (`interpreter.end_as_ctrl_c`): otherwise the process
would be killed outright, leave its folders behind, and report nothing.

The handlers are set by `signal.signal`, which Python calls even while its main thread is blocked in a system call. The
handlers of an event loop wait until the loop runs.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from bench.process.interpreter import TERMINATE

ABANDONED_AFTER_S = 10.0
"""Cutting 10,000 streams and writing their records takes a few seconds on a busy machine."""


class StopSignals:
    """Handles the signals in the main thread of a running event loop; call `report`, then `release`."""

    def __init__(
        self, interrupt: Callable[[], None], terminate: Callable[[], None], acknowledge: Callable[[], None]
    ) -> None:
        """`interrupt` and `terminate` are called in the event loop, during the load. `acknowledge` is called in the
        signal handler, for a Ctrl-C while the report is made."""
        self._loop = asyncio.get_running_loop()
        self._interrupt = interrupt
        self._terminate = terminate
        self._acknowledge = acknowledge
        self._interrupts = 0
        self._interrupts_of_report: int | None = None
        self._alarm_before: tuple[Any, tuple[float, float]] | None = None
        """The previous handler and timer of SIGALRM."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._terminate_before = {
            number: signal.signal(number, self._on_terminate)
            for number in TERMINATE
            if signal.getsignal(number) is not signal.SIG_IGN
        }

    def report(self) -> None:
        """The load has ended, and its report is next. SIGTERM gets the handler that it had before the load."""
        self._disarm()
        if signal.SIGTERM in self._terminate_before:
            signal.signal(signal.SIGTERM, self._terminate_before[signal.SIGTERM])
        self._interrupts_of_report = 0

    def release(self) -> None:
        self._disarm()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, before in self._terminate_before.items():
            signal.signal(number, before)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 2:
            raise KeyboardInterrupt
        if self._interrupts_of_report is not None:
            self._interrupts_of_report += 1
            if self._interrupts_of_report > 1:
                raise KeyboardInterrupt
            self._acknowledge()
            return
        if self._interrupts == 2:
            self._arm()
        self._loop.call_soon_threadsafe(self._interrupt)

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        if self._interrupts_of_report is None:
            self._arm()
            self._loop.call_soon_threadsafe(self._terminate)

    def _arm(self) -> None:
        # Windows has no such timer: there it takes a third Ctrl-C.
        if sys.platform != "win32" and self._alarm_before is None:
            handler = signal.signal(signal.SIGALRM, self._on_alarm)
            # Repeated: if another thread takes the first alarm (after SIGSTOP and SIGCONT), a blocked main thread stays so.
            timer = signal.setitimer(signal.ITIMER_REAL, ABANDONED_AFTER_S, ABANDONED_AFTER_S)
            self._alarm_before = handler, timer

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    def _disarm(self) -> None:
        if sys.platform != "win32" and self._alarm_before is not None:
            handler, timer = self._alarm_before
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)
            self._alarm_before = None
