"""What a record keeps of a reply in addition to its times."""

from __future__ import annotations

from bench.endpoints.interface import ParsedReply, ReceivedAudio
from bench.records import StoredAnswer
from bench.transport.kept_reply import audio_fields, stored_answer
from promptset.answers import Answer, ToolCall


def test_audio_is_its_bytes_and_when_it_plays() -> None:
    assert audio_fields(None) == {}
    assert audio_fields(ReceivedAudio(9, 3, (4, 5), 7)) == {
        "audio_bytes": 9, "audio_bytes_per_s": 3, "chunk_audio_bytes": (4, 5), "play_after_ns": 7,
    }  # fmt: skip


def test_an_answer_keeps_whole_characters_its_calls_and_its_tokens() -> None:
    assert stored_answer(ParsedReply(content="half \ud83d")) == StoredAnswer(content="half \ufffd")
    answer = Answer(tool_calls=(ToolCall("1", "f\udc00", "{}"),), tokens=(("a", -0.5), ("\ud83d", -1.0)))
    assert stored_answer(ParsedReply(content="😀", answer=answer, limited=True)) == StoredAnswer(
        content="😀", tool_calls=(("f\ufffd", "{}"),), limited=True, tokens=(("a", -0.5), ("\ufffd", -1.0))
    )
