"""The content of a shaped reply: the texts of its choices, their blocks, and how the dialect writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mockserver.dialect.frames import (
    Block,
    BlockKind,
    FinishReason,
    Piece,
    ReplyFrames,
    SaidBlock,
    SaidChoice,
    TokenLogprob,
)
from mockserver.dialect.params import RequestParams
from mockserver.plans.plan import Plan
from mockserver.replies.shaped.logprobs import Logprobs
from mockserver.tokencount import TokenCount


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a reply."""

    plan: Plan
    texts: list[str]
    """One text per token, empty if the token has none."""
    blocks: tuple[Block, ...]
    """They cover the texts, in order."""
    end: FinishReason
    is_document: bool = False
    """Whether the text is JSON, which other text would break."""
    tokens: Sequence[str] = ()
    """The text of each token, before a stop string held it back. For log probabilities."""
    logprobs: Logprobs | None = None
    echo: str = ""
    """The prompt, which the text begins with."""

    def kind_at(self, token: int) -> BlockKind:
        """The kind of the block of this token."""
        return next(block.kind for block in reversed(self.blocks) if block.start <= token)

    def pieces(self, number: int, start: int, stop: int) -> Iterator[tuple[Piece, int, int]]:
        """The tokens from `start` to `stop` of choice `number`, a piece per block, with the tokens of each."""
        calls = -1
        for at, block in enumerate(self.blocks):
            calls += block.kind == "tool"
            first, last = max(block.start, start), min(block.stop, stop)
            if first < last:
                text = self._echoed(first) + "".join(self.texts[first:last])
                begins, ends = first == block.start, last == block.stop
                piece = Piece(text, block.kind, at, block.call, max(calls, 0), begins, ends, number)
                yield replace(piece, logprobs=self._logprobs(block.kind, first, last)), first, last

    def _said(self, block: Block, tokens: int) -> str:
        return self._echoed(block.start) + "".join(self.texts[block.start : min(block.stop, tokens)])

    def _echoed(self, token: int) -> str:
        return self.echo if token == 0 else ""

    def _logprobs(self, kind: BlockKind, start: int, stop: int) -> tuple[TokenLogprob, ...] | None:
        if self.logprobs is None or kind != "text":
            return None
        return self.logprobs.take(self.tokens[start:stop])

    def said(self, tokens: int, more: str = "") -> SaidChoice:
        """What the first `tokens` tokens say. `more` is added to the last block of text."""
        blocks = [
            SaidBlock(block.kind, self._said(block, tokens), block.call)
            for block in self.blocks
            if block.start < tokens or tokens == 0
        ]
        if more and blocks[-1].kind == "text" and not self.is_document:
            blocks[-1] = SaidBlock("text", blocks[-1].text + more)
        found = [(block.start, min(block.stop, tokens)) for block in self.blocks if block.kind == "text"]
        logprobs = (
            None if self.logprobs is None else self.logprobs.take([t for a, b in found for t in self.tokens[a:b]])
        )
        return SaidChoice(tuple(blocks), self.end, logprobs)


@dataclass(frozen=True, slots=True)
class ShapedContent:
    """Everything that a shaped reply will send."""

    params: RequestParams
    choices: tuple[Choice, ...]
    """At least one. Faults are in the plan of the first."""
    separate_finish: bool
    """Whether the finish reason comes in its own chunk."""
    reasons: bool
    """Whether this server's replies can reason. Usage then counts reasoning tokens."""
    frames: ReplyFrames
    input_count: TokenCount

    @property
    def plan(self) -> Plan:
        """The plan of the first choice."""
        return self.choices[0].plan
