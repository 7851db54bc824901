"""A stream of any shape, with any fault. It is slower than `StreamedReply`. Without options it sends the same bytes.

A fault with `after` strikes in place of token `after` + 1, or together with it: `STRIKES` has a line for each. The code
checks the other faults by name where they matter. A fault counts as struck once it has done something.
"""

from __future__ import annotations

from collections.abc import Callable

from mockserver.dialect.refusals import error_body
from mockserver.dialect.sse import DONE, event
from mockserver.faults import Fault
from mockserver.pacing import SHARED_NS
from mockserver.replies.reply import ReplyWriter
from mockserver.replies.shaped.content import FinishReason, ShapedContent, UsageCounts
from mockserver.replies.shaped.outgoing import LedgerChunk, Outgoing, Timer
from mockserver.replies.wire import Wire

PLANNED_ERROR = error_body(500, "The engine failed while it made this reply (planned fault).")
BROKEN_JSON = b'{"id":"broken","choices":[{"index":0,"delta":{"conte'

FROM_THE_START = frozenset({"slow_accept", "stall", "slow", "degrade", "pause", "length"})
"""Faults that have struck when the reply begins, because they are in its plan."""


class Shaped(ReplyWriter):
    """The common part of shaped streams and shaped whole replies."""

    def __init__(self, wire: Wire, content: ShapedContent, timer: Timer, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, on_end)
        self._content = content
        self._timer = timer
        self._faults = {fault.name: fault for fault in content.plan.faults}
        self._struck: set[str] = set()
        self._end_of = FinishReason(content.plan.finish, content.stop)
        self._over = False
        """No more content comes, though some bytes may still wait to be sent."""
        self.strike(*(FROM_THE_START & self._faults.keys()))
        tokens = content.plan.output_tokens
        self._due = [(fault, fault.strikes_at(tokens)) for fault in content.plan.faults if fault.kind.strikes]

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

    def counts(self, output_tokens: int) -> UsageCounts:
        """The usage to report after so many tokens."""
        content = self._content
        if (wrong := self._faults.get("usage_wrong")) is not None:
            self.strike("usage_wrong")
        tokens = content.input_count.tokens
        reasoning = min(output_tokens, content.plan.reasoning_tokens) if content.reasons else None
        reported = output_tokens if wrong is None else output_tokens + wrong.number("by")
        return UsageCounts(0 if tokens is None else tokens, reported, reasoning)


