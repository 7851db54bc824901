"""Speech: text in, its audio out, as the bytes of a file or as events."""

from __future__ import annotations

import base64
import binascii
import io
import re
import wave
from collections.abc import Sequence
from dataclasses import replace

import orjson

from bench.endpoints import decoding
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import Event
from bench.endpoints.failure import error_of, excerpt, page_title
from bench.endpoints.interface import (
    BodyOptions,
    Endpoint,
    EventReader,
    OtherLine,
    ParsedReply,
    Problem,
    ReadOptions,
    ReceivedAudio,
    put_own,
)
from bench.endpoints.responses_reader import usage_of
from bench.endpoints.settings import EndpointSettings
from bench.endpoints.typed_events import TypedStream
from bench.records import UTTERANCES, Outcome
from bench.workload import Encoded, InputBatch
from promptset.answers import Answer
from promptset.samples import Sample

PCM_BYTES_PER_S = 48_000
"""OpenAI's `pcm`: 24,000 samples a second of 16 bits, mono, without a header."""
DEFAULT_FORMAT, DEFAULT_VOICE = "wav", "alloy"
_MOST_HEAD = 65_536
"""Bytes in which the header of a WAV file must end."""
_RIFF = b"RIFF"
"""The first bytes of a WAV file."""
_PCM, _EXTENSIBLE = b"\x01\x00", b"\xfe\xff"
"""Formats in a WAV header; an extensible header names the actual format further on."""
_MOST_TEXT = 65_536
"""A text body in place of a file is not longer: an error, a page."""
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
"""Bytes that no text has; the first bytes of every audio format contain some."""
_ENDLESS = 2**28
"""No reply has more bytes: a header with such a length was written before the length was known."""
_ONE_INPUT = InputBatch(inputs=1, entries=1)
NO_AUDIO = Problem(Outcome.NO_TOKENS, "the reply ended without audio")
"""For a reply that should have some."""


