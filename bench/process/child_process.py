"""A process of ours that does something beside this one, with a socket between the two: a new interpreter, or a copy of this
one, which begins at once. A new one would import everything anew, a tenth of a second of processor time.

Only a process that has no other thread can be copied safely: a lock that another thread holds at that moment would stay held.
The compiled receiver's threads hold none that a copy would ask for.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from bench.clock import NS_PER_S, now_ns
from bench.process.interpreter import woken_by_parents_end

_THREADS, _DESCRIPTORS, _NAME = Path("/proc/self/task"), Path("/proc/self/fd"), Path("/proc/self/comm")
_RECEIVER = "receiver\n"
"""What bench/native/_core.c calls its thread."""


def start(
    module: str, *, says: IO[bytes] | None = None, environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the program MODULE (`beside.py`). Returns the process and our end of the socket, whose other end it is given.

    `says` takes what it prints, `environment` is its own; None: those of this process.
    """
    ours, theirs = socket.socketpair()
    # A session of its own: Ctrl-C reaches the process that was started by the user alone, which tells the others what to do.
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.process.beside", module, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=says,
        stderr=says,
        env=environment,
        start_new_session=True,
    )
    theirs.close()
    return process, ours


def copy_or_start(module: str, main: Callable[[int], int]) -> tuple[Copy | subprocess.Popen[bytes], socket.socket]:
    """As `start`, but a copy of this process where it may be copied. `main` is what the module runs, with the descriptor."""
    if not may_copy():
        return start(module)
    ours, theirs = socket.socketpair()
    process = copy(module.rpartition(".")[2], theirs.fileno(), main)
    theirs.close()
    return process, ours


def death(status: int) -> str:
    """How a process ended, for a sentence that begins with its name. `status`: of `Popen.wait`, negative for a signal."""
    if status >= 0:
        return f"ended with status {status}"
    by = f"was killed by {signal.Signals(-status).name}"
    # Nobody else sends it unasked, and who gets it can say nothing of its own.
    return f"{by} (which the system does where memory runs out)" if -status == signal.SIGKILL else by


def end(processes: Sequence[subprocess.Popen[bytes]], within_s: float) -> None:
    """Wait until processes that were told to end have ended. Kills those that have not in time, the stopped ones too."""
    deadline_ns = now_ns() + round(within_s * NS_PER_S)
    try:
        for process in processes:
            process.wait(timeout=max(deadline_ns - now_ns(), 0) / NS_PER_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            process.kill()  # Nothing where it has ended.
            process.wait()


class Copy:
    """A copy of this process, by what `subprocess.Popen` calls it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def kill(self) -> None:
        """End it, also if it is stopped; nothing where it has ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)  # It is not waited for yet, so the number is still its own.

    def wait(self) -> int:
        """Its exit status, when it has ended; a signal's number below zero."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def may_copy() -> bool:
    """Whether this process has one thread that runs Python or might wait for a lock, and may be copied."""
    if sys.platform != "linux":
        return False
    try:
        threads = [path for path in _THREADS.iterdir() if path.name != str(os.getpid())]
        return all((path / "comm").read_text() == _RECEIVER for path in threads)
    except OSError:
        return False


def copy(name: str, descriptor: int, main: Callable[[int], int]) -> Copy:
    """Have a copy of this process run `main`, which returns an exit status, in a session of its own, with one descriptor
    besides its output.

    `name` (15 letters at most) is what `ps` shows of it. It ends without the exit functions of this process.
    """
    with warnings.catch_warnings():
        # From 3.12 on Python warns of every fork beside another thread; `may_copy` has looked at what these threads are.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        pid = os.fork()
    if pid:
        return Copy(pid)
    status = 1
    try:
        gc.freeze()  # What it has in common with this process stays in common: the collector would write into each object.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        woken_by_parents_end()
        _keep_only(descriptor)
        with suppress(OSError):
            _NAME.write_text(name)
        status = main(descriptor)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _keep_only(descriptor: int) -> None:
    """Close all others: locks and connections of the process that was copied would live on with them."""
    for each in [int(path.name) for path in _DESCRIPTORS.iterdir()]:
        if each > 2 and each != descriptor:
            with suppress(OSError):  # The one that listed them is closed.
                os.close(each)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
