"""The requests to send: an endless or finite supply of Request values, made from samples (bench/sources/).

A Request is ready to send: its body is encoded before the run, because encoding inside the measuring loop would delay
other requests' stamps. Requests that are not made before the run come from another process (bench/load/feed.py).

stock           requests that are made and not sent yet
turns           requests of sessions: each carries the turns before it, and is made while its user thinks
kept_messages   messages that many requests carry, written as JSON once
mid_session     sessions that begin in the middle
tracing         which requests carry a trace id
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from bench.workload.stock import Stock
from bench.workload.tracing import Tracing
from promptset.answers import Answer
from promptset.media import media_bytes
from promptset.samples import Sample

Phase = Literal["warmup", "run"]
Pause = Literal["human", "tool"]


@dataclass(frozen=True, slots=True)
class InputBatch:
    """The inputs of a request whose reply is not generated text, and the expected content of that reply.

    `inputs`: texts to embed, or documents to rank. `entries`: requested results. `dimensions` of each embedding; None:
    the model's own.
    """

    inputs: int
    entries: int
    dimensions: int | None = None


@dataclass(frozen=True, slots=True)
class SentAudio:
    """The known facts of the audio clip in a request: its length in ns, and the correct transcript."""

    length_ns: int | None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class SentMedia:
    """The known facts of the images, audio and video in a chat: their bytes before Base64, and the tokens of its text."""

    bytes: int
    text_tokens: int | None


@dataclass(frozen=True, slots=True)
class Route:
    """The destination of a request if it differs from the run's: another endpoint (None: the run's), and headers in
    addition to the run's. Requests with equal routes share a transport's prepared data."""

    endpoint: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    method: str | None = None
    """The HTTP method; None: the endpoint's."""
    path: str | None = None
    """The path with its query, in place of the path of the run's URL."""
    model: str | None = None
    """The model in the URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPlace:
    """The planned place of a request in its session. Its record contains all of it.

    `number`: the session's number in the run; each replay of a file's session has its own. Turns, jobs and the steps of
    a job are numbered from 0. `turns` counts the whole session, `job_steps` the whole job. A probe is not a job.
    `pause_ns`: from the end of the last turn that it waited for until its start. `after`: the turns that it waited for,
    unless it is only the turn before it. `cached_tokens`: the tokens of its prompt that an endless prefix cache would
    hold by then. `turns_before`: if the session began in the middle, how many of its turns came before and were never
    sent; `job_cut`: some of them belong to this request's job.
    """

    number: int
    turn: int
    turns: int
    job: int | None
    job_step: int | None
    job_steps: int | None
    agent: str | None = None
    pause_ns: int = 0
    pause: Pause | None = None
    after: tuple[int, ...] | None = None
    cached_tokens: int | None = None
    turns_before: int | None = None
    job_cut: bool | None = None

    def record_fields(self) -> dict[str, object]:
        return {
            "session_number": self.number,
            "session_turns": self.turns,
            "session_turns_before": self.turns_before,
            "turn": self.turn,
            "job": self.job,
            "job_step": self.job_step,
            "job_steps": self.job_steps,
            "job_cut": self.job_cut,
            "agent": self.agent,
            "after": self.after,
            "pause_ns": self.pause_ns,
            "pause": self.pause,
            "cached_tokens_planned": self.cached_tokens,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """How a request continues its conversation, for servers and sockets that keep one.

    `conversation`: its name in this run (a branch has its own). `last`: no turn continues from this answer. `stored`:
    the server keeps the history, so the reply must have an id. `previous`: the response that it continues, in place of
    a history; if None, the request carries its history.
    """

    conversation: str
    last: bool
    stored: bool = False
    previous: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, ready to send. `body` is the encoded JSON body; requested tokens are None if the data does not set
    them.

    `route` is None if the request has the run's destination. `model`: the model that it names, if a run has several.
    """

    id: str
    index: int
    phase: Phase = "run"
    session: str | None = None
    place: TurnPlace | None = None
    """Its place in its session, in mode sessions."""
    body: bytes
    stream: bool
    input_tokens_asked: int | None
    output_tokens_asked: int | None
    batch: InputBatch | None = None
    """None if the reply is generated text."""
    audio: SentAudio | None = None
    """None if the request has no audio clip."""
    media: SentMedia | None = None
    """None if the request is only text."""
    route: Route | None = None
    model: str | None = None
    cancel_after_ns: int | None = None
    """How long after its send its user leaves; None: stays until the end."""
    traffic_class: str | None = None
    """Its class, if the run has several (--mix)."""
    probe: int | None = None
    """Its number among the probes of the run, from 0: its answer is kept, to be graded after the load."""
    continuation: Continuation | None = None
    """The conversation that it continues, in mode sessions."""
    on_answer: Callable[[Answer], None] | None = None
    """Called with the answer before the record is passed on."""
    traceparent: str | None = None
    """The header of a traced request (tracing.py)."""

    @property
    def ids(self) -> dict[str, str]:
        named = {"x-request-id": self.id}
        return named if self.traceparent is None else {**named, "traceparent": self.traceparent}

    @property
    def place_fields(self) -> dict[str, Any]:
        """The fields of its record for its place in its session."""
        return {} if self.place is None else self.place.record_fields()


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded sample: the body, whether the reply will be a stream, and the model named in the body if it is the
    sample's own."""

    body: bytes
    stream: bool
    output_tokens_asked: int | None
    batch: InputBatch | None = None
    model: str | None = None
    url_model: str | None = None
    """The model, if the URL names it."""
    audio: SentAudio | None = None


