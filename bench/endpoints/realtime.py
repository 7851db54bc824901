"""OpenAI's Realtime: text or speech in; speech with its transcript, or text, out. Each request has its own WebSocket.

    session.update                                  the voice, the formats, other fields of --extra-body
    conversation.item.create                        a text;
    input_audio_buffer.append ... commit            or speech, all at once
    response.create

    response.output_audio_transcript.delta          text; response.output_text.delta if no audio is requested
    response.output_audio.delta                     audio in base64
    response.output_item.added                      the name of a called tool
    response.function_call_arguments.delta          its arguments
    response.done                                   the last event, with the usage; or error

Beta servers use `response.audio.delta` and so on. Messages about the session and the conversation before the response
do not belong to a reply.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from bench.endpoints.event_stream import Event
from bench.endpoints.failure import excerpt, is_limit
from bench.endpoints.interface import (
    BodyOptions,
    Endpoint,
    EventReader,
    ParsedReply,
    Problem,
    ReadOptions,
    ReceivedAudio,
)
from bench.endpoints.responses_reader import incomplete_reason, wrong_end
from bench.endpoints.settings import EndpointSettings
from bench.endpoints.speech import NO_AUDIO, PCM_BYTES_PER_S, AudioStream, Sound
from bench.endpoints.typed_events import may_be_last, text_of, type_of
from bench.endpoints.usage import whole_number
from bench.endpoints.whole_reply import malformed
from bench.records import Outcome
from bench.workload import Encoded, SentAudio
from promptset.audio import names_clips, samples_of
from promptset.samples import Sample

RATE = 24_000
"""The sample rate of Realtime's `audio/pcm`, 16-bit and mono."""
_BYTES_PER_S = {"audio/pcm": PCM_BYTES_PER_S, "audio/pcmu": 8_000, "audio/pcma": 8_000}
_PCM = {"type": "audio/pcm", "rate": RATE}
_SESSION: Mapping[str, Any] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    # No turn detection: the request marks the end of its speech.
    "audio": {"input": {"format": _PCM, "turn_detection": None}, "output": {"format": _PCM, "voice": "alloy"}},
}
_APPENDED = PCM_BYTES_PER_S // 5
"""Bytes of speech in one message: 200 ms."""
_TEXT = {
    f"response.{name}.delta"
    for name in ("output_audio_transcript", "output_text", "audio_transcript", "text")
}  # fmt: skip
_AUDIO = ("response.output_audio.delta", "response.audio.delta")
_LAST = re.compile(rb'"type"\s*:\s*"(?:error|response\.done)"')


class RealtimeMessages:
    """The messages of a request are the lines of its body."""

    def messages(self, body: bytes, ids: Mapping[str, str]) -> list[bytes]:
        """One message per line. The last one creates the response, whose metadata names the request."""
        *lines, last = body.split(b"\n")
        create = orjson.loads(last)
        create["response"]["metadata"] = {**ids, **(create["response"].get("metadata") or {})}
        return [*lines, orjson.dumps(create)]

    def may_end(self, data: bytes) -> bool:
        """A cheap check."""
        return may_be_last(data, _LAST)

    def is_last(self, message: bytes) -> bool:
        """Whether a message ends the reply. Every error does: the requested action failed."""
        return self.may_end(message) and type_of(message) in ("error", "response.done")

    def is_beside(self, message: bytes, *, begun: bool) -> bool:
        """Whether a message is about the session or the conversation, and comes before the reply."""
        return not begun and not type_of(message).startswith(("response.", "error"))


