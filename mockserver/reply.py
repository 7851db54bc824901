"""A reply while it is being made: it takes tokens from the engine, sends them, and keeps what the ledger will say.

Everything here happens in the call that hands the tokens over; nothing waits. `StreamedReply` sends each token as its
own chunk, `WholeReply` all of them at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass

from mockserver.clock import now_ns
from mockserver.openai import Ask, Frames, Usage, error_body
from mockserver.plan import Plan
from mockserver.sse import DONE, event
from mockserver.tokencount import TokenCount
from mockserver.wire import Wire

_PLANNED_ERROR = "The engine failed while it made this reply (planned fault)."
_BROKEN_JSON = b'{"id":"broken","choices":[{"index":0,"delta":{"conte'


@dataclass(frozen=True, slots=True)
class Content:
    """What a reply will say."""

    ask: Ask
    plan: Plan
    pieces: list[str]
    """One text a token."""
    finish: bytes
    """The finish reason."""
    frames: Frames
    input_count: TokenCount


class Reply(ABC):
    """The common part. `on_end` is called once, when the last byte was handed over or the reply was cut."""

    def __init__(self, wire: Wire, content: Content, on_end: Callable[[Reply], None]) -> None:
        self.write_ns: MutableSequence[int] = []
        self.chunk_tokens: list[int] = []
        self.chunk_kinds: list[str] = []
        self.blocked: list[int] = []
        self.status = 200
        self.struck: str | None = None
        self.cut: str | None = None
        self.failed = False
        self.end_ns = 0
        self.bytes_out = 0
        self.tokens_out = 0
        self._wire = wire
        self._content = content
        self._on_end = on_end
        self._ended = False
        self._in_hand = 0
        plan = content.plan
        fault = plan.fault
        # Tokens after which the fault strikes; -1 where none does.
        self._strike_at = -1
        if fault is not None and fault.kind.strike is not None:
            self._strike_at = fault.strikes_at(plan.output_tokens)
        elif fault is not None:
            self.struck = fault.kind.name
        wire.on_lost = self.close

    def take(self, tokens: int) -> None:
        """The engine gives the next `tokens` tokens."""
        if self._ended:
            return
        start = self.tokens_out
        if start <= self._strike_at < start + tokens:
            self._strike_at = -1
            fault = self._content.plan.fault
            assert fault is not None
            assert fault.kind.strike is not None
            self.struck = fault.kind.name
            self._in_hand = tokens
            fault.kind.strike(self)
            return
        self.tokens_out = start + tokens
        self._give(start, start + tokens)

    @abstractmethod
    def _give(self, start: int, stop: int) -> None:
        """Send the tokens from `start` to `stop`."""

    @abstractmethod
    def fail(self) -> None: ...

    @abstractmethod
    def garble(self) -> None: ...

    def reset(self) -> None:
        self.failed = True
        self._end(self._wire.reset())

    def truncate(self) -> None:
        self.failed = True
        self._end(self._wire.truncate())

    def close(self, why: str) -> None:
        """The reply is cut for a reason that is no fault of the plan."""
        if not self._ended:
            self.cut = why
            self._end(now_ns())

    def _end(self, end_ns: int | None) -> None:
        if self._ended or end_ns is None:
            return  # Where there is no stamp the client was gone, and `close` has been called.
        self._ended = True
        self.end_ns = end_ns
        self._wire.on_lost = None
        self._on_end(self)

    def _usage(self) -> Usage:
        # Where a prompt could not be counted the error is in the log; the reply goes on without the number.
        tokens = self._content.input_count.tokens
        return Usage(0 if tokens is None else tokens, self.tokens_out)


class StreamedReply(Reply):
    """Server-sent events: a role chunk with the first token (chat), a chunk a token, perhaps usage, `[DONE]`."""

    def begin(self) -> None:
        """Send the head; vLLM does so before the engine has given anything."""
        self._wire.begin()

    def _send(self, data: bytes, kind: str, tokens: int) -> None:
        frame = event(data)
        self._note(self._wire.write(frame), kind, tokens, len(frame))

    def _note(self, stamp_ns: int | None, kind: str, tokens: int, size: int) -> None:
        if stamp_ns is None:
            return
        self.write_ns.append(stamp_ns)
        if self._wire.blocked:
            self.blocked.append(len(self.chunk_tokens))
        self.chunk_tokens.append(tokens)
        self.chunk_kinds.append(kind)
        self.bytes_out += size

    def _give(self, start: int, stop: int) -> None:
        content = self._content
        continuous = content.ask.continuous_usage
        if start == 0:
            self._send_role(continuous)
        last = stop >= content.plan.output_tokens
        pieces = content.pieces
        text = pieces[start] if stop == start + 1 else "".join(pieces[start:stop])
        usage = self._usage() if continuous else None
        self._send(content.frames.text(text, content.finish if last else None, usage), "c", stop - start)
        if last:
            self._close_stream()

    def _send_role(self, continuous: bool) -> None:
        tokens = self._content.input_count.tokens or 0
        role = self._content.frames.role(Usage(tokens, 0) if continuous else None)
        if role is not None:
            self._send(role, "r", 0)

    def _close_stream(self) -> None:
        if self._content.ask.include_usage:
            # The stream's tokens are out; its usage may wait for the count of its prompt.
            self._content.input_count.when_known(self._send_usage)
        else:
            self._send_done()

    def _send_usage(self) -> None:
        if not self._ended:
            self._send(self._content.frames.usage(self._usage()), "u", 0)
            self._send_done()

    def _send_done(self) -> None:
        stamp_ns = self._wire.finish(DONE)
        self._note(stamp_ns, "o", 0, len(DONE))
        self._end(stamp_ns)

    def fail(self) -> None:
        self.failed = True
        self._send(error_body(500, _PLANNED_ERROR), "o", 0)
        self._send_done()

    def garble(self) -> None:
        start = self.tokens_out
        if start == 0:
            self._send_role(self._content.ask.continuous_usage)
        self.tokens_out = start + self._in_hand
        self._send(_BROKEN_JSON, "o", 0)
        if self.tokens_out >= self._content.plan.output_tokens:
            self._close_stream()


class WholeReply(Reply):
    """One JSON body when the last token is out."""

    _garbled = False

    def _give(self, start: int, stop: int) -> None:
        if stop >= self._content.plan.output_tokens:
            self._content.input_count.when_known(self._respond)

    def _respond(self) -> None:
        if self._ended:
            return
        content = self._content
        text = "".join(content.pieces[: self.tokens_out])
        body = content.frames.whole(text, content.finish, self._usage())
        self._send(200, body[: len(body) // 2] if self._garbled else body)

    def _send(self, status: int, body: bytes) -> None:
        self.status = status
        self.bytes_out = len(body)
        self._end(self._wire.respond(status, (), body))

    def fail(self) -> None:
        self.failed = True
        self._send(500, error_body(500, _PLANNED_ERROR))

    def garble(self) -> None:
        self._garbled = True
        start = self.tokens_out
        self.tokens_out = start + self._in_hand
        self._give(start, self.tokens_out)
