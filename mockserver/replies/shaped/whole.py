"""A whole reply of any shape, with the faults that apply to whole replies."""

from __future__ import annotations

import gzip

from mockserver.replies.shaped.stream import Shaped
from mockserver.replies.wire import Headers


class ShapedWhole(Shaped):
    """One JSON body after the last token, or a bad end if a fault strikes."""

    def begin(self) -> None:
        self.withholds_head()

    def take_of(self, choice: int, tokens: int) -> None:
        if self.is_over(choice):
            return
        start, stop = self._given[choice], self._given[choice] + tokens
        self._given[choice] = stop
        self.tokens_out += tokens
        for fault in self.striking(start, stop) if choice == 0 else ():
            name = fault.name
            if name == "u2028" or name == "malformed":
                self.strike(name)
            elif name == "reset":
                self._stop(name, start)
                self.status = None  # No head was sent.
                self._end(self._wire.reset())
            elif name in ("truncate", "cut_frame"):
                self._stop(name, start)
                self._content.input_count.when_known(self._cut)
            elif name == "error_in_stream":
                self._stop(name, start)
                self._send(500, self._content.frames.failure_body())
            if self.silent:
                return
        if self._all_given:
            self._over = True
            self._content.input_count.when_known(self._respond)

    def _stop(self, name: str, tokens: int) -> None:
        self.strike(name)
        self.failed = self._over = True
        self.tokens_out += tokens - self._given[0]
        self._given[0] = tokens

    def _body(self) -> bytes:
        content = self._content
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

    def _respond(self) -> None:
        if not self._ended:
            self._send(200, self._body())

    def _cut(self) -> None:
        if self._ended:
            return
        headers, body = self._packed(self._body())
        keep = len(body) // 2 if "cut_frame" in self._struck else 0
        self.bytes_out = keep
        self._end(self._wire.cut_body(200, headers, body, keep))

    def _send(self, status: int, body: bytes) -> None:
        headers, body = self._packed(body)
        self.status = status
        self.bytes_out = len(body)
        self._end(self._wire.respond(status, headers, body))
