"""What is kept of one request.

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

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

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


Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A whole number from 0, or a time in ns: what an array of numpy holds."""
Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
Asked = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""What somebody asked for, sensible or not."""
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The answer in a reply: kept of probes (--check-answers), and of every request with --store-texts."""

    content: str = ""
    """Its text, without reasoning and tool calls."""
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each call, as the model wrote them."""
    limited: bool = False
    """Whether it ended at the limit of tokens."""


class RequestRecord(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """One request as the client saw it. The module docstring has the rules of the fields."""

    id: str
    index: Count
    phase: Phase
    session: str | None = None
    intended_ns: Count
    eligible_ns: Count | None
    connect_ns: Count | None
    sent_ns: Count | None
    first_byte_ns: Count | None
    end_ns: Count
    attempts: Count
    status: Count | None
    outcome: Outcome
    error: str | None = None
    chunk_ns: tuple[Count, ...] = ()
    chunk_bound_ns: tuple[Count | None, ...] | None = None
    chunk_tokens: tuple[Tokens, ...] | None = None
    chunk_kind: str = ""
    input_tokens_asked: Asked | None = None
    input_tokens: Tokens | None = None
    cached_tokens: Tokens | None = None
    """Of `input_tokens`, those that the server says it took from its cache."""
    output_tokens_asked: Asked | None = None
    output_tokens: Tokens | None = None
    output_tokens_from: TokensFrom | None = None
    output_tokens_counted: Tokens | None = None
    """Our own count over the received text, where a tokenizer was at hand: checked against the server's usage."""
    usage_contradiction: str | None = None
    """Why the server's usage was not believed: it said more than was asked for, say, or 0 where there is text."""
    reasoning_tokens: Tokens | None = None
    """Of `output_tokens`, those of reasoning, where the server says so."""
    tool_calls: Count | None = None
    """Calls of tools in the reply; None where they are not known: another endpoint, no reply, an older record."""
    inputs: Count | None = None
    """Texts to embed, or documents to rank, of a request whose reply is no generated text."""
    dimensions: Count | None = None
    """Numbers in each embedding of the reply."""
    bytes_sent: Count = 0
    bytes_received: Count = 0
    clock: Clock = "user"
    coalesced: Count = 0
    """Chunks that shared a read with a later one."""
    worker: Count = 0
    endpoint: str | None = None
    """The endpoint that its data named; None: that of the run."""
    model: str | None = None
    """The model that it named, where those of the run may differ; None: that of the run."""
    traffic_class: str | None = None
    """Its class, where the run has several (--mix)."""
    probe: Count | None = None
    """Its number among the probes of the run, from 0, if its answer is checked (--check-answers)."""
    answer: StoredAnswer | None = None
    """Its answer, if it is a probe, or with --store-texts."""
    session_number: Count | None = None
    """Number of its session in the run. This and what follows: as planned, and only in mode sessions."""
    session_turns: Count | None = None
    """Turns of its whole session."""
    session_turns_before: Count | None = None
    """Where its session began in the middle: its turns that were before that, and never sent."""
    turn: Count | None = None
    """Its number in its session, from 0."""
    job: Count | None = None
    """Number of its job in its session, from 0: a job is a user's request with all its steps."""
    job_step: Count | None = None
    """Its number among the steps of its job, from 0."""
    job_steps: Count | None = None
    """Steps of its whole job."""
    job_cut: bool | None = None
    """True where turns of its job were never sent, because its session began in the middle."""
    agent: str | None = None
    """The sub-agent that sent it; None: the main one."""
    after: tuple[Count, ...] | None = None
    """The turns that had to end before it was due; None: the one before it, or none before the first."""
    pause_ns: Count | None = None
    """From the end of the last of these to this request."""
    pause: Pause | None = None
    """Who took that pause: a person, or a tool."""
    cached_tokens_planned: Asked | None = None
    """Of its prompt, the tokens that a prefix cache without end holds by then."""
    server_queue_ms: Milliseconds | None = None
    """By the server's own clock: from its queue to the first step. None, here and below: its reply does not say it."""
    server_prefill_ms: Milliseconds | None = None
    """From the first step to the first token."""
    server_decode_ms: Milliseconds | None = None
    """From the first token to the last."""
    draft_steps: Count | None = None
    """Steps of speculative decoding that verified drafts."""
    draft_tokens: Count | None = None
    accepted_tokens: Count | None = None
    """Of the drafts, those that were right."""
    acceptance: tuple[Count, ...] | None = None
    """Of `draft_steps`, those that accepted the draft at each position, the first one first."""
    resent_ns: Count | None = None
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
