"""Replies: they take tokens from the engine, send them, and keep the facts for the ledger.

Everything happens inside the call that hands over the tokens; nothing waits. `StreamedReply` sends each token as its own
chunk, `WholeReply` sends all of them at the end. Both handle only the ordinary case. Replies with faults, with reasoning
or with another shape are in `mockserver.replies.shaped`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass

from mockserver.clock import now_ns
from mockserver.dialect.openai import Frames, Usage
from mockserver.dialect.params import RequestParams
from mockserver.dialect.sse import DONE, event
from mockserver.plans.plan import Plan
from mockserver.replies.wire import Wire
from mockserver.tokencount import TokenCount


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that an ordinary reply will send."""

    params: RequestParams
    plan: Plan
    pieces: list[str]
    """One text per token."""
    finish: bytes
    """The finish reason."""
    frames: Frames
    input_count: TokenCount


class ReplyWriter(ABC):
    """The common part. It calls `on_end` once: after the last byte, or when the reply is cut."""

    def __init__(self, wire: Wire, on_end: Callable[[ReplyWriter], None]) -> None:
        self.write_ns: MutableSequence[int] = []
        self.chunk_tokens: list[int] = []
        self.chunk_kinds: list[str] = []
        self.chunk_choices: list[int | None] | None = None
        """The choice of each chunk, if the reply has several."""
        self.blocked: list[int] = []
        self.status: int | None = 200
        self.struck: str | None = None
        self.cut: str | None = None
        self.failed = False
        self.end_ns = 0
        self.bytes_out = 0
        self.tokens_out = 0
        self._wire = wire
        self._on_end = on_end
        self._ended = False
        wire.on_lost = self.close

    @abstractmethod
    def begin(self) -> None:
        """The engine has accepted the request. Send what comes before the first token."""

    @abstractmethod
    def take(self, tokens: int) -> None:
        """The engine gives the next `tokens` tokens."""

    def take_of(self, choice: int, tokens: int) -> None:
        """The engine gives the next tokens of a choice. An ordinary reply has one."""
        self.take(tokens)

    def tokens_of(self, choice: int) -> int:
        """The tokens of a choice so far."""
        return self.tokens_out

    def is_over(self, choice: int) -> bool:
        """Whether a choice gets no more tokens."""
        return self._ended

    def close(self, why: str) -> None:
        """Cut the reply for a reason that is not a planned fault."""
        if not self._ended:
            self.cut = why
            self._end(now_ns())

    def _end(self, end_ns: int | None) -> None:
        if self._ended or end_ns is None:
            return  # Without a stamp the client was gone, and `close` has been called.
        self._ended = True
        self.end_ns = end_ns
        self._wire.on_lost = None
        self._on_end(self)


def usage_so_far(count: TokenCount, output_tokens: int) -> Usage:
    """Usage so far. If the prompt could not be counted, the log has the error and its count here is 0."""
    return Usage(0 if count.tokens is None else count.tokens, output_tokens)


class StreamedReply(ReplyWriter):
    """Server-sent events: a role chunk with the first token (chat), one chunk per token, usage if wanted, `[DONE]`."""

    def __init__(self, wire: Wire, content: Content, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, on_end)
        self._content = content

    def begin(self) -> None:
        """Send the head. vLLM sends it before the first engine output."""
        self._wire.begin()

    def take(self, tokens: int) -> None:
        if not self._ended:
            start = self.tokens_out
            self.tokens_out = start + tokens
            self._give(start, start + tokens)

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
        continuous = content.params.continuous_usage
        if start == 0:
            role = content.frames.role(usage_so_far(content.input_count, 0) if continuous else None)
            if role is not None:
                self._send(role, "r", 0)
        last = stop >= content.plan.output_tokens
        pieces = content.pieces
        text = pieces[start] if stop == start + 1 else "".join(pieces[start:stop])
        usage = usage_so_far(content.input_count, stop) if continuous else None
        self._send(content.frames.text(text, content.finish if last else None, usage), "c", stop - start)
        if last:
            if content.params.include_usage:
                # All tokens are sent. Usage may have to wait for the count of the prompt.
                content.input_count.when_known(self._send_usage)
            else:
                self._send_done()

    def _send_usage(self) -> None:
        if not self._ended:
            content = self._content
            self._send(content.frames.usage(usage_so_far(content.input_count, self.tokens_out)), "u", 0)
            self._send_done()

    def _send_done(self) -> None:
        stamp_ns = self._wire.finish(DONE)
        self._note(stamp_ns, "o", 0, len(DONE))
        self._end(stamp_ns)


class WholeReply(ReplyWriter):
    """One JSON body after the last token."""

    def __init__(self, wire: Wire, content: Content, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, on_end)
        self._content = content

    def begin(self) -> None:
        """Nothing comes before the body."""

    def take(self, tokens: int) -> None:
        if self._ended:
            return
        self.tokens_out += tokens
        if self.tokens_out >= self._content.plan.output_tokens:
            self._content.input_count.when_known(self._respond)

    def _respond(self) -> None:
        if self._ended:
            return
        content = self._content
        text = "".join(content.pieces[: self.tokens_out])
        body = content.frames.whole(text, content.finish, usage_so_far(content.input_count, self.tokens_out))
        self.bytes_out = len(body)
        self._end(self._wire.respond(200, (), body))
