"""Writes the scripts of streams: of any shape, with any fault.

A fault with `after` replaces token `after` + 1 or strikes together with it: `STRIKES` has a line for each. The other
faults are checked by name where they matter. A fault counts as struck once it has done something.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType

from mockserver.dialect.frames import Event, Piece, UsageCounts
from mockserver.engine.work import Work
from mockserver.faults import FAULTS, Fault
from mockserver.replies.content import Content, garble
from mockserver.replies.outgoing import Outgoing
from mockserver.replies.script import Act, LedgerChunk, Line, TextScript

FROM_THE_START = frozenset(kind.name for kind in FAULTS.values() if kind.delay is not None) | {"length"}
"""Faults that have already struck when the reply begins, because they are in its plan."""


_HEAD = (Line(Act.HEAD),)


def _no_work() -> Work | None:
    return None


class ScriptWriter(ABC):
    """Writes the lines of one reply as its tokens are emitted."""

    period_ns: int | None = None
    """How long a stream may be silent before `keep_alive`."""
    status: int | None = 200
    failed = False
    struck: str | None = None
    """The faults that struck."""
    tokens_out = 0
    is_over = False
    """No more content follows, though some lines may still wait to be sent."""
    waits = False
    """The rest waits for the count of the prompt tokens: call `end` once they are counted."""
    _faults: Mapping[str, Fault] = MappingProxyType({})
    _struck: Set[str] = frozenset()
    _due: Sequence[tuple[Fault, int]] = ()
    """Faults that strike at a token, with the number of tokens before it."""

    def __init__(self, content: Content, now_ns: Callable[[], int]) -> None:
        self.work: Callable[[], Work | None] = _no_work
        """The engine's work for the request so far."""
        self.content = content
        self._now_ns = now_ns
        self._given = [0] * len(content.choices)
        """Tokens of each choice so far."""
        planned = content.plan.faults
        if planned:
            faults = [fault for fault in planned if fault.name not in content.frames.ignores]
            self._faults = {fault.name: fault for fault in faults}
            self.strike(*((FROM_THE_START | content.choices[0].altered) & self._faults.keys()))
            tokens = content.plan.output_tokens
            self._due = [(fault, fault.strikes_at(tokens)) for fault in faults if fault.kind.strikes]

    @abstractmethod
    def begin(self) -> Sequence[Line]:
        """The engine has accepted the request. Returns what precedes the first token."""

    @abstractmethod
    def take(self, choice: int, tokens: int) -> Sequence[Line]:
        """The lines for the next tokens of a choice."""

    @abstractmethod
    def end(self) -> Sequence[Line]:
        """The lines after the prompt tokens are counted, as `waits` requested."""

    def keep_alive(self) -> Sequence[Line]:
        """The lines after a silence of `period_ns`."""
        return ()

    def on_sent(self) -> None:  # noqa: B027 (most replies need nothing here)
        """Called when the first bytes of a stream were sent."""

    def tokens_of(self, choice: int) -> int:
        return self._given[choice]

    def has_ended(self, choice: int) -> bool:
        """Whether a choice gets no more tokens."""
        return self.is_over or self._given[choice] >= self.content.choices[choice].plan.output_tokens

    @property
    def _all_given(self) -> bool:
        return all(self.has_ended(choice) for choice in range(len(self._given)))

    def strike(self, *names: str) -> None:
        """Record that these faults did something. Faults that are not in the plan are ignored."""
        self._struck = self._struck | {name for name in names if name in self._faults}
        if self._struck:
            self.struck = "+".join(name for name in self._faults if name in self._struck)

    def striking(self, start: int, stop: int) -> list[Fault]:
        """The faults that strike in the tokens from `start` to `stop`, in token order."""
        due = sorted((at, n) for n, (_, at) in enumerate(self._due) if start <= at < stop)
        faults = [self._due[n][0] for _, n in due]
        self._due = [(fault, at) for fault, at in self._due if not start <= at < stop]
        return faults

    def _garble_preempted(self, start: int) -> None:
        """Garble the tokens from `start` on, if the engine has preempted the request."""
        fault = self._faults.get("garble_preempted")
        if fault is None or "garble_preempted" in self._struck:
            return
        work, texts = self.work(), self.content.choices[0].texts
        if work is not None and work.preemptions and garble(texts, start, fault.number("tokens")):
            self.strike("garble_preempted")

    def _without_head(self) -> Sequence[Line] | None:
        """The lines of a reply without a head (`no_headers`): the client waits, or its connection is closed after
        `for`. None if the reply has a head."""
        fault = self._faults.get("no_headers")
        if fault is None:
            return None
        self.strike("no_headers")
        self.status = None
        self.is_over = True
        if fault["for"] is None:
            return ()
        self.failed = True
        return (Line(Act.CLOSE, due_ns=self._now_ns() + fault.number("for")),)

    def counts(self, given: Sequence[int]) -> UsageCounts:
        """The usage to report after this many tokens of each choice."""
        content = self.content
        if (wrong := self._faults.get("usage_wrong")) is not None:
            self.strike("usage_wrong")
        tokens = content.input_count.tokens
        reasoning = None
        if content.reasons:
            pairs = zip(given, content.choices, strict=True)
            reasoning = sum(min(some, choice.plan.reasoning_tokens) for some, choice in pairs)
        reported = sum(given) if wrong is None else sum(given) + wrong.number("by")
        return UsageCounts(0 if tokens is None else tokens, reported, reasoning, self.work)


