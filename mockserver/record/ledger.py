"""The ledger: one line of JSON per request, written when its response has ended.

The fields (times are in ns of CLOCK_MONOTONIC on this machine; None means "did not happen"):

- A *chunk* is one SSE event with data, `[DONE]` included. `write_ns[i]` is stamped immediately before the last byte of
  chunk i is handed to the kernel; `chunk_kind[i]` is one letter: r role, c content, t reasoning, f tool call, u usage alone,
  o other (an error object, broken JSON, a finish reason alone, an empty delta, `[DONE]`).
- `chunk_tokens[i]` is 0 for a chunk without text. If a stop string ended the reply, its last chunk also has the tokens
  whose text was never sent. A whole reply has no chunks.
- `blocked` lists the chunks that waited in our buffer because the client read too slowly. Their stamps are too early.
- `first_ns`, of a response of /any alone, is stamped immediately before its head is handed to the kernel. It has no chunks.
- `end_ns` is stamped immediately before the last bytes of the response (of a whole reply: before its only write). For a
  cut response it is the time when the mock cut it or noticed the cut.
- `fault` lists the faults that struck, `planned.fault` those that were planned, joined by `+`.
- `status` is null if no head was sent (`no_headers`, or the `reset` of a whole reply).
- `engine.cut` says why a response ended early without a fault: `client_closed` or `shutdown`.
- `engine.previous` says of a request that continues a stored response whether that was `found` or `lost`.
- A reply of several choices also has `chunk_choice[i]`, null for a chunk of the whole reply, and `planned.choices`; `planned`
  itself is the first choice.
- `bytes_in` and `bytes_out` count bodies, without HTTP framing.

Lines wait in memory for some ms, so JSON and the disk never come between two chunks of a stream.
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
"""How long a line can wait before it is written."""
SLICE_NS = 200_000
"""Time for encoding lines in one turn. Between two turns, each ms, the streams get theirs."""
_QUEUE = 200
"""A queue of n times this many lines makes the turns n times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One request as it happened. The module docstring explains the fields."""

    id: str | None
    index: int | None
    attempt: int
    received_ns: int
    handled_ns: int
    plan: Plan | None
    """None if the request was refused before it got a plan."""
    write_ns: Sequence[int]
    chunk_tokens: list[int]
    chunk_kind: str
    blocked: list[int]
    end_ns: int
    input_tokens: int | None
    output_tokens: int
    """For the metrics. The line has them chunk by chunk."""
    inputs: int | None = None
    """Texts that were embedded, or pairs that were scored; None where text is generated."""
    finished: str
    """For the metrics: stop, length, abort or error."""
    status: int | None
    fault: str | None
    bytes_in: int
    bytes_out: int
    engine: dict[str, Any]
    first_ns: int | None = None
    chunk_choice: list[int | None] | None = None
    choice_plans: Sequence[Plan] = ()

    def to_line(self) -> bytes:
        """The entry as one line of JSON, newline included."""
        plan = self.plan
        planned: dict[str, Any] = {
            "ttft_ns": None if plan is None else plan.ttft_ns,
            "gaps_ns": () if plan is None else plan.gaps_ns,
            "output_tokens": 0 if plan is None else plan.output_tokens,
            "fault": None if plan is None else names(plan.faults),
        }
        if self.choice_plans:
            planned["choices"] = [
                {"ttft_ns": plan.ttft_ns, "gaps_ns": plan.gaps_ns, "output_tokens": plan.output_tokens}
                for plan in self.choice_plans
            ]
        row: dict[str, Any] = {
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
            "inputs": self.inputs,
            "status": self.status,
            "fault": self.fault,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "engine": self.engine,
        }
        if self.first_ns is not None:
            row["first_ns"] = self.first_ns
        if self.chunk_choice is not None:
            row["chunk_choice"] = self.chunk_choice
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class Ledger:
    """Appends entries to a file some ms later, a few at a time. Use it inside a running event loop."""

    def __init__(self, file: LedgerFile, also: Callable[[LedgerEntry], None] = lambda entry: None) -> None:
        """`also` is called with each entry when its line is written, for work that can wait until then."""
        self._file = file
        self._also = also
        self._waiting: deque[LedgerEntry] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lines(self) -> int:
        """Lines in the file since the start."""
        return self._file.lines

    def state(self) -> dict[str, Any]:
        """The state of the file, for `/truth`."""
        return self._file.state()

    def add(self, entry: LedgerEntry) -> None:
        """Write this entry soon."""
        self._waiting.append(entry)
        if self._timer is None:
            self._call_later(FLUSH_S)

    def _call_later(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._write_some)

    def _write_some(self) -> None:
        self._timer = None
        # A long queue gets longer turns, so no line waits long however many responses end at once.
        self._write(SLICE_NS * max(1, len(self._waiting) // _QUEUE))
        if self._waiting:
            self._call_later(0.001)
        elif self._file.unwritten:
            self._call_later(RETRY_S)

    def _write(self, most_ns: int | None) -> None:
        """Write waiting lines for at most this long, at least one."""
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
        """Write all waiting lines now."""
        self._write(None)

    def read(self, since: int = 0) -> bytes:
        """The lines from number `since` on (the first is 0), including those that wait."""
        self.flush()
        return self._file.read(since)

    def close(self) -> None:
        """Write all waiting lines and close the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        self._file.close()