_DRAFT = struct.Struct("!iiqqBqqq")
"""The header of a packed draft: bytes of the session's name (-1: none) and of the request's own fields (JSON; 0: none),
requested input and output tokens (-1: unknown), whether the reply streams, and the three numbers of an InputBatch
(inputs -1: none; dimensions -1: not requested)."""


@dataclass(frozen=True, slots=True)
class RequestDraft:
    """A request without a number and a phase. `pack` and `unpack` carry it from one process to another."""

    body: bytes
    stream: bool
    input_tokens_asked: int | None
    output_tokens_asked: int | None
    session: str | None
    batch: InputBatch | None = None
    route: Route | None = None
    model: str | None = None
    audio: SentAudio | None = None
    media: SentMedia | None = None

    def pack(self) -> bytes:
        session = None if self.session is None else self.session.encode()
        owned = [self.route, self.model, self.audio, self.media]
        while owned and owned[-1] is None:
            owned.pop()
        encoded = orjson.dumps(owned) if owned else b""
        head = _DRAFT.pack(
            -1 if session is None else len(session),
            len(encoded),
            -1 if self.input_tokens_asked is None else self.input_tokens_asked,
            -1 if self.output_tokens_asked is None else self.output_tokens_asked,
            self.stream,
            *_packed(self.batch),
        )
        return b"".join((head, session or b"", encoded, self.body))

    @classmethod
    def unpack(cls, packed: bytes) -> RequestDraft:
        session_bytes, own_bytes, input_tokens, output_tokens, stream, *batch = _DRAFT.unpack_from(packed)
        own_at = _DRAFT.size + max(0, session_bytes)
        body_at = own_at + own_bytes
        route, model, audio, media = _unpack_own(packed[own_at:body_at]) if own_bytes else (None, None, None, None)
        return cls(
            body=packed[body_at:],
            stream=bool(stream),
            input_tokens_asked=None if input_tokens < 0 else input_tokens,
            output_tokens_asked=None if output_tokens < 0 else output_tokens,
            session=None if session_bytes < 0 else packed[_DRAFT.size : own_at].decode(),
            batch=_unpacked(*batch),
            route=route,
            model=model,
            audio=audio,
            media=media,
        )


def _packed(batch: InputBatch | None) -> tuple[int, int, int]:
    if batch is None:
        return -1, -1, -1
    return batch.inputs, batch.entries, -1 if batch.dimensions is None else batch.dimensions


def _unpacked(inputs: int, entries: int, dimensions: int) -> InputBatch | None:
    return None if inputs < 0 else InputBatch(inputs, entries, None if dimensions < 0 else dimensions)


