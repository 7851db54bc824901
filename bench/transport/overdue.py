"""Periodic checks: which requests exceed the target's time limits, and which connections have been quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bench.clock import NS_PER_MS, NS_PER_S, Clock, Timer, now_ns
from bench.records import Outcome
from bench.transport.interface import Target

if TYPE_CHECKING:
    from bench.transport.connection import Connection, Job

LONGEST_NS = NS_PER_S
SHORTEST_NS = 5 * NS_PER_MS
NO_CONNECTION = (Outcome.TIMEOUT_CONNECT, "no connection within the connect timeout")


class Sweep:
    """Checks every request in progress, and every connection being made in advance: several times within the shortest
    of the target's timeouts, and once a second."""

    def __init__(
        self,
        target: Target,
        clock: Clock,
        jobs: Iterable[Job],
        end: Callable[[Job, Outcome, str], None],
        ahead: Iterable[Connection],
        give_up: Callable[[Connection], None],
    ) -> None:
        """`jobs`, `ahead`: live views of the jobs in progress, and of the connections being made in advance. `end` ends
        a job, `give_up` a connection."""
        self._target, self._clock, self._jobs, self._end = target, clock, jobs, end
        self._ahead, self._give_up = ahead, give_up
        limits = (
            target.timeout_connect_ns, target.timeout_first_byte_ns, target.timeout_idle_ns, target.timeout_total_ns,
        )  # fmt: skip
        shortest = min([LONGEST_NS, *(limit // 20 for limit in limits if limit is not None)])
        self._every_ns = max(shortest, SHORTEST_NS)
        self._timer: Timer = clock.call_at(now_ns() + self._every_ns, self._look)

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now = now_ns()
        for connection in list(self._ahead):
            if self._should_stand(connection, now):
                self._give_up(connection)
        for job in list(self._jobs):
            if (late := self._overdue(job, now)) is not None:
                self._end(job, *late)
        self._timer = self._clock.call_at(now + self._every_ns, self._look)

    def _should_stand(self, connection: Connection, now: int) -> bool:
        limit_ns = self._target.timeout_connect_ns
        return limit_ns is not None and now - connection.began_ns >= limit_ns

    def _overdue(self, job: Job, now: int) -> tuple[Outcome, str] | None:
        target, connection = self._target, job.connection
        if target.timeout_total_ns is not None and now - job.started_ns >= target.timeout_total_ns:
            return Outcome.TIMEOUT_TOTAL, "the request took longer than the total timeout"
        if connection is None:
            return None
        if not connection.connected:
            return NO_CONNECTION if self._should_stand(connection, now) else None
        if connection.reads != connection.reads_at_sweep:
            connection.reads_at_sweep, connection.quiet_since_ns = connection.reads, now
            return None
        quiet_ns = now - connection.quiet_since_ns
        if not connection.reads:
            if target.timeout_first_byte_ns is not None and quiet_ns >= target.timeout_first_byte_ns:
                return Outcome.TIMEOUT_FIRST_BYTE, "no byte of a response within the first-byte timeout"
        elif target.timeout_idle_ns is not None and quiet_ns >= target.timeout_idle_ns:
            return Outcome.TIMEOUT_IDLE, "the response stopped for longer than the idle timeout"
        else:
            # Quiet since the last sweep: this detects an end that is still unparsed in the buffered data.
            connection.parse()
        return None
