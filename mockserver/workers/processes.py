"""`--workers N`: N processes on one port. Each is a complete mock; they share what must exist only once.

Rules:
- The parent creates the shared objects (shared_state.py, the ledger's file, the listening sockets) and forks. It reports
  ready when every worker is ready, forwards signals, and serves nothing itself. The kernel spreads connections over the
  workers' sockets (SO_REUSEPORT).
- If a worker dies, its requests are missing from the ledger, so the ledger is no longer the truth. The parent then names
  the worker, stops the others with SIGTERM, and the exit status is 70.
- Workers end when their parent ends: each holds the read end of a pipe whose write end only the parent holds.
- A terminal sends SIGINT to the whole process group. Only the parent reacts, and sends each worker SIGTERM.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from mockserver.errors import MockError


@dataclass(frozen=True, slots=True)
class WorkerPipes:
    """The pipes between a worker and its parent."""

    ready: int
    """The worker writes a byte here once it serves."""
    parent: int
    """Becomes readable when the parent ends."""


_PR_SET_PDEATHSIG = 1


def woken_by_parents_end() -> None:
    """Have the kernel continue this process if it is stopped (SIGSTOP) when its parent ends, so that it notices and
    ends too. Only Linux supports this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT))


class WorkerProcesses:
    """Forks workers and watches them. Each runs `work(number, pipes)`, then its process exits."""

    def __init__(self, count: int, work: Callable[[int, WorkerPipes], None]) -> None:
        self._count = count
        self._work = work
        self._pids: dict[int, int] = {}
        self._ready: list[int] = []
        self._stopping = False

    def run(self, on_ready: Callable[[], None]) -> None:
        """Run until all workers have ended. Raises MockError if one ended unexpectedly."""
        parent_read, parent_write = os.pipe()
        handlers = {number: signal.signal(number, self._forward) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in range(self._count):
                self._fork(number, parent_read, parent_write)
            os.close(parent_read)
            # A worker that ends before it is ready closes its pipe. The error below names it.
            if all(os.read(ready, 1) for ready in self._ready) and not self._stopping:
                on_ready()
            self._watch()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(parent_write)
            for ready in self._ready:
                os.close(ready)

    def _fork(self, number: int, parent_read: int, parent_write: int) -> None:
        if sys.platform == "win32":
            raise MockError("Windows has no fork")  # `serve` has already refused this.
        ready_read, ready_write = os.pipe()
        # Block signals until the worker has its own handlers. Otherwise the parent's handler would run in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        pid = os.fork()
        if pid == 0:
            os.close(parent_write)
            os.close(ready_read)
            self._run_worker(number, WorkerPipes(ready_write, parent_read))
        os.close(ready_write)
        self._pids[pid] = number
        self._ready.append(ready_read)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    def _run_worker(self, number: int, pipes: WorkerPipes) -> None:
        if sys.platform == "win32":
            raise MockError("Windows has no fork")
        status = 70
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
            woken_by_parents_end()
            self._work(number, pipes)
            status = 0
        except MockError as e:
            print(f"mockserver: {e}", file=sys.stderr)
            status = e.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._stop_all()

    def _stop_all(self) -> None:
        if sys.platform == "win32":
            raise MockError("Windows has no fork")
        for pid in list(self._pids):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)  # A stopped worker would not receive it.

    def _watch(self) -> None:
        failed: str | None = None
        while self._pids:
            pid, status = os.waitpid(-1, 0)
            number = self._pids.pop(pid, None)
            if number is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if failed is None and (code != 0 or not self._stopping):
                failed = (
                    f"worker {number} of {self._count} (process {pid}) {_how(code)}: "
                    "its requests are missing from the ledger, so the mock stops"
                )
                self._stop_all()
        if failed is not None:
            raise MockError(failed)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended unexpectedly with status {code}"
    try:
        by = f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
    # The system is the usual source of SIGKILL, and the process cannot catch it to report anything.
    return f"{by} (which the system does when memory runs out)" if -code == signal.SIGKILL else by