class Realtime(Endpoint):
    """`/v1/realtime`: one turn of a conversation, on its own WebSocket."""

    path = "/realtime?model={model}"
    socket = RealtimeMessages()
    only_socket = True
    audio_rate = RATE
    measures = ("ttfa", "rtf", "playback_stall", "playback_stalls", "audio", "wer")
    spoken_by = "a server of OpenAI's Realtime API"

    def __init__(
        self, session: Mapping[str, Any] = _SESSION, *, takes_audio: bool = False, play_after_ns: int = 0
    ) -> None:
        self._session, self.takes_audio, self._play_after_ns = session, takes_audio, play_after_ns
        self._speaks = "audio" in session["output_modalities"]
        self._bytes_per_s = _bytes_per_s(session["audio"]["output"]["format"])

    def of(self, settings: EndpointSettings) -> Realtime:
        """The endpoint for these settings: `--extra-body` sets fields of the session, and `--audio` or the rows of
        `--dataset` make requests speech."""
        extra = settings.extra_body or {}
        takes_audio = settings.audio is not None or (settings.dataset is not None and names_clips(settings.dataset))
        return Realtime(
            _SESSION if self.problems(extra) else _merged(_SESSION, extra),
            takes_audio=takes_audio,
            play_after_ns=round(settings.play_after * 1e9),
        )

    def problems(self, extra: Mapping[str, Any]) -> list[str]:
        session, errors = _merged(_SESSION, extra), []
        if session["output_modalities"] not in (["audio"], ["text"]):
            errors.append('--extra-body: output_modalities must be ["audio"], which comes with its text, or ["text"]')
        try:
            input_format, wanted = (session["audio"][way]["format"] for way in ("input", "output"))
            if input_format != _PCM:
                errors.append(
                    f"--extra-body: audio.input.format must be {orjson.dumps(_PCM).decode()}, as clips are sent"
                )
            if wanted["type"] not in _BYTES_PER_S:
                errors.append(f"--extra-body: audio.output.format.type must be one of {', '.join(_BYTES_PER_S)}")
        except (TypeError, KeyError):
            errors.append(
                "--extra-body: audio must be as in a session of Realtime: input and output, each with its format"
            )
        return errors

    def encode(self, sample: Sample, options: BodyOptions) -> Encoded:
        """The messages of a sample, one per line. A full request body becomes the `response` of response.create."""
        response: dict[str, Any] = {} if sample.body is None else dict(sample.body)
        if sample.output_tokens is not None:
            response["max_output_tokens"] = sample.output_tokens
        clip = sample.audio
        rows: list[Mapping[str, Any]] = [{"type": "session.update", "session": self._session}]
        if clip is not None:
            rows += [*_appended(samples_of(clip.data, RATE, clip.name)), {"type": "input_audio_buffer.commit"}]
        elif sample.body is None:
            content = [{"type": "input_text", "text": sample.prompt}]
            rows.append(
                {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
            )
        rows.append({"type": "response.create", "response": response})
        return Encoded(
            body=b"\n".join(map(orjson.dumps, rows)),
            stream=True,
            output_tokens_asked=None,
            model=sample.model,
            url_model=sample.model or options.model or "",
            audio=None if clip is None else SentAudio(clip.length_ns, clip.reference),
        )

    def event_reader(self, options: ReadOptions) -> EventReader:
        return _RealtimeReply(options, Sound("raw", self._bytes_per_s), self._play_after_ns, speaks=self._speaks)

    def read_whole(self, body: bytes, options: ReadOptions) -> ParsedReply:
        del options
        return malformed(f"a reply that is not the messages of a WebSocket: {excerpt(body)}")


def _bytes_per_s(written: Mapping[str, Any]) -> int | None:
    """The bytes of one second of audio in this format; None if unknown. OpenAI's own server has one rate of PCM."""
    rate = written.get("rate", RATE)
    if written.get("type") == _PCM["type"] and rate != RATE:
        return 2 * rate if type(rate) is int and rate > 0 else None
    return _BYTES_PER_S.get(str(written.get("type")))


def _merged(session: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a session, overridden by `extra` at any depth."""
    return {
        **session,
        **{
            name: _merged(session[name], value)
            if isinstance(value, Mapping) and isinstance(session.get(name), Mapping)
            else value
            for name, value in extra.items()
        },
    }


def _appended(samples: bytes) -> Iterator[Mapping[str, Any]]:
    for at in range(0, len(samples), _APPENDED):
        part = base64.b64encode(samples[at : at + _APPENDED]).decode()
        yield {"type": "input_audio_buffer.append", "audio": part}


class _RealtimeReply(AudioStream):
    """Reads the events of one response."""

    __slots__ = ("_speaks",)

    end = "response.done"

    def __init__(self, options: ReadOptions, sound: Sound, play_after_ns: int, *, speaks: bool) -> None:
        super().__init__(options, sound, play_after_ns)
        self._speaks = speaks

    def _take(self, kind: str, event: Event) -> None:
        if kind in _AUDIO:
            self._take_audio(event.get("delta"))
        elif kind in _TEXT:
            if text := text_of(event.get("delta")):
                self._add_text("c", text)
            else:
                self._kinds.append("e")
        elif kind == "response.function_call_arguments.delta":
            self._add_text("f", text_of(event.get("delta")))
        elif kind == "response.output_item.added":
            self._take_item(event.get("item"))
        elif kind == self.end:
            self._take_end(event.get("response"))

    def close(self, unfinished: bytes = b"") -> ParsedReply:
        reply = super().close(unfinished)
        if not self._speaks or reply.audio is not None:
            return reply
        return replace(reply, audio=ReceivedAudio(0, self._sound.bytes_per_s, None, self._play_after_ns))

    def _take_end(self, response: object) -> None:
        reply: Mapping[str, Any] = response if isinstance(response, dict) else {}
        usage, details = reply.get("usage"), reply.get("status_details")
        if isinstance(usage, dict):
            self._usage = _usage_of(usage)
            self._told = len(self._running)
        self._end("u" if isinstance(usage, dict) else "o")
        details = details if isinstance(details, dict) else {}
        in_responses = {**reply, "error": details.get("error"), "incomplete_details": details}
        self._limited = is_limit(incomplete_reason(in_responses))
        if (wrong := wrong_end(in_responses, str(reply.get("status", "completed")))) is not None:
            self._fail(wrong)

    def _problem(self, unfinished: bytes, output_tokens: int | None) -> Problem | None:
        problem = super()._problem(unfinished, output_tokens)
        if problem is not None and problem.outcome is not Outcome.NO_TOKENS:
            return problem
        if self.has_audio:
            return None
        return NO_AUDIO if self._speaks and not self._calls else problem


def _usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Usage under the field names of chat completions. Output tokens are only those of text: audio tokens are not text."""
    details, made = usage.get("input_token_details"), usage.get("output_token_details")
    of_text = whole_number(made.get("text_tokens")) if isinstance(made, dict) else None
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": of_text,
        "prompt_tokens_details": details if isinstance(details, dict) else None,
    }
