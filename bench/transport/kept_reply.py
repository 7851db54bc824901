"""The parts of a reply that a record keeps besides its times: the answer, and the audio."""

from __future__ import annotations

from typing import Any

from bench.endpoints.interface import ParsedReply, ReceivedAudio
from bench.records import StoredAnswer


def audio_fields(audio: ReceivedAudio | None) -> dict[str, Any]:
    """The record's fields for the audio in the reply."""
    if audio is None:
        return {}
    return {
        "audio_bytes": audio.total_bytes,
        "audio_bytes_per_s": audio.bytes_per_s,
        "chunk_audio_bytes": audio.chunk_bytes,
        "play_after_ns": audio.play_after_ns,
    }


def stored_answer(reply: ParsedReply) -> StoredAnswer:
    """The answer in the record's form. Halves of characters, which cannot be written to a file, become U+FFFD."""
    calls = () if reply.answer is None else reply.answer.tool_calls
    tokens = () if reply.answer is None else reply.answer.tokens
    return StoredAnswer(
        content=_whole_characters(reply.content),
        tool_calls=tuple((_whole_characters(call.name), _whole_characters(call.arguments)) for call in calls),
        limited=reply.limited,
        tokens=tuple((_whole_characters(token), value) for token, value in tokens),
    )


def _whole_characters(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
