"""The content of a reply, and the interface by which a dialect encodes it.

A reply has one or more choices. A choice is a sequence of tokens in blocks: reasoning, text, or one tool call each.
While the reply is sent, `ReplyFrames` turns pieces of it into events. A dialect is one subclass of `ReplyFrames` and
one `Endpoint` (dialect/endpoint.py); replies/ does the rest: times, faults, the ledger.

Values created per token or per request are `NamedTuple`s: a frozen dataclass takes three times as long to create.
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
    """The head of a tool call. The texts of its block are the arguments."""

    id: str
    name: str


class Block(NamedTuple):
    """The tokens from `start` to `stop` of a choice. The first token of a tool call is its head, without text."""

    kind: BlockKind
    start: int
    stop: int
    call: ToolCall | None = None


class FinishReason(NamedTuple):
    """Why a choice ended, as OpenAI's chat names it, and the stop string if one ended it."""

    reason: str
    stop: str | None


class UsageCounts(NamedTuple):
    """The numbers of a usage object."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None = None
    """None if the reply cannot reason."""
    ask_work: Callable[[], Work | None] = lambda: None
    """Returns `work`. A function, because few replies report it."""

    @property
    def work(self) -> Work | None:
        """The engine's work for the request so far. None if the reply has several choices."""
        return self.ask_work()

    @property
    def cached_tokens(self) -> int | None:
        """The input tokens found in the prefix cache. None if the engine has no prefix cache."""
        work = self.work
        return None if work is None else work.cached_tokens


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its log probability, and the most likely alternatives with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...]


class Event(NamedTuple):
    """One event of a stream, including its blank line, and its letter in the ledger's `chunk_kind`."""

    frame: bytes
    kind: str

    @property
    def carries(self) -> bool:
        """Whether the event carries tokens of text, reasoning or a tool call, an image, or audio."""
        return self.kind in "ctfia"


class Piece(NamedTuple):
    """Consecutive tokens of one block, sent together. The text may be empty."""

    text: str
    kind: BlockKind
    block: int = 0
    """The number of the block in its choice."""
    call: ToolCall | None = None
    """The tool call that the block belongs to."""
    call_number: int = 0
    """The number of the tool call in its choice."""
    first: bool = False
    """Whether this is the first piece of the block."""
    last: bool = False
    """Whether this is the last piece of the block."""
    choice: int = 0
    role: bool = False
    """Whether the piece must carry the role because the stream did not open with it."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Log probabilities of the tokens, if the request wants them. Only text has them."""
    end: FinishReason | None = None
    """Set on the last piece of a choice, unless the finish reason has its own event."""
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
    """Fields that every event of a reply can repeat."""

    id: str
    created: int
    model: str
    reasoning_field: str = "reasoning"
    reasons: bool = False
    """Whether replies of this server can reason."""
    details: frozenset[str] = frozenset()
    """The details of the engine's work to report (dialect/reply_details.py)."""


class ReplyFrames:
    """The events and the body of one reply. It may keep state: its methods are called in stream order.

    A usage is None if the request wants none at that point, or if a fault withholds it. Methods with a default are
    needed by few dialects.
    """

    has_role: bool = False
    """Whether a stream begins with opening events, which the role faults move or leave out."""
    opens_early: bool = False
    """Whether the opening events come with the head, before the first token."""
    ignores: frozenset[str] = frozenset()
    """The faults that have no effect in this dialect."""
    comment: Event | None = None
    """The event that `comments` and `keepalive` send. None: an SSE comment, which is not an event."""

    def opening(self, choice: int, usage: UsageCounts | None) -> Sequence[Event]:
        """The events that open a choice, before its first token."""
        return ()

    def around(self, running: bool) -> tuple[bytes, bytes] | None:
        """The bytes before and after the JSON text of a text-only event, taken from the middle of the first block of
        the only choice. Returns None if such events differ in more than their text. `running`: the request wants usage
        on every chunk."""
        return None

    def piece(self, piece: Piece, usage: UsageCounts | None) -> Sequence[Event]:
        """The events of a piece. At most one has kind c, t or f: it carries the tokens. If the name of a tool call
        comes with arguments, there may be two: the first carries one token, the name."""
        return ()

    def empty(self, piece: Piece, usage: UsageCounts | None) -> Sequence[Event]:
        """An event without text before a piece (the fault `empty`): kind r with the role, else o. It is preceded by the
        events that open the block, if the dialect needs them."""
        return ()

    def finish(self, choice: int, end: FinishReason, usage: UsageCounts | None) -> Sequence[Event]:
        """The finish reason in its own event, with `--finish separate`."""
        return ()

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> Sequence[Event]:
        """The events that end the stream: usage (kind u) if any, and the last event, which the fault `no_done` leaves
        out. `ends` has an entry per choice."""
        return ()

    def failure(self) -> Sequence[Event]:
        """The events that end a stream in which the server failed (the fault `error_in_stream`)."""
        return ()

    def broken(self) -> Event:
        """An event with broken JSON (the fault `malformed`), of kind o."""
        return Event(b"", "o")

    def whole(self, choices: Sequence[SaidChoice], usage: UsageCounts | None) -> bytes:
        """The body of a reply that is not streamed. Not needed by dialects whose `parse` always asks for a stream."""
        raise AssertionError(f"{type(self).__name__} has no whole reply")

    def failure_body(self) -> bytes:
        """The body of the 500 that replaces a whole reply (the fault `error_in_stream`)."""
        return error_body(500, PLANNED_FAILURE)


class FramesOf(Protocol):
    """Makes the frames of one reply."""

    def __call__(self, identity: ReplyIdentity, params: RequestParams) -> ReplyFrames: ...
