"""The `sampled` engine where a step gives several tokens, or where latencies stretch with the load.

Each request is played from its plan: steps of `plan.step_tokens` tokens at received + ttft + the gaps before them. With a
slowdown f, each wait is stretched by the load at the instant at which it begins:

    wait = planned wait x (1 + f (R - 1)),    R = requests under way then, itself included

so that a request alone is served as planned, and N users that are always there see TPOT(N) = TPOT x (1 + f (N - 1)). Times
that were fitted have factors of their own for TTFT and gaps (sampled_times.py).
The plan then depends on the load, and what the engine made of it is in the ledger.
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
    """The same factor of both, which is 1 for a request that is alone."""

    def factors(under_way: int) -> tuple[float, float]:
        factor = 1 + slowdown * (under_way - 1)
        return factor, factor

    return factors


class _Run:
    """A request that is not over."""

    __slots__ = ("drafts", "given", "instants_ns", "key", "request", "step")

    def __init__(self, key: int, request: EngineRequest, drafts: int) -> None:
        self.drafts = DraftCounts(drafts)
        self.key = key
        self.request = request
        self.step = 0
        self.given = 0
        # The instant of each token: those of a step share one.
        self.instants_ns: list[int] = []

    def next_tokens(self) -> int:
        """Tokens of the next step; 0 after the last."""
        plan = self.request.plan
        if not plan.step_tokens:
            return int(self.given < plan.output_tokens)
        return plan.step_tokens[self.step] if self.step < len(plan.step_tokens) else 0


class TimelineEngine:
    """A heap of requests by the instant of their next step."""

    needs_input_tokens = False
    block_tokens = 0

    def __init__(self, slowdown: float = 0.0, drafts: int = 0, factors: Factors | None = None) -> None:
        """`drafts`: tokens that are proposed for each step after the first, of which the plan says how many are right.
        `factors`: those of TTFT and of gaps where so many requests are under way, in place of the slowdown."""
        self._factors = _slowed(slowdown) if factors is None and slowdown else factors
        self._drafts = drafts
        self._draft_counts = DraftCounts(drafts)
        self._heap: list[tuple[int, int, _Run]] = []
        self._order = count()
        self._runs: dict[int, _Run] = {}
        self._under_way = 0

    def _stretched(self, wait_ns: int, *, first: bool) -> int:
        """A wait for the first token, or between two, at the load of now."""
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
        """No queue here. The entry stays in the heap until it is due, and gives nothing then."""
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
        """No queue and no cache here."""
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
        """The earliest instant in the heap."""
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
                # The last of the reply is no draft: a step gives one token of the model's own.
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
        """All run; nothing waits."""
        return EngineState(len(self._runs), drafts=self._draft_counts.so_far() if self._drafts else None)
