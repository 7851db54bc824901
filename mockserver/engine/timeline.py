"""The `sampled` engine if a step emits several tokens or latencies depend on the load.

Each request follows its plan: steps of `plan.step_tokens` tokens at received + ttft + the preceding gaps. With a
slowdown f, each wait is scaled by the load at its start:

    wait = planned wait x (1 + f (R - 1)),    R = requests in flight at that instant, including itself

so a request alone is served as planned, and N permanent users see TPOT(N) = TPOT x (1 + f (N - 1)). Fitted times have
separate factors for TTFT and gaps (sampled_times.py). The plan then depends on the load, and the ledger has the
resulting times.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise

from mockserver.engine.interface import EngineReport, EngineRequest, EngineState
from mockserver.engine.work import DraftCounts, Work

Factors = Callable[[int], tuple[float, float]]


def _slowed(slowdown: float) -> Factors:
    """The same factor for TTFT and gaps. It is 1 for a request alone."""

    def factors(under_way: int) -> tuple[float, float]:
        factor = 1 + slowdown * (under_way - 1)
        return factor, factor

    return factors


class _Run:
    """A request in progress."""

    __slots__ = ("drafts", "given", "instants_ns", "key", "request", "step")

    def __init__(self, key: int, request: EngineRequest, drafts: int) -> None:
        self.drafts = DraftCounts(drafts)
        self.key = key
        self.request = request
        self.step = 0
        self.given = 0
        # The time of each token. Tokens of a step share one.
        self.instants_ns: list[int] = []

    def next_tokens(self) -> int:
        """The number of tokens of the next step; 0 after the last."""
        plan = self.request.plan
        if not plan.step_tokens:
            return int(self.given < plan.output_tokens)
        return plan.step_tokens[self.step] if self.step < len(plan.step_tokens) else 0


class TimelineEngine:
    """A heap of requests by the time of their next step."""

    needs_input_tokens = False
    block_tokens = 0

    def __init__(self, slowdown: float = 0.0, drafts: int = 0, factors: Factors | None = None) -> None:
        """`drafts` is the number of tokens proposed in each step after the first; the plan says how many are accepted.
        `factors` gives the factors of TTFT and gaps for a number of requests in flight, and replaces the slowdown."""
        self._factors = _slowed(slowdown) if factors is None and slowdown else factors
        self._drafts = drafts
        self._draft_counts = DraftCounts(drafts)
        self._heap: list[tuple[int, int, _Run]] = []
        self._order = count()
        self._runs: dict[int, _Run] = {}
        self._under_way = 0

    def _stretched(self, wait_ns: int, *, first: bool) -> int:
        """A wait for the first token, or between two tokens, scaled by the current load."""
        if self._factors is None:
            return wait_ns
        of_first, of_gaps = self._factors(self._under_way)
        return round(wait_ns * (of_first if first else of_gaps))

    def admit(self, key: int, request: EngineRequest) -> None:
        """Raises ValueError for a plan without tokens: such a request is answered without an engine."""
        if request.plan.ttft_ns is None:
            raise ValueError("a plan without a first token has nothing to wait for")
        run = self._runs[key] = _Run(key, request, self._drafts)
        self._under_way += 1
        due_ns = request.received_ns + self._stretched(request.plan.ttft_ns, first=True)
        heapq.heappush(self._heap, (due_ns, next(self._order), run))

    def release(self, key: int) -> EngineReport:
        """There is no queue. The entry stays in the heap until it is due; it emits nothing then."""
        run = self._runs.pop(key)
        plan = run.request.plan
        if run.next_tokens():
            self._under_way -= 1
        if self._factors is not None:
            instants = run.instants_ns
            gaps = tuple(later - earlier for earlier, later in pairwise(instants))
            plan = replace(plan, ttft_ns=instants[0] - run.request.received_ns if instants else None, gaps_ns=gaps)
        drafted = run.drafts.so_far().facts() if self._drafts else {}
        return EngineReport(plan, {"queue_ns": 0, "steps": run.step, **drafted})

    def work(self, key: int) -> Work:
        """There is no queue and no cache."""
        run = self._runs[key]
        drafts = run.drafts.so_far() if self._drafts else None
        if not run.instants_ns:
            return Work(queue_ns=0, drafts=drafts)
        first = run.instants_ns[0]
        return Work(
            queue_ns=0,
            prefill_ns=first - run.request.received_ns,
            decode_ns=run.instants_ns[-1] - first,
            drafts=drafts,
        )

    def next_ns(self) -> int | None:
        """The earliest time in the heap."""
        return self._heap[0][0] if self._heap else None

    def step(self, now_ns: int) -> list[tuple[int, int]]:
        out: list[tuple[int, int]] = []
        heap = self._heap
        while heap and heap[0][0] <= now_ns:
            due_ns, order, run = heapq.heappop(heap)
            if run.key not in self._runs:
                continue
            tokens = run.next_tokens()
            if self._drafts and run.step:
                # One token of each step is the model's own, so the last token of the reply is never a draft.
                proposed = min(self._drafts, run.request.plan.output_tokens - run.given - 1)
                for counts in (run.drafts, self._draft_counts):
                    counts.observe(proposed, tokens - 1)
            run.step += 1
            run.given += tokens
            run.instants_ns += [due_ns] * tokens
            out.append((run.key, tokens))
            if run.next_tokens():
                wait_ns = self._stretched(run.request.plan.gaps_ns[run.given - 1], first=False)
                heapq.heappush(heap, (due_ns + wait_ns, order, run))
            else:
                self._under_way -= 1
        return out

    def state(self) -> EngineState:
        """All requests run; none waits."""
        return EngineState(len(self._runs), drafts=self._draft_counts.so_far() if self._drafts else None)
