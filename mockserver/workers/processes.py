"""`--workers N`: N processes on one port, each a whole mock, that agree on what must be one.

Rules:
- The parent makes all that is shared (shared_state.py, the ledger's file, the listening sockets), forks, says that the
  mock is ready when every worker is, hands on signals, and serves nothing itself. The kernel deals connections out to the
  workers' sockets (SO_REUSEPORT).
- A worker that dies takes requests with it that no ledger will name. A mock that went on would no longer be the known
  truth: so the parent names the worker, ends the others as SIGTERM does, and the exit status is 70.
- Workers end when their parent is gone: each holds the reading end of a pipe whose other end the parent alone holds.
- Terminals send SIGINT to the whole group: only the parent hears it, and sends each worker SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from mockserver.errors import MockError


@dataclass(frozen=True, slots=True)
class Reins:
    """What ties a worker to its parent."""

    ready: int
    """A byte written here says that the worker serves."""
    parent: int
    """Readable at its end: when the parent is gone."""


class Workers:
    """Forks workers and watches over them. `work(number, reins)` is what each does; its process ends with it."""

    def __init__(self, count: int, work: Callable[[int, Reins], None]) -> None:
        self._count = count
        self._work = work
        self._pids: dict[int, int] = {}
        self._ready: list[int] = []
        self._told = False

    def run(self, on_ready: Callable[[], None]) -> None:
        """Until all have ended. Raises MockError where one ended unasked."""
        parent_read, parent_write = os.pipe()
        handlers = {number: signal.signal(number, self._hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in range(self._count):
                self._fork(number, parent_read, parent_write)
            os.close(parent_read)
            # A worker that ends before it is ready closes its pipe; then it is named below.
            if all(os.read(ready, 1) for ready in self._ready) and not self._told:
                on_ready()
            self._watch()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(parent_write)
            for ready in self._ready:
                os.close(ready)

    def _fork(self, number: int, parent_read: int, parent_write: int) -> None:
        ready_read, ready_write = os.pipe()
        # A signal between the fork and the worker's own handlers must wait, or the parent's handler would run in it.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        pid = os.fork()
        if pid == 0:
            os.close(parent_write)
            os.close(ready_read)
            self._be_a_worker(number, Reins(ready_write, parent_read))
        os.close(ready_write)
        self._pids[pid] = number
        self._ready.append(ready_read)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    def _be_a_worker(self, number: int, reins: Reins) -> None:
        status = 70
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
            self._work(number, reins)
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

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        self._tell_all()

    def _tell_all(self) -> None:
        for pid in list(self._pids):
            os.kill(pid, signal.SIGTERM)

    def _watch(self) -> None:
        failed: str | None = None
        while self._pids:
            pid, status = os.waitpid(-1, 0)
            number = self._pids.pop(pid, None)
            if number is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if failed is None and (code != 0 or not self._told):
                failed = (
                    f"worker {number} of {self._count} (process {pid}) {_how(code)}: "
                    "what it was serving is not in the ledger, so the mock ends"
                )
                self._tell_all()
        if failed is not None:
            raise MockError(failed)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended by itself with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
