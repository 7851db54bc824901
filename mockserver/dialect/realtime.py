"""OpenAI's Realtime API, `/v1/realtime` over a WebSocket: a session with its conversation, and responses of speech or
text.

Rules:
- The sound is the same as in /v1/audio/speech, as `audio/pcm`: each token of the engine is a piece of the transcript and
  80 ms of noise, and counts twice in the usage, as text and as audio. With `output_modalities` text there is only text.
- There is no turn detection: a client commits its audio and creates its responses. A response cannot be cancelled: messages
  that arrive while it runs are served after it.
- An error is an event, and the connection stays open. The error of a response has the `status` that HTTP would have.
- `metadata` of a response holds its headers (socket_talk.py).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyFrames, ReplyIdentity, UsageCounts
from mockserver.dialect.params import RequestParams, Speech
from mockserver.dialect.refusals import PLANNED_FAILURE, Refusal, refusal_of, refuse
from mockserver.dialect.socket_responses import as_message
from mockserver.dialect.socket_talk import Ask, Header, headers_of
from mockserver.dialect.speech import BYTES_PER_S, RATE, sound_of
from mockserver.faults import BYTE_FAULTS

Row = dict[str, Any]

_FORMAT = {"type": "audio/pcm", "rate": RATE}
_LEAST_S = 0.1
"""The minimum audio that can be committed (OpenAI's rule)."""
_AUDIO, _TEXT = ["audio"], ["text"]
_NOISE_OF_WAV = {"type": "input_audio", "input_audio": {"format": "wav", "data": "UklGRg=="}}
"""Represents an audio clip in a prompt. All clips cost the same."""
_DONE = b'"type":"response.done"'


def _session(model: str | None) -> Row:
    return {
        "id": "sess_mock", "object": "realtime.session", "type": "realtime", "model": model,
        "output_modalities": _AUDIO, "instructions": "You are a helpful assistant.", "max_output_tokens": "inf", "tools": [],
        "tool_choice": "auto",
        "audio": {
            "input": {"format": _FORMAT, "turn_detection": None, "transcription": None, "noise_reduction": None},
            "output": {"format": _FORMAT, "voice": "alloy", "speed": 1.0},
        },
    }  # fmt: skip


class RealtimeTalk:
    """The session of one connection: its settings, its conversation, and its uncommitted audio."""

    endpoint: Endpoint

    def __init__(self, handshake: Sequence[Header], query: Mapping[str, str]) -> None:
        self._handshake = handshake
        self._model = query.get("model")
        self._session = _session(self._model)
        self._items: list[Row] = []
        self._buffered = 0
        """Bytes of uncommitted audio."""
        self._events = self._made = 0

    def greeting(self) -> Sequence[bytes]:
        """The initial session."""
        return [self._event("session.created", session=self._session)]

    def take(self, message: bytes) -> Ask | Sequence[bytes]:
        row: object = None
        try:
            row = orjson.loads(message)
            kind = str(row.get("type")) if isinstance(row, dict) else None
            if not isinstance(row, dict) or kind not in _ACTS:
                refuse(f"Unknown message type: {kind}. This server takes {', '.join(_ACTS)}.", "type")
            return _ACTS[kind](self, row)
        except ValueError:
            refusal = refusal_of(400, "The message is not JSON.")
        except Refusal as e:
            refusal = e
        error = orjson.loads(refusal.body)["error"]
        error |= {"type": "invalid_request_error", "code": "invalid_value"}
        caused_by = row.get("event_id") if isinstance(row, dict) else None
        return [self._event("error", error={**error, "event_id": caused_by})]

    def on_sent(self, message: bytes) -> None:
        """Add the output of a finished response to the conversation."""
        if _DONE in message:
            response = orjson.loads(message)["response"]
            if response["conversation_id"] is not None:
                self._items += response["output"]

    def _event(self, kind: str, **fields: object) -> bytes:
        self._events += 1
        return orjson.dumps({"type": kind, "event_id": f"event_{self._events}", **fields})

    def _update(self, row: Row) -> Sequence[bytes]:
        changes = row.get("session")
        if not isinstance(changes, dict) or changes.get("type") != "realtime":
            refuse("session.type must be realtime.", "session.type")
        session = _merged(self._session, changes)
        _speaks(session, "session")
        audio = session["audio"]
        if not all(isinstance(audio, dict) and isinstance(audio.get(way), dict) for way in ("input", "output")):
            refuse("session.audio must have input and output.", "session.audio")
        if any(audio[way].get("format") != _FORMAT for way in ("input", "output")):
            refuse("Audio must be audio/pcm at 24000: this server has no other format.", "session.audio")
        if audio["input"].get("turn_detection") is not None:
            refuse("This server detects no turns: turn_detection must be null.", "session.audio.input.turn_detection")
        self._session = session
        return [self._event("session.updated", session=session)]

    def _append(self, row: Row) -> Sequence[bytes]:
        try:
            self._buffered += len(base64.b64decode(row.get("audio", ""), validate=True))
        except (binascii.Error, TypeError, ValueError):
            refuse("audio must be Base64.", "audio")
        return ()

    def _clear(self, row: Row) -> Sequence[bytes]:
        del row
        self._buffered = 0
        return [self._event("input_audio_buffer.cleared")]

    def _commit(self, row: Row) -> Sequence[bytes]:
        del row
        if self._buffered < _LEAST_S * BYTES_PER_S:
            length_ms = self._buffered * 1000 / BYTES_PER_S
            refuse(f"The buffer is too small: it has {length_ms:.2f} ms of audio, and at least 100 ms are expected.")
        item = self._kept({"role": "user", "content": [{"type": "input_audio", "bytes": self._buffered}]})
        self._buffered = 0
        before = None if len(self._items) < 2 else self._items[-2]["id"]
        event = self._event("input_audio_buffer.committed", item_id=item["id"], previous_item_id=before)
        return [event, *self._added(item)]

    def _create_item(self, row: Row) -> Sequence[bytes]:
        item = row.get("item")
        if not isinstance(item, dict):
            refuse("item must be an object.", "item")
        _message_of(item)  # Raises if the item is invalid.
        return self._added(self._kept(item))

    def _kept(self, item: Row) -> Row:
        self._made += 1
        made = {"id": f"item_{self._made}", "object": "realtime.item", "type": "message", "status": "completed", **item}
        self._items.append(made)
        return made

    def _added(self, item: Row) -> list[bytes]:
        content = item.get("content")
        parts = [{k: v for k, v in part.items() if k not in ("bytes", "audio")} for part in content or ()]
        shown = {**item, "content": parts} if content is not None else item
        before = self._items[-2]["id"] if len(self._items) > 1 else None
        return [
            self._event(f"conversation.item.{state}", item=shown, previous_item_id=before)
            for state in ("added", "done")
        ]

    def _create_response(self, row: Row) -> Ask:
        response = row.get("response")
        metadata = response.get("metadata") if isinstance(response, dict) else None
        body = {"model": self._model, "session": self._session, "items": self._items, "response": response}
        return Ask(orjson.dumps(body), headers_of(metadata, self._handshake))


_ACTS: dict[str, Callable[[RealtimeTalk, Row], Ask | Sequence[bytes]]] = {
    "session.update": RealtimeTalk._update,
    "input_audio_buffer.append": RealtimeTalk._append,
    "input_audio_buffer.commit": RealtimeTalk._commit,
    "input_audio_buffer.clear": RealtimeTalk._clear,
    "conversation.item.create": RealtimeTalk._create_item,
    "response.create": RealtimeTalk._create_response,
}


def _merged(fields: Row, others: Row) -> Row:
    """Merges `others` into `fields`, recursively."""
    both = {
        name: value for name, value in others.items() if isinstance(value, dict) and isinstance(fields.get(name), dict)
    }
    return {**fields, **others, **{name: _merged(fields[name], value) for name, value in both.items()}}


def _speaks(row: Row, where: str) -> bool:
    """Whether audio is requested. Raises Refusal (400)."""
    asked = row.get("output_modalities")
    if asked not in (_AUDIO, _TEXT):
        refuse(f'{where}.output_modalities must be ["audio"] or ["text"].', f"{where}.output_modalities")
    return bool(asked == _AUDIO)


def _message_of(item: Row) -> tuple[Row, int]:
    """An item as a chat message, and its bytes of audio. Raises Refusal (400)."""
    if item.get("type", "message") != "message":
        return {"role": "user", "content": str(item.get("arguments", item.get("output", "")))}, 0
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system"):
        refuse("item.role must be user, assistant or system.", "item.role")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        refuse("item.content must be a list of parts.", "item.content")
    parts, sound = list[Row](), 0
    for part in content:
        kind = part.get("type")
        text = part.get("transcript" if kind == "output_audio" else "text")
        if kind == "input_audio":
            sound += part["bytes"] if isinstance(part.get("bytes"), int) else len(str(part.get("audio", ""))) * 3 // 4
            parts.append(_NOISE_OF_WAV)
        elif kind in ("input_text", "output_text", "output_audio") and isinstance(text, str):
            parts.append({"type": "text", "text": text})
        else:
            refuse(f"This server takes no part of type {kind} without its text.", "item.content")
    return {"role": role, "content": parts}, sound


def parse_realtime(row: Row) -> RequestParams:
    """The parameters of a response: the session, its items, and the `response` of the message. Raises Refusal (400)."""
    session, items, response = row.get("session"), row.get("items"), row.get("response")
    response = {} if response is None else response
    if not isinstance(session, dict) or not isinstance(items, list) or not isinstance(response, dict):
        refuse("response must be an object.", "response")
    asked = {**session, **response}
    items = asked.get("input", items)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        refuse("response.input must be a list of items.", "response.input")
    pairs = [_message_of(item) for item in items]
    speaks = _speaks(asked, "response")
    most = asked.get("max_output_tokens", "inf")
    if most != "inf" and not (type(most) is int and 1 <= most <= 4096):
        refuse("max_output_tokens must be inf, or a whole number from 1 to 4096.", "response.max_output_tokens")
    sound = sum(size for _, size in pairs)
    return RequestParams(
        stream=True,
        # Text and audio tokens both count.
        asked_tokens=None if most == "inf" else max(1, most // 2) if speaks else most,
        messages=[{"role": "system", "content": str(asked.get("instructions"))}, *(message for message, _ in pairs)],
        audio_ns=round(sound * 1_000_000_000 / BYTES_PER_S) or None,
        speech=Speech("pcm", events=True, media=None, has_text=True) if speaks else None,
        echo={
            "conversation_id": None if asked.get("conversation") == "none" else "conv_mock",
            "metadata": asked.get("metadata"),
            "max_output_tokens": most,
            "output_modalities": asked["output_modalities"],
        },
    )


class RealtimeFrames(ReplyFrames):
    """The messages of one response."""

    has_role = opens_early = True
    ignores = BYTE_FAULTS | {"role_early", "role_with_token", "role_absent", "usage_twice", "duplicate", "reorder"}

    def __init__(self, identity: ReplyIdentity, params: RequestParams) -> None:
        self._id = identity.id
        self._echo = params.echo
        self._speaks = params.speech is not None
        self._item_id = f"item_{identity.id}"
        self._where: Row = {"response_id": self._id, "item_id": self._item_id, "output_index": 0, "content_index": 0}
        self._text = ""
        self._events = 0
        self._is_open = False

    def _event(self, name: str, letter: str = "o", **fields: object) -> Event:
        self._events += 1
        row = {"type": name, "event_id": f"event_{self._id}_{self._events}", **fields}
        return Event(orjson.dumps(row), letter)

    def _response(self, status: str, usage: Row | None = None, details: Row | None = None) -> Row:
        output = [] if status == "in_progress" else [self._item("completed" if status == "completed" else "incomplete")]
        return {
            "object": "realtime.response", "id": self._id, "status": status, "status_details": details, "output": output,
            "usage": usage, "audio": {"output": {"format": _FORMAT, "voice": "alloy"}}, **self._echo,
        }  # fmt: skip

    def _item(self, status: str) -> Row:
        content = [] if status == "in_progress" else [self._part(f"output_{'audio' if self._speaks else 'text'}")]
        return {
            "id": self._item_id, "object": "realtime.item", "type": "message", "status": status, "role": "assistant",
            "content": content,
        }  # fmt: skip

    def _part(self, kind: str) -> Row:
        return {"type": kind, "transcript" if self._speaks else "text": self._text}

    def opening(self, choice: int, usage: UsageCounts | None) -> list[Event]:
        """`response.created`."""
        return [self._event("response.created", response=self._response("in_progress"))]

    def _start(self) -> list[Event]:
        if self._is_open:
            return []
        self._is_open = True
        item = self._item("in_progress")
        return [
            self._event("response.output_item.added", response_id=self._id, output_index=0, item=item),
            self._event("conversation.item.added", previous_item_id=None, item=item),
            self._event(
                "response.content_part.added", **self._where, part=self._part("audio" if self._speaks else "text")
            ),
        ]

    def _stop(self) -> list[Event]:
        if not self._is_open:
            return []
        self._is_open = False
        where, item = self._where, self._item("completed")
        part = self._part("audio" if self._speaks else "text")
        if self._speaks:
            ends = [
                self._event("response.output_audio.done", **where),
                self._event("response.output_audio_transcript.done", **where, transcript=self._text),
            ]
        else:
            ends = [self._event("response.output_text.done", **where, text=self._text)]
        return [
            *ends,
            self._event("response.content_part.done", **where, part=part),
            self._event("conversation.item.done", previous_item_id=None, item=item),
            self._event("response.output_item.done", response_id=self._id, output_index=0, item=item),
        ]

    def _delta(self, text: str, letter: str) -> Event:
        name = "output_audio_transcript" if self._speaks else "output_text"
        return self._event(f"response.{name}.delta", letter, **self._where, delta=text)

    def piece(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        """The text and the sound of some tokens."""
        events = self._start()
        self._text += piece.text
        if piece.text or self._speaks:
            events.append(self._delta(piece.text, "c" if piece.text else "o"))
        if self._speaks:
            sound = base64.b64encode(sound_of(piece.tokens)).decode()
            events.append(self._event("response.output_audio.delta", "a", **self._where, delta=sound))
        return [*events, *(self._stop() if piece.last else ())]

    def empty(self, piece: Piece, usage: UsageCounts | None) -> list[Event]:
        return [*self._start(), self._delta("", "o")]

    def closing(self, ends: Sequence[FinishReason], usage: UsageCounts | None) -> list[Event]:
        """`response.done`."""
        is_cut = ends[0].reason == "length"
        status = "incomplete" if is_cut else "completed"
        details = {"type": status, "reason": "max_output_tokens"} if is_cut else None
        last = self._response(status, None if usage is None else self._usage(usage), details)
        # A broken event may have replaced the last token.
        return [*self._stop(), self._event("response.done", "o" if usage is None else "u", response=last)]

    def _usage(self, usage: UsageCounts) -> Row:
        of_audio = usage.output_tokens if self._speaks else 0
        made = usage.output_tokens + of_audio
        return {
            "total_tokens": usage.input_tokens + made,
            "input_tokens": usage.input_tokens,
            "output_tokens": made,
            "input_token_details": {"cached_tokens": usage.cached_tokens or 0},
            "output_token_details": {"text_tokens": usage.output_tokens, "audio_tokens": of_audio},
        }

    def failure(self) -> list[Event]:
        error = {"type": "server_error", "code": "server_error", "message": PLANNED_FAILURE}
        return [
            self._event("response.done", response=self._response("failed", None, {"type": "failed", "error": error}))
        ]

    def broken(self) -> Event:
        return Event(b'{"type":"response.output_audio.delta","event_id":"event_broken","del', "o")


RealtimeTalk.endpoint = Endpoint(
    path="/v1/realtime",
    id_prefix="resp_",
    parse=parse_realtime,
    frames=RealtimeFrames,
    is_chat=False,
    refused=as_message,
)
