"""A stream of any shape, with any fault: slower than `reply.StreamedReply`, and the same to the byte where nothing is asked.

A fault that has `after` strikes in place of token `after` + 1, or together with it: `STRIKES` has a line for each. The
others are asked for by name where they matter. What struck is named once it did something.
"""

from __future__ import annotations

from collections.abc import Callable

from mockserver.dialect.openai import error_body
from mockserver.dialect.sse import DONE, event
from mockserver.faults import Fault
from mockserver.pacing import SHARED_NS
from mockserver.replies.reply import Reply
from mockserver.replies.shaped.content import Counts, End, Script
from mockserver.replies.shaped.outgoing import Outgoing, Said, Timer
from mockserver.replies.wire import Wire

PLANNED_ERROR = error_body(500, "The engine failed while it made this reply (planned fault).")
BROKEN_JSON = b'{"id":"broken","choices":[{"index":0,"delta":{"conte'

FROM_THE_START = frozenset({"slow_accept", "stall", "slow", "degrade", "pause", "length"})
"""Faults that have struck when the reply begins: they are in its plan."""


class Shaped(Reply):
    """What streams and whole replies of this kind have in common."""

    def __init__(self, wire: Wire, script: Script, timer: Timer, on_end: Callable[[Reply], None]) -> None:
        super().__init__(wire, on_end)
        self._script = script
        self._timer = timer
        self._faults = {fault.name: fault for fault in script.plan.faults}
        self._struck: set[str] = set()
        self._end_of = End(script.plan.finish, script.stop)
        self._over = False
        """Nothing more is said, though something may still have to go out."""
        self.strike(*(FROM_THE_START & self._faults.keys()))
        tokens = script.plan.output_tokens
        self._due = [(fault, fault.strikes_at(tokens)) for fault in script.plan.faults if fault.kind.strikes]

    @property
    def silent(self) -> bool:
        """Whether nothing more is to be said."""
        return self._ended or self._over

    def strike(self, *names: str) -> None:
        """These faults have done something; without being planned they have not."""
        self._struck |= {name for name in names if name in self._faults}
        if self._struck:
            self.struck = "+".join(name for name in self._faults if name in self._struck)

    def striking(self, start: int, stop: int) -> list[Fault]:
        """The faults that strike while the tokens from `start` to `stop` are due, in the order of their tokens."""
        due = sorted((at, n) for n, (_, at) in enumerate(self._due) if start <= at < stop)
        found = [self._due[n][0] for _, n in due]
        self._due = [(fault, at) for fault, at in self._due if not start <= at < stop]
        return found

    def say_nothing(self) -> bool:
        """Whether no head is to be sent (`no_headers`); then the client waits, or is cut off in the end."""
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

    def counts(self, output_tokens: int) -> Counts:
        """Usage after so many tokens, as it will be said."""
        script = self._script
        if (wrong := self._faults.get("usage_wrong")) is not None:
            self.strike("usage_wrong")
        tokens = script.input_count.tokens
        reasoning = min(output_tokens, script.plan.reasoning_tokens) if script.reasons else None
        said = output_tokens if wrong is None else output_tokens + wrong.number("by")
        return Counts(0 if tokens is None else tokens, said, reasoning)


