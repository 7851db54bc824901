"""What a reply says, and how a dialect writes it.

A reply has one choice or several. A choice is a row of tokens in blocks: reasoning, text, or one tool call each. While it
is sent, `ReplyFrames` turns pieces of it into events. A dialect is one class behind `ReplyFrames` and one `Endpoint`
(dialect/endpoint.py); replies/ does the rest: times, faults, the ledger.

What is made for each token or each request is a `NamedTuple`: a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from mockserver.dialect.params import RequestParams
from mockserver.dialect.refusals import PLANNED_FAILURE, error_body
from mockserver.engine.work import Work

BlockKind = Literal["reasoning", "text", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The head of a tool call. The texts of its block are its arguments."""

    id: str
    name: str


class Block(NamedTuple):
    """The tokens from `start` to `stop` of a choice. The first token of a tool call is its head, without text."""

    kind: BlockKind
    start: int
    stop: int
    call: ToolCall | None = None


class FinishReason(NamedTuple):
    """Why a choice ended, in the words of OpenAI's chat, and the stop string if one ended it."""

    reason: str
    stop: str | None


class UsageCounts(NamedTuple):
    """The numbers of a usage object."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None = None
    """None if the reply cannot reason."""
    ask_work: Callable[[], Work | None] = lambda: None
    """Asks for `work`. Few replies tell it."""

    @property
    def work(self) -> Work | None:
        """What the engine has done for the request so far. None for a reply of several choices."""
        return self.ask_work()

    @property
    def cached_tokens(self) -> int | None:
        """Of the input tokens, those from the prefix cache. None if the engine has no prefix cache."""
        work = self.work
        return None if work is None else work.cached_tokens


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with the log of its probability, and the likeliest tokens in its place with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...]


class Event(NamedTuple):
    """One event of a stream, blank line included, and its letter in the ledger's `chunk_kind`."""

    frame: bytes
    kind: str

    @property
    def carries(self) -> bool:
        """Whether it carries tokens of text, reasoning or a tool call, an image, or audio."""
        return self.kind in "ctfia"


class Piece(NamedTuple):
    """Consecutive tokens of one block, sent together. The text may be empty."""

    text: str
    kind: BlockKind
    block: int = 0
    """The number of the block in its choice."""
    call: ToolCall | None = None
    """The tool call that it belongs to."""
    call_number: int = 0
    """The number of the tool call in its choice."""
    first: bool = False
    """Whether the block begins here."""
    last: bool = False
    """Whether the block ends here."""
    choice: int = 0
    role: bool = False
    """It must carry the role, as the stream did not open with it."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Of its tokens, if the request wants them. Text alone has them."""
    end: FinishReason | None = None
    """On the last piece of a choice, unless the finish reason comes in its own event."""
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class SaidBlock:
    """A block of a whole reply."""

    kind: BlockKind
    text: str
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class SaidChoice:
    """A choice of a whole reply."""

    blocks: tuple[SaidBlock, ...]
    end: FinishReason
    logprobs: tuple[TokenLogprob, ...] | None = None

    def text_of(self, kind: BlockKind) -> str:
        return "".join(block.text for block in self.blocks if block.kind == kind)


class ReplyIdentity(NamedTuple):
    """What every event of a reply can repeat."""

    id: str
    created: int
    model: str
    reasoning_field: str = "reasoning"
    reasons: bool = False
    """Whether this server's replies can reason."""
    details: frozenset[str] = frozenset()
    """What they say of the work on a request (dialect/reply_details.py)."""


class ReplyFrames:
    """The events and the body of one reply. It may keep state: its methods are called in the order of the stream.

    A usage is None if the request wants none there, or a fault withholds it. What has a default here, few dialects have.
    """

    has_role: bool = False
    """Whether a stream opens with events of its own, which the role faults move or leave out."""
    opens_early: bool = False
    """Whether they come with the head, before the first token."""
    ignores: frozenset[str] = frozenset()
    """The faults that find nothing to do in this dialect."""
    comment: Event | None = None
    """The event that `comments` and `keepalive` send. None: a comment of SSE, which is no event."""

    def opening(self, choice: int, usage: UsageCounts | None) -> Sequence[Event]:
        """What opens a choice, before its first token."""
        return ()

    def around(self, running: bool) -> tuple[bytes, bytes] | None:
        """The bytes before and after the JSON text of an event that carries nothing but text, from the middle of the first
        block of the only choice. None if such events differ in more than their texts. `running`: the request wants usage on
        every chunk."""
        return None

    def piece(self, piece: Piece, usage: UsageCounts | None) -> Sequence[Event]:
        """Some tokens. At most one of the events has a kind of c, t or f: it carries them. If the name of a tool call comes
        with arguments, they may be two: the first carries one token, the name."""
        return ()

    def empty(self, piece: Piece, usage: UsageCounts | None) -> Sequence[Event]:
        """An event without text before a piece (the fault `empty`), of kind r with the role, else o; and what opens the
        block of the piece, if that must come before it."""
        return ()

    def finish(self, choice: int, end: FinishReason, usage: UsageCounts | None) -> Sequence[Event]:
        """The finish reason in its own event, with `--finish separate`."""
        return ()

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> Sequence[Event]:
        """What ends the stream: usage (kind u) if there is one, and the last event, which the fault `no_done` leaves
        out. `ends` has an entry per choice."""
        return ()

    def failure(self) -> Sequence[Event]:
        """The end of a stream in which the server failed (the fault `error_in_stream`)."""
        return ()

    def broken(self) -> Event:
        """An event with broken JSON (the fault `malformed`), of kind o."""
        return Event(b"", "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        """The body of a reply that is not streamed. Dialects whose `parse` always asks for a stream have none."""
        raise AssertionError(f"{type(self).__name__} has no whole reply")

    def failure_body(self) -> bytes:
        """The body of the 500 that replaces a whole reply (the fault `error_in_stream`)."""
        return error_body(500, PLANNED_FAILURE)


class FramesOf(Protocol):
    """Makes the frames of one reply."""

    def __call__(self, identity: ReplyIdentity, params: RequestParams) -> ReplyFrames: ...
