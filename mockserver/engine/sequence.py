"""A request while it is in the `batching` engine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from mockserver.engine.interface import EngineRequest
from mockserver.engine.work import DraftCounts, Work
from mockserver.step_cost import BLOCK_TOKENS


class LiveSequence:
    """The engine's state of one request."""

    __slots__ = (
        "blocks",
        "cached",
        "chain",
        "computed",
        "drafts",
        "extra_ns",
        "first_ns",
        "gaps_ns",
        "generated",
        "given_ns",
        "key",
        "last_ns",
        "late_ns",
        "over",
        "preemptions",
        "prefilling",
        "prompt",
        "rank",
        "ready_ns",
        "remembered",
        "request",
        "scheduled_ns",
        "share",
        "shares",
        "steps",
        "target",
    )  # fmt: skip

    def __init__(self, key: int, request: EngineRequest, ready_ns: int, drafts: int) -> None:
        self.key = key
        self.request = request
        self.ready_ns = ready_ns
        self.rank = (request.priority, request.received_ns, key)
        """Sort key for scheduling by priority: the lowest is served first, the highest is preempted first."""
        self.prompt = max(1, request.input_tokens or 0)
        self.target = request.plan.output_tokens
        self.chain: Sequence[int] = request.blocks
        # Delays of the plan are added to the engine's times. Usually there are none.
        gaps_ns = request.plan.gaps_ns
        ttft_ns = request.plan.ttft_ns or 0
        self.extra_ns = list(accumulate([ttft_ns, *gaps_ns])) if ttft_ns or any(gaps_ns) else None
        # The tokens per step, and the rest of the current step: if a verification was cut short, the next step emits
        # the rest.
        self.shares = iter(request.plan.step_tokens)
        self.share = next(self.shares, 1)
        self.blocks: list[int] = []
        self.remembered = 0
        self.computed = 0
        self.generated = 0
        self.prefilling = True
        self.over = False
        self.scheduled_ns: int | None = None
        # The engine's times of the first token and of the latest one, without the delays of the plan.
        self.first_ns: int | None = None
        self.given_ns: int | None = None
        self.last_ns: int | None = None
        self.gaps_ns: list[int] = []
        self.steps = 0
        self.cached = 0
        self.preemptions = 0
        self.late_ns = 0
        self.drafts = DraftCounts(drafts)

    @property
    def tokens(self) -> int:
        """Prompt and generated tokens: all that must be computed for the next token."""
        return self.prompt + self.generated

    @property
    def one_more(self) -> bool:
        """Whether it decodes, its last block has room for a token, and no block becomes full that could be shared."""
        after = self.computed + 1
        return (
            not self.prefilling
            and after <= len(self.blocks) * BLOCK_TOKENS
            and (self.remembered >= len(self.chain) or after // BLOCK_TOKENS <= self.remembered)
        )

    def give(self, at_ns: int, most: int) -> int:
        """Emit the tokens of a step that ends now, at most `most`. Returns their number."""
        tokens = min(self.share, most)
        self.share -= tokens
        if self.share == 0:
            self.share = next(self.shares, 1)
        self.generated += tokens
        if self.first_ns is None:
            self.first_ns = at_ns
        self.given_ns = at_ns
        return tokens

    def work(self, *, caches: bool, drafts: bool) -> Work:
        """The work so far."""
        scheduled, first, given = self.scheduled_ns, self.first_ns, self.given_ns
        return Work(
            queue_ns=None if scheduled is None else scheduled - self.ready_ns,
            prefill_ns=None if scheduled is None or first is None else first - scheduled,
            decode_ns=None if first is None or given is None else given - first,
            cached_tokens=self.cached if caches else None,
            drafts=self.drafts.so_far() if drafts else None,
            preemptions=self.preemptions,
        )

    def note(self, at_ns: int, tokens: int) -> None:
        """Record that the client gets this many tokens together."""
        if self.last_ns is not None:
            self.gaps_ns.append(at_ns - self.last_ns)
        self.gaps_ns += [0] * (tokens - 1)
        self.last_ns = at_ns