class StreamWriter(ScriptWriter):
    """Server-sent events, or the messages of a WebSocket."""

    _opened = _head_waits = False
    # Set by strikes.
    _suffix = ""
    _twice = _swap = _cut_character = False
    _swapped: tuple[tuple[Event, LedgerChunk], ...] = ()

    def __init__(self, content: Content, now_ns: Callable[[], int]) -> None:
        super().__init__(content, now_ns)
        self._out = Outgoing(now_ns, self._faults, content.frames.comment)
        self._textless = [0] * len(content.choices)
        """Tokens of each choice whose text has not been sent yet."""
        if "keepalive" in self._faults:
            self.period_ns = self._faults["keepalive"].number("period")

    def begin(self) -> Sequence[Line]:
        without = self._without_head()
        if without is not None:
            return without
        if self.content.head_waits:
            self._head_waits = True
            return ()
        if not (self._faults or self.content.frames.opens_early or self.content.media):
            return _HEAD
        if "role_early" in self._faults or self.content.frames.opens_early:
            self._open()
        return [self._head(), *self._out.take()]

    def _head(self) -> Line:
        media = self.content.media
        kind = () if media is None else (("content-type", media),)
        return Line(Act.HEAD, headers=(*kind, *self._out.headers))

    def _lines(self) -> Sequence[Line]:
        """The lines since the last call, preceded by the head if it was held back."""
        lines = self._out.take()
        if not (self._head_waits and lines):
            return lines
        self._head_waits = False
        return [self._head(), *lines]

    def keep_alive(self) -> Sequence[Line]:
        self._out.keep_alive()
        self.strike("keepalive")
        return self._out.take()

    def on_sent(self) -> None:
        self.strike(*self._out.names)

    def take(self, choice: int, tokens: int) -> Sequence[Line]:
        if self.has_ended(choice):
            return ()
        start, stop = self._given[choice], self._given[choice] + tokens
        handled = False
        if choice == 0 and self._faults:
            self._garble_preempted(start)
            for fault in self.striking(start, stop):
                handled |= STRIKES[fault.name](self, fault, stop)
                if self.is_over:
                    return self._lines()
        self._given[choice] = stop
        self.tokens_out += tokens
        if not handled:
            self._give(choice, start, stop)
        reply = self.content.choices[choice]
        if stop >= reply.plan.output_tokens:
            if self.content.separate_finish:
                for event in self.content.frames.finish(choice, reply.end, self._running(self._given)):
                    self._send(event, LedgerChunk("o", 0, choice))
            if self._all_given:
                self._close()
        return self._lines()

    # A stream of only text: its middle tokens differ only in their text.

    def around(self) -> tuple[bytes, bytes] | None:
        """The bytes around the JSON of a middle token's text. None if tokens differ in more than their text."""
        content = self.content
        choice, params = content.choices[0], content.params
        if len(content.choices) > 1 or len(choice.blocks) > 1 or choice.blocks[0].kind != "text":
            return None
        if self._faults or params.stop:
            return None
        if choice.is_document or choice.logprobs is not None or choice.echo:
            return None
        return content.frames.around(params.continuous_usage)

    def skip(self, tokens: int) -> None:
        """Count middle tokens that were sent with `around`."""
        self._given[0] += tokens
        self.tokens_out += tokens

    def script(self, received_ns: int, around: tuple[bytes, bytes]) -> TextScript:
        """The complete script of such a stream if the plan decides its times: the lines that `take` and `end` would
        return. Do not call those then. If it has no ends, call `closing` once the prompt tokens are counted."""
        content, frames, plan = self.content, self.content.frames, self.content.plan
        choice, tokens = content.choices[0], plan.output_tokens
        texts, end = choice.texts, None if content.separate_finish else choice.end
        assert plan.ttft_ns is not None
        alone = tokens == 1
        piece = Piece(texts[0], "text", first=True, last=alone, end=end if alone else None)
        first = last = [*frames.opening(0, self._running((0,))), *frames.piece(piece, self._running((1,)))]
        if not alone:
            last = [*frames.piece(Piece(texts[-1], "text", last=True, end=end), self._running((tokens,)))]
        if content.separate_finish:
            last += frames.finish(0, choice.end, self._running((tokens,)))
        self._given[0] = self.tokens_out = tokens
        ends = None if content.params.include_usage else self.closing(usage=False)
        return TextScript(received_ns + plan.ttft_ns, plan.gaps_ns, first, *around, texts, last, ends)

    def closing(self, usage: bool) -> Sequence[Event]:
        """The events after the last token."""
        ends = [choice.end for choice in self.content.choices]
        return self.content.frames.closing(ends, self.counts(self._given) if usage else None)

    # The content.

    def _send(self, event: Event, chunk: LedgerChunk, cut: int | None = None, *, final: bool = False) -> None:
        self._out.put(event.frame, chunk, cut=cut, final=final)

    def _running(self, given: Sequence[int]) -> UsageCounts | None:
        """The usage for this chunk, if the request wants usage on every chunk."""
        if not self.content.params.continuous_usage:
            return None
        if "usage_missing" in self._faults:
            self.strike("usage_missing")
            return None
        return self.counts(given)

    def _open(self) -> bool:
        """Send the role chunks if they are still due. Returns whether the first token must carry the role instead."""
        if self._opened or not self.content.frames.has_role:
            return False
        self._opened = True
        if self._faults:
            self.strike("role_early", "role_with_token", "role_absent")
            if "role_absent" in self._faults or "role_with_token" in self._faults:
                return "role_with_token" in self._faults
        for choice in range(len(self._given)):
            for event in self.content.frames.opening(choice, self._running([0] * len(self._given))):
                self._send(event, LedgerChunk(event.kind, 0, choice))
        return False

    def _give(self, choice: int, start: int, stop: int) -> None:
        role = self._open()
        for piece, first, last in self.content.choices[choice].pieces(choice, start, stop):
            self._give_piece(piece._replace(role=True) if role else piece, first, last)
            role = False

    def _give_piece(self, piece: Piece, start: int, stop: int) -> None:
        content, choice = self.content, piece.choice
        last = stop >= content.choices[choice].plan.output_tokens
        if choice == 0 and self._suffix and piece.kind != "tool":
            piece = piece._replace(text=piece.text + self._suffix)
        if last and not content.separate_finish:
            piece = piece._replace(end=content.choices[choice].end)
        running = None
        if content.params.continuous_usage:
            given = [*self._given]
            given[choice] = stop
            running = self._running(given)
        events = content.frames.piece(piece, running)
        self._textless[choice] += stop - start
        if len(events) == 1 and events[0].carries and not self._faults:  # The usual case.
            self._send(events[0], LedgerChunk(events[0].kind, self._textless[choice], choice))
            self._textless[choice] = 0
            return
        carriers = [n for n, event in enumerate(events) if event.carries]
        spoken = [
            n for n in carriers if events[n].kind == "a" and len(carriers) > 1
        ]  # As many tokens as the text next to it.
        carriers = [n for n in carriers if n not in spoken]
        carrier = carriers[-1] if carriers else None
        tokens = [0] * len(events)
        if events and (last or carrier is not None):
            for n in spoken:
                tokens[n] = self._textless[choice]
            for n in carriers[:-1]:  # The name of a tool call is a separate token.
                tokens[n] = 1
            tokens[-1 if carrier is None else carrier] = self._textless[choice] - len(carriers[:-1])
            self._textless[choice] = 0
        chunks = [(event, LedgerChunk(event.kind, some, choice)) for event, some in zip(events, tokens, strict=True)]
        if choice > 0:  # Faults strike the first choice.
            for event, chunk in chunks:
                self._send(event, chunk)
            return
        if chunks:
            self._put_piece(chunks, len(chunks) - 1 if carrier is None else carrier, last)

    def _put_piece(self, chunks: Sequence[tuple[Event, LedgerChunk]], carrier: int, last: bool) -> None:
        """`carrier` is the event that `reorder` moves, or after which it puts the one it moved."""
        swaps = self._swap and not last
        for n, (event, chunk) in enumerate(chunks):
            if n == carrier and swaps:
                self._swap, self._swapped = False, ((event, chunk),)
                continue
            cut = None
            if self._cut_character and event.carries:  # After the first byte of the last multi-byte character.
                cut = max((i + 1 for i, byte in enumerate(event.frame) if byte >= 0xC0), default=None)
            self._send(event, chunk, cut)
            if self._twice and (event.carries or len(chunks) == 1):
                self._send(event, LedgerChunk(chunk.kind, 0, chunk.choice))
            if n == carrier and self._swapped:
                self.strike("reorder")
                self._send(*self._swapped[0])
                self._swapped = ()
        if not swaps:
            self._suffix, self._twice, self._cut_character = "", False, False

    def _close(self) -> None:
        """End the stream after its last token: usage and the last event."""
        self.is_over = True
        if self.content.params.include_usage and "usage_missing" not in self._faults:
            self.waits = True
            return
        if self.content.params.include_usage:
            self.strike("usage_missing")
        self._put_closing(usage=False)

    def end(self) -> Sequence[Line]:
        self._put_closing(usage=True)
        return self._out.take()

    def _put_closing(self, usage: bool) -> None:
        *events, last = self.closing(usage)
        for event in events:
            self._send(event, LedgerChunk(event.kind, 0))
            if event.kind == "u" and "usage_twice" in self._faults:
                self.strike("usage_twice")
                self._send(event, LedgerChunk("u", 0))
        if "no_done" in self._faults:
            self.strike("no_done")
            self._out.close()
        else:
            # A dialect that sends the last token with the end has held it back.
            self._send(last, LedgerChunk(last.kind, self._textless[0] if last.carries else 0), final=True)

    # Strikes. Each gets the fault and the number of tokens sent after it, and returns whether it replaces the token.

    def reset(self, fault: Fault, stop: int) -> bool:
        return self._break(fault, Act.RESET)

    def truncate(self, fault: Fault, stop: int) -> bool:
        """TCP FIN between two chunks."""
        return self._break(fault, Act.CLOSE)

    def cut_frame(self, fault: Fault, stop: int) -> bool:
        """TCP FIN inside a chunk."""
        piece, _, _ = next(self.content.choices[0].pieces(0, self._given[0], stop))
        events = self.content.frames.piece(piece, None)
        events = events or self.closing(usage=False)
        frame = next((event.frame for event in events if event.carries), events[-1].frame)
        whole = self._out.encode(frame, final=False)
        return self._break(fault, Act.CUT_EVENT, whole, len(whole) // 2)

    def _break(self, fault: Fault, act: Act, data: bytes = b"", keep: int = 0) -> bool:
        self._out.break_off(act, data, keep)
        self.strike(fault.name)
        self.failed = self.is_over = True
        return True

    def error(self, fault: Fault, stop: int) -> bool:
        """An error object, then `[DONE]`."""
        self.strike(fault.name)
        self.failed = self.is_over = True
        *events, last = self.content.frames.failure()
        for event in events:
            self._send(event, LedgerChunk(event.kind, 0))
        self._send(last, LedgerChunk(last.kind, 0), final=True)
        return True

    def malformed(self, fault: Fault, stop: int) -> bool:
        """Broken JSON instead of the token. The stream continues."""
        self._open()
        self.strike(fault.name)
        self._send(self.content.frames.broken(), LedgerChunk("o", 0, 0))
        return True

    def empty(self, fault: Fault, stop: int) -> bool:
        """Empty deltas before the token."""
        role = self._open()
        self.strike(fault.name)
        piece, _, _ = next(self.content.choices[0].pieces(0, self._given[0], stop))
        for n in range(fault.number("chunks")):
            before = piece._replace(text="", role=role and n == 0, last=False)
            for event in self.content.frames.empty(before, self._running(self._given)):
                self._send(event, LedgerChunk(event.kind, 0, 0))
        return False

    def duplicate(self, fault: Fault, stop: int) -> bool:
        """Send the token's chunk twice."""
        self.strike(fault.name)
        self._twice = True
        return False

    def reorder(self, fault: Fault, stop: int) -> bool:
        """Send the token's chunk after the next one. The last token is not affected."""
        self._swap = True
        return False

    def u2028(self, fault: Fault, stop: int) -> bool:
        """A raw line separator in the token's text. JSON allows it, and some line readers break at it."""
        return self._add(fault, "\u2028")

    def split_utf8(self, fault: Fault, stop: int) -> bool:
        """A three-byte character in the token's text, with its first byte in an earlier write."""
        self._cut_character = self._takes_text
        return self._add(fault, "\u4e16")

    @property
    def _takes_text(self) -> bool:
        """Whether text can be added to the next token. In arguments and documents it would break the JSON."""
        return not self.content.choices[0].is_document

    def _add(self, fault: Fault, text: str) -> bool:
        if self._takes_text:
            self.strike(fault.name)
            self._suffix += text
        return False


Strike = Callable[[StreamWriter, Fault, int], bool]

STRIKES: dict[str, Strike] = {
    "reset": StreamWriter.reset,
    "truncate": StreamWriter.truncate,
    "cut_frame": StreamWriter.cut_frame,
    "error_in_stream": StreamWriter.error,
    "malformed": StreamWriter.malformed,
    "empty": StreamWriter.empty,
    "duplicate": StreamWriter.duplicate,
    "reorder": StreamWriter.reorder,
    "u2028": StreamWriter.u2028,
    "split_utf8": StreamWriter.split_utf8,
}
