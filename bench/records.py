"""RequestRecord <-> one JSON line of requests.jsonl.

A record holds what was seen, never what was computed from it: every number of a report is derived from records, so that
a report can be rendered again, and a new metric can be asked of an old run.

Rules of the fields (times are ns of CLOCK_MONOTONIC on the machine that sent; None means "did not happen"):

- `connect_ns` is a duration: what this request waited for a new connection (TCP, TLS, the handshake of a WebSocket); 0 on a
  connection from the pool.
- `sent_ns` is the send of the first attempt, whatever became of it: its user has waited since then. `resent_ns` is the send
  of the second attempt, which the chunks answer. The time between them is part of the latency.
- A *chunk* is one SSE event that carries data. `chunk_ns[i]` is the arrival of its last byte, `chunk_kind[i]` one letter:
  r role, c content, t reasoning (thinking), f function or tool call arguments, u usage alone, o other (an empty delta, a
  finish reason alone, an error object, `[DONE]`). Only c, t and f bear generated text: they are the *token chunks*.
- `chunk_bound_ns` is None where every stamp is exact. Otherwise it has one entry a chunk: None for an exact stamp, else the
  earliest moment at which the chunk can have arrived (`chunk_ns[i]` is then the latest).
- `chunk_tokens` has one entry a chunk (0 for a chunk without text), or is None where the tokens of chunks are not known.
  A token that came in a chunk without text counts for the next chunk with text.
- `bytes_sent` and `bytes_received` count bodies: after HTTP framing, before gunzip.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import orjson

from bench.errors import RecordError

TOKEN_KINDS = frozenset("ctf")
"""The kinds of chunk that bear generated text."""
MOST_TOKENS = 10_000_000
"""No reply and no prompt has more. A report that believed a larger count would need memory for each of them."""


class Outcome(StrEnum):
    """How a request ended. docs/metrics.md says which fault of a server gives which."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    NO_TOKENS = "no_tokens"
    LOST_RESPONSE = "lost_response"
    """The server does not know the response that the request goes on with (--history stored)."""
    CONNECT_ERROR = "connect_error"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST_BYTE = "timeout_first_byte"
    TIMEOUT_IDLE = "timeout_idle"
    TIMEOUT_TOTAL = "timeout_total"
    RESET = "reset"
    INTERRUPTED = "interrupted"
    DROPPED = "dropped"
    CANCELLED = "cancelled"
    """Its user left, as planned (--cancel): neither a success nor a failure."""


NO_FAILURE = frozenset({Outcome.OK, Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.CANCELLED})
"""All others are failures."""

