"""The content of a reply: the texts of its choices, their blocks, and the dialect's encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

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
from mockserver.replies.logprobs import Logprobs
from mockserver.tokencount import TokenCount


class Choice(NamedTuple):
    """One choice of a reply."""

    plan: Plan
    texts: list[str]
    """One text per token, empty if the token has none."""
    blocks: tuple[Block, ...]
    """The blocks cover the texts, in order."""
    end: FinishReason
    is_document: bool = False
    """Whether the text is JSON, which additional text would break."""
    tokens: Sequence[str] = ()
    """The text of each token, including what a stop string held back. For log probabilities."""
    logprobs: Logprobs | None = None
    echo: str = ""
    """The prompt with which the text begins."""
    altered: frozenset[str] = frozenset()
    """The faults that made the answer wrong."""

    def pieces(self, number: int, start: int, stop: int) -> Iterator[tuple[Piece, int, int]]:
        """The tokens from `start` to `stop` of choice `number`: a piece per block, with its token range."""
        calls = -1
        for at, block in enumerate(self.blocks):
            calls += block.kind == "tool"
            first = block.start if block.start > start else start
            last = block.stop if block.stop < stop else stop
            if first < last:
                text = self.texts[first] if last - first == 1 else "".join(self.texts[first:last])
                if self.echo and first == 0:
                    text = self.echo + text
                begins, ends = first == block.start, last == block.stop
                logprobs = None if self.logprobs is None else self._logprobs(block.kind, first, last)
                piece = Piece(
                    text,
                    block.kind,
                    at,
                    block.call,
                    calls if calls > 0 else 0,
                    begins,
                    ends,
                    number,
                    False,
                    logprobs,
                    tokens=last - first,
                )
                yield piece, first, last

    def _said(self, block: Block, tokens: int) -> str:
        return (self.echo if block.start == 0 else "") + "".join(self.texts[block.start : min(block.stop, tokens)])

    def _logprobs(self, kind: BlockKind, start: int, stop: int) -> tuple[TokenLogprob, ...] | None:
        if self.logprobs is None or kind != "text":
            return None
        return self.logprobs.take(self.tokens[start:stop])

    def said(self, tokens: int, more: str = "") -> SaidChoice:
        """The content of the first `tokens` tokens. `more` is added to the last block of text."""
        blocks = [
            SaidBlock(block.kind, self._said(block, tokens), block.call)
            for block in self.blocks
            if block.start < tokens or tokens == 0
        ]
        if more and blocks[-1].kind == "text" and not self.is_document:
            blocks[-1] = SaidBlock("text", blocks[-1].text + more)
        spans = [(block.start, min(block.stop, tokens)) for block in self.blocks if block.kind == "text"]
        logprobs = (
            None if self.logprobs is None else self.logprobs.take([t for a, b in spans for t in self.tokens[a:b]])
        )
        return SaidChoice(tuple(blocks), self.end, logprobs)


GARBLED = "\ufffd"
"""What a server sends for bytes that are not UTF-8."""


def garble(texts: list[str], at: int, tokens: int) -> bool:
    """Replace the texts of `tokens` tokens from index `at`. Returns whether any of them had a text."""
    numbers = [number for number in range(at, min(at + tokens, len(texts))) if texts[number]]
    for number in numbers:
        texts[number] = GARBLED
    return bool(numbers)


class Content(NamedTuple):
    """Everything that a reply will send."""

    params: RequestParams
    choices: tuple[Choice, ...]
    """At least one choice. The plan of the first has the faults."""
    separate_finish: bool
    """Whether the finish reason is sent in its own chunk."""
    reasons: bool
    """Whether replies of this server can reason. Usage then counts reasoning tokens."""
    frames: ReplyFrames
    input_count: TokenCount
    media: str | None = None
    """The content type of a stream. None: server-sent events."""
    head_waits: bool = False
    """Whether a stream's head is sent with its first bytes."""

    @property
    def plan(self) -> Plan:
        return self.choices[0].plan
