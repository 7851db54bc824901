"""The content of a shaped reply: the texts of its choices, their blocks, and how the dialect writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mockserver.dialect.frames import Block, BlockKind, FinishReason, Piece, ReplyFrames, SaidBlock, SaidChoice
from mockserver.dialect.params import RequestParams
from mockserver.plans.plan import Plan
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
                text = "".join(self.texts[first:last])
                begins, ends = first == block.start, last == block.stop
                yield Piece(text, block.kind, at, block.call, max(calls, 0), begins, ends, number), first, last

    def said(self, tokens: int, more: str = "") -> SaidChoice:
        """What the first `tokens` tokens say. `more` is added to the last block of text."""
        blocks = [
            SaidBlock(block.kind, "".join(self.texts[block.start : min(block.stop, tokens)]), block.call)
            for block in self.blocks
            if block.start < tokens or tokens == 0
        ]
        if more and blocks[-1].kind == "text":
            blocks[-1] = SaidBlock("text", blocks[-1].text + more)
        return SaidChoice(tuple(blocks), self.end)


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