class ShapedStream(Shaped):
    """Server-sent events."""

    def __init__(self, wire: Wire, content: ShapedContent, timer: Timer, on_end: Callable[[ReplyWriter], None]) -> None:
        super().__init__(wire, content, timer, on_end)
        self._out = Outgoing(wire, timer, self._faults, self._note, self._end)
        self._opened = self._noted = False
        self._textless = 0
        """Tokens whose text has not been sent yet."""
        self._suffix = ""
        self._twice = self._swap = self._cut_character = False
        self._swapped: tuple[bytes, LedgerChunk] | None = None
        keepalive = self._faults.get("keepalive")
        self._period_ns = None if keepalive is None else keepalive.number("period")

    def begin(self) -> None:
        if self.withholds_head():
            return
        self._wire.begin(self._out.headers)
        self._out.last_ns = self._timer.now_ns()
        if "role_early" in self._faults:
            self._open()
        if self._period_ns is not None:
            self._timer.at(self._out.last_ns + self._period_ns, self._keep_alive)

    def _keep_alive(self) -> None:
        assert self._period_ns is not None
        if self.silent:
            return
        now = self._timer.now_ns()
        if now - self._out.last_ns >= self._period_ns - SHARED_NS:  # A timer may fire this early.
            self._out.comment(b"keep-alive")
            self.strike("keepalive")
            self._timer.at(now + self._period_ns, self._keep_alive)
        else:
            self._timer.at(self._out.last_ns + self._period_ns, self._keep_alive)

    def take(self, tokens: int) -> None:
        if self.silent:
            return
        start, stop = self.tokens_out, self.tokens_out + tokens
        taken = False
        if self._due:
            for fault in self.striking(start, stop):
                taken |= STRIKES[fault.name](self, fault, stop)
                if self.silent:
                    return
        self.tokens_out = stop
        if not taken:
            self._give(start, stop)
        if stop >= self._content.plan.output_tokens:
            self._close()

    # The content.

    def _send(self, data: bytes, chunk: LedgerChunk, cut: int | None = None) -> None:
        self._out.put(event(data), chunk, cut=cut)

    def _running(self, output_tokens: int) -> UsageCounts | None:
        """The usage for this chunk, if the request wants usage on every chunk."""
        if not self._content.params.continuous_usage:
            return None
        if "usage_missing" in self._faults:
            self.strike("usage_missing")
            return None
        return self.counts(output_tokens)

    def _open(self) -> bool:
        """Send the role chunk if it is still due. Returns whether the first token must carry the role instead."""
        if self._opened or not self._content.frames.has_role:
            return False
        self._opened = True
        names = ("role_early", "role_with_token", "role_absent")
        self.strike(*names)
        if "role_absent" in self._faults or "role_with_token" in self._faults:
            return "role_with_token" in self._faults
        self._send(self._content.frames.role(self._running(0)), LedgerChunk("r", 0))
        return False

    def _give(self, start: int, stop: int) -> None:
        role = self._open()
        border = min(max(self._content.plan.reasoning_tokens, start), stop)
        if start < border:
            self._give_text(start, border, reasoning=True, role=role)
            role = False
        if border < stop:
            self._give_text(border, stop, reasoning=False, role=role)

    def _give_text(self, start: int, stop: int, *, reasoning: bool, role: bool) -> None:
        content = self._content
        last = stop >= content.plan.output_tokens
        text = "".join(content.texts[start:stop]) + self._suffix
        self._textless += stop - start
        tokens = self._textless if text or last else 0
        self._textless -= tokens
        end = self._end_of if last and not content.separate_finish else None
        data = content.frames.text(text, end, self._running(stop), reasoning=reasoning, role=role)
        chunk = LedgerChunk(("t" if reasoning else "c") if text else "o", tokens)
        if self._swap and not last:
            self._swap, self._swapped = False, (data, chunk)
            return
        cut = None
        if self._cut_character:  # After the first byte of the last multi-byte character.
            frame = event(data)
            cut = max(i for i, byte in enumerate(frame) if byte >= 0xC0) + 1
        self._send(data, chunk, cut)
        if self._twice:
            self._send(data, LedgerChunk(chunk.kind, 0))
        if self._swapped is not None:
            swapped, self._swapped = self._swapped, None
            self.strike("reorder")
            self._send(*swapped)
        self._suffix, self._twice, self._cut_character = "", False, False

    def _close(self) -> None:
        """After the last token: a separate finish reason, usage, `[DONE]`."""
        content = self._content
        self._over = True
        if content.separate_finish:
            self._send(content.frames.finish(self._end_of, self._running(self.tokens_out)), LedgerChunk("o", 0))
        if content.params.include_usage and "usage_missing" not in self._faults:
            content.input_count.when_known(self._send_usage)
            return
        if content.params.include_usage:
            self.strike("usage_missing")
        self._send_done()

    def _send_usage(self) -> None:
        if self._ended:
            return
        usage = self._content.frames.usage(self.counts(self.tokens_out))
        self._send(usage, LedgerChunk("u", 0))
        if "usage_twice" in self._faults:
            self.strike("usage_twice")
            self._send(usage, LedgerChunk("u", 0))
        self._send_done()

    def _send_done(self) -> None:
        if "no_done" in self._faults:
            self.strike("no_done")
            self._out.close()
        else:
            self._out.put(DONE, LedgerChunk("o", 0), final=True)

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
        text = "".join(self._content.texts[self.tokens_out : stop])
        whole = self._out.encode(event(self._content.frames.text(text, None, None)), final=False)
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
        self._send(PLANNED_ERROR, LedgerChunk("o", 0))
        self._out.put(DONE, LedgerChunk("o", 0), final=True)
        return True

    def malformed(self, fault: Fault, stop: int) -> bool:
        """Broken JSON in place of the token. The stream continues."""
        self._open()
        self.strike(fault.name)
        self._send(BROKEN_JSON, LedgerChunk("o", 0))
        return True

    def empty(self, fault: Fault, stop: int) -> bool:
        """Empty deltas before the token."""
        role = self._open()
        self.strike(fault.name)
        for n in range(fault.number("chunks")):
            data = self._content.frames.text("", None, self._running(self.tokens_out), role=role and n == 0)
            self._send(data, LedgerChunk("r" if role and n == 0 else "o", 0))
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
        self.strike(fault.name)
        self._suffix += "\u2028"
        return False

    def split_utf8(self, fault: Fault, stop: int) -> bool:
        """A three-byte character in the token's text, with its first byte in an earlier write."""
        self.strike(fault.name)
        self._suffix += "\u4e16"
        self._cut_character = True
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
