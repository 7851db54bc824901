"""Realtime: the messages of a request and the events of its reply, from literal messages of OpenAI's API and its beta."""

from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest

from bench.config import resolve
from bench.endpoints import ENDPOINTS, encode
from bench.endpoints.choice import endpoint_of
from bench.endpoints.interface import BodyOptions, Endpoint, ParsedReply, ReadOptions, ReceivedAudio
from bench.endpoints.realtime import Realtime
from bench.endpoints.urls import endpoint_of as endpoint_of_url
from bench.endpoints.urls import url_of
from bench.errors import UsageError
from bench.records import Outcome
from promptset.audio import parse, wav_file
from promptset.errors import SpecError
from promptset.samples import Audio, Sample

REALTIME = Realtime()
PCM = {"type": "audio/pcm", "rate": 24_000}
OPTIONS = BodyOptions(endpoint="realtime", model="m")


def messages(sample: Sample, endpoint: Endpoint = REALTIME) -> list[dict[str, Any]]:
    encoded = encode(sample, BodyOptions(endpoint="realtime", model="m", own=endpoint))
    assert (encoded.stream, encoded.url_model, encoded.output_tokens_asked) == (True, "m", None)
    assert REALTIME.socket is not None
    return [orjson.loads(message) for message in REALTIME.socket.messages(encoded.body, {"x-request-id": "r-1"})]


def of(**given: Any) -> Endpoint:
    return endpoint_of(resolve({"url": "http://h", "endpoint": "realtime", **given}))


def test_a_text_is_an_item_of_the_conversation_and_the_response_names_the_request() -> None:
    update, item, create = messages(Sample(prompt="Hello.", output_tokens=9))
    audio = {"input": {"format": PCM, "turn_detection": None}, "output": {"format": PCM, "voice": "alloy"}}
    session = {"type": "realtime", "output_modalities": ["audio"], "audio": audio}
    assert update == {"type": "session.update", "session": session}
    content = [{"type": "input_text", "text": "Hello."}]
    assert item == {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}
    assert create == {
        "type": "response.create",
        "response": {"max_output_tokens": 9, "metadata": {"x-request-id": "r-1"}},
    }


def test_speech_is_appended_in_pieces_of_200_ms_and_committed() -> None:
    samples = bytes(range(256)) * 75  # 400 ms
    clip = Audio(wav_file(samples, 24_000), "a.wav", 400_000_000, "what is said")
    _, *appended, commit, create = messages(Sample(audio=clip))
    assert [row["type"] for row in appended] == ["input_audio_buffer.append"] * 2
    assert b"".join(base64.b64decode(row["audio"]) for row in appended) == samples
    assert (commit, create["type"]) == ({"type": "input_audio_buffer.commit"}, "response.create")
    audio = encode(Sample(audio=clip), OPTIONS).audio
    assert audio is not None
    assert (audio.length_ns, audio.reference) == (400_000_000, "what is said")


@pytest.mark.parametrize("content", [wav_file(bytes(800), 16_000), b"ID3", b"RIFF"])
def test_a_clip_that_is_not_the_pcm_of_realtime_is_refused(content: bytes) -> None:
    with pytest.raises(SpecError, match=r"the clip a\.wav must be a WAV file of 24,000 samples a second"):
        encode(Sample(audio=Audio(content, "a.wav", None)), OPTIONS)


@pytest.mark.parametrize("own", [{"a": "b"}, {}, None])
def test_a_full_body_is_the_response_with_its_own_metadata(own: dict[str, str] | None) -> None:
    body: dict[str, Any] = {"input": [], "metadata": own, "conversation": "none"}
    _, create = messages(Sample(body=body))
    assert create["response"] == {**body, "metadata": {"x-request-id": "r-1", **(own or {})}}


