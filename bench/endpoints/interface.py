"""The endpoint interface: an API's path, its bodies, and how its replies are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from bench.endpoints import failure
from bench.endpoints.server_words import SILENT
from bench.endpoints.settings import EndpointSettings
from bench.records import REQUESTS, Outcome, ServerWords, TokensFrom
from bench.workload import Encoded, InputBatch
from promptset.answers import Answer
from promptset.samples import Sample

TOOL_CHOICES = ("auto", "required", "none")
"""Values of `--tool-choice` other than the name of a tool."""
_MOST_ASKED = 2**40
"""Larger values could not be stored in a record as tokens of all its replies together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyOptions:
    """The options that all bodies of a run share. With `model` None, a full request body keeps its own model; with
    `keep_models` it keeps it in any case."""

    endpoint: str
    model: str | None
    keep_models: bool = False
    stream: bool = True
    ask_usage: bool = True
    ignore_eos: bool = False
    tool_choice: str | None = None
    """`auto`, `required`, `none` or the name of a tool; only for requests that offer tools."""
    extra: Mapping[str, Any] | None = None
    websocket: bool = False
    """Bodies are messages of a WebSocket (Responses): its replies are always streams."""
    own: Endpoint | None = None
    """The endpoint of the run, if it is not an entry of ENDPOINTS: defined by a file, or made from the settings."""

    @property
    def exact_lengths(self) -> bool:
        """Whether bodies request replies of exactly `max_tokens`. `extra` takes precedence."""
        return (self.extra or {}).get("ignore_eos", self.ignore_eos) is True


def asked_tokens(value: object, replies: int = 1) -> int | None:
    """The output tokens that a body requests, for all its replies together. Returns None if they are not a whole
    number."""
    return value * replies if type(value) is int and abs(value) <= _MOST_ASKED else None


def put_own(body: dict[str, Any], sample: Sample, options: BodyOptions) -> str | None:
    """Put a sample's priority and model into a body: the sample's own model, or the run's. Returns the model if it may
    differ from the run's."""
    if sample.priority is not None:
        body["priority"] = sample.priority
    if sample.model is not None:
        body["model"] = sample.model
        return sample.model
    model = body.get("model")
    if model is not None and (options.keep_models or options.model is None):
        return model if isinstance(model, str) else None
    if options.model is not None:
        body["model"] = options.model
    return None


def put_asked(body: dict[str, Any], sample: Sample, options: BodyOptions, limit: str) -> str | None:
    """Put the fields of a text request into a body; `limit` names the field of the token limit. Returns as `put_own`."""
    own_model = put_own(body, sample, options)
    if sample.output_tokens is not None:
        body[limit] = sample.output_tokens
    if options.ignore_eos:
        body["ignore_eos"] = True
    body["stream"] = options.stream
    return own_model


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a reader needs to know about the request. `count` is the target's tokenizer, if there is one.

    Without it, the text is kept only with `keep_answer`, which also requests `ParsedReply.answer`.
    """

    count: Callable[[str], int] | None = None
    keep_answer: bool = False
    output_tokens_asked: int | None = None
    batch: InputBatch | None = None
    """The request's inputs, for an endpoint that does not generate text."""
    dimensions: dict[str, int] = field(default_factory=dict)
    """The embedding dimensions of this run so far, by model: a reader adds those it finds if no number was requested."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a reply with status 200 is not a success: a reported error, or something missing."""

    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class ReceivedAudio:
    """The audio of a reply: its bytes, how many of them play per second (None: unknown), the bytes of each event (None:
    not a stream), and how long a player waits after the first."""

    total_bytes: int
    bytes_per_s: int | None
    chunk_bytes: tuple[int, ...] | None
    play_after_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """A parsed response. The chunk fields have one entry per event; `counted` is our own count over the text."""

    chunk_kind: str = ""
    chunk_tokens: tuple[int, ...] | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    """Input tokens from the server's cache."""
    output_tokens: int | None = None
    output_tokens_from: TokensFrom | None = None
    counted: int | None = None
    text: str = ""
    content: str = ""
    """The text without reasoning and tool calls."""
    usage_contradiction: str | None = None
    """Why the server's usage was rejected."""
    output_tokens_doubt: str | None = None
    """Why `output_tokens` may be wrong, though there is no better count."""
    reasoning_tokens: int | None = None
    """Output tokens of reasoning, if the server reports them."""
    tool_calls: int | None = None
    """Tool calls in the reply; None if the API has none."""
    dimensions: int | None = None
    """Numbers in each embedding of the reply."""
    replica: str | None = None
    """The replica that answered, if the reply names it."""
    server: ServerWords = SILENT
    """The server's own numbers for the request, besides its usage."""
    limited: bool = False
    """Whether the reply states that it ended at the token limit."""
    audio: ReceivedAudio | None = None
    answer: Answer | None = None
    """The reply as the conversation's next request contains it, if requested."""
    complete: bool = False
    """Whether the reply itself marked its end: a connection lost afterwards does not matter."""
    problem: Problem | None = None
    refused: int | None = None
    """The status in its first event, if it refuses the request: over HTTP it would be the status line."""


