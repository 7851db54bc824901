"""Which of several addresses the next request goes to: a decision, without I/O.

`round_robin` and `weighted` are one rule: each address has a turn, the earliest is next, and then waits for 1 / weight.
`least_in_flight` takes the address with the fewest requests in flight for its weight.

An address that gives no answer to `LOST_IN_A_ROW` requests in a row (no connection, or a connection that ends before
any response) gets none for a while, as behind a load balancer: for `FIRST_WAIT_NS`, and twice as long after each failed
retry, up to `LONGEST_WAIT_NS`. Its first answer brings it back. If every address is out, all are used. Any status is an
answer: an address that refuses requests stays in.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Literal

from bench.clock import NS_PER_S

LOST_IN_A_ROW = 3
FIRST_WAIT_NS = NS_PER_S
LONGEST_WAIT_NS = 30 * NS_PER_S


class Balance:
    """Chooses among addresses by number. Report each started request to `ended`, then to `answered` or `lost`."""

    def __init__(
        self,
        kind: Literal["round_robin", "weighted", "least_in_flight"],
        weights: Sequence[float],
        *,
        first: int = 0,
        longest_wait_ns: int = LONGEST_WAIT_NS,
    ) -> None:
        """`first` has the first turn: workers begin at different addresses."""
        self._longest_wait_ns = longest_wait_ns
        self.weights = tuple(weights)
        self._least = kind == "least_in_flight"
        n = len(weights)
        self._turns = [(0.0, (i - first) % n, i) for i in range(n)]
        heapq.heapify(self._turns)
        self.in_flight = [0] * n
        self._lost = [0] * n
        self._out: dict[int, tuple[int, int]] = {}
        """For each address that is out: when it is retried, and how long it waits after that."""
        self._tried: set[int] = set()
        """Those that have a retry in flight."""

    def choose(self, now_ns: int) -> int:
        """The address for a request that is sent now."""
        if self._out and (tried := self._due_again(now_ns)) is not None:
            which = tried
        else:
            place = self._fewest() if self._least else 0
            turn, order, which = self._turns[place]
            after = (turn + 1 / self.weights[which], order, which)
            if place:
                self._turns[place] = after
                heapq.heapify(self._turns)
            else:
                heapq.heapreplace(self._turns, after)
        self.in_flight[which] += 1
        return which

    def go(self, which: int) -> None:
        """Count a request that goes to its session's address."""
        self.in_flight[which] += 1

    def is_out(self, which: int) -> bool:
        """Whether the address currently gets no requests."""
        return which in self._out

    def ended(self, which: int) -> None:
        """A request to this address has ended."""
        self.in_flight[which] -= 1

    def answered(self, which: int) -> None:
        """The address gave a response, of any status."""
        self._lost[which] = 0
        self._tried.discard(which)
        if self._out.pop(which, None) is not None:
            heapq.heappush(self._turns, (self._turns[0][0] if self._turns else 0.0, which, which))

    def lost(self, which: int, now_ns: int) -> None:
        """The address gave no response."""
        if which in self._out:
            if which in self._tried:  # Other requests were sent before it was out, and add no information.
                self._tried.remove(which)
                _, wait_ns = self._out[which]
                self._out[which] = (now_ns + wait_ns, min(2 * wait_ns, self._longest_wait_ns))
            return
        self._lost[which] += 1
        if self._lost[which] < LOST_IN_A_ROW:
            return
        self._out[which] = (now_ns + FIRST_WAIT_NS, min(2 * FIRST_WAIT_NS, self._longest_wait_ns))
        self._turns = [turn for turn in self._turns if turn[2] != which]
        heapq.heapify(self._turns)

    def _fewest(self) -> int:
        turns, in_flight, weights = self._turns, self.in_flight, self.weights
        return min(range(len(turns)), key=lambda at: (in_flight[turns[at][2]] / weights[turns[at][2]], turns[at]))

    def _due_again(self, now_ns: int) -> int | None:
        """The address that is out and gets this request: one whose wait is over, or, if all are out, the next one."""
        which = min(self._out, key=self._out.__getitem__)
        due_ns, wait_ns = self._out[which]
        if now_ns < due_ns and self._turns:
            return None
        self._out[which] = (max(now_ns, due_ns) + wait_ns, wait_ns)
        self._tried.add(which)
        return which
