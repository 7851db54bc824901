"""A stream of any shape, with any fault. It is slower than `StreamedReply`. Without options it sends the same bytes.

A fault with `after` strikes in place of token `after` + 1, or together with it: `STRIKES` has a line for each. The code
checks the other faults by name where they matter. A fault counts as struck once it has done something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mockserver.dialect.frames import Event, Piece, UsageCounts
from mockserver.engine.work import Work
from mockserver.faults import FAULTS, Fault
from mockserver.pacing import SHARED_NS
from mockserver.replies.reply import ReplyWriter
from mockserver.replies.shaped.content import ShapedContent
from mockserver.replies.shaped.outgoing import LedgerChunk, Outgoing, Timer
from mockserver.replies.wire import Wire

FROM_THE_START = frozenset(kind.name for kind in FAULTS.values() if kind.delay is not None) | {"length"}
"""Faults that have struck when the reply begins, because they are in its plan."""


class Shaped(ReplyWriter):
    """The common part of shaped streams and shaped whole replies."""

    def __init__(self, wire: Wire, content: ShapedContent, timer: Timer, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, on_end)
        self._content = content
        self._timer = timer
        faults = [fault for fault in content.plan.faults if fault.name not in content.frames.ignores]
        self._faults = {fault.name: fault for fault in faults}
        self._struck: set[str] = set()
        self._given = [0] * len(content.choices)
        """Tokens of each choice so far."""
        self.work: Callable[[], Work | None] = lambda: None
        """What the engine has done for the request so far."""
        self._over = False
        """No more content comes, though some bytes may still wait to be sent."""
        self.strike(*(FROM_THE_START & self._faults.keys()))
        tokens = content.plan.output_tokens
        self._due = [(fault, fault.strikes_at(tokens)) for fault in faults if fault.kind.strikes]

    def take(self, tokens: int) -> None:
        """The engine gives the next tokens of the only choice."""
        self.take_of(0, tokens)

    def tokens_of(self, choice: int) -> int:
        return self._given[choice]

    def is_over(self, choice: int) -> bool:
        return self.silent or self._given[choice] >= self._content.choices[choice].plan.output_tokens

    @property
    def _all_given(self) -> bool:
        return all(self.is_over(choice) for choice in range(len(self._given)))

    @property
    def silent(self) -> bool:
        """Whether no more content comes."""
        return self._ended or self._over

    def strike(self, *names: str) -> None:
        """Note that these faults did something. Faults that are not in the plan are ignored."""
        self._struck |= {name for name in names if name in self._faults}
        if self._struck:
            self.struck = "+".join(name for name in self._faults if name in self._struck)

    def striking(self, start: int, stop: int) -> list[Fault]:
        """The faults that strike while the tokens from `start` to `stop` are due, in the order of their tokens."""
        due = sorted((at, n) for n, (_, at) in enumerate(self._due) if start <= at < stop)
        found = [self._due[n][0] for _, n in due]
        self._due = [(fault, at) for fault, at in self._due if not start <= at < stop]
        return found

    def withholds_head(self) -> bool:
        """Whether to send no head (`no_headers`). The client then waits, or its connection is closed after `for`."""
        fault = self._faults.get("no_headers")
        if fault is None:
            return False
        self.strike("no_headers")
        self.status = None
        self._over = True
        if fault["for"] is not None:
            self._timer.at(self._timer.now_ns() + fault.number("for"), self._give_up)
        return True

    def _give_up(self) -> None:
        if not self._ended:
            self.failed = True
            self._end(self._wire.truncate())

    def counts(self, given: Sequence[int]) -> UsageCounts:
        """The usage to report after so many tokens of each choice."""
        content = self._content
        if (wrong := self._faults.get("usage_wrong")) is not None:
            self.strike("usage_wrong")
        tokens = content.input_count.tokens
        reasoning = None
        if content.reasons:
            pairs = zip(given, content.choices, strict=True)
            reasoning = sum(min(some, choice.plan.reasoning_tokens) for some, choice in pairs)
        reported = sum(given) if wrong is None else sum(given) + wrong.number("by")
        return UsageCounts(0 if tokens is None else tokens, reported, reasoning, self.work())


class ShapedStream(Shaped):
    """Server-sent events."""

    def __init__(self, wire: Wire, content: ShapedContent, timer: Timer, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, content, timer, on_end)
        self._out = Outgoing(wire, timer, self._faults, self._note, self._end, content.frames.comment)
        self._opened = self._noted = False
        self._textless = [0] * len(content.choices)
        """Tokens of each choice whose text has not been sent yet."""
        self._suffix = ""
        self._twice = self._swap = self._cut_character = False
        self._swapped: list[tuple[Event, LedgerChunk]] = []
        self.chunk_choices = [] if len(content.choices) > 1 else None
        keepalive = self._faults.get("keepalive")
        self._period_ns = None if keepalive is None else keepalive.number("period")

    def begin(self) -> None:
        if self.withholds_head():
            return
        self._wire.begin(self._out.headers)
        self._out.last_ns = self._timer.now_ns()
        if "role_early" in self._faults or self._content.frames.opens_early:
            self._open()
        if self._period_ns is not None:
            self._timer.at(self._out.last_ns + self._period_ns, self._keep_alive)

    def _keep_alive(self) -> None:
        assert self._period_ns is not None
        if self.silent:
            return
        now = self._timer.now_ns()
        if now - self._out.last_ns >= self._period_ns - SHARED_NS:  # A timer may fire this early.
            self._out.keep_alive()
            self.strike("keepalive")
            self._timer.at(now + self._period_ns, self._keep_alive)
        else:
            self._timer.at(self._out.last_ns + self._period_ns, self._keep_alive)

    def take_of(self, choice: int, tokens: int) -> None:
        if self.is_over(choice):
            return
        start, stop = self._given[choice], self._given[choice] + tokens
        taken = False
        if choice == 0 and self._due:
            for fault in self.striking(start, stop):
                taken |= STRIKES[fault.name](self, fault, stop)
                if self.silent:
                    return
        self._given[choice] = stop
        self.tokens_out += tokens
        if not taken:
            self._give(choice, start, stop)
        said = self._content.choices[choice]
        if self._content.separate_finish and stop >= said.plan.output_tokens:
            for event in self._content.frames.finish(choice, said.end, self._running(self._given)):
                self._send(event, LedgerChunk("o", 0, choice))
        if self._all_given:
            self._close()

    # The content.

    def _send(self, event: Event, chunk: LedgerChunk, cut: int | None = None, *, final: bool = False) -> None:
        self._out.put(event.frame, chunk, cut=cut, final=final)

    def _running(self, given: Sequence[int]) -> UsageCounts | None:
        """The usage for this chunk, if the request wants usage on every chunk."""
        if not self._content.params.continuous_usage:
            return None
        if "usage_missing" in self._faults:
            self.strike("usage_missing")
            return None
        return self.counts(given)

    def _open(self) -> bool:
        """Send the role chunks if they are still due. Returns whether the first token must carry the role instead."""
        if self._opened or not self._content.frames.has_role:
            return False
        self._opened = True
        names = ("role_early", "role_with_token", "role_absent")
        self.strike(*names)
        if "role_absent" in self._faults or "role_with_token" in self._faults:
            return "role_with_token" in self._faults
        for choice in range(len(self._given)):
            for event in self._content.frames.opening(choice, self._running([0] * len(self._given))):
                self._send(event, LedgerChunk(event.kind, 0, choice))
        return False

    def _give(self, choice: int, start: int, stop: int) -> None:
        role = self._open()
        for piece, first, last in self._content.choices[choice].pieces(choice, start, stop):
            self._give_piece(replace(piece, role=role), first, last)
            role = False

    def _give_piece(self, piece: Piece, start: int, stop: int) -> None:
        content, choice = self._content, piece.choice
        last = stop >= content.choices[choice].plan.output_tokens
        if choice == 0 and self._suffix and piece.kind != "tool":
            piece = replace(piece, text=piece.text + self._suffix)
        if last and not content.separate_finish:
            piece = replace(piece, end=content.choices[choice].end)
        given = [*self._given]
        given[choice] = stop
        events = content.frames.piece(piece, self._running(given))
        self._textless[choice] += stop - start
        carriers = [n for n, event in enumerate(events) if event.carries]
        carrier = carriers[-1] if carriers else None
        tokens = [0] * len(events)
        if events and (last or carrier is not None):
            for n in carriers[:-1]:  # The name of a tool call is a token of its own.
                tokens[n] = 1
            tokens[-1 if carrier is None else carrier] = self._textless[choice] - sum(tokens)
            self._textless[choice] = 0
        chunks = [(event, LedgerChunk(event.kind, some, choice)) for event, some in zip(events, tokens, strict=True)]
        if choice > 0:  # Faults strike the first choice.
            for event, chunk in chunks:
                self._send(event, chunk)
            return
        if chunks:
            self._put_piece(chunks, len(chunks) - 1 if carrier is None else carrier, last)

    def _put_piece(self, chunks: Sequence[tuple[Event, LedgerChunk]], carrier: int, last: bool) -> None:
        """`carrier` is the event that `reorder` moves, or behind which it puts the one it moved."""
        swaps = self._swap and not last
        for n, (event, chunk) in enumerate(chunks):
            if n == carrier and swaps:
                self._swap, self._swapped = False, [(event, chunk)]
                continue
            cut = None
            if self._cut_character and event.carries:  # After the first byte of the last multi-byte character.
                cut = max((i for i, byte in enumerate(event.frame) if byte >= 0xC0), default=-1) + 1 or None
            self._send(event, chunk, cut)
            if self._twice and (event.carries or len(chunks) == 1):
                self._send(event, LedgerChunk(chunk.kind, 0, chunk.choice))
            if n == carrier and self._swapped:
                self.strike("reorder")
                self._send(*self._swapped.pop())
        if not swaps:
            self._suffix, self._twice, self._cut_character = "", False, False

    def _close(self) -> None:
        """After the last token: usage and the last event."""
        content = self._content
        self._over = True
        if content.params.include_usage and "usage_missing" not in self._faults:
            content.input_count.when_known(self._send_closing)
            return
        if content.params.include_usage:
            self.strike("usage_missing")
        self._send_closing(usage=False)

    def _send_closing(self, usage: bool = True) -> None:
        if self._ended:
            return
        ends = [choice.end for choice in self._content.choices]
        *events, last = self._content.frames.closing(ends, self.counts(self._given) if usage else None)
        for event in events:
            self._send(event, LedgerChunk(event.kind, 0))
            if event.kind == "u" and "usage_twice" in self._faults:
                self.strike("usage_twice")
                self._send(event, LedgerChunk("u", 0))
        if "no_done" in self._faults:
            self.strike("no_done")
            self._out.close()
        else:
            self._send(last, LedgerChunk(last.kind, 0), final=True)

    def _note(self, stamp_ns: int, chunks: tuple[LedgerChunk, ...], size: int) -> None:
        self.bytes_out += size
        if not self._noted:
            self._noted = True
            self.strike(*self._out.names)
        for chunk in chunks:
            if self._wire.blocked:
                self.blocked.append(len(self.write_ns))
            self.write_ns.append(stamp_ns)
            self.chunk_tokens.append(chunk.tokens)
            self.chunk_kinds.append(chunk.kind)
            if self.chunk_choices is not None:
                self.chunk_choices.append(chunk.choice)

    # Strikes. Each gets the fault and the tokens sent after it, and returns whether it replaces the token.

    def reset(self, fault: Fault, stop: int) -> bool:
        """TCP RST."""
        return self._break(fault, self._wire.reset)

    def truncate(self, fault: Fault, stop: int) -> bool:
        """TCP FIN between two chunks."""
        return self._break(fault, self._wire.truncate)

    def cut_frame(self, fault: Fault, stop: int) -> bool:
        """TCP FIN inside a chunk."""
        self._out.drop()
        piece, _, _ = next(self._content.choices[0].pieces(0, self._given[0], stop))
        events = self._content.frames.piece(piece, None)
        frame = next((event.frame for event in events if event.carries), events[-1].frame)
        whole = self._out.encode(frame, final=False)
        keep = len(whole) // 2
        self.bytes_out += keep
        return self._break(fault, lambda: self._wire.cut_event(whole, keep))

    def _break(self, fault: Fault, end: Callable[[], int | None]) -> bool:
        self._out.drop()
        self.strike(fault.name)
        self.failed = self._over = True
        self._end(end())
        return True

    def error(self, fault: Fault, stop: int) -> bool:
        """An error object, then `[DONE]`."""
        self.strike(fault.name)
        self.failed = self._over = True
        *events, last = self._content.frames.failure()
        for event in events:
            self._send(event, LedgerChunk(event.kind, 0))
        self._send(last, LedgerChunk(last.kind, 0), final=True)
        return True

    def malformed(self, fault: Fault, stop: int) -> bool:
        """Broken JSON in place of the token. The stream continues."""
        self._open()
        self.strike(fault.name)
        self._send(self._content.frames.broken(), LedgerChunk("o", 0, 0))
        return True

    def empty(self, fault: Fault, stop: int) -> bool:
        """Empty deltas before the token."""
        role = self._open()
        self.strike(fault.name)
        piece, _, _ = next(self._content.choices[0].pieces(0, self._given[0], stop))
        for n in range(fault.number("chunks")):
            before = replace(piece, text="", role=role and n == 0, last=False)
            for event in self._content.frames.empty(before, self._running(self._given)):
                self._send(event, LedgerChunk(event.kind, 0, 0))
        return False

    def duplicate(self, fault: Fault, stop: int) -> bool:
        """Send the token's chunk twice."""
        self.strike(fault.name)
        self._twice = True
        return False

    def reorder(self, fault: Fault, stop: int) -> bool:
        """Send the token's chunk after the next one. Nothing happens to the last token."""
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
        """Whether the next token may get other text. In arguments and documents that would break the JSON."""
        return not self._content.choices[0].is_document

    def _add(self, fault: Fault, text: str) -> bool:
        if self._takes_text:
            self.strike(fault.name)
            self._suffix += text
        return False


Strike = Callable[[ShapedStream, Fault, int], bool]

STRIKES: dict[str, Strike] = {
    "reset": ShapedStream.reset,
    "truncate": ShapedStream.truncate,
    "cut_frame": ShapedStream.cut_frame,
    "error_in_stream": ShapedStream.error,
    "malformed": ShapedStream.malformed,
    "empty": ShapedStream.empty,
    "duplicate": ShapedStream.duplicate,
    "reorder": ShapedStream.reorder,
    "u2028": ShapedStream.u2028,
    "split_utf8": ShapedStream.split_utf8,
}