class OtherLine(NamedTuple):
    """A line of an event stream that is neither data nor a comment: `event: NAME`, or something invalid.

    `event` is the number of the event that it belongs to, counted over the whole stream; None if its block has no data.
    """

    event: int | None
    line: bytes


class EventReader(Protocol):
    """Reads the events of one streamed response, batch by batch."""

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        """Feed the data of the next events, in order, and the other lines between them."""

    @property
    def tokens_so_far(self) -> int:
        """Output tokens so far: the reply's own count, otherwise one per chunk with text."""

    @property
    def first_token(self) -> int | None:
        """The number of the first event with text."""

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        """The parsed response. `unfinished`: the bytes of an incomplete event."""


class SocketWords(Protocol):
    """How an API uses a WebSocket: the messages of a request, and which messages of the server form its reply."""

    def messages(self, body: bytes, ids: Mapping[str, str]) -> list[bytes]:
        """The messages of a request with this body; the last carries the ids that are headers elsewhere."""

    def may_end(self, data: bytes) -> bool:
        """Whether these bytes of messages may hold the last one of a reply: a cheap check."""

    def is_last(self, message: bytes) -> bool:
        """Whether a message is the last one of its reply."""

    def is_beside(self, message: bytes, *, begun: bool) -> bool:
        """Whether a message belongs to the connection rather than to a reply. `begun`: a part of the reply has come."""


Framing = Literal["sse", "lines", "chunks"]
"""How a stream is split into events: server-sent events, lines (NDJSON), or each piece of the body as it arrives."""


class Endpoint(ABC):
    """One API: a file in this folder, and a line in ENDPOINTS. The defaults here suit most APIs."""

    path: str
    """Below `root`. `{model}` in it is replaced by the model of the request."""
    root: str = "/v1"
    """The root of the API, which a URL may leave out."""
    takes_audio: bool = False
    """Whether a request is an audio clip."""
    measures: tuple[str, ...] = ()
    """Metrics of the catalog that only a few endpoints have, including this one."""
    takes_media: bool = False
    """Whether messages may hold audio and video, in OpenAI's format."""
    takes_messages: bool = False
    """Whether a prompt is a chat: messages, tools, turns."""
    generates: bool = True
    """Whether replies are generated text. Others have no stream, no output tokens and none of their latencies."""
    streams: bool = True
    """Whether replies can be streamed."""
    input_tokens: str | None = None
    """The tokens of a simulated prompt, if this API usually has other prompts."""
    inputs_are: str | None = None
    """The inputs that a request consists of (texts, documents), in the plural, if replies are not generated text."""
    spoken_by: str = "an OpenAI-compatible server"
    """The kind of server of this API, for messages."""
    key_variable: str = "OPENAI_API_KEY"
    """The environment variable of the API key."""
    usage_on_request: bool = False
    """Whether a stream contains usage only if the request asks for it."""
    usage_field: str = "stream_options"
    """The field that asks for it."""
    probe_tokens: int = 4
    """The reply length that the probe requests: as short as servers allow."""
    framing: Framing = "sse"
    """How a streamed reply is split into events."""
    method: str = "POST"
    lists_models: bool = True
    """Whether the server may list its models at `/v1/models`."""
    may_be_silent: bool = False
    """Whether a successful reply may have no text: a clip without speech."""
    may_be_empty: bool = False
    """Whether a successful reply may have no body."""
    socket: SocketWords | None = None
    """How it uses a WebSocket; None if it does not."""
    only_socket: bool = False
    """Whether it has only WebSockets. Then each request has its own."""
    audio_rate: int | None = None
    """The samples per second that a clip must have, 16-bit and mono; None: any file."""

    def of(self, settings: EndpointSettings) -> Endpoint:
        """The endpoint of a run with these settings."""
        del settings
        return self

    def problems(self, extra: Mapping[str, Any]) -> list[str]:
        """A sentence for each field of `--extra-body` that would make replies unreadable."""
        del extra
        return []

    @property
    def takes_tools(self) -> bool:
        """Whether requests offer tools: every API of chats in this folder."""
        return self.takes_messages

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are counted, at least of inputs."""
        return self.inputs_are != REQUESTS

    def headers(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        """The headers of every request, including the key's, which is a bearer token by default."""
        return () if api_key is None else (("authorization", f"Bearer {api_key}"),)

    def accepts(self, status: int) -> bool:
        """Whether the status of a response is a success."""
        return 200 <= status < 300

    @abstractmethod
    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The body of a sample."""

    def event_reader(self, options: ReadOptions) -> EventReader:
        raise AssertionError(f"{self.path} has no streams")

    @abstractmethod
    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        """Decode a response that came in one piece."""

    def error_message(self, body: bytes) -> str:
        """The message of an error response."""
        return failure.error_message(body)
