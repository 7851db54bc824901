"""A Realtime connection: the answer to each client message, and the messages of a response."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from mockserver.dialect.frames import Event, FinishReason, Piece, ReplyIdentity, UsageCounts
from mockserver.dialect.realtime import RealtimeFrames, RealtimeTalk, parse_realtime
from mockserver.dialect.refusals import Refusal
from mockserver.dialect.socket_talk import Ask
from mockserver.dialect.speech import sound_of
from mockserver.engine.work import Work
from mockserver.plans.plan import Plan
from mockserver.replies.choice import ReplyStyle, text_choice, writer_of
from mockserver.replies.text_reply import reply_of
from mockserver.tokencount import known_count
from tests.support.paper_wire import PaperWire
from tests.support.played_reply import ByHand

HANDSHAKE = [(b"x-request-id", b"of-the-socket"), (b"x-mock-fault", b"429"), (b"accept", b"*/*")]
HELLO = {"role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
TENTH_OF_A_SECOND = base64.b64encode(bytes(4_800)).decode()
"""24,000 samples a second of two bytes."""


def talk() -> RealtimeTalk:
    return RealtimeTalk(HANDSHAKE, {"model": "m"})


def said(talk: RealtimeTalk, **row: Any) -> list[dict[str, Any]]:
    answer = talk.take(json.dumps(row).encode())
    assert not isinstance(answer, Ask)
    return [json.loads(message) for message in answer]


def asked(talk: RealtimeTalk, **row: Any) -> dict[str, Any]:
    answer = talk.take(json.dumps({"type": "response.create", **row}).encode())
    assert isinstance(answer, Ask)
    body: dict[str, Any] = json.loads(answer.body)
    return body


def test_a_session_begins_with_its_settings_and_numbers_its_events() -> None:
    one = talk()
    (greeting,) = one.greeting()
    assert json.loads(greeting) == {
        "type": "session.created",
        "event_id": "event_1",
        "session": {
            "id": "sess_mock", "object": "realtime.session", "type": "realtime", "model": "m",
            "output_modalities": ["audio"], "instructions": "You are a helpful assistant.", "max_output_tokens": "inf",
            "tools": [], "tool_choice": "auto",
            "audio": {
                "input": {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": None, "transcription": None,
                          "noise_reduction": None},
                "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy", "speed": 1.0},
            },
        },
    }  # fmt: skip
    (cleared,) = said(one, type="input_audio_buffer.clear")
    assert cleared == {"type": "input_audio_buffer.cleared", "event_id": "event_2"}


def test_an_update_changes_what_it_names_at_any_depth() -> None:
    one = talk()
    changed = {"type": "realtime", "output_modalities": ["text"], "audio": {"output": {"voice": "cedar"}}}
    (updated,) = said(one, type="session.update", session=changed)
    assert updated["type"] == "session.updated"
    assert updated["session"]["output_modalities"] == ["text"]
    assert updated["session"]["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24_000}, "voice": "cedar", "speed": 1.0,
    }  # fmt: skip
    assert updated["session"]["audio"]["input"]["turn_detection"] is None
    assert asked(one)["session"] == updated["session"]
    # An invalid update changes nothing.
    said(one, type="session.update", session={"type": "realtime", "instructions": "x", "output_modalities": []})
    assert asked(one)["session"] == updated["session"]


def test_audio_is_committed_from_a_tenth_of_a_second_on_and_only_once() -> None:
    one = talk()
    half = base64.b64encode(bytes(2_400)).decode()
    assert said(one, type="input_audio_buffer.append", audio=half) == []
    (error,) = said(one, type="input_audio_buffer.commit")
    assert "it has 50.00 ms of audio, and at least 100 ms" in error["error"]["message"]
    assert said(one, type="input_audio_buffer.append", audio=half) == []
    committed, added, done = said(one, type="input_audio_buffer.commit")
    assert committed == {
        "type": "input_audio_buffer.committed", "event_id": "event_2", "item_id": "item_1", "previous_item_id": None,
    }  # fmt: skip
    item = {
        "id": "item_1", "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
        "content": [{"type": "input_audio"}],
    }  # fmt: skip
    assert added == {
        "type": "conversation.item.added", "event_id": "event_3", "item": item, "previous_item_id": None,
    }  # fmt: skip
    assert done == {**added, "type": "conversation.item.done", "event_id": "event_4"}
    (error,) = said(one, type="input_audio_buffer.commit")
    assert "it has 0.00 ms" in error["error"]["message"]
    said(one, type="input_audio_buffer.append", audio=TENTH_OF_A_SECOND)
    said(one, type="input_audio_buffer.clear")
    (error,) = said(one, type="input_audio_buffer.commit")
    assert "it has 0.00 ms" in error["error"]["message"]
    said(one, type="input_audio_buffer.append", audio=TENTH_OF_A_SECOND)
    committed, added, _ = said(one, type="input_audio_buffer.commit")
    assert (committed["item_id"], committed["previous_item_id"], added["previous_item_id"]) == (
        "item_2", "item_1", "item_1",
    )  # fmt: skip


def test_an_item_keeps_its_id_and_is_shown_without_its_sound() -> None:
    one = talk()
    added, done = said(one, type="conversation.item.create", item=HELLO)
    assert added["item"] == {
        "id": "item_1",
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        **HELLO,
    }
    assert (added["previous_item_id"], done["type"]) == (None, "conversation.item.done")
    sound = {"type": "input_audio", "audio": TENTH_OF_A_SECOND, "transcript": "hm"}
    added, _ = said(one, type="conversation.item.create", item={"id": "mine", "role": "user", "content": [sound]})
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": "hm"}]
    assert (added["item"]["id"], added["previous_item_id"]) == ("mine", "item_1")
    output = {"type": "function_call_output", "output": "42"}
    added, _ = said(one, type="conversation.item.create", item=output)
    assert "content" not in added["item"]
    assert [item["id"] for item in asked(one)["items"]] == ["item_1", "mine", "item_3"]


def test_a_response_is_asked_for_with_the_headers_of_its_metadata() -> None:
    one = talk()
    said(one, type="conversation.item.create", item=HELLO)
    metadata = {"X-Request-Id": "r-1", "traceparent": "00-1", "x-mock-fault": "500", "x-other": "no", "x-mock-n": 5}
    row = {"type": "response.create", "response": {"metadata": metadata}}
    ask = one.take(json.dumps(row).encode())
    assert isinstance(ask, Ask)
    assert ask.continues is None
    assert ask.headers == [
        (b"accept", b"*/*"), (b"x-request-id", b"r-1"), (b"traceparent", b"00-1"), (b"x-mock-fault", b"500"),
    ]  # fmt: skip
    body = json.loads(ask.body)
    assert (body["model"], body["response"], len(body["items"])) == ("m", row["response"], 1)
    # The headers of the handshake, except its id, which belongs to a single request.
    plain = one.take(b'{"type": "response.create"}')
    assert isinstance(plain, Ask)
    assert plain.headers == HANDSHAKE[1:]


def test_a_conversation_gains_what_a_response_says_unless_it_is_outside_of_it() -> None:
    one = talk()
    output = [{"id": "item_a", "type": "message", "role": "assistant", "content": []}]
    inside = {"type": "response.done", "response": {"conversation_id": "conv_mock", "output": output}}
    for row in ({"type": "response.output_text.delta", "delta": "x"}, inside):
        one.on_sent(json.dumps(row, separators=(",", ":")).encode())
    outside = {"type": "response.done", "response": {"conversation_id": None, "output": [{"id": "item_b"}]}}
    one.on_sent(json.dumps(outside, separators=(",", ":")).encode())
    assert asked(one)["items"] == output
    added, _ = said(one, type="conversation.item.create", item=HELLO)
    assert added["previous_item_id"] == "item_a"


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


FORMAT = "Audio must be audio/pcm at 24000: this server has no other format."
WRONG: dict[str, tuple[Any, str, str | None]] = {
    "a kind": ({"type": "session.delete"}, "Unknown message type: session.delete. This server takes session.update, "
               "input_audio_buffer.append, input_audio_buffer.commit, input_audio_buffer.clear, conversation.item.create, "
               "response.create.", "type"),
    "session": ({"type": "session.update", "session": {}}, "session.type must be realtime.", "session.type"),
    "no session": ({"type": "session.update"}, "session.type must be realtime.", "session.type"),
    "modalities": (session(output_modalities=["smell"]), 'session.output_modalities must be ["audio"] or ["text"].',
                   "session.output_modalities"),
    "format in": (session(audio={"input": {"format": 8}}), FORMAT, "session.audio"),
    "format out": (session(audio={"output": {"format": {"rate": 8000}}}), FORMAT, "session.audio"),
    "no input": (session(audio={"input": 3}), "session.audio must have input and output.", "session.audio"),
    "no output": (session(audio={"output": 3}), "session.audio must have input and output.", "session.audio"),
    "no audio": (session(audio=3), "session.audio must have input and output.", "session.audio"),
    "turns": (session(audio={"input": {"turn_detection": {}}}), "This server detects no turns: turn_detection must be null.",
              "session.audio.input.turn_detection"),
    "base64": ({"type": "input_audio_buffer.append", "audio": "?"}, "audio must be Base64.", "audio"),
    "a cut base64": ({"type": "input_audio_buffer.append", "audio": "AAA"}, "audio must be Base64.", "audio"),
    "a number": ({"type": "input_audio_buffer.append", "audio": 3}, "audio must be Base64.", "audio"),
    "no item": ({"type": "conversation.item.create"}, "item must be an object.", "item"),
    "role": ({"type": "conversation.item.create", "item": {**HELLO, "role": "cat"}},
             "item.role must be user, assistant or system.", "item.role"),
    "no parts": ({"type": "conversation.item.create", "item": {**HELLO, "content": "x"}},
                 "item.content must be a list of parts.", "item.content"),
    "no part": ({"type": "conversation.item.create", "item": {**HELLO, "content": [*HELLO["content"], "x"]}},
                "item.content must be a list of parts.", "item.content"),
    "part": ({"type": "conversation.item.create", "item": {**HELLO, "content": [{"type": "smell", "text": "x"}]}},
             "This server takes no part of type smell without its text.", "item.content"),
    "no text": ({"type": "conversation.item.create", "item": {**HELLO, "content": [{"type": "input_text"}]}},
                "This server takes no part of type input_text without its text.", "item.content"),
    "no transcript": ({"type": "conversation.item.create",
                       "item": {**HELLO, "content": [{"type": "output_audio", "text": "x"}]}},
                      "This server takes no part of type output_audio without its text.", "item.content"),
}  # fmt: skip


@pytest.mark.parametrize(("row", "message", "param"), WRONG.values(), ids=WRONG)
def test_a_wrong_message_is_answered_with_an_error(row: dict[str, Any], message: str, param: str | None) -> None:
    one = talk()
    assert said(one, **row, event_id="mine") == [
        {
            "type": "error",
            "event_id": "event_1",
            "error": {
                "message": message, "type": "invalid_request_error", "param": param, "code": "invalid_value",
                "event_id": "mine",
            },
        }
    ]  # fmt: skip
    assert asked(one)["items"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "The message is not JSON."),
        (b"[1]", "Unknown message type: None."),
        (b"{}", "Unknown message type: None."),
    ],
)
def test_what_is_no_message_is_answered_with_an_error(text: bytes, message: str) -> None:
    answers = talk().take(text)
    assert isinstance(answers, list)
    error = json.loads(answers[0])["error"]
    assert len(answers) == 1
    assert error["message"].startswith(message)
    assert (error["event_id"], error["type"]) == (None, "invalid_request_error")


ITEMS: list[dict[str, Any]] = [
    HELLO,
    {"role": "user", "content": [{"type": "input_audio", "bytes": 48_000}, {"type": "input_audio", "audio": "A" * 64_000}]},
    {"role": "assistant", "content": [{"type": "output_audio", "transcript": "Hi."}, {"type": "output_text", "text": "Ho."}]},
    {"type": "function_call", "arguments": '{"a":1}'},
    {"type": "function_call_output", "output": "42"},
    {"type": "function_call_output"},
]  # fmt: skip
WAV = {"type": "input_audio", "input_audio": {"format": "wav", "data": "UklGRg=="}}


def parsed(response: Any = None, items: Any = (), **changed: Any) -> Any:
    settings = json.loads(talk().greeting()[0])["session"] | changed
    return parse_realtime({"model": "m", "session": settings, "items": [*items], "response": response})


def test_the_items_of_a_conversation_are_a_chat_and_their_sound_has_a_length() -> None:
    params = parsed(items=ITEMS)
    assert params.messages == [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": [{"type": "text", "text": "Say hello."}]},
        {"role": "user", "content": [WAV, WAV]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi."}, {"type": "text", "text": "Ho."}]},
        {"role": "user", "content": '{"a":1}'},
        {"role": "user", "content": "42"},
        {"role": "user", "content": ""},
    ]
    assert params.audio_ns == 2_000_000_000  # 48,000 bytes, and the same in 64,000 characters of Base64: a second each.
    assert parsed(items=[HELLO]).audio_ns is None


@pytest.mark.parametrize(
    ("response", "tokens", "speaks"),
    [
        (None, None, True),
        ({}, None, True),
        ({"max_output_tokens": 1}, 1, True),
        ({"max_output_tokens": 9}, 4, True),  # A token counts twice: as text and as audio.
        ({"max_output_tokens": 4096, "output_modalities": ["text"]}, 4096, False),
        ({"max_output_tokens": 1, "output_modalities": ["text"]}, 1, False),
        ({"max_output_tokens": "inf", "output_modalities": ["text"]}, None, False),
    ],
)
def test_a_response_overrides_the_session(response: Any, tokens: int | None, speaks: bool) -> None:
    params = parsed(response)
    assert (params.asked_tokens, params.speech is not None) == (tokens, speaks)
    assert (params.stream, params.include_usage, params.continuous_usage) == (True, True, False)
    if params.speech is not None:
        assert (params.speech.kind, params.speech.events, params.speech.has_text) == ("pcm", True, True)
    assert params.echo["output_modalities"] == (["audio"] if speaks else ["text"])


def test_a_response_says_where_it_belongs_and_may_have_items_of_its_own() -> None:
    metadata = {"a": "b"}
    params = parsed(
        {"conversation": "none", "input": [HELLO], "metadata": metadata, "instructions": "Sing."}, items=ITEMS
    )
    assert params.messages == [
        {"role": "system", "content": "Sing."},
        {"role": "user", "content": [{"type": "text", "text": "Say hello."}]},
    ]
    assert params.echo == {
        "conversation_id": None, "metadata": metadata, "max_output_tokens": "inf", "output_modalities": ["audio"],
    }  # fmt: skip
    assert parsed({"conversation": "auto"}).echo["conversation_id"] == "conv_mock"


NO_ITEMS: list[Any] = [{}, "x", 5, ["x"]]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (7, "response must be an object."),
        ({"input": "x"}, "response.input must be a list of items."),
        ({"input": [HELLO, "x"]}, "response.input must be a list of items."),
        ({"output_modalities": ["audio", "text"]}, 'response.output_modalities must be ["audio"] or ["text"].'),
        *(({"input": given}, "response.input must be a list of items.") for given in NO_ITEMS),
        *(
            ({"max_output_tokens": most}, "max_output_tokens must be inf, or a whole number from 1 to 4096.")
            for most in (0, 4097, 1.5, True, None)
        ),
    ],
)
def test_a_wrong_response_is_refused(response: Any, message: str) -> None:
    with pytest.raises(Refusal) as refused:
        parsed(response)
    assert (refused.value.status, refused.value.message) == (400, message)


# ---- The messages of a response ------------------------------------------------------------------------------------------


class Reply:
    """The frames of a response, and their content: `rows` and the letters of the ledger."""

    def __init__(self, modality: str) -> None:
        params = parsed({"output_modalities": [modality], "max_output_tokens": 40, "metadata": {"a": "b"}})
        self.frames = RealtimeFrames(ReplyIdentity("r", 0, "m"), params)
        self.rows: list[dict[str, Any]] = []
        self.letters = ""

    def add(self, events: list[Event]) -> list[str]:
        rows = [json.loads(event.frame) for event in events]
        self.rows += rows
        self.letters += "".join(event.kind for event in events)
        assert [row["event_id"] for row in self.rows] == [f"event_r_{n}" for n in range(1, len(self.rows) + 1)]
        return [row["type"].removeprefix("response.") for row in rows]


USAGE = UsageCounts(7, 3, ask_work=lambda: Work(cached_tokens=2))
STOP, LENGTH = FinishReason("stop", None), FinishReason("length", None)
PLACE = {"response_id": "r", "item_id": "item_r", "output_index": 0, "content_index": 0}


def test_a_text_is_a_part_of_an_item_of_a_response() -> None:
    reply = Reply("text")
    frames = reply.frames
    assert (frames.has_role, frames.opens_early) == (True, True)
    assert reply.add(frames.opening(0, None)) == ["created"]
    assert reply.add(frames.piece(Piece("Hel", "text", tokens=2), None)) == [
        "output_item.added", "conversation.item.added", "content_part.added", "output_text.delta",
    ]  # fmt: skip
    assert reply.add(frames.piece(Piece("", "text"), None)) == []
    assert reply.add(frames.empty(Piece("x", "text"), None)) == ["output_text.delta"]
    assert reply.add(frames.piece(Piece("lo", "text", last=True), None)) == [
        "output_text.delta", "output_text.done", "content_part.done", "conversation.item.done", "output_item.done",
    ]  # fmt: skip
    assert reply.add(frames.closing([STOP], USAGE)) == ["done"]
    assert reply.letters == "o" + "oooc" + "o" + "coooo" + "u"
    created, added, conversed, part, first, empty, second, text_done, part_done, conversed_done, item_done, done = (
        reply.rows
    )
    assert created["response"] == {
        "object": "realtime.response", "id": "r", "status": "in_progress", "status_details": None, "output": [],
        "usage": None, "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy"}},
        "conversation_id": "conv_mock", "metadata": {"a": "b"}, "max_output_tokens": 40, "output_modalities": ["text"],
    }  # fmt: skip
    item = {
        "id": "item_r", "object": "realtime.item", "type": "message", "status": "in_progress", "role": "assistant",
        "content": [],
    }  # fmt: skip
    assert (added["item"], added["response_id"], added["output_index"]) == (item, "r", 0)
    assert (conversed["item"], conversed["previous_item_id"]) == (item, None)
    for row in (part, first, empty, second, text_done, part_done):
        assert {name: row[name] for name in PLACE} == PLACE
    assert (part["part"], [row["delta"] for row in (first, empty, second)]) == (
        {"type": "text", "text": ""}, ["Hel", "", "lo"],
    )  # fmt: skip
    assert (text_done["text"], part_done["part"]) == ("Hello", {"type": "text", "text": "Hello"})
    whole = item | {"status": "completed", "content": [{"type": "output_text", "text": "Hello"}]}
    assert (conversed_done["item"], conversed_done["previous_item_id"], item_done["item"]) == (whole, None, whole)
    assert (item_done["response_id"], item_done["output_index"]) == ("r", 0)
    assert done["response"] == {
        **created["response"],
        "status": "completed",
        "output": [whole],
        "usage": {
            "total_tokens": 10, "input_tokens": 7, "output_tokens": 3, "input_token_details": {"cached_tokens": 2},
            "output_token_details": {"text_tokens": 3, "audio_tokens": 0},
        },
    }  # fmt: skip


def test_speech_has_its_transcript_beside_it_and_counts_twice() -> None:
    reply = Reply("audio")
    frames = reply.frames
    reply.add(frames.opening(0, None))
    assert reply.add(frames.piece(Piece("Hel", "text", tokens=2), None))[3:] == [
        "output_audio_transcript.delta", "output_audio.delta",
    ]  # fmt: skip
    # Two tokens are 160 ms at 24,000 samples per second of two bytes each.
    assert base64.b64decode(reply.rows[-1]["delta"]) == sound_of(2)
    assert len(sound_of(2)) == 7_680
    assert reply.add(frames.piece(Piece("", "text"), None)) == ["output_audio_transcript.delta", "output_audio.delta"]
    assert reply.letters == "o" + "ooo" + "ca" + "oa"
    assert reply.add(frames.piece(Piece("lo", "text", last=True), None)) == [
        "output_audio_transcript.delta", "output_audio.delta", "output_audio.done", "output_audio_transcript.done",
        "content_part.done", "conversation.item.done", "output_item.done",
    ]  # fmt: skip
    transcript, part = reply.rows[-4:-2]
    assert transcript["transcript"] == "Hello"
    assert part["part"] == {"type": "audio", "transcript": "Hello"}
    reply.add(frames.closing([STOP], USAGE))
    response = reply.rows[-1]["response"]
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hello"}]
    assert response["usage"] == {
        "total_tokens": 13, "input_tokens": 7, "output_tokens": 6, "input_token_details": {"cached_tokens": 2},
        "output_token_details": {"text_tokens": 3, "audio_tokens": 3},
    }  # fmt: skip


def test_a_response_that_ends_by_length_is_incomplete() -> None:
    reply = Reply("text")
    reply.add(reply.frames.piece(Piece("Hi", "text"), None))
    # A broken event replaced the last token. Open items are closed.
    assert reply.add(reply.frames.closing([LENGTH], UsageCounts(1, 1))) == [
        "output_text.done", "content_part.done", "conversation.item.done", "output_item.done", "done",
    ]  # fmt: skip
    response = reply.rows[-1]["response"]
    assert (response["status"], response["output"][0]["status"]) == ("incomplete", "incomplete")
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["usage"]["input_token_details"] == {"cached_tokens": 0}
    assert reply.add(reply.frames.closing([STOP], None)) == ["done"]
    assert reply.letters[-1] == "o"
    assert reply.rows[-1]["response"]["usage"] is None


def test_a_response_that_failed_says_so() -> None:
    reply = Reply("text")
    assert reply.add(reply.frames.failure()) == ["done"]
    response = reply.rows[-1]["response"]
    assert (response["status"], response["status_details"]["type"]) == ("failed", "failed")
    assert response["status_details"]["error"]["type"] == "server_error"
    assert response["output"][0]["status"] == "incomplete"
    broken = reply.frames.broken()
    assert broken.kind == "o"
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken.frame)


@pytest.mark.parametrize("pieces", [(1, 1, 1), (2, 1), (3,)])
def test_the_tokens_of_speech_count_for_its_transcript_and_for_its_sound(pieces: tuple[int, ...]) -> None:
    params = replace(parsed({"output_modalities": ["audio"], "max_output_tokens": 6}), include_usage=False)
    choice = text_choice(params, Plan(50, (20, 20), 3), ["One", " two", " three"])
    content = ReplyStyle().content_of(params, (choice,), RealtimeTalk.endpoint, "r", 9, "m", known_count(5))
    reply = reply_of(PaperWire(), writer_of(content, lambda: 0), ByHand(), lambda reply: None)
    reply.begin()
    for tokens in pieces:
        reply.take(tokens)
    letters = "".join(reply.chunk_kinds)
    assert letters.count("c") == letters.count("a") == len(pieces)
    for letter in "ca":
        assert [n for n, kind in zip(reply.chunk_tokens, letters, strict=True) if kind == letter] == [*pieces]


@pytest.mark.parametrize("content", [None, "x", 5, {}, ["x"]])
def test_the_content_of_an_item_is_a_list_of_parts(content: Any) -> None:
    (error,) = said(talk(), type="conversation.item.create", item={"role": "user", "content": content})
    assert error["error"]["message"] == "item.content must be a list of parts."