class Speech(Endpoint):
    """`POST /v1/audio/speech`. The bytes are streamed as they are made, or base64 in events (`stream_format` sse)."""

    path = "/audio/speech"
    generates = False
    inputs_are = UTTERANCES
    measures = ("ttfa", "rtf", "playback_stall", "playback_stalls", "audio")
    spoken_by = "a server of speech"

    def __init__(
        self,
        kind: str = DEFAULT_FORMAT,
        *,
        events: bool = False,
        play_after_ns: int = 0,
        pcm_bytes_per_s: int = PCM_BYTES_PER_S,
    ) -> None:
        self._kind, self._play_after_ns = kind, play_after_ns
        self._bytes_per_s = pcm_bytes_per_s if kind == "pcm" else None
        self.framing = "sse" if events else "chunks"

    def of(self, settings: EndpointSettings) -> Speech:
        """The endpoint for these settings: `--extra-body` can set a format other than WAV, a PCM rate, and events."""
        extra = settings.extra_body or {}
        rate = extra.get("sample_rate")
        return Speech(
            str(extra.get("response_format", DEFAULT_FORMAT)),
            events=extra.get("stream_format") == "sse",
            play_after_ns=round(settings.play_after * 1e9),
            pcm_bytes_per_s=2 * rate if type(rate) is int and rate > 0 else PCM_BYTES_PER_S,
        )

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The JSON body for a sample. A full body keeps its own fields; `extra` overrides everything."""
        if sample.body is not None:
            body = dict(sample.body)
        else:
            text = sample.prompt if sample.texts is None else " ".join(sample.texts)
            body = {"input": text, "voice": DEFAULT_VOICE}
        body["response_format"] = self._kind
        own_model = put_own(body, sample, options)
        body |= options.extra or {}
        return Encoded(
            body=orjson.dumps(body), stream=options.stream, output_tokens_asked=None, batch=_ONE_INPUT, model=own_model
        )

    def event_reader(self, options: ReadOptions) -> EventReader:
        sound = Sound(self._kind, self._bytes_per_s)
        if self.framing == "sse":
            return _AudioEvents(options, sound, self._play_after_ns)
        return _AudioBytes(sound, self._play_after_ns)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        """A reply that was not read as it arrived."""
        events = [body]
        if self.framing == "sse" and not body.startswith(b"{"):
            events = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
            reader: EventReader = _AudioEvents(options, Sound(self._kind, self._bytes_per_s), self._play_after_ns)
        else:
            reader = _AudioBytes(Sound(self._kind, self._bytes_per_s), self._play_after_ns)
        reader.feed(events)
        reply = reader.close()
        audio = None if reply.audio is None else replace(reply.audio, chunk_bytes=None)
        return replace(reply, chunk_kind="", audio=audio, complete=True)


class Sound:
    """Counts the bytes of audio in the pieces of a file, using its header, and how many play per second (None:
    unknown)."""

    def __init__(self, kind: str, bytes_per_s: int | None) -> None:
        self.bytes_per_s = bytes_per_s
        self._head: bytes | None = b"" if kind == "wav" else None
        """The part of an incomplete header that has come."""
        self._left: int | None = None
        """Bytes of audio that the header promises and that have not come."""

    @property
    def problem(self) -> Problem | None:
        """The problem of a file that ended with less audio than its header promises."""
        if not self._left:
            return None
        words = f"the audio ended {self._left} bytes before the length that the header of the file gives"
        return Problem(Outcome.TRUNCATED, words)

    def take(self, piece: bytes) -> int:
        """The bytes of audio in the next piece. Some servers send a file for each sentence, one after the other."""
        size = 0
        while piece:
            if self._head is not None:
                piece = self._behind_head(self._head + piece)
            elif self._left is None:
                return size + len(piece)
            elif self._left:
                part = min(len(piece), self._left)
                self._left -= part
                size, piece = size + part, piece[part:]
            elif _RIFF in piece or _RIFF.startswith(piece):
                self._head, piece = b"", piece[max(0, piece.find(_RIFF)) :]
            else:
                return size
        return size

    def _behind_head(self, head: bytes) -> bytes:
        at, kind = _format_of(head)
        # Python 3.11 refuses extensible headers; a PCM header has the same fields in the same places.
        file = io.BytesIO(head[:at] + _PCM + head[at + 2 :] if kind == _PCM else head)
        try:
            with wave.open(file) as read:
                frame = read.getsampwidth() * read.getnchannels()
                self.bytes_per_s = read.getframerate() * frame or None
                promised, begins = read.getnframes() * frame, file.tell()
        except (wave.Error, EOFError, ZeroDivisionError):
            if _may_be_header(head):
                self._head = head
                return b""
            promised = begins = 0  # Samples whose duration is unknown here.
        self._head = None
        self._left = promised if 0 < promised < _ENDLESS else None
        return head[begins:]


def _may_be_header(head: bytes) -> bool:
    """Whether this may be the beginning of the header of a PCM WAV file."""
    _, kind = _format_of(head)
    return _RIFF.startswith(head[:4]) and len(head) < _MOST_HEAD and (len(kind) < 2 or kind == _PCM)


def _format_of(head: bytes) -> tuple[int, bytes]:
    """The position at which a WAV header names its format, and the format: fewer than 2 bytes if it has not arrived."""
    at = head.find(b"fmt ") + 8
    kind = b"" if at < 8 else head[at : at + 2]
    return at, head[at + 24 : at + 26] if kind == _EXTENSIBLE else kind


class _AudioBytes:
    """Reads pieces of a file as they arrive."""

    tokens_so_far = 0
    first_token = None

    def __init__(self, sound: Sound, play_after_ns: int) -> None:
        self._sound, self._play_after_ns = sound, play_after_ns
        self._sizes: list[int] = []
        self._text: bytes | None = b""
        """The body, as long as it may be a text in place of a file."""

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        del other_lines
        for piece in events:
            if self._text is not None:
                self._text = None if _NO_TEXT.search(piece) else self._text + piece
                if self._text is not None and len(self._text) > _MOST_TEXT:
                    self._text = None
            self._sizes.append(self._sound.take(piece))

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        """The reply. `unfinished` is empty: each piece is complete."""
        del unfinished
        if self._text and (problem := _problem_of_text(self._text)) is not None:
            return ParsedReply(chunk_kind="o" * len(self._sizes), problem=problem)
        audio = _received(self._sizes, self._sound, self._play_after_ns)
        problem = NO_AUDIO if audio is None else self._sound.problem
        kinds = "".join("a" if size else "o" for size in self._sizes)
        return ParsedReply(chunk_kind=kinds, audio=audio, problem=problem)


def _received(sizes: Sequence[int], sound: Sound, play_after_ns: int) -> ReceivedAudio | None:
    if not any(sizes):
        return None
    return ReceivedAudio(sum(sizes), sound.bytes_per_s, tuple(sizes), play_after_ns)


def _problem_of_text(body: bytes) -> Problem | None:
    """Why a body is text instead of audio: the server's error, an HTML page, or other text. Returns None if it may be
    audio."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return None
    if (title := page_title(body)) is not None:
        return Problem(Outcome.MALFORMED, f"the reply is an HTML page{title}, not audio")
    try:
        document = decoding.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict) and (error := error_of(document)) is not None:
        return Problem(Outcome.STREAM_ERROR, error)
    return Problem(Outcome.MALFORMED, f"the reply is text, not audio: {excerpt(body.strip())}")


