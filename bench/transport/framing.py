"""How the body of a response is split into events."""

from __future__ import annotations

from collections.abc import Sequence

from bench.endpoints.interface import Framing, OtherLine
from bench.transport.lines import LineParser
from bench.transport.sse import SSEParser


class WholeMessages:
    """The parser for pieces that already are whole messages, each an event."""

    too_large = False
    other_lines: Sequence[OtherLine] = ()

    def feed_all(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        return [[piece] for piece in pieces]

    def take_other_lines(self) -> list[OtherLine]:
        """Always empty."""
        return []

    def end(self) -> bytes:
        """Always empty."""
        return b""


Parser = SSEParser | LineParser | WholeMessages
PARSERS: dict[Framing, type[Parser]] = {
    "sse": SSEParser,
    "lines": LineParser,
    "chunks": WholeMessages,
}
