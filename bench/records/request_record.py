"""The record of one request.

A record contains observations, never values computed from them: every number of a report is derived from records, so a
report can be rendered again, and a new metric can be computed for an old run.

Rules of the fields (times are ns of CLOCK_MONOTONIC on the machine that sent; None means "did not happen"):

- `connect_ns` is a duration: what this request waited for a new connection (TCP, TLS, the handshake of a WebSocket); 0 on a
  connection from the pool.
- `sent_ns` is the send of the first attempt, whatever became of it: its user has waited since then. `resent_ns` is the send
  of the second attempt, which the chunks answer. The time between them is part of the latency.
- A *chunk* is one SSE event that carries data. `chunk_ns[i]` is the arrival of its last byte, `chunk_kind[i]` one letter:
  r role, c content, t reasoning (thinking), f function or tool call arguments, i an image or a partial one, a audio, u usage
  alone, o other (an empty delta, a finish reason alone, an error object, `[DONE]`). Only c, t and f bear generated text: they
  are the *token chunks*.
- `chunk_bound_ns` is None if every stamp is exact. Otherwise it has one entry a chunk: None for an exact stamp, else the
  earliest moment at which the chunk can have arrived (`chunk_ns[i]` is then the latest).
- `chunk_tokens` has one entry a chunk (0 for a chunk without text), or is None if the tokens of chunks are not known.
  A token that came in a chunk without text counts for the next chunk with text.
- `bytes_sent` and `bytes_received` count bodies: after HTTP framing, before gunzip.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

UTTERANCES = "utterances"
"""The input type of requests for speech."""
REQUESTS = "requests"
"""The input type of requests without a token count: each is one input, so `inputs` is 1."""
TOKEN_KINDS = frozenset("ctf")
"""The kinds of chunk with generated text."""
IMAGE_KIND = "i"
"""The kind of chunk with an image."""
MOST_TOKENS = 10_000_000
"""No reply and no prompt has more. A report that trusted a larger count would need memory for each token."""


class Outcome(StrEnum):
    """How a request ended. docs/metrics.md explains which fault of a server causes which outcome."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    NO_TOKENS = "no_tokens"
    LOST_RESPONSE = "lost_response"
    """The server does not know the response that the request continues (--history stored)."""
    CONNECT_ERROR = "connect_error"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST_BYTE = "timeout_first_byte"
    TIMEOUT_IDLE = "timeout_idle"
    TIMEOUT_TOTAL = "timeout_total"
    RESET = "reset"
    INTERRUPTED = "interrupted"
    DROPPED = "dropped"
    CANCELLED = "cancelled"
    """The user left as planned (--cancel): neither a success nor a failure."""


NO_FAILURE = frozenset({Outcome.OK, Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.CANCELLED})
"""All other outcomes are failures."""

Phase = Literal["warmup", "run"]
Clock = Literal["kernel", "user", "mixed"]
Pause = Literal["human", "tool"]
TokensFrom = Literal["usage", "tokenizer", "limit", "chunks"]


Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A whole number of at least 0, or a time in ns, that fits in a numpy array."""
Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
Asked = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A number that a user requested, sensible or not."""
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]


