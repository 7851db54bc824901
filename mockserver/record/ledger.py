"""The ledger: what was done for each request, one line of JSON each, written when its response has ended.

Rules of the fields (times are ns of CLOCK_MONOTONIC on this machine; None means "did not happen"):

- A *chunk* is one SSE event with data, `[DONE]` included. `write_ns[i]` is stamped immediately before the last byte of
  chunk i is handed to the kernel; `chunk_kind[i]` is one letter: r role, c content, t reasoning, u usage alone, o other
  (an error object, broken JSON, a finish reason alone, an empty delta, `[DONE]`); f tool call is kept for what this mock
  does not send yet. `chunk_tokens[i]` is 0 for a chunk without text, except for the last of a reply that a stop string
  ended: there stand the tokens whose text never came. A reply that is not streamed has no chunks.
- `blocked` lists the chunks that waited in a buffer of ours, because the client read too slowly: their stamp is not
  the truth.
- `end_ns` is stamped immediately before the last bytes of the response are handed over, the whole of one that is not
  streamed; for a response that was cut, when the mock cut it or learned of it.
- `fault` is what struck; `planned.fault` is what was to strike; several are joined by `+`.
- `status` is null where no head was sent (`no_headers`, or the `reset` of a reply that comes whole).
- `engine.cut` is there where a response did not reach its end and no fault did it: `client_closed` or `shutdown`.
- `bytes_in` and `bytes_out` count bodies, after HTTP framing.

The lines wait in memory for some ms, so that JSON and the disk never come between two chunks of a stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mockserver.clock import now_ns
from mockserver.faults import names
from mockserver.plans.plan import Plan
from mockserver.record.ledger_file import RETRY_S, LedgerFile

FLUSH_S = 0.02
"""How long a line may wait before the writing of it begins."""
SLICE_NS = 200_000
"""How long lines are made at a stretch; between two slices, each ms, the streams have their turn."""
_QUEUE = 200
"""With a queue of twice, three times ... so many lines the slices are twice, three times ... as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request as it was done. The module docstring has the rules of the fields."""

    id: str | None
    index: int | None
    attempt: int
    received_ns: int
    handled_ns: int
    plan: Plan | None
    """None where the request was refused before it got one."""
    write_ns: Sequence[int]
    chunk_tokens: list[int]
    chunk_kind: str
    blocked: list[int]
    end_ns: int
    input_tokens: int | None
    output_tokens: int
    """For the metrics; the line has them chunk by chunk."""
    finished: str
    """For the metrics: stop, length, abort or error."""
    status: int | None
    fault: str | None
    bytes_in: int
    bytes_out: int
    engine: dict[str, Any]

    def to_line(self) -> bytes:
        """The entry as one line of JSON, newline included."""
        plan = self.plan
        planned = {
            "ttft_ns": None if plan is None else plan.ttft_ns,
            "gaps_ns": () if plan is None else plan.gaps_ns,
            "output_tokens": 0 if plan is None else plan.output_tokens,
            "fault": None if plan is None else names(plan.faults),
        }
        row = {
            "id": self.id,
            "index": self.index,
            "attempt": self.attempt,
            "received_ns": self.received_ns,
            "handled_ns": self.handled_ns,
            "planned": planned,
            "write_ns": [*self.write_ns],
            "chunk_tokens": self.chunk_tokens,
            "chunk_kind": self.chunk_kind,
            "blocked": self.blocked,
            "end_ns": self.end_ns,
            "input_tokens": self.input_tokens,
            "status": self.status,
            "fault": self.fault,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "engine": self.engine,
        }
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class Ledger:
    """Appends entries to a file, some ms after they came, a few at a time. Use it inside a running event loop."""

    def __init__(self, file: LedgerFile, also: Callable[[Entry], None] = lambda entry: None) -> None:
        """`also` is called with each entry when its line is written: for what need not be done at the end of a response."""
        self._file = file
        self._also = also
        self._waiting: deque[Entry] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lines(self) -> int:
        """Lines in the file since the start."""
        return self._file.lines

    def state(self) -> dict[str, Any]:
        """For `/truth`: how far the file can be trusted."""
        return self._file.state()

    def add(self, entry: Entry) -> None:
        """Write this entry soon."""
        self._waiting.append(entry)
        if self._timer is None:
            self._call_later(FLUSH_S)

    def _call_later(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._write_some)

    def _write_some(self) -> None:
        self._timer = None
        # A long queue is worked off in longer slices, so that no line waits long however many end at once.
        self._write(SLICE_NS * max(1, len(self._waiting) // _QUEUE))
        if self._waiting:
            self._call_later(0.001)
        elif self._file.unwritten:
            self._call_later(RETRY_S)

    def _write(self, most_ns: int | None) -> None:
        """Write what waits, for so long; at least one line."""
        lines = []
        until_ns = None if most_ns is None else now_ns() + most_ns
        while self._waiting:
            entry = self._waiting.popleft()
            lines.append(entry.to_line())
            self._also(entry)
            if until_ns is not None and now_ns() > until_ns:
                break
        self._file.append(lines)

    def flush(self) -> None:
        """Write all that waits, now."""
        self._write(None)

    def read(self, since: int = 0) -> bytes:
        """The lines from number `since` on (the first is 0), what still waits included."""
        self.flush()
        return self._file.read(since)

    def close(self) -> None:
        """Write all that waits and close the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        self._file.close()
