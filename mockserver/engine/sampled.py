"""The `sampled` engine: requests are independent; tokens are emitted at received + ttft + the sum of the gaps.

So the expected result is known in closed form at any load: it is the distributions themselves.
"""

from __future__ import annotations

import heapq
from itertools import count

from mockserver.engine.interface import EngineReport, EngineRequest, EngineState
from mockserver.engine.work import Work
from mockserver.plans.plan import Plan


class _Run:
    """A request in progress."""

    __slots__ = ("gaps_ns", "key", "plan", "released", "steps")

    def __init__(self, key: int, plan: Plan) -> None:
        self.key = key
        self.plan = plan
        self.gaps_ns = plan.gaps_ns
        self.steps = 0
        self.released = False


class SampledEngine:
    """A heap of requests by the time of their next token."""

    needs_input_tokens = False
    block_tokens = 0

    def __init__(self) -> None:
        # (time of the next token, order of admission as tie-breaker, request).
        self._heap: list[tuple[int, int, _Run]] = []
        self._order = count()
        self._runs: dict[int, _Run] = {}

    def admit(self, key: int, request: EngineRequest) -> None:
        """Raises ValueError for a plan without tokens: such a request is answered without an engine."""
        if request.plan.ttft_ns is None:
            raise ValueError("a plan without a first token has nothing to wait for")
        run = self._runs[key] = _Run(key, request.plan)
        heapq.heappush(self._heap, (request.received_ns + request.plan.ttft_ns, next(self._order), run))

    def follow(self, key: int, request: EngineRequest) -> None:
        """Count a request that is not stepped."""
        self._runs[key] = _Run(key, request.plan)

    def release(self, key: int) -> EngineReport:
        """There is no queue, and each token is a step. The entry stays in the heap until it is due; it emits nothing
        then."""
        run = self._runs.pop(key)
        run.released = True
        return EngineReport(run.plan, {"queue_ns": 0, "steps": run.steps})

    def work(self, key: int) -> Work:
        """There is no queue and no cache: the times are those of the plan, up to the last emitted token."""
        run = self._runs[key]
        if not run.steps:
            return Work(queue_ns=0)
        return Work(queue_ns=0, prefill_ns=run.plan.ttft_ns, decode_ns=sum(run.gaps_ns[: run.steps - 1]))

    def next_ns(self) -> int | None:
        """The earliest time in the heap."""
        return self._heap[0][0] if self._heap else None

    def step(self, now_ns: int) -> list[tuple[int, int]]:
        """One entry per token: a late step emits each token separately, so chunks are not merged."""
        out: list[tuple[int, int]] = []
        heap = self._heap
        while heap and heap[0][0] <= now_ns:
            due_ns, order, run = heap[0]
            if run.released or run.steps >= len(run.gaps_ns):
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (due_ns + run.gaps_ns[run.steps], order, run))
            if not run.released:
                run.steps += 1
                out.append((run.key, 1))
        return out

    def state(self) -> EngineState:
        """All requests run; none waits."""
        return EngineState(len(self._runs))
