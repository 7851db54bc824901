"""When sending ends: after a number of requests, after a time, after whichever comes first, or by an order.

Warm-up is added to these: its requests are sent first and count towards no limit, and the duration begins when the
warm-up is over. `warmup_ends` may set its end while the load runs. When sending stops, requests in flight continue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.clock import Clock
    from bench.workload import Phase


class Stop:
    """Decides the phase of each request and whether there is a next one. `reason`: why sending ended."""

    def __init__(
        self,
        clock: Clock,
        *,
        start_ns: int,
        requests: int | None,
        duration_ns: int | None,
        warmup_requests: int = 0,
        warmup_ns: int = 0,
        ends_ns: int | None = None,
        one_of_several: bool = False,
    ) -> None:
        """`ends_ns`: for a load planned in time, its end in ns from the start, warm-up included. `one_of_several`: other
        workers send the rest of the load and end with this one."""
        self._clock = clock
        self._requests = requests
        self._duration_ns = duration_ns
        self._warmup_left = warmup_requests
        self._warmup_until_ns = start_ns + warmup_ns
        # A warm-up of requests ends at a different time in each worker.
        self._ends_together = one_of_several and not warmup_requests
        self._taken = 0
        self._deadline_ns = None if ends_ns is None else start_ns + ends_ns
        self._listeners: list[Callable[[str], None]] = []
        self.reason: str | None = None
        self.interrupted = False
        self.run_start_ns: int | None = None
        """When the first request after the warm-up was taken."""
        if self._deadline_ns is not None:
            clock.call_at(self._deadline_ns, lambda: self.now("duration"))

    @property
    def stopped(self) -> bool:
        return self.reason is not None

    def on_stop(self, listener: Callable[[str], None]) -> None:
        """Call this with the reason when sending ends, and again with each later reason."""
        self._listeners.append(listener)

    def warmup_ends(self, at_ns: int) -> None:
        """The warm-up ends at this instant, unless its own time is over sooner."""
        self._warmup_until_ns = min(self._warmup_until_ns, at_ns)

    def now(self, reason: str) -> None:
        """End the sending. `reason` keeps the first one.

        Listeners are also told later ones: when all requests have been taken, some may still wait at a cap, and neither
        a duration that ends then nor Ctrl-C may let them be sent.
        """
        if self.reason is None:
            self.reason = reason
        for listener in self._listeners:
            listener(reason)

    def interrupt(self) -> None:
        """The user wants the run to end, whether or not sending has already ended."""
        self.interrupted = True
        self.now("interrupted")

    def next_phase(self, at_ns: int) -> Phase | None:
        """The phase of a request taken at this instant. Returns None, and stops, if no more may be taken."""
        if self.stopped:
            return None
        if self.run_start_ns is None:
            if self._warmup_left > 0:
                self._warmup_left -= 1
                return "warmup"
            if at_ns < self._warmup_until_ns:
                return "warmup"
            self.run_start_ns = at_ns
            if self._duration_ns is not None:
                self._deadline_ns = self._ends_ns(at_ns, self._duration_ns)
                self._clock.call_at(self._deadline_ns, lambda: self.now("duration"))
        if self._deadline_ns is not None and at_ns >= self._deadline_ns:
            self.now("duration")
            return None
        self._taken += 1
        return "run"

    def _ends_ns(self, first_ns: int, duration_ns: int) -> int:
        """The end of a run whose first request after the warm-up was taken at this instant.

        One of several workers counts from the end of the warm-up, which all workers know. If each counted from its own first
        request, workers with rare requests would end later than the others and send a part of the load alone. A worker whose
        first request comes after the common end counts from that request.
        """
        together_ns = self._warmup_until_ns + duration_ns
        return together_ns if self._ends_together and first_ns < together_ns else first_ns + duration_ns

    def check_count(self) -> None:
        """End the sending if the last request was taken. Called after it was started, so that it counts as in flight."""
        if self._taken and self._taken == self._requests:  # A worker's share may be only warm-up.
            self.now("requests")