class AudioStream(TypedStream):
    """A stream of events, some of which hold audio in base64."""

    __slots__ = ("_play_after_ns", "_sizes", "_sound")

    text_type = ""

    def __init__(self, options: ReadOptions, sound: Sound, play_after_ns: int) -> None:
        super().__init__(ContentTemplate(b"\0"), options)
        self._sound, self._play_after_ns = sound, play_after_ns
        self._sizes: dict[int, int] = {}  # by event number

    def _plain_text(self, event: Event) -> None:
        """No event contains only text."""

    def _take_audio(self, encoded: object) -> None:
        size = 0
        try:
            size = self._sound.take(base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b"")
        except binascii.Error:
            self._fail("the audio of an event is not base64")
        self._sizes[len(self._kinds)] = size
        self._kinds.append("a" if size else "o")

    @property
    def has_audio(self) -> bool:
        return any(self._sizes.values())

    def _answer(self, content: str, reasoning: str) -> Answer:
        return Answer(content=content)

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        reply = super().close(unfinished)
        sizes = [self._sizes.get(number, 0) for number in range(len(reply.chunk_kind))]
        return replace(reply, audio=_received(sizes, self._sound, self._play_after_ns))


class _AudioEvents(AudioStream):
    """The events of speech: pieces of audio, and the usage at the end."""

    __slots__ = ()

    end = "speech.audio.done"

    def _take(self, kind: str, event: Event) -> None:
        if kind == "speech.audio.delta":
            self._take_audio(event.get("audio"))
        elif kind == self.end:
            usage = event.get("usage")
            self._usage = usage_of(usage) if isinstance(usage, dict) else None
            self._end("o" if self._usage is None else "u")

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        problem = super()._problem(unfinished, output_tokens)
        if problem is not None and problem.outcome is not Outcome.NO_TOKENS:
            return problem
        return self._sound.problem if self.has_audio else NO_AUDIO

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        reply = super().close(unfinished)
        # Audio tokens are not text.
        return ParsedReply(
            chunk_kind=reply.chunk_kind,
            input_tokens=reply.input_tokens,
            audio=reply.audio,
            complete=reply.complete,
            problem=reply.problem,
        )