class ShapedStream(Shaped):
    """Server-sent events."""

    def __init__(self, wire: Wire, script: Script, timer: Timer, on_end: Callable[[Reply], None]) -> None:
        super().__init__(wire, script, timer, on_end)
        self._out = Outgoing(wire, timer, self._faults, self._note, self._end)
        self._opened = self._noted = False
        self._untold = 0
        """Tokens whose text is still to come."""
        self._suffix = ""
        self._twice = self._swap = self._cut_character = False
        self._swapped: tuple[bytes, Said] | None = None
        keepalive = self._faults.get("keepalive")
        self._period_ns = None if keepalive is None else keepalive.number("period")

    def begin(self) -> None:
        if self.say_nothing():
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
        if now - self._out.last_ns >= self._period_ns - SHARED_NS:  # So much early a timer may be.
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
        if stop >= self._script.plan.output_tokens:
            self._close()

    # What is said.

    def _send(self, data: bytes, said: Said, cut: int | None = None) -> None:
        self._out.put(event(data), said, cut=cut)

    def _running(self, output_tokens: int) -> Counts | None:
        """Usage on every chunk, where it was asked for."""
        if not self._script.ask.continuous_usage:
            return None
        if "usage_missing" in self._faults:
            self.strike("usage_missing")
            return None
        return self.counts(output_tokens)

    def _open(self) -> bool:
        """Send the role where it has not been; whether it has to ride on the first token instead."""
        if self._opened or not self._script.frames.has_role:
            return False
        self._opened = True
        names = ("role_early", "role_with_token", "role_absent")
        self.strike(*names)
        if "role_absent" in self._faults or "role_with_token" in self._faults:
            return "role_with_token" in self._faults
        self._send(self._script.frames.role(self._running(0)), Said("r", 0))
        return False

    def _give(self, start: int, stop: int) -> None:
        role = self._open()
        border = min(max(self._script.plan.reasoning_tokens, start), stop)
        if start < border:
            self._give_text(start, border, reasoning=True, role=role)
            role = False
        if border < stop:
            self._give_text(border, stop, reasoning=False, role=role)

    def _give_text(self, start: int, stop: int, *, reasoning: bool, role: bool) -> None:
        script = self._script
        last = stop >= script.plan.output_tokens
        text = "".join(script.texts[start:stop]) + self._suffix
        self._untold += stop - start
        tokens = self._untold if text or last else 0
        self._untold -= tokens
        end = self._end_of if last and not script.finish_apart else None
        data = script.frames.text(text, end, self._running(stop), reasoning=reasoning, role=role)
        said = Said(("t" if reasoning else "c") if text else "o", tokens)
        if self._swap and not last:
            self._swap, self._swapped = False, (data, said)
            return
        cut = None
        if self._cut_character:  # Behind the first byte of the last character that is longer than one.
            frame = event(data)
            cut = max(i for i, byte in enumerate(frame) if byte >= 0xC0) + 1
        self._send(data, said, cut)
        if self._twice:
            self._send(data, Said(said.kind, 0))
        if self._swapped is not None:
            swapped, self._swapped = self._swapped, None
            self.strike("reorder")
            self._send(*swapped)
        self._suffix, self._twice, self._cut_character = "", False, False

    def _close(self) -> None:
        """All tokens are out: a finish reason of its own, usage, `[DONE]`."""
        script = self._script
        self._over = True
        if script.finish_apart:
            self._send(script.frames.finish(self._end_of, self._running(self.tokens_out)), Said("o", 0))
        if script.ask.include_usage and "usage_missing" not in self._faults:
            script.input_count.when_known(self._send_usage)
            return
        if script.ask.include_usage:
            self.strike("usage_missing")
        self._send_done()

    def _send_usage(self) -> None:
        if self._ended:
            return
        usage = self._script.frames.usage(self.counts(self.tokens_out))
        self._send(usage, Said("u", 0))
        if "usage_twice" in self._faults:
            self.strike("usage_twice")
            self._send(usage, Said("u", 0))
        self._send_done()

    def _send_done(self) -> None:
        if "no_done" in self._faults:
            self.strike("no_done")
            self._out.close()
        else:
            self._out.put(DONE, Said("o", 0), final=True)

    def _note(self, stamp_ns: int, chunks: tuple[Said, ...], size: int) -> None:
        self.bytes_out += size
        if not self._noted:
            self._noted = True
            self.strike(*self._out.names)
        for said in chunks:
            if self._wire.blocked:
                self.blocked.append(len(self.write_ns))
            self.write_ns.append(stamp_ns)
            self.chunk_tokens.append(said.tokens)
            self.chunk_kinds.append(said.kind)

    # Strikes: each gets the fault and the tokens that will be out, and says whether it takes the place of the token.

    def reset(self, fault: Fault, stop: int) -> bool:
        """TCP RST."""
        return self._break(fault, self._wire.reset)

    def truncate(self, fault: Fault, stop: int) -> bool:
        """TCP FIN between two chunks."""
        return self._break(fault, self._wire.truncate)

    def cut_frame(self, fault: Fault, stop: int) -> bool:
        """TCP FIN within a chunk."""
        self._out.drop()
        text = "".join(self._script.texts[self.tokens_out : stop])
        whole = self._out.encode(event(self._script.frames.text(text, None, None)), final=False)
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
        self._send(PLANNED_ERROR, Said("o", 0))
        self._out.put(DONE, Said("o", 0), final=True)
        return True

    def malformed(self, fault: Fault, stop: int) -> bool:
        """Broken JSON in place of the token, and the stream goes on."""
        self._open()
        self.strike(fault.name)
        self._send(BROKEN_JSON, Said("o", 0))
        return True

    def empty(self, fault: Fault, stop: int) -> bool:
        """Deltas without text before the token."""
        role = self._open()
        self.strike(fault.name)
        for n in range(fault.number("chunks")):
            data = self._script.frames.text("", None, self._running(self.tokens_out), role=role and n == 0)
            self._send(data, Said("r" if role and n == 0 else "o", 0))
        return False

    def duplicate(self, fault: Fault, stop: int) -> bool:
        """The token's chunk comes twice."""
        self.strike(fault.name)
        self._twice = True
        return False

    def reorder(self, fault: Fault, stop: int) -> bool:
        """The token's chunk comes behind the next one; a last one has none."""
        self._swap = True
        return False

    def u2028(self, fault: Fault, stop: int) -> bool:
        """A line separator in the token's text, as it stands: JSON allows it, and some line readers break at it."""
        self.strike(fault.name)
        self._suffix += "\u2028"
        return False

    def split_utf8(self, fault: Fault, stop: int) -> bool:
        """A character of three bytes in the token's text, of which one byte is written before the others."""
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