def _unpack_own(packed: bytes) -> tuple[Route | None, str | None, SentAudio | None, SentMedia | None]:
    route, model, audio, media = (*orjson.loads(packed), None, None, None)[:4]
    if route is not None:
        route = Route(**{**route, "headers": tuple((name, value) for name, value in route["headers"])})
    return (
        route,
        model,
        None if audio is None else SentAudio(**audio),
        None if media is None else SentMedia(**media),
    )


def route_of(sample: Sample, model: str | None = None) -> Route | None:
    """The route of a sample that names its own destination, or whose URL names a model. Returns None for all others."""
    way = sample.http
    if way is not None:
        return Route(sample.endpoint, sample.headers, way.method, way.path)
    if sample.endpoint is None and not sample.headers and model is None:
        return None
    return Route(sample.endpoint, sample.headers, model=model)


def draft_of(sample: Sample, encode: Callable[[Sample], Encoded]) -> RequestDraft:
    """The request of a sample. For images, audio or video, only the server knows the input tokens."""
    encoded = encode(sample)
    size = media_bytes(sample.messages if sample.body is None else sample.body.get("messages"))
    media = None if size is None else SentMedia(size, sample.input_tokens)
    return RequestDraft(
        encoded.body,
        encoded.stream,
        sample.input_tokens if media is None else None,
        encoded.output_tokens_asked,
        sample.session,
        encoded.batch,
        route_of(sample, encoded.url_model),
        encoded.model,
        encoded.audio,
        media,
    )


class Supply:
    """Supplies requests, made from an endless iterator of samples and numbered `first`, `first` + `step`, and so on."""

    def __init__(
        self,
        samples: Iterator[Sample],
        encode: Callable[[Sample], Encoded],
        run_id: str,
        *,
        first: int = 0,
        step: int = 1,
        cancel: Callable[[int], int | None] | None = None,
        class_of: Callable[[int], str] | None = None,
        probe_of: Callable[[int], int | None] | None = None,
    ) -> None:
        """Each maps a number: `cancel` to how long after its send the user leaves, `class_of` to its class, `probe_of`
        to its probe. A probe has no class, and its user stays."""
        self.tracing: Tracing | None = None
        """Which requests are traced; None: none."""
        self._cancel = cancel
        self._class_of = class_of
        self._probe_of = probe_of
        self._run_id = run_id
        self._first = first
        self._next = first
        self._step = step
        self.stock: Stock[Request] = Stock(
            lambda: self._numbered(draft_of(next(samples), encode)), lambda request: (1, len(request.body))
        )

    @property
    def has_room(self) -> bool:
        """Whether more requests may be made in advance."""
        return self.stock.has_room

    def add(self, packed: bytes) -> None:
        """Add a packed draft from another process."""
        self.stock.put(self._numbered(RequestDraft.unpack(packed)))

    def _numbered(self, draft: RequestDraft) -> Request:
        index, self._next = self._next, self._next + self._step
        probe = None if self._probe_of is None else self._probe_of(index)
        return Request(
            id=f"{self._run_id}-{index}",
            index=index,
            session=draft.session,
            body=draft.body,
            stream=draft.stream,
            input_tokens_asked=draft.input_tokens_asked,
            output_tokens_asked=draft.output_tokens_asked,
            batch=draft.batch,
            route=draft.route,
            model=draft.model,
            audio=draft.audio,
            media=draft.media,
            cancel_after_ns=None if self._cancel is None or probe is not None else self._cancel(index),
            traffic_class=None if self._class_of is None or probe is not None else self._class_of(index),
            probe=probe,
            traceparent=None if self.tracing is None else self.tracing.header_of(self._run_id, str(index)),
        )

    def take(self, phase: Phase) -> Request:
        request = self.stock.take()
        return request if phase == "run" else replace(request, phase=phase)

    @property
    def taken(self) -> range:
        """The numbers of the requests that were taken."""
        return range(self._first, self._next - len(self.stock) * self._step, self._step)