def test_extra_body_changes_the_session_at_any_depth() -> None:
    extra = {"instructions": "Be brief.", "audio": {"output": {"voice": "cedar"}}}
    update, *_ = messages(Sample(prompt="a"), of(extra_body=extra))
    assert update["session"]["instructions"] == "Be brief."
    assert update["session"]["audio"]["output"] == {"format": PCM, "voice": "cedar"}
    assert update["session"]["audio"]["input"]["turn_detection"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"extra_body": {"output_modalities": ["audio", "text"]}}, '--extra-body: output_modalities must be ["audio"]'),
        ({"extra_body": {"audio": "loud"}}, "--extra-body: audio must be as in a session"),
        ({"extra_body": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}, "--extra-body: audio.input.format must"),
        ({"extra_body": {"audio": {"output": {"format": {"type": "mp3"}}}}}, "must be one of audio/pcm, audio/pcmu"),
        ({"stream": False}, "--endpoint realtime and --no-stream cannot be combined"),
        ({"transport": "httpx"}, "--endpoint realtime needs --transport wire"),
        ({"websocket": True}, "--websocket needs --endpoint responses: realtime always uses one"),
        ({"mode": "sessions"}, "realtime have no turns"),
        ({"audio": "length=1s", "input_tokens": "5"}, "--input-tokens is about prompts"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        of(**given)
    assert any(words in problem for problem in refused.value.problems), refused.value.problems


def test_other_samples_a_second_than_realtimes_are_refused_and_24_000_are_usual() -> None:
    assert parse("length=1s", 24_000).rate == 24_000
    with pytest.raises(SpecError, match="takes clips of 24000 samples a second, and not of 16000"):
        parse("length=1s,rate=16000", 24_000)


def test_the_url_names_the_endpoint_with_and_without_a_model() -> None:
    assert endpoint_of_url("http://h/v1/realtime") == "realtime"
    for url in ("http://h", "http://h/v1", "http://h/v1/realtime"):
        assert url_of(url, REALTIME) == "http://h/v1/realtime?model={model}"
    assert url_of("http://h/v1/realtime?model=mine&a=1", REALTIME) == "http://h/v1/realtime?model=mine&a=1"
    assert url_of("http://h/v1?a=1", REALTIME) == "http://h/v1/realtime?model={model}&a=1"


# ---- Replies ----------------------------------------------------------------------------------------------------------


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"event_id": "e", **fields, "type": kind}).encode()


def sound(size: int, kind: str = "response.output_audio.delta") -> bytes:
    return event(kind, response_id="r", delta=base64.b64encode(bytes(size)).decode())


def said(text: str, kind: str = "response.output_audio_transcript.delta") -> bytes:
    return event(kind, response_id="r", delta=text)


def done(status: str = "completed", details: Any = None, **response: Any) -> bytes:
    return event("response.done", response={"id": "r", "status": status, "status_details": details, **response})


USAGE = {
    "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
    "output_token_details": {"text_tokens": 2, "audio_tokens": 119},
}  # fmt: skip
CREATED = event("response.created", response={"status": "in_progress"})


def read(*events: bytes, endpoint: Endpoint = REALTIME, one_by_one: bool = False) -> ParsedReply:
    reader = endpoint.event_reader(ReadOptions(keep_answer=True))
    for batch in [[one] for one in events] if one_by_one else [list(events)]:
        reader.feed(batch)
    return reader.close()


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_reply_has_text_and_audio_and_its_tokens_are_those_of_text(one_by_one: bool) -> None:
    parts = [CREATED, said("Good"), sound(4_800), said(" day."), sound(2_400), event("response.output_audio.done")]
    reply = read(*parts, done(usage=USAGE), one_by_one=one_by_one)
    assert reply.chunk_kind == "ocacaou"
    assert reply.audio == ReceivedAudio(7_200, 48_000, (0, 0, 4_800, 0, 2_400, 0, 0))
    assert (reply.input_tokens, reply.cached_tokens, reply.output_tokens) == (132, 64, 2)
    assert reply.output_tokens_from == "usage"
    assert reply.chunk_tokens == (0, 1, 0, 1, 0, 0, 0)
    assert (reply.content, reply.problem, reply.complete, reply.limited) == ("Good day.", None, True, False)


def test_the_beta_has_other_names_for_the_same() -> None:
    reply = read(said("a", "response.audio_transcript.delta"), sound(480, "response.audio.delta"), done())
    assert (reply.chunk_kind, reply.content, reply.problem) == ("cao", "a", None)


