"""A reply while it is being sent: the sender of scripts, in Python.

It gets lines from the writer as the engine emits tokens, sends them on the wire when they are due, and collects the
facts for the ledger. Everything that is due is sent inside the call that hands over the tokens; nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from typing import Protocol

from mockserver.clock import now_ns
from mockserver.pacing import SHARED_NS
from mockserver.replies.script import BREAKS, Act, LedgerChunk, Line
from mockserver.replies.stream import ScriptWriter
from mockserver.replies.wire import Wire

_WRITES = (Act.EVENT, Act.END)


class Timer(Protocol):
    """The part of `pacing.Pacer` that a reply needs."""

    @property
    def now_ns(self) -> Callable[[], int]: ...

    def at(self, deadline_ns: int, call: Callable[[], int | None]) -> None:
        """Call `call` at the deadline."""


class Reply:
    """One reply. It calls `on_end` once: after the last byte, or when the reply is cut."""

    __slots__ = (
        "_ended", "_has_sent", "_lines", "_on_end", "_timer", "_wire", "blocked", "bytes_out", "chunk_choices",
        "chunk_kinds", "chunk_tokens", "cut", "end_ns", "head_ns", "last_ns", "write_ns", "writer",
    )  # fmt: skip

    def __init__(self, wire: Wire, writer: ScriptWriter, timer: Timer, on_end: Callable[[Reply], None]) -> None:
        self.writer = writer
        self.write_ns: MutableSequence[int] = []
        self.chunk_tokens: list[int] = []
        self.chunk_kinds: list[str] = []
        several = len(writer.content.choices) > 1 and writer.content.params.stream
        self.chunk_choices: list[int | None] | None = [] if several else None
        """The choice of each chunk, if a stream has several."""
        self.blocked: list[int] = []
        self.cut: str | None = None
        self.end_ns = 0
        self.bytes_out = 0
        self.head_ns: int | None = None
        """When the head of a stream was handed to the kernel."""
        self.last_ns = 0
        """When the last line was sent, or 0."""
        self._wire = wire
        self._timer = timer
        self._on_end = on_end
        self._ended = False
        self._lines: list[Line] = []
        """Lines that are not due yet, and the lines after them."""
        self._has_sent = False
        wire.on_lost = self.close

    @property
    def tokens_out(self) -> int:
        return self.writer.tokens_out

    def begin(self) -> None:
        """The engine has accepted the request: send what precedes the first token. vLLM sends the head of a stream
        before the first engine output."""
        self._add(self.writer.begin())
        period_ns = self.writer.period_ns
        if period_ns is not None and not self.writer.is_over:
            self._timer.at(self.last_ns + period_ns, self._keep_alive)

    def take(self, tokens: int) -> None:
        """Send the next tokens of the only choice."""
        self.take_of(0, tokens)

    def take_of(self, choice: int, tokens: int) -> None:
        """Send the next tokens of a choice."""
        if self._ended or self._wire.gone():
            return
        writer = self.writer
        lines = writer.take(choice, tokens)
        if lines:
            self._add(lines)
        if writer.waits:
            writer.waits = False
            writer.content.input_count.when_known(self._send_rest)

    def tokens_of(self, choice: int) -> int:
        return self.writer.tokens_of(choice)

    def has_ended(self, choice: int) -> bool:
        """Whether a choice gets no more tokens."""
        return self._ended or self.writer.has_ended(choice)

    def close(self, why: str) -> None:
        """Cut the reply for a reason that is not a planned fault."""
        if not self._ended:
            self.cut = why
            self._end(now_ns())

    def _send_rest(self) -> None:
        if not self._ended:
            self._add(self.writer.end())

    def _add(self, lines: Iterable[Line]) -> None:
        for line in lines:
            if line.act in BREAKS:
                self._lines.clear()
            if line.due_ns or self._lines:
                self._lines.append(line)
                if len(self._lines) == 1:
                    self._wait()
            else:
                self._send(line)

    def _wait(self) -> None:
        """Send the lines that are due, then wait for the next one."""
        while self._lines:
            due_ns = self._lines[0].due_ns
            if due_ns and self._timer.now_ns() < due_ns:
                self._timer.at(due_ns, self._on_due)
                return
            self._send(self._lines.pop(0))

    def _on_due(self) -> None:
        if self._lines:
            self._send(self._lines.pop(0))
            self._wait()

    def _send(self, line: Line) -> None:
        act, wire, data = line.act, self._wire, line.data
        size = len(data)
        stamp_ns: int | None
        if act is Act.EVENT:
            stamp_ns = wire.write(data)
        elif act is Act.HEAD:
            self.head_ns = now_ns()
            wire.begin(line.headers)
            self.last_ns = self._timer.now_ns()
            return
        elif act is Act.END:
            stamp_ns = wire.finish(data)
        elif act is Act.WHOLE:
            stamp_ns = wire.respond(line.status, line.headers, data)
        elif act is Act.CUT_EVENT:
            size, stamp_ns = line.keep, wire.cut_event(data, line.keep)
        elif act is Act.CUT_WHOLE:
            size, stamp_ns = line.keep, wire.cut_body(line.status, line.headers, data, line.keep)
        else:
            stamp_ns = wire.truncate() if act is Act.CLOSE else wire.reset()
        if stamp_ns is None:
            return  # The client was gone, and `close` has been called.
        self.last_ns = stamp_ns
        self.bytes_out += size
        if not self._has_sent and act in _WRITES:
            self._has_sent = True
            self.writer.on_sent()
        for chunk in line.chunks:
            self._note(chunk, stamp_ns)
        if act is not Act.EVENT:
            self._end(stamp_ns)

    def _note(self, chunk: LedgerChunk, stamp_ns: int) -> None:
        if self._wire.blocked:
            self.blocked.append(len(self.chunk_tokens))
        self.write_ns.append(stamp_ns)
        self.chunk_tokens.append(chunk.tokens)
        self.chunk_kinds.append(chunk.kind)
        if self.chunk_choices is not None:
            self.chunk_choices.append(chunk.choice)

    def _keep_alive(self) -> None:
        period_ns = self.writer.period_ns
        if self._ended or self.writer.is_over or period_ns is None:
            return
        now = self._timer.now_ns()
        if now - self.last_ns >= period_ns - SHARED_NS:  # A timer may fire this early.
            self._add(self.writer.keep_alive())
            self._timer.at(now + period_ns, self._keep_alive)
        else:
            self._timer.at(self.last_ns + period_ns, self._keep_alive)

    def _end(self, end_ns: int) -> None:
        if not self._ended:
            self._ended = True
            self.end_ns = end_ns
            self._lines.clear()
            self._wire.on_lost = None
            self._on_end(self)
