"""Ends the sending when the numbers of `--until` are precise enough.

Computing intervals needs numpy and tens of ms, in which no stamp could be taken. So another process
(`precision_program.py`) reads the records as they are written, and this one reads a short message from it every 20 s.
If that process dies, the run continues to its cap, and a note in the report mentions it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.metrics.precision import PRECISE_ENOUGH, Look
from bench.process import child_process
from bench.process.companion import Companion


@dataclass(frozen=True, slots=True)
class PrecisionTask:
    """The goals to judge, as the user wrote them, and where the workers write their records.

    `longest_s`: how long the load may take after the warm-up; None if only requests end it.
    """

    goals: tuple[str, ...]
    directory: str
    workers: int
    longest_s: float | None


class PrecisionWatch:
    """The sender's side of the judging process. Call `ready`, `begin`, `close`, in this order."""

    def __init__(self, task: PrecisionTask) -> None:
        """Starts the process, which prepares in the background."""
        self._companion = Companion("bench.load.precision_program")
        self.process = self._companion.process
        self._task = task
        self.last: Look | None = None
        """The result of the latest check."""
        self.died: str | None = None
        """How the process died, if it did."""

    async def ready(self) -> None:
        """Wait until its imports are done, or it has died."""
        try:
            await self._companion.ask(self._task, object)
        except (EOFError, OSError):
            self._bury()

    def begin(self, tell: Callable[[Look], None]) -> None:
        """Report every check from now on."""
        if self.died is None:
            self._companion.listen(self._read, tell)

    def _read(self, tell: Callable[[Look], None]) -> None:
        try:
            look: Look = self._companion.connection.recv()
        except (EOFError, OSError):
            self._companion.stop()
            self._bury()
            return
        self.last = look
        if look.enough:
            self._companion.stop()
        tell(look)

    def _bury(self) -> None:
        self.died = child_process.death(self.process.wait())

    def close(self) -> None:
        self._companion.close()

    def why(self, stop_reason: str) -> str:
        """Why the run ended when it did, in a sentence."""
        if self.last is not None and stop_reason == PRECISE_ENOUGH:
            return f"stopped: {self.last}"
        if self.died is not None:
            return f"--until could not end the run: the process that judges it {self.died}"
        if self.last is None:
            return "--until had no effect: the run ended before its first look"
        came_first = "the cap came first" if stop_reason in ("duration", "requests") else "--until was not reached"
        return f"{came_first}: {self.last}"