class ServerWords(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A server's own numbers for one request, besides its usage: fields of every record. None if the reply lacks them.

    `bench/endpoints/server_words.py` reads them. The report shows `server_X_ms` if `ServerReported` (bench/results/server.py)
    has a field `X_ms`.
    """

    server_queue_ms: Milliseconds | None = None
    """From the queue to the first step, by the server's clock (vLLM's `queue_time_ms`)."""
    server_prefill_ms: Milliseconds | None = None
    """From the first step to the first token (vLLM's `time_to_first_token_ms`, llama.cpp's `prompt_ms`)."""
    server_decode_ms: Milliseconds | None = None
    """From the first token to the last (vLLM's `generation_time_ms`, llama.cpp's `predicted_ms`)."""
    draft_steps: Count | None = None
    """Speculative decoding: steps that verified drafts."""
    draft_tokens: Count | None = None
    """The number of drafts."""
    accepted_tokens: Count | None = None
    """The accepted drafts; the token that the model adds to them does not count."""
    acceptance: tuple[Count, ...] | None = None
    """The `draft_steps` that accepted the draft at each position, first to last."""


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The answer in a reply, stored for probes (--check-answers), and for every request with --store-texts."""

    content: str = ""
    """The text, without reasoning and tool calls."""
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each call, as the model wrote them."""
    limited: bool = False
    """Whether it was cut off by the token limit."""
    tokens: tuple[tuple[str, float], ...] = ()
    """The tokens with their log probabilities, if the server sends them."""


class RequestRecord(ServerWords, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One request as observed by the client. The module docstring has the rules of the fields.

    The string below a field describes it in docs/report.md, and on the reference page of the files.
    """

    id: str
    """`<run>-<index>`, also sent as the header `x-request-id`."""
    index: Count
    """Its number in the run, from 0, including the warm-up."""
    phase: Phase
    """`warmup` or `run`."""
    session: str | None = None
    """The session named by its row of the data set."""
    intended_ns: Count
    """When it was due: by the schedule, or when its user became free."""
    eligible_ns: Count | None
    """`intended_ns`, or the time at which a slot under `--max-concurrency` became free, if that is later."""
    connect_ns: Count | None
    """A duration: the wait for a new connection; 0 if it was already open."""
    sent_ns: Count | None
    """Immediately before the first byte of the first attempt was passed to the kernel."""
    first_byte_ns: Count | None
    """Arrival of the response's first byte."""
    end_ns: Count
    """Arrival of the last byte, or the time of the failure."""
    attempts: Count
    """2 if a reused connection died before any answer, within a second, and a new one was tried. `sent_ns` is then the
    first send and `resent_ns` the second; chunks and status belong to the second."""
    status: Count | None
    """The HTTP status."""
    outcome: Outcome
    """How it ended."""
    error: str | None = None
    """The error message."""
    chunk_ns: tuple[Count, ...] = ()
    """Arrival of the last byte of each event."""
    chunk_bound_ns: tuple[Count | None, ...] | None = None
    """If events shared a read: the earliest possible arrival of each (null: its stamp is exact)."""
    chunk_tokens: tuple[Tokens, ...] | None = None
    """Tokens of each event; null if unknown."""
    chunk_kind: str = ""
    """One letter per event: r role, c content, t reasoning, f tool call, i image, a audio, u usage, o other."""
    input_tokens_asked: Asked | None = None
    """Input tokens by our tokenizer."""
    input_tokens: Tokens | None = None
    """Input tokens by the server's usage."""
    cached_tokens: Tokens | None = None
    """Input tokens that came from the server's cache, according to the server."""
    output_tokens_asked: Asked | None = None
    """`max_tokens`."""
    output_tokens: Tokens | None = None
    """Tokens received."""
    output_tokens_from: TokensFrom | None = None
    """The source of that count: `usage`, `tokenizer`, `limit` or `chunks`."""
    output_tokens_counted: Tokens | None = None
    """Our own count of the text, if the tokenizer is known; checked against the server's usage."""
    usage_contradiction: str | None = None
    """Why the server's usage cannot be true, and was not used."""
    reasoning_tokens: Tokens | None = None
    """The reasoning tokens in `output_tokens`, by the server's usage."""
    tool_calls: Count | None = None
    """Tool calls in the reply; null if unknown."""
    inputs: Count | None = None
    """Texts to embed, or documents to rank; null for other endpoints."""
    dimensions: Count | None = None
    """Numbers in each embedding of the reply."""
    bytes_sent: Count = 0
    """The body of the request, before HTTP framing."""
    bytes_received: Count = 0
    """The body of the response, after HTTP framing and before gunzip."""
    clock: Clock = "user"
    """`kernel`: stamps by the kernel; `user`: by the program after each read; `mixed`: some of each."""
    coalesced: Count = 0
    """Events that shared a read with a later event."""
    worker: Count = 0
    """The process that sent it, from 0."""
    endpoint: str | None = None
    """The endpoint named by its row of the data set; null: the run's endpoint."""
    model: str | None = None
    """The model named by its row of the data set, or drawn; null: the run's model."""
    traffic_class: str | None = None
    """Its class, in a run with `--mix`; null in others."""
    probe: Count | None = None
    """Its number among the probes of the run, from 0, with `--check-answers`; null for other requests."""
    answer: StoredAnswer | None = None
    """For probes, and for every request with `--store-texts`: its `content`, its `tool_calls` (name and arguments of
    each), whether it is `limited` (cut off by the token limit), and its `tokens` with their log probabilities, if the
    server sends them."""
    session_number: Count | None = None
    """Mode sessions: the number of its session in the run (each replay has its own). This row and the next, up to
    `cached_tokens_planned`, are the plan of its session, and null in other modes."""
    session_turns: Count | None = None
    """The turns of its session."""
    session_turns_before: Count | None = None
    """Turns that were skipped because the session began in the middle."""
    turn: Count | None = None
    """The number of its turn in its session, from 0."""
    job: Count | None = None
    """The number of its job in the session, from 0: a job is a user's request with all its steps."""
    job_step: Count | None = None
    """Its step in the job, from 0."""
    job_steps: Count | None = None
    """The job's steps."""
    job_cut: bool | None = None
    """True if the session began in the middle of the job."""
    agent: str | None = None
    """The sub-agent that sent it; null: the main agent."""
    after: tuple[Count, ...] | None = None
    """The turns that had to end before it was due; null: the previous turn."""
    pause_ns: Count | None = None
    """The pause after the end of the last of these turns."""
    pause: Pause | None = None
    """The cause of the pause: `human`, `tool`, or null if unknown."""
    cached_tokens_planned: Asked | None = None
    """Prompt tokens that an unlimited prefix cache would contain; null if unknown."""
    resent_ns: Count | None = None
    """When the second attempt was sent; null: there was none."""
    output_tokens_doubt: str | None = None
    """Why `output_tokens` may be wrong, if there is no better source."""
    media_bytes: Count | None = None
    """Bytes of the images, audio and video in the chat, before Base64 and without those given by an address; null: it
    has none."""
    text_tokens_asked: Asked | None = None
    """Our tokenizer's count of the input tokens in the text of a chat with images, audio or video."""
    audio_sent_ns: Count | None = None
    """The length of the audio clip in the request; null: there is none, or its length is unknown."""
    reference: str | None = None
    """The correct transcript of that clip, if its row has one. The record then contains the `answer`."""
    audio_bytes: Count = 0
    """Bytes of audio in the reply, without the file header."""
    audio_bytes_per_s: Count | None = None
    """Bytes of audio per second of playback; null if unknown."""
    chunk_audio_bytes: tuple[Count, ...] | None = None
    """Bytes of audio in each event; null if the reply has none, or is not a stream."""
    play_after_ns: Count = 0
    """`--play-after`: how long a player waits after the first audio."""
    traceparent: str | None = None
    """The header of a traced request (`--trace-share`), with the ids of its trace and its span; null: not traced."""
    target: str | None = None
    """The replica: in a run with several addresses the address it was sent to, otherwise the replica named by the reply
    (`--replica-header`); null: unknown."""

    @property
    def last_sent_ns(self) -> int | None:
        """When the attempt that the server answered was sent. Latencies count from `sent_ns`."""
        return self.sent_ns if self.resent_ns is None else self.resent_ns

    @property
    def streamed(self) -> bool:
        """Whether the response came as a stream of chunks."""
        return bool(self.chunk_ns)
