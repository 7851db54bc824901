"""A command that never outlives its parent: `python -m bench.process.guarded SECONDS WORD...`.

The guard starts the command in a new session and ends it when its standard input is closed, which happens however its
parent ends: SIGTERM first, SIGKILL after SECONDS. On Linux it adopts the command's orphans (workers of an engine), and
ends them too. Its exit status is the command's, 128 + n after signal n.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
CANNOT_START = 127


def main(seconds: float, words: Sequence[str]) -> int:
    """Guard a command until it ends. Returns its exit status."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def dies_with_guard() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dies_with_guard,  # noqa: PLW1509
        )
    except OSError as e:
        print(f"{words[0]}: {e.strerror}", file=sys.stderr)
        return CANNOT_START
    threading.Thread(target=_end_with_parent, args=(process, seconds), daemon=True).start()
    status = process.wait()
    _kill_group(process.pid, signal.SIGKILL)
    _kill_adopted()
    return status if status >= 0 else 128 - status


def _end_with_parent(process: subprocess.Popen[bytes], seconds: float) -> None:
    # Read the bare descriptor: at exit the interpreter waits for a lock that a reader of sys.stdin holds.
    while os.read(0, 4096):
        pass
    end(process, seconds)


def end(process: subprocess.Popen[bytes], seconds: float, send: Callable[[int, int], None] | None = None) -> None:
    """Ask the process group to end, and kill it if it has not after `seconds`. `send`: how signals are sent."""
    send = send or _kill_group
    send(process.pid, signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        send(process.pid, signal.SIGKILL)


def _kill_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _kill_adopted() -> None:
    """Kill the command's orphans: they are children of this process now, and so are their orphans."""
    while children := _children():
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _children() -> list[int]:
    pids = []
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            pids += [int(word) for word in path.read_text().split()]
    return pids


if __name__ == "__main__":
    # Ctrl-C in a terminal is for the parent, which decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(main(float(sys.argv[1]), sys.argv[2:]))
