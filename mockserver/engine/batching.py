"""The `batching` engine: continuous batching, the smallest model that reproduces vLLM V1's scheduler.

Rules:
- A step has a token budget. Running requests come first, in order of admission: a decode takes one token (and its drafts), a
  prefill as much of the remaining prompt as fits. Then waiting requests are admitted, first come first served, while fewer
  than `max_num_seqs` run and budget is left.
- If there is no KV block for a waiting request, it and all requests behind it wait. If there is none for a running request,
  the newest running request (possibly itself) is preempted: its blocks are freed, it goes to the front of the queue, and all
  of it is computed again. After a preemption no waiting request is admitted in that step.
- With `--scheduling-policy priority`, the queue is ordered by (priority, arrival), lowest first, and the running request
  with the highest is preempted, even if it is already part of this step: its tokens go back to the budget. It returns to its
  place in the queue.
- With prefix caching, leading full blocks found in the cache are not computed; the last token always is.
- The tokens of a step are emitted together at its end, and the next step begins at that instant. Instants come from the
  model and never from a clock, so a late caller shifts nothing. A request that arrives during a step waits for its end.
- A request that arrives at an idle engine wakes it: the step begins that much later, with everything in the queue by then.
- Delays in a request's plan (a stall) are added: the engine is done with the token, and the client gets it later.
- Steps that vary (steps/variation.py) take longer or shorter than their cost, by draws in the order of the steps.

Speculative decoding: a decode computes one token and `drafts` drafts, and emits as many as the plan accepts.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from mockserver.engine.interface import EngineReport, EngineRequest, EngineState
from mockserver.engine.kv import BlockPool
from mockserver.engine.sequence import LiveSequence
from mockserver.engine.work import DraftCounts, Work
from mockserver.rng import stream
from mockserver.step_cost import BLOCK_TOKENS, StepCost
from mockserver.steps.variation import StepDraws


class BatchingEngine:
    """Runs steps over all requests."""

    needs_input_tokens = True

    def __init__(
        self,
        cost: StepCost,
        *,
        prefix_caching: bool = True,
        drafts: int = 0,
        by_priority: bool = False,
        seed: int = 0,
    ) -> None:
        """`cost` includes the limits of the server. `drafts` tokens are proposed for each decode. `by_priority`: serve
        requests by priority instead of by arrival. `seed` is for steps that vary."""
        self.replicas: Callable[[int], int] = lambda at_ns: 1
        """The multiple of `max_num_seqs` that can run at an instant (scaling.py)."""
        self._by_priority = by_priority
        self.block_tokens = BLOCK_TOKENS if prefix_caching else 0
        self._cost = cost
        self._draws = None if cost.variation is None else StepDraws(cost.variation, stream(seed, "steps", 0))
        self._drafts = drafts
        self._draft_counts = DraftCounts(drafts)
        self._pool = BlockPool(cost.kv_blocks, prefix_caching)
        self._order = count()
        self._sequences: dict[int, LiveSequence] = {}
        # Requests before the queue: (instant at which it enters the queue, order, request); in the queue; and running.
        self._coming: list[tuple[int, int, LiveSequence]] = []
        self._waiting: deque[LiveSequence] = deque()
        self._running: list[LiveSequence] = []
        # The current step: its end, and its work: (request, tokens).
        self._end_ns: int | None = None
        self._batch: list[tuple[LiveSequence, int]] = []
        # The start of the current or last step, and the end of the last one.
        self._began_ns = 0
        self._free_ns = 0
        self._some_over = False
        # Tokens that the plan delays further for the client: (instant, order, request, tokens).
        self._held_back: list[tuple[int, int, LiveSequence, int]] = []
        self._prefix_queries = 0
        self._prefix_hits = 0
        self._preemptions = 0
        self._iterations: Counter[int] = Counter()

    def admit(self, key: int, request: EngineRequest) -> None:
        """Raises ValueError for a plan without tokens, and for a request that exceeds all KV blocks together."""
        if request.plan.output_tokens < 1:
            raise ValueError("a plan without tokens has nothing to wait for")
        ready_ns = request.received_ns + self._cost.before_queue_ns(max(1, request.input_tokens or 0))
        sequence = LiveSequence(key, request, ready_ns, self._drafts)
        # A step that should have included this request has already begun: `admit` was called late, and the ledger
        # records it.
        sequence.late_ns = max(0, self._began_ns - ready_ns)
        if _blocks(sequence.prompt + sequence.target) > self._pool.blocks:
            raise ValueError("the request needs more KV blocks than there are")
        self._sequences[key] = sequence
        heapq.heappush(self._coming, (ready_ns, next(self._order), sequence))

    def release(self, key: int) -> EngineReport:
        """The request's part of the current step is still computed to its end; then its blocks are free."""
        sequence = self._sequences.pop(key)
        if not sequence.over:
            sequence.over = self._some_over = True
            if self._end_ns is None:
                self._drop_over()
        work = self._work(sequence)
        # A request that was never scheduled has waited until now, as far as the engine knows.
        waited_ns = max(self._free_ns, sequence.ready_ns) - sequence.ready_ns
        facts = {
            "queue_ns": waited_ns if work.queue_ns is None else work.queue_ns,
            "frontend_ns": sequence.ready_ns - sequence.request.received_ns,
            "steps": sequence.steps,
            "cached_tokens": sequence.cached,
            "preemptions": sequence.preemptions,
            "late_ns": sequence.late_ns,
        }
        if work.prefill_ns is not None and work.decode_ns is not None:
            facts |= {"prefill_ns": work.prefill_ns, "decode_ns": work.decode_ns}
        if work.drafts is not None:
            facts |= work.drafts.facts()
        if self._by_priority:
            facts["priority"] = sequence.request.priority
        gaps_ns, ttft_ns = tuple(sequence.gaps_ns), None
        if sequence.last_ns is not None:
            ttft_ns = sequence.last_ns - sum(gaps_ns) - sequence.request.received_ns
        return EngineReport(replace(sequence.request.plan, ttft_ns=ttft_ns, gaps_ns=gaps_ns), facts)

    def work(self, key: int) -> Work:
        """There are no cached tokens before the first step."""
        return self._work(self._sequences[key])

    def _work(self, sequence: LiveSequence) -> Work:
        return sequence.work(caches=self.block_tokens > 0, drafts=self._drafts > 0)

    def next_ns(self) -> int | None:
        """The end of the current step, or the earliest start of the next."""
        due_ns = self._end_ns if self._end_ns is not None else self._start_ns()
        if self._held_back:
            held_ns = self._held_back[0][0]
            return held_ns if due_ns is None else min(due_ns, held_ns)
        return due_ns

    def step(self, now_ns: int) -> list[tuple[int, int]]:
        """The tokens of every step that has ended by now. A step begins at the end of the previous one, or when a
        request arrives at an empty queue, however late the call."""
        out: list[tuple[int, int]] = []
        while True:
            if self._end_ns is None:
                start_ns = self._start_ns()
                if start_ns is not None and start_ns <= now_ns:
                    self._begin(start_ns)
                    continue
            end_ns = self._end_ns
            held_ns = self._held_back[0][0] if self._held_back else None
            if held_ns is not None and held_ns <= now_ns and (end_ns is None or held_ns <= end_ns):
                _, _, sequence, tokens = heapq.heappop(self._held_back)
                if sequence.key in self._sequences:
                    sequence.note(held_ns, tokens)
                    out.append((sequence.key, tokens))
            elif end_ns is not None and end_ns <= now_ns:
                self._end(end_ns, out)
            else:
                return out

    def state(self) -> EngineState:
        """The state during the current step. A request that has not reached the queue counts as waiting."""
        running = sum(not sequence.over for sequence in self._running)
        waiting = sum(not sequence.over for sequence in self._waiting)
        waiting += sum(not sequence.over for _, _, sequence in self._coming)
        return EngineState(
            running,
            waiting,
            kv_usage=1 - self._pool.free / self._pool.blocks,
            prefix_queries=self._prefix_queries,
            prefix_hits=self._prefix_hits,
            preemptions=self._preemptions,
            iteration_tokens=dict(self._iterations),
            drafts=self._draft_counts.so_far() if self._drafts else None,
        )

    def _start_ns(self) -> int | None:
        if self._running or self._waiting:
            return self._free_ns
        if not self._coming:
            return None
        ready_ns = self._coming[0][0]
        # A request that was in the queue before the last step ended found the engine awake.
        return self._free_ns if ready_ns <= self._free_ns else ready_ns + self._cost.wake_ns

    def _begin(self, start_ns: int) -> None:
        """Decide what the step starting now computes."""
        while self._coming and self._coming[0][0] <= start_ns:
            self._queue(heapq.heappop(self._coming)[2])
        budget = self._cost.max_num_batched_tokens
        batch: dict[LiveSequence, int] = {}
        before = self._preemptions
        for sequence in [*self._running]:
            if budget <= 0:
                break
            if not sequence.blocks:
                continue  # It was preempted for an earlier request.
            if sequence.one_more and not self._drafts:
                # The fast path for nearly every token of a long run: a decode whose block has room and completes no
                # block to be hashed.
                batch[sequence] = 1
                budget -= 1
                continue
            wanted = sequence.tokens - sequence.computed
            if not sequence.prefilling:
                wanted += min(self._drafts, sequence.target - sequence.generated - 1)
            tokens = min(wanted, budget)
            budget += self._make_room(sequence, sequence.computed + tokens, batch)
            if not sequence.blocks:
                break  # It preempted itself.
            self._grow(sequence, sequence.computed + tokens)
            batch[sequence] = tokens
            budget -= tokens
        if self._preemptions == before:
            self._admit_waiting(start_ns, budget, batch)
        if not batch:
            return  # The only request in this step was preempted; the next step serves the others.
        self._batch = [*batch.items()]
        prefill = decode = context = prompts = 0
        for sequence, tokens in self._batch:
            if sequence.prefilling:
                prefill += tokens
                prompts += sequence.computed + tokens >= sequence.tokens
            else:
                decode += tokens
                context += sequence.computed + tokens
        self._began_ns = start_ns
        step_ns = self._cost.step_ns(prefill, decode, context, prompts)
        self._end_ns = start_ns + (step_ns if self._draws is None else self._draws.ns(step_ns, decode))
        self._iterations[prefill + decode] += 1

    def _queue(self, sequence: LiveSequence) -> None:
        if self._by_priority:
            insort(self._waiting, sequence, key=lambda other: other.rank)
        else:
            self._waiting.append(sequence)

    def _admit_waiting(self, start_ns: int, budget: int, batch: dict[LiveSequence, int]) -> None:
        """Admit waiting requests to the step."""
        pool, waiting = self._pool, self._waiting
        # Always allow one replica: a step without any request would begin again and again, and every admitted request
        # has found a replica.
        most = self._cost.max_num_seqs * max(1, self.replicas(start_ns))
        while waiting and budget > 0 and len(self._running) < most:
            sequence = waiting[0]
            # The last token is always computed, because its logits are needed.
            hits = pool.find(sequence.chain[: (sequence.tokens - 1) // BLOCK_TOKENS])
            cached = len(hits) * BLOCK_TOKENS
            tokens = min(sequence.tokens - cached, budget)
            fresh = _blocks(cached + tokens) - len(hits)
            if fresh > pool.free_beside(hits):
                break
            waiting.popleft()
            pool.hold(hits)
            sequence.blocks = [*hits, *pool.take(fresh)]
            sequence.computed = cached
            sequence.remembered = len(hits)
            self._remember(sequence, cached + tokens)
            if sequence.scheduled_ns is None:
                sequence.scheduled_ns = start_ns
                sequence.cached = cached
                if self.block_tokens:
                    self._prefix_queries += sequence.prompt
                    self._prefix_hits += cached
            self._running.append(sequence)
            batch[sequence] = tokens
            budget -= tokens

    def _make_room(self, sequence: LiveSequence, tokens: int, batch: dict[LiveSequence, int]) -> int:
        """Preempt until there are blocks for this many tokens of a running request, which may itself be preempted.
        Returns the number of tokens that go back to the budget."""
        missing = _blocks(tokens) - len(sequence.blocks)
        freed = 0
        while sequence.blocks and missing > self._pool.free:
            victim = max(self._running, key=lambda other: other.rank) if self._by_priority else self._running[-1]
            self._running.remove(victim)
            freed += batch.pop(victim, 0)
            self._preempt(victim)
        return freed

    def _grow(self, sequence: LiveSequence, tokens: int) -> None:
        """Allocate blocks for this many tokens of a running request."""
        missing = _blocks(tokens) - len(sequence.blocks)
        if missing > 0:
            sequence.blocks += self._pool.take(missing)
        self._remember(sequence, tokens)

    def _remember(self, sequence: LiveSequence, tokens: int) -> None:
        """Make full blocks available to the prefix cache: a request that hits one in this step is computed after it.
        Drafts do not count as tokens yet."""
        full = min(tokens, sequence.tokens) // BLOCK_TOKENS
        for place in range(sequence.remembered, min(full, len(sequence.chain))):
            self._pool.remember(sequence.blocks[place], sequence.chain[place])
        sequence.remembered = max(sequence.remembered, full)

    def _preempt(self, sequence: LiveSequence) -> None:
        self._pool.give_back(sequence.blocks)
        sequence.blocks = []
        sequence.computed = 0
        sequence.prefilling = True
        sequence.preemptions += 1
        self._preemptions += 1
        if self._by_priority:
            self._queue(sequence)
        else:
            self._waiting.appendleft(sequence)

    def _end(self, end_ns: int, out: list[tuple[int, int]]) -> None:
        """End the current step and emit its tokens."""
        for sequence, tokens in self._batch:
            sequence.steps += 1
            if sequence.over:
                continue
            if sequence.prefilling:
                sequence.computed += tokens
                if sequence.computed < sequence.tokens:
                    continue
                sequence.prefilling = False
                given = sequence.give(end_ns, 1)
            else:
                given = sequence.give(end_ns, tokens)
                sequence.computed += given
                if self._drafts:
                    # One of the computed tokens and one of the emitted tokens is not a draft.
                    for counts in (sequence.drafts, self._draft_counts):
                        counts.observe(tokens - 1, given - 1)
            if sequence.generated >= sequence.target:
                sequence.over = self._some_over = True
            if sequence.extra_ns is None:
                sequence.note(end_ns, given)
                out.append((sequence.key, given))
            else:
                late_ns = end_ns + sequence.extra_ns[sequence.generated - 1]
                heapq.heappush(self._held_back, (late_ns, next(self._order), sequence, given))
        self._batch = []
        self._end_ns = None
        self._free_ns = end_ns
        if self._some_over:
            self._drop_over()

    def _drop_over(self) -> None:
        self._some_over = False
        for sequence in self._running:
            if sequence.over:
                self._pool.give_back(sequence.blocks)
        self._running = [sequence for sequence in self._running if not sequence.over]
        self._waiting = deque(sequence for sequence in self._waiting if not sequence.over)
        self._coming = [entry for entry in self._coming if not entry[2].over]
        heapq.heapify(self._coming)


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)