def test_a_session_of_text_needs_no_audio_and_other_formats_have_other_lengths() -> None:
    texts = of(extra_body={"output_modalities": ["text"]})
    reply = read(said("a", "response.output_text.delta"), done(), endpoint=texts)
    assert (reply.chunk_kind, reply.audio, reply.problem) == ("co", None, None)
    phone = of(extra_body={"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, play_after=0.2)
    assert read(sound(800), done(), endpoint=phone).audio == ReceivedAudio(800, 8_000, (800, 0), 200_000_000)


@pytest.mark.parametrize(
    ("written", "bytes_per_s"),
    [({}, 48_000), ({"rate": 16_000}, 32_000), ({"rate": "16k"}, None), ({"rate": None}, None),
     ({"type": "audio/pcma", "rate": 16_000}, 8_000)],
)  # fmt: skip
def test_a_second_of_audio_has_the_bytes_that_its_format_says(written: dict[str, Any], bytes_per_s: int | None) -> None:
    audio = read(sound(640), done(), endpoint=of(extra_body={"audio": {"output": {"format": written}}})).audio
    assert audio is not None
    assert audio.bytes_per_s == bytes_per_s


def test_a_call_of_a_tool_needs_no_audio_and_a_limit_ends_well() -> None:
    call = event("response.output_item.added", item={"type": "function_call", "name": "f"})
    reply = read(call, event("response.function_call_arguments.delta", delta="{}"), done())
    # As elsewhere, the name is the first sign of a call. Without arguments it is the only sign.
    assert (reply.tool_calls, reply.chunk_kind, reply.problem) == (1, "ffo", None)
    assert read(call, done()).chunk_kind == "fo"
    # A spoken reply has only its own length of audio: RTF of the clip in the request would be a different number.
    assert reply.audio == ReceivedAudio(0, 48_000, None)
    cut = read(said("a"), sound(480), done("incomplete", {"type": "incomplete", "reason": "max_output_tokens"}))
    assert (cut.limited, cut.problem) == (True, None)


FAILED = {"type": "failed", "error": {"type": "server_error", "code": "x", "message": "no GPU"}}


@pytest.mark.parametrize(
    ("events", "outcome", "words"),
    [
        ([], Outcome.TRUNCATED, "without response.done"),
        ([CREATED, said("a"), sound(480)], Outcome.TRUNCATED, "without response.done"),
        ([CREATED, said("a"), done()], Outcome.NO_TOKENS, "without audio"),
        ([CREATED, sound(0), done()], Outcome.NO_TOKENS, "without audio"),
        ([event("response.output_audio.delta", delta="?"), done()], Outcome.STREAM_ERROR, "not base64"),
        ([event("response.output_audio.delta", delta=[1]), done()], Outcome.NO_TOKENS, "without audio"),
        ([sound(480), done("failed", FAILED)], Outcome.STREAM_ERROR, "server_error: no GPU"),
        ([sound(480), done("cancelled", {"reason": "turn_detected"})], Outcome.STREAM_ERROR, "cancelled"),
        ([sound(480), done("incomplete", {"reason": "tired"})], Outcome.STREAM_ERROR, "incomplete: tired"),
        ([event("error", error={"type": "invalid_request_error", "message": "no model"})], Outcome.STREAM_ERROR, "no model"),
        ([event("error", error="busy", code=3)], Outcome.STREAM_ERROR, "busy"),
        ([sound(480), b"{"], Outcome.MALFORMED, "event 1 is not JSON"),
        ([sound(480), b"[]", done()], Outcome.MALFORMED, "not a JSON object"),
        ([b'{"a": 1}', sound(480), done()], Outcome.MALFORMED, "has no type"),
        ([sound(480), event("response.done", response=7), sound(480)], Outcome.MALFORMED, "comes after response.done"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_reply_that_is_no_success_says_why(
    events: list[bytes], outcome: Outcome, words: str, one_by_one: bool
) -> None:
    problem = read(*events, one_by_one=one_by_one).problem
    assert problem is not None
    assert (problem.outcome, words in problem.message) == (outcome, True), problem


def test_which_messages_belong_to_a_reply_and_which_is_its_last() -> None:
    words = ENDPOINTS["realtime"].socket
    assert words is not None
    before = [event("session.created", session={}), event("session.updated"), event("conversation.item.added"), b"{"]
    assert [words.is_beside(message, begun=False) for message in before] == [True] * 4
    half = b'{"type":"response.done","text":"\\ud83d"}'  # Half a character.
    own = [CREATED, event("error", error={}), event("response.done"), half, b'{"error":{"message":"oom"}}']
    assert [words.is_beside(message, begun=False) for message in own] == [False] * 5
    assert not words.is_beside(before[2], begun=True)
    assert [words.is_last(message) for message in own] == [False, *[True] * 4]
    spoofed = said('"type":"response.done"')
    assert not words.is_last(spoofed)
    assert not words.is_last(event("response.output_item.done", item={"type": "response.done"}))
