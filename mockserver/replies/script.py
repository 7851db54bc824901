"""Scripts: what to send for a reply, in order, and when. A writer produces the lines, a sender sends them.

Every reply has the same kind of script: streamed or whole, over HTTP or a WebSocket, with or without faults. If an
engine decides the times, the lines come with its tokens. If the plan decides them, a `TextScript` has all of them at
the start, and the compiled sender can take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import accumulate
from typing import NamedTuple

import orjson

from mockserver.dialect.frames import Event
from mockserver.plans.plan import Gaps
from mockserver.replies.wire import Headers


class Act(Enum):
    """The action of a line. All but the first two end the response."""

    HEAD = auto()
    """Send the head of an event stream."""
    EVENT = auto()
    """Send one event, or part of it."""
    END = auto()
    """Send the last event, if there is one, and end the response normally."""
    WHOLE = auto()
    """Send a whole response."""
    CUT_EVENT = auto()
    """Send the first `keep` bytes of an event, then close the connection (FIN)."""
    CUT_WHOLE = auto()
    """Send the head of a whole response and the first `keep` bytes of its body, then close the connection (FIN)."""
    CLOSE = auto()
    """Close the connection in the middle of the response (FIN)."""
    RESET = auto()
    """Reset the connection (RST)."""


BREAKS = frozenset({Act.CUT_EVENT, Act.CUT_WHOLE, Act.CLOSE, Act.RESET})
"""Acts that do not wait for earlier lines: unsent lines are dropped."""


class LedgerChunk(NamedTuple):
    """A chunk as the ledger records it."""

    kind: str
    tokens: int
    choice: int | None = None
    """None for a chunk of the whole reply: usage, or the end."""


class Line(NamedTuple):
    """One line of a script."""

    act: Act
    data: bytes = b""
    chunks: tuple[LedgerChunk, ...] = ()
    """The chunks completed by this line."""
    due_ns: int = 0
    """0: as soon as the earlier lines are sent."""
    keep: int = 0
    """Bytes of `data` to send before a cut."""
    status: int = 200
    """For a whole response."""
    headers: Headers = ()


_TOKEN = (LedgerChunk("c", 1, 0),)


@dataclass(slots=True)
class TextScript:
    """The script of a stream whose tokens differ only in their text, except the first and the last. One token is due at
    a time and each event is a chunk, so times, texts and events represent the lines."""

    due_ns: int
    """When the first token is due."""
    gaps_ns: Gaps
    """The time from each token to the next."""
    first: Sequence[Event]
    """The events of the first token."""
    before: bytes
    after: bytes
    texts: list[str]
    """One per token. Tokens in the middle are sent as `before` + JSON + `after`."""
    last: Sequence[Event]
    """The events of the last token; the same as `first` if there is only one."""
    ends: Sequence[Event] | None = None
    """The events after the last token. None until the prompt tokens are counted, if usage needs them."""

    def lines(self) -> Iterator[Line]:
        for token, due_ns in enumerate(accumulate(self.gaps_ns, initial=self.due_ns)):
            for line in self.lines_of(token):
                yield line._replace(due_ns=due_ns)
        yield from self.end_lines()

    def lines_of(self, token: int) -> list[Line]:
        if 0 < token < len(self.texts) - 1:
            return [Line(Act.EVENT, self.before + orjson.dumps(self.texts[token]) + self.after, _TOKEN)]
        return [_line(Act.EVENT, event, 0) for event in (self.last if token else self.first)]

    def end_lines(self, sent: int = 0) -> list[Line]:
        """The lines after the last token, except those already sent."""
        ends = (self.ends or ())[sent:]
        return [_line(Act.END if event is ends[-1] else Act.EVENT, event, None) for event in ends]


def _line(act: Act, event: Event, choice: int | None) -> Line:
    return Line(act, event.frame, (LedgerChunk(event.kind, int(event.carries), choice),))
