"""The ledger: one line of JSON per request, written when its response has ended.

Lines wait in memory for some ms, so JSON encoding and the disk never come between two chunks of a stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mockserver.clock import now_ns
from mockserver.faults import names
from mockserver.plans.plan import Plan
from mockserver.record.ledger_file import RETRY_S, LedgerFile

FIELDS: Mapping[str, str] = {
    "id": "The header `x-request-id`, or null.",
    "index": "The number at the end of the id.",
    "attempt": "1 for the first request with this id.",
    "received_ns": "The kernel's receive stamp of the request's last byte; without one, the time of the read.",
    "handled_ns": "When the handler started.",
    "planned": "The plan: `ttft_ns`, `gaps_ns[]` (one per token after the first), `output_tokens`, `fault`; and `choices[]` "
    "of a reply with several.",
    "write_ns": "For each chunk, a stamp immediately before its last byte was handed to the kernel. A chunk is one SSE event "
    "with data, `[DONE]` included; a reply that is not streamed has no chunks.",
    "chunk_tokens": "Tokens of each chunk. If a stop string ended the reply, the last one includes tokens whose text was "
    "never sent.",
    "chunk_kind": "One letter for each chunk: r role, c content, t reasoning, f tool call, i image, a audio, u usage alone, "
    "o other (`[DONE]`, an error, broken JSON, a finish reason alone, an empty delta).",
    "blocked": "Chunks that waited in a buffer because the client read too slowly; their stamps are too early.",
    "end_ns": "Immediately before the last bytes left, or when the response was cut or its end was noticed.",
    "input_tokens": "Tokens of the prompt, with the chat template; null for a refusal.",
    "inputs": "Texts embedded, pairs scored, or images made; null for generated text.",
    "status": "The HTTP status; null if no head was sent.",
    "fault": "The faults that struck, joined by `+`. Those that were planned are in `planned.fault`.",
    "bytes_in": "The body of the request, without HTTP framing.",
    "bytes_out": "The body of the response, without HTTP framing.",
    "engine": "What the engine did: see the next table.",
    "first_ns": "`/any` alone: immediately before the head left.",
    "audio_in_ns": "Transcriptions alone: the length of the clip.",
    "audio_out_bytes": "Speech alone: the bytes of audio in each chunk, which `write_ns` says the times of.",
    "audio_bytes_per_s": "Speech alone: how many of them play for a second.",
    "chunk_choice": "Of a reply with several choices: the choice of each chunk; null for a chunk of the whole reply.",
    "traceparent": "The header of this name (W3C Trace Context), of requests that have one.",
}
"""The keys of a line. Times are in ns of CLOCK_MONOTONIC on this machine; null means that it did not happen."""

ENGINE_FIELDS: Mapping[str, str] = {
    "queue_ns": "Time in the queue.",
    "steps": "Steps of the engine.",
    "frontend_ns": "Engine `batching`: from the arrival to the queue.",
    "prefill_ns": "Engine `batching`: from the first step to the first token.",
    "decode_ns": "Engine `batching`: from the first token to the last.",
    "cached_tokens": "Engine `batching`: hits of the prefix cache.",
    "preemptions": "Engine `batching`: how often the request was preempted.",
    "late_ns": "Engine `batching`: a bound of how late the model admitted the request.",
    "priority": "Engine `batching`: the priority of the request.",
    "draft_steps": "Speculative decoding: steps that verified drafts.",
    "draft_tokens": "Speculative decoding: drafts.",
    "accepted_tokens": "Speculative decoding: accepted drafts.",
    "probe": "The kind of probe that the request asks.",
    "model": "The requested name, if it is not the first of `--model`.",
    "previous": "`found` or `lost`, of a request that continues a stored response.",
    "replicas": "With `--scale`: the replicas that were there.",
    "replica_ns": "With `--scale`: when the latest of them came.",
    "config": "The version of the configuration, unless it is 0.",
    "replica": "With `--replicas`: which of them answered, from 0.",
    "cut": "`client_closed` or `shutdown`, if the response ended early without a fault.",
}
"""The keys of `engine`, each present only if it applies."""

FLUSH_S = 0.02
"""How long a line can wait before it is written."""
SLICE_NS = 200_000
"""Time per turn for encoding lines. Between two turns, 1 ms apart, the streams run."""
_QUEUE = 200
"""A queue of n times this many lines makes the turns n times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One request as it was served. FIELDS and ENGINE_FIELDS explain the line."""

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
    """Texts embedded, pairs scored, or images generated. None if text is generated."""
    finished: str
    """For the metrics: stop, length, abort or error."""
    status: int | None
    fault: str | None
    bytes_in: int
    bytes_out: int
    engine: dict[str, Any]
    first_ns: int | None = None
    audio_in_ns: int | None = None
    audio_out_bytes: list[int] | None = None
    audio_bytes_per_s: int | None = None
    chunk_choice: list[int | None] | None = None
    choice_plans: Sequence[Plan] = ()
    traceparent: str | None = None

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
        if self.audio_in_ns is not None:
            row["audio_in_ns"] = self.audio_in_ns
        if self.audio_out_bytes is not None:
            row |= {"audio_out_bytes": self.audio_out_bytes, "audio_bytes_per_s": self.audio_bytes_per_s}
        if self.chunk_choice is not None:
            row["chunk_choice"] = self.chunk_choice
        if self.traceparent is not None:
            row["traceparent"] = self.traceparent
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


class Ledger:
    """Appends entries to a file some ms later, a few at a time. Use it inside a running event loop."""

    def __init__(
        self,
        file: LedgerFile,
        also: Callable[[LedgerEntry], None] = lambda entry: None,
        replica: int | None = None,
    ) -> None:
        """`also` is called with each entry when its line is written, for work that can wait until then. `replica` is
        added to each line."""
        self._file = file
        self._replica = replica
        self._also = also
        self._waiting: deque[LedgerEntry] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lines(self) -> int:
        """Lines in the file since the start."""
        return self._file.lines

    def state(self) -> dict[str, Any]:
        return self._file.state()

    def add(self, entry: LedgerEntry) -> None:
        """Write this entry soon."""
        if self._replica is not None:
            entry.engine["replica"] = self._replica
        self._waiting.append(entry)
        if self._timer is None:
            self._call_later(FLUSH_S)

    def _call_later(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._write_some)

    def _write_some(self) -> None:
        self._timer = None
        # A long queue gets longer turns, so no line waits long even if many responses end at once.
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
        """The lines from number `since` on (the first is 0), including waiting lines."""
        self.flush()
        return self._file.read(since)

    def close(self) -> None:
        """Write all waiting lines and close the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        self._file.close()
