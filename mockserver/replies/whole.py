"""Writes the scripts of whole replies, with the faults that apply to them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from mockserver.replies.script import Act, Line
from mockserver.replies.stream import ScriptWriter
from mockserver.replies.wire import Headers

_STOPS = ("reset", "error_in_stream", "truncate", "cut_frame")
"""Faults that end a whole reply. The last two cut its body."""


class WholeWriter(ScriptWriter):
    """One JSON body after the last token, or an abnormal end if a fault strikes."""

    def begin(self) -> Sequence[Line]:
        return self._without_head() or ()

    def take(self, choice: int, tokens: int) -> Sequence[Line]:
        start, most = self._given[choice], self.content.choices[choice].plan.output_tokens
        if self.is_over or start >= most:
            return ()
        self._given[choice] = stop = start + tokens
        self.tokens_out += tokens
        if choice == 0 and self._faults:
            self._garble_preempted(start)
        if stop < most and not self._due:
            return ()
        for fault in self.striking(start, stop) if choice == 0 and self._due else ():
            name = fault.name
            if name in ("u2028", "malformed"):
                self.strike(name)
            elif name in _STOPS:
                self._stop(name, start)
                if name == "reset":
                    self.status = None  # No head was sent.
                    return (Line(Act.RESET),)
                if name == "error_in_stream":
                    return self._lines(500, self.content.frames.failure_body())
                self.waits = True
                return ()
        if self._all_given:
            self.is_over = self.waits = True
        return ()

    def end(self) -> Sequence[Line]:
        return self._lines(200, self._body())

    def _stop(self, name: str, tokens: int) -> None:
        self.strike(name)
        self.failed = self.is_over = True
        self.tokens_out += tokens - self._given[0]
        self._given[0] = tokens

    def _body(self) -> bytes:
        content = self.content
        more = "\u2028" if "u2028" in self._struck else ""
        choices = [
            choice.said(given, "" if number else more)
            for number, (choice, given) in enumerate(zip(content.choices, self._given, strict=True))
        ]
        counts = None
        if "usage_missing" in self._faults:
            self.strike("usage_missing")
        else:
            counts = self.counts(self._given)
        body = content.frames.whole(choices, counts)
        return body[: len(body) // 2] if "malformed" in self._struck else body

    def _packed(self, body: bytes) -> tuple[Headers, bytes]:
        if "gzip" not in self._faults:
            return (), body
        self.strike("gzip")
        return (("content-encoding", "gzip"),), gzip.compress(body, mtime=0)

    def _lines(self, status: int, body: bytes) -> Sequence[Line]:
        headers, body = self._packed(body)
        if "truncate" in self._struck or "cut_frame" in self._struck:
            keep = len(body) // 2 if "cut_frame" in self._struck else 0
            return (Line(Act.CUT_WHOLE, body, keep=keep, status=status, headers=headers),)
        self.status = status
        return (Line(Act.WHOLE, body, status=status, headers=headers),)
