"""Transcriptions: an audio clip in, its text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.endpoints import multipart
from bench.endpoints.chat import ChatCompletions
from bench.endpoints.content_template import ContentTemplate
from bench.endpoints.event_stream import Event
from bench.endpoints.failure import error_of, excerpt
from bench.endpoints.interface import (
    BodyOptions,
    Endpoint,
    EventReader,
    OtherLine,
    ParsedReply,
    Problem,
    ReadOptions,
    put_own,
)
from bench.endpoints.responses_reader import usage_of
from bench.endpoints.stream_reader import StreamReader
from bench.endpoints.typed_events import TypedStream
from bench.endpoints.whole_reply import WholeText, json_object, malformed, parsed
from bench.records import Outcome
from bench.workload import Encoded, SentAudio
from promptset.answers import Answer
from promptset.audio import wav_file
from promptset.samples import Audio, Sample

_CHAT = ChatCompletions()
_BARE = frozenset({"type", "delta", "item_id", "segment_id", "logprobs"})
_PROBE_RATE = 16_000
_PROBE = Audio(wav_file(bytes(2 * _PROBE_RATE), _PROBE_RATE), "probe.wav", None)
"""A second of silence, for probes without a clip."""


class Transcriptions(Endpoint):
    """`POST /v1/audio/transcriptions`, a form with the clip. Streams are OpenAI's events, or vLLM's chat chunks."""

    path = "/audio/transcriptions"
    takes_audio = True
    measures = ("rtf", "audio", "wer")
    spoken_by = "a server of transcriptions"
    usage_on_request = True
    may_be_silent = True
    usage_field = "stream_include_usage"

    def headers(self, api_key: str | None) -> tuple[tuple[str, str], ...]:
        return (("content-type", multipart.CONTENT_TYPE), *super().headers(api_key))

    def problems(self, extra: Mapping[str, Any]) -> list[str]:
        asked = extra.get("response_format", "json")
        if asked in ("json", "verbose_json"):
            return []
        return [f"--extra-body: response_format {asked!r} cannot be read: use json or verbose_json"]

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The form of a sample; `extra` overrides its fields. A value of None leaves a field out."""
        clip = _PROBE if sample.audio is None else sample.audio
        fields: dict[str, Any] = {"response_format": "json"}
        own_model = put_own(fields, sample, options)
        if options.stream:
            fields["stream"] = True
            if options.ask_usage:
                fields[self.usage_field] = True
        fields |= options.extra or {}
        fields = {name: value for name, value in fields.items() if value is not None}
        return Encoded(
            body=multipart.encoded(fields, (clip.name, clip.data)),
            stream=fields.get("stream") in (True, "true"),
            output_tokens_asked=None,
            model=own_model,
            audio=SentAudio(clip.length_ns, clip.reference),
        )

    def event_reader(self, options: ReadOptions) -> EventReader:
        return _EitherStream(options)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        """A transcript without text is a success: the clip may hold no speech."""
        response = json_object(body)
        if isinstance(response, ParsedReply):
            return response
        if (error := error_of(response)) is not None:
            return ParsedReply(problem=Problem(Outcome.STREAM_ERROR, error))
        text, usage = response.get("text"), response.get("usage")
        if not isinstance(text, str):
            return malformed(f"a reply without text: {excerpt(body)}")
        whole = WholeText(
            text=text,
            content=text,
            calls=None,
            usage=usage_of(usage) if isinstance(usage, dict) and usage.get("type") != "duration" else None,
            root=response,
            end_field="text",
            reason=None,
            wrong=None,
            answer=Answer(content=text) if options.keep_answer else None,
        )
        return _silence_is_fine(parsed(whole, body, options))


class _EitherStream:
    """Reads a stream whose first event shows which kind of events it has."""

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self._reader: EventReader | None = None
        self._before: list[OtherLine] = []
        """Lines before the first event."""

    def feed(self, events: Sequence[bytes], other_lines: Sequence[OtherLine] = ()) -> None:
        if self._reader is not None:
            self._reader.feed(events, other_lines)
            return
        self._before += other_lines
        if events:
            of_vllm = b'"choices"' in events[0]
            self._begin(StreamReader(_CHAT, self._options) if of_vllm else _TranscriptStream(self._options), events)

    def _begin(self, reader: EventReader, events: Sequence[bytes]) -> EventReader:
        self._reader = reader
        reader.feed(events, self._before)
        return reader

    @property
    def tokens_so_far(self) -> int:
        return 0 if self._reader is None else self._reader.tokens_so_far

    @property
    def first_token(self) -> int | None:
        return None if self._reader is None else self._reader.first_token

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        reader = self._begin(_TranscriptStream(self._options), ()) if self._reader is None else self._reader
        return replace(_silence_is_fine(reader.close(unfinished)), tool_calls=None)


class _TranscriptStream(TypedStream):
    """OpenAI's events: pieces of text, segments, and the whole text with its usage at the end."""

    __slots__ = ()

    end = "transcript.text.done"
    text_type = "transcript.text.delta"

    def __init__(self, options: ReadOptions) -> None:
        super().__init__(ContentTemplate(b'"delta":"'), options)

    def _plain_text(self, event: Event) -> str | None:
        text = event.get("delta")
        return text if type(text) is str and text and event.keys() <= _BARE else None

    def _take(self, kind: str, event: Event) -> None:
        if kind == self.text_type:
            text = event.get("delta")
            if isinstance(text, str) and text:
                self._add_text("c", text)
            else:
                self._kinds.append("e")
        elif kind == self.end:
            usage = event.get("usage")
            if isinstance(usage, dict) and usage.get("type") != "duration":
                self._usage = usage_of(usage)
                self._told = len(self._running)
                self._end("u")
            else:
                self._end("o")

    def _answer(self, content: str, reasoning: str) -> Answer:
        return Answer(content=content)


def _silence_is_fine(reply: ParsedReply) -> ParsedReply:
    silent = reply.problem is not None and reply.problem.outcome is Outcome.NO_TOKENS
    return replace(reply, problem=None) if silent else reply
