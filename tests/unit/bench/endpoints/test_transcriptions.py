"""Transcriptions: the form of a clip, and streams and whole replies as OpenAI and vLLM send them."""

from __future__ import annotations

import json
from email.message import Message
from email.parser import BytesParser
from typing import Any

import pytest

from bench.endpoints import ENDPOINTS, encode
from bench.endpoints.interface import BodyOptions, OtherLine, ParsedReply, Problem, ReadOptions
from bench.endpoints.multipart import BOUNDARY, CONTENT_TYPE, encoded
from bench.records import Outcome
from bench.workload import RequestDraft, SentAudio
from promptset.samples import Audio, Sample

ENDPOINT = ENDPOINTS["transcriptions"]
CLIP = Audio(b"RIFF\r\n\x00--\r\n", 'a "b".wav', 1_500_000_000, "what is said")


def parts_of(body: bytes) -> list[Message]:
    """The parts of the form, read by the e-mail library."""
    payload = BytesParser().parsebytes(f"Content-Type: {CONTENT_TYPE}\r\n\r\n".encode() + body).get_payload()
    assert isinstance(payload, list)
    return [part for part in payload if isinstance(part, Message)]


def fields_of(body: bytes) -> list[tuple[object, object]]:
    return [(part.get_param("name", header="content-disposition"), part.get_payload()) for part in parts_of(body)[:-1]]


def test_a_clip_is_sent_as_a_form() -> None:
    options = BodyOptions(endpoint="transcriptions", model="m", extra={"language": "en", "include[]": ["a", "b"]})
    request = encode(Sample(audio=CLIP), options)
    assert fields_of(request.body) == [
        ("response_format", "json"), ("model", "m"), ("stream", "true"), ("stream_include_usage", "true"),
        ("language", "en"), ("include[]", "a"), ("include[]", "b"),
    ]  # fmt: skip
    file = parts_of(request.body)[-1]
    assert file.get_param("name", header="content-disposition") == "file"
    assert file.get_filename() == "a %22b%22.wav"
    assert (request.stream, request.audio) == (True, SentAudio(1_500_000_000, "what is said"))
    # The e-mail library changes line ends in a file, so its bytes are checked here.
    assert request.body.endswith(b"\r\n\r\n" + CLIP.data + f"\r\n--{BOUNDARY}--\r\n".encode())


def test_what_is_known_of_the_clip_goes_with_the_request_from_one_process_to_another() -> None:
    draft = RequestDraft(b"x", True, None, None, None, audio=SentAudio(5, "é"))
    assert RequestDraft.unpack(draft.pack()) == draft


def test_a_whole_reply_is_asked_for_without_a_stream_and_its_usage() -> None:
    request = encode(Sample(audio=CLIP), BodyOptions(endpoint="transcriptions", model=None, stream=False))
    assert fields_of(request.body) == [("response_format", "json")]
    assert not request.stream
    probe = encode(Sample(prompt="Say hello."), BodyOptions(endpoint="transcriptions", model=None))
    assert b"RIFF" in probe.body


def test_a_file_that_holds_the_boundary_is_refused() -> None:
    with pytest.raises(ValueError, match="holds the boundary"):
        encoded({}, ("a.wav", f"x--{BOUNDARY}--".encode()))


def event(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def delta(text: str) -> bytes:
    return event(type="transcript.text.delta", delta=text)


DONE = event(
    type="transcript.text.done", text="Hi there.",
    usage={"type": "tokens", "input_tokens": 50, "output_tokens": 3, "total_tokens": 53},
)  # fmt: skip
BY_LENGTH = event(type="transcript.text.done", text="Hi there.", usage={"type": "duration", "seconds": 2})


def chunk(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event(**{"object": "transcription.chunk", "choices": [choice], **more})


END_OF_VLLM = (
    event(object="transcription.chunk", choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    event(object="transcription.chunk", choices=[], usage={"prompt_tokens": 50, "completion_tokens": 3}),
)


def read(*events: bytes, one_by_one: bool = False) -> ParsedReply:
    reader = ENDPOINT.event_reader(ReadOptions(keep_answer=True))
    for batch in [[one] for one in events] if one_by_one else [[*events]]:
        reader.feed(batch)
    return reader.close()


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize(
    ("events", "kinds", "tokens"),
    [
        ([delta("Hi"), delta(" there"), delta("."), DONE], "cccu", (50, 3)),
        ([delta("Hi"), event(type="transcript.text.segment", text="Hi", start=0), delta(" there."), BY_LENGTH], "coco",
         (None, 2)),
        ([chunk("Hi"), chunk(" there."), *END_OF_VLLM, b"[DONE]"], "ccouo", (50, 3)),
    ],
)  # fmt: skip
def test_streams_of_both_servers_give_text_and_tokens(
    events: list[bytes], kinds: str, tokens: tuple[int, int], one_by_one: bool
) -> None:
    reply = read(*events, one_by_one=one_by_one)
    assert (reply.content, reply.chunk_kind, reply.problem) == ("Hi there.", kinds, None)
    assert (reply.input_tokens, reply.output_tokens, reply.tool_calls) == (*tokens, None)
    assert reply.answer is not None
    assert reply.answer.content == "Hi there."


@pytest.mark.parametrize(
    ("events", "outcome", "words"),
    [
        ([delta("Hi")], Outcome.TRUNCATED, "without transcript.text.done"),
        ([delta("Hi"), event(type="error", error={"message": "no"})], Outcome.STREAM_ERROR, "no"),
        ([chunk("Hi"), event(error={"message": "no"})], Outcome.STREAM_ERROR, "no"),
        ([b"{"], Outcome.MALFORMED, "not JSON"),
        ([], Outcome.TRUNCATED, "the stream ended"),
    ],
)
def test_a_stream_that_is_no_success_says_why(events: list[bytes], outcome: Outcome, words: str) -> None:
    problem = read(*events).problem
    assert problem is not None
    assert problem.outcome is outcome
    assert words in problem.message


def test_lines_before_the_first_event_do_not_say_whose_stream_it_is() -> None:
    reader = ENDPOINT.event_reader(ReadOptions())
    reader.feed([], [OtherLine(None, b"event: ping")])
    reader.feed([chunk("Hi"), *END_OF_VLLM])
    assert reader.close().problem is None
    reader = ENDPOINT.event_reader(ReadOptions())
    reader.feed([], [OtherLine(None, b'error: {"message": "no"}')])
    assert reader.close().problem == Problem(Outcome.STREAM_ERROR, "no")


def test_nothing_said_is_a_success() -> None:
    assert read(event(type="transcript.text.done", text="")).problem is None
    assert ENDPOINT.read_whole(b'{"text": ""}', ReadOptions()).problem is None


def test_whole_replies_are_read_and_judged() -> None:
    usage = {"type": "tokens", "input_tokens": 50, "output_tokens": 3}
    reply = ENDPOINT.read_whole(event(text="Hi there.", usage=usage, segments=[]), ReadOptions(keep_answer=True))
    assert (reply.content, reply.input_tokens, reply.output_tokens, reply.problem) == ("Hi there.", 50, 3, None)
    for body, outcome in ((b"<html>", "malformed"), (b'{"a": 1}', "malformed"), (b'{"error": "x"}', "stream_error")):
        problem = ENDPOINT.read_whole(body, ReadOptions()).problem
        assert problem is not None
        assert str(problem.outcome) == outcome