Phase = Literal["warmup", "run"]
Clock = Literal["kernel", "user", "mixed"]
Pause = Literal["human", "tool"]
TokensFrom = Literal["usage", "tokenizer", "limit", "chunks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request as the client saw it. The module docstring has the rules of the fields."""

    id: str
    index: int
    phase: Phase
    session: str | None = None
    intended_ns: int
    eligible_ns: int | None
    connect_ns: int | None
    sent_ns: int | None
    first_byte_ns: int | None
    end_ns: int
    attempts: int
    status: int | None
    outcome: Outcome
    error: str | None = None
    chunk_ns: tuple[int, ...] = ()
    chunk_bound_ns: tuple[int | None, ...] | None = None
    chunk_tokens: tuple[int, ...] | None = None
    chunk_kind: str = ""
    input_tokens_asked: int | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    """Of `input_tokens`, those that the server says it took from its cache."""
    output_tokens_asked: int | None = None
    output_tokens: int | None = None
    output_tokens_from: TokensFrom | None = None
    output_tokens_counted: int | None = None
    """Our own count over the received text, where a tokenizer was at hand: checked against the server's usage."""
    usage_contradiction: str | None = None
    """Why the server's usage was not believed: it said more than was asked for, say, or 0 where there is text."""
    reasoning_tokens: int | None = None
    """Of `output_tokens`, those of reasoning, where the server says so."""
    tool_calls: int | None = None
    """Calls of tools in the reply; None where they are not known: another endpoint, no reply, an older record."""
    inputs: int | None = None
    """Texts to embed, or documents to rank, of a request whose reply is no generated text."""
    dimensions: int | None = None
    """Numbers in each embedding of the reply."""
    bytes_sent: int = 0
    bytes_received: int = 0
    clock: Clock = "user"
    coalesced: int = 0
    """Chunks that shared a read with a later one."""
    worker: int = 0
    endpoint: str | None = None
    """The endpoint that its data named; None: that of the run."""
    model: str | None = None
    """The model that it named, where those of the run may differ; None: that of the run."""
    traffic_class: str | None = None
    """Its class, where the run has several (--mix)."""
    session_number: int | None = None
    """Number of its session in the run. This and what follows: as planned, and only in mode sessions."""
    session_turns: int | None = None
    """Turns of its whole session."""
    session_turns_before: int | None = None
    """Where its session began in the middle: its turns that were before that, and never sent."""
    turn: int | None = None
    """Its number in its session, from 0."""
    job: int | None = None
    """Number of its job in its session, from 0: a job is a user's request with all its steps."""
    job_step: int | None = None
    """Its number among the steps of its job, from 0."""
    job_steps: int | None = None
    """Steps of its whole job."""
    job_cut: bool | None = None
    """True where turns of its job were never sent, because its session began in the middle."""
    agent: str | None = None
    """The sub-agent that sent it; None: the main one."""
    after: tuple[int, ...] | None = None
    """The turns that had to end before it was due; None: the one before it, or none before the first."""
    pause_ns: int | None = None
    """From the end of the last of these to this request."""
    pause: Pause | None = None
    """Who took that pause: a person, or a tool."""
    cached_tokens_planned: int | None = None
    """Of its prompt, the tokens that a prefix cache without end holds by then."""
    server_queue_ms: float | None = None
    """By the server's own clock: from its queue to the first step. None, here and below: its reply does not say it."""
    server_prefill_ms: float | None = None
    """From the first step to the first token."""
    server_decode_ms: float | None = None
    """From the first token to the last."""
    draft_steps: int | None = None
    """Steps of speculative decoding that verified drafts."""
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    """Of the drafts, those that were right."""
    acceptance: tuple[int, ...] | None = None
    """Of `draft_steps`, those that accepted the draft at each position, the first one first."""
    resent_ns: int | None = None
    """When the second attempt was sent; None if the first one was answered, or the second never sent."""

    output_tokens_doubt: str | None = None
    """Why `output_tokens` may be wrong: counted by chunks that hold several, say, because the server counts nothing."""

    @property
    def last_sent_ns(self) -> int | None:
        """The send of the attempt that the server answered. Latencies count from `sent_ns`."""
        return self.sent_ns if self.resent_ns is None else self.resent_ns

    @property
    def streamed(self) -> bool:
        """Whether the response came as a stream of chunks."""
        return bool(self.chunk_ns)


ORDER_WITHIN_NS = 1_000_000
"""Moments of a record follow each other, but for so much: a timer may be early, and stamps come from two clocks."""


def checked(record: RequestRecord) -> RequestRecord:
    """The record. Raises RecordError where its moments are not in the order in which they can only have happened."""
    moments = (
        ("intended_ns", record.intended_ns), ("eligible_ns", record.eligible_ns), ("sent_ns", record.sent_ns),
        ("resent_ns", record.resent_ns), ("first_byte_ns", record.first_byte_ns), ("end_ns", record.end_ns),
    )  # fmt: skip
    try:
        before, latest = moments[0]
        for name, at in moments[1:]:
            if at is None:
                continue
            if at < latest - ORDER_WITHIN_NS:
                raise RecordError(f"{name} ({at}) is before {before} ({latest}): no request can have happened so")
            before, latest = name, at
        chunks = record.chunk_ns
        since = record.last_sent_ns if record.last_sent_ns is not None else record.intended_ns
        if chunks and not (since - ORDER_WITHIN_NS <= chunks[0] and chunks[-1] <= record.end_ns + ORDER_WITHIN_NS):
            raise RecordError(
                f"chunk_ns ({chunks[0]} to {chunks[-1]}) is not between the send ({since}) and end_ns ({record.end_ns})"
            )
        if tuple(sorted(chunks)) != chunks:
            raise RecordError("chunk_ns does not ascend: no stream can have come so")
    except TypeError:
        pass  # A value of another type: whoever computes with it finds it, and then the whole line is looked at.
    return record


_FIELDS = {field.name for field in dataclasses.fields(RequestRecord)}
_REQUIRED = {f.name for f in dataclasses.fields(RequestRecord) if f.default is dataclasses.MISSING}


def _nothing(first: str, last: str) -> bytes:
    """How a record is written in which every field from the first to the last is None."""
    names = [field.name for field in dataclasses.fields(RequestRecord)]
    return b"".join(b',"%s":null' % name.encode() for name in names[names.index(first) : names.index(last) + 1])


_NO_SESSION = _nothing("traffic_class", "cached_tokens_planned")
_SILENT_SERVER = _nothing("server_queue_ms", "output_tokens_doubt") + b"}\n"
"""What only sessions and classes have; what only some servers say, and only second attempts and doubtful counts have. They
end the line."""


def to_line(record: RequestRecord) -> bytes:
    """The record as one line of JSON, newline included. What the server says and what follows it are left out if all of it is
    None, and then what sessions and classes have too."""
    line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    if not line.endswith(_SILENT_SERVER):
        return line
    end = len(line) - len(_SILENT_SERVER)
    if line.endswith(_NO_SESSION, 0, end):
        end -= len(_NO_SESSION)
    return line[:end] + b"}\n"


def from_line(line: bytes | str) -> RequestRecord:
    """The record that `to_line` wrote. Raises RecordError, which says what is wrong with the line."""
    try:
        row: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError as e:
        raise RecordError(f"not JSON: {e}") from e
    if not isinstance(row, dict):
        raise RecordError("not a JSON object")
    if missing := _REQUIRED - row.keys():
        raise RecordError(f"fields missing: {', '.join(sorted(missing))}")
    if unknown := row.keys() - _FIELDS:
        raise RecordError(f"unknown fields: {', '.join(sorted(unknown))} (written by a newer version?)")
    try:
        row["outcome"] = Outcome(row["outcome"])
    except ValueError as e:
        raise RecordError(f"unknown outcome {row['outcome']!r}") from e
    for name in ("chunk_ns", "chunk_bound_ns", "chunk_tokens", "after", "acceptance"):
        if row.get(name) is not None:
            if not isinstance(row[name], list):
                raise RecordError(f"{name} is not a list")
            row[name] = tuple(row[name])
    return RequestRecord(**row)
