"""A child process of ours, connected to this one by a socket."""

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
    """Start the program MODULE (`beside.py`). Returns the process and our end of the socket; the program gets the other
    end.

    `says` receives its output, `environment` is its environment; None: inherited from this process.
    """
    ours, theirs = socket.socketpair()
    # A new session: Ctrl-C reaches only the process that the user started, which tells the others what to do.
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
    """Run such a program: `work` gets its end of the socket, and ends when it closes. Returns the exit status."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # The parent has ended.
        work(Connection(socket.socket(fileno=descriptor).detach()))
    return 0


def death(status: int) -> str:
    """How a process ended, for a sentence that begins with its name. `status`: from `Popen.wait`, negative for a
    signal."""
    if status >= 0:
        return f"ended with status {status}"
    by = f"was killed by {signal.Signals(-status).name}"
    # Only the kernel sends it unasked, and a process that gets it cannot report the cause.
    return f"{by} (which the system does when memory runs out)" if -status == signal.SIGKILL else by


def end(processes: Sequence[subprocess.Popen[bytes]], within_s: float) -> None:
    """Wait until processes that were told to end have ended. Kills those that have not in time, including stopped ones."""
    deadline_ns = now_ns() + round(within_s * NS_PER_S)
    try:
        for process in processes:
            process.wait(timeout=max(deadline_ns - now_ns(), 0) / NS_PER_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            process.kill()  # Does nothing if it has ended.
            process.wait()
