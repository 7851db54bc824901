"""A process of ours that does something beside this one, with a socket between the two."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import IO

from bench.clock import NS_PER_S, now_ns


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


def serve(descriptor: int, work: Callable[[Connection], None]) -> int:
    """Be such a program: `work` gets its end of the socket, and ends with it. Returns the exit status."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # The process that started this one has ended.
        work(Connection(socket.socket(fileno=descriptor).detach()))
    return 0


def death(status: int) -> str:
    """How a process ended, for a sentence that begins with its name. `status`: of `Popen.wait`, negative for a signal."""
    if status >= 0:
        return f"ended with status {status}"
    by = f"was killed by {signal.Signals(-status).name}"
    # Nobody else sends it unasked, and who gets it can say nothing of its own.
    return f"{by} (which the system does when memory runs out)" if -status == signal.SIGKILL else by


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
