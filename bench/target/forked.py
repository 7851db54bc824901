"""A process beside this one that is a copy of it: it begins at once. A new interpreter would import everything anew, a tenth
of a second of processor time.

Only a process that has no other thread can be copied safely: a lock that another thread holds at that moment would stay held.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_THREADS, _DESCRIPTORS, _NAME = Path("/proc/self/task"), Path("/proc/self/fd"), Path("/proc/self/comm")


class Forked:
    """The copy, by what `subprocess.Popen` calls it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def terminate(self) -> None:
        """Tell it to end; nothing where it has ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGTERM)  # It is not waited for yet, so the number is still its own.

    def wait(self) -> int:
        """Its exit status, when it has ended; a signal's number below zero."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def possible() -> bool:
    """Whether this process has one thread, and may be copied."""
    if sys.platform != "linux":
        return False
    try:
        return len(list(_THREADS.iterdir())) == 1
    except OSError:
        return False


def fork(name: str, descriptor: int, main: Callable[[int], int]) -> Forked:
    """Have a copy of this process run `main` in a session of its own, with one descriptor besides its output.

    `name` (15 letters at most) is what `ps` shows of it. It ends without the exit functions of this process.
    """
    pid = os.fork()
    if pid:
        return Forked(pid)
    ended_well = False
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        _keep_only(descriptor)
        with suppress(OSError):
            _NAME.write_text(name)
        ended_well = main(descriptor) == 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0 if ended_well else 1)


def _keep_only(descriptor: int) -> None:
    """Close all others: locks and connections of the process that was copied would live on with them."""
    for each in [int(path.name) for path in _DESCRIPTORS.iterdir()]:
        if each > 2 and each != descriptor:
            with suppress(OSError):  # The one that listed them is closed.
                os.close(each)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
