"""Speech: the body for a text, and audio as file bytes or in events, cut anywhere."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from bench.config import resolve
from bench.endpoints.choice import endpoint_of
from bench.endpoints.interface import BodyOptions, ParsedReply, ReadOptions, ReceivedAudio
from bench.endpoints.speech import Speech
from bench.records import Outcome
from promptset.audio import wav_file
from promptset.samples import Sample

WAV = wav_file(bytes(range(1, 251)) * 8, 8_000)
HEAD, SOUND = WAV[:44], WAV[44:]
OPTIONS = BodyOptions(endpoint="speech", model="m")


def read(endpoint: Speech, *events: bytes, one_by_one: bool = False) -> ParsedReply:
    reader = endpoint.event_reader(ReadOptions())
    for batch in [[one] for one in events] if one_by_one else [[*events]]:
        reader.feed(batch)
    return reader.close()


def test_a_text_is_sent_with_a_voice_and_a_format() -> None:
    request = Speech().encode(Sample(texts=("Hello.",)), OPTIONS)
    assert json.loads(request.body) == {"input": "Hello.", "voice": "alloy", "response_format": "wav", "model": "m"}
    assert request.batch is not None
    assert (request.stream, request.batch.inputs, request.output_tokens_asked) == (True, 1, None)
    extra = {"voice": "x", "response_format": "pcm", "speed": 2}
    given = {"url": "http://h", "endpoint": "speech", "extra_body": extra, "play_after": "200ms"}
    endpoint = endpoint_of(resolve(given))
    options = BodyOptions(endpoint="speech", model=None, extra=extra, own=endpoint)
    assert json.loads(endpoint.encode(Sample(prompt="Hi"), options).body) == {"input": "Hi", **extra}
    assert endpoint.framing == "chunks"
    reply = endpoint.read_whole(bytes(96_000), ReadOptions())
    assert reply.audio == ReceivedAudio(96_000, 48_000, None, 200_000_000)


@pytest.mark.parametrize(
    ("extra", "bytes_per_s"),
    [
        ({"response_format": "pcm", "sample_rate": 16_000}, 32_000),
        ({"response_format": "pcm", "sample_rate": "16k"}, 48_000),
        ({"response_format": "mp3", "sample_rate": 16_000}, None),
    ],
)
def test_the_rate_that_a_request_asks_for_is_that_of_its_pcm(extra: dict[str, Any], bytes_per_s: int | None) -> None:
    endpoint = endpoint_of(resolve({"url": "http://h", "endpoint": "speech", "extra_body": extra}))
    audio = endpoint.read_whole(b"\xff\xfb" + bytes(98), ReadOptions()).audio
    assert audio is not None
    assert audio.bytes_per_s == bytes_per_s


def test_pieces_of_a_wav_file_are_audio_behind_its_header() -> None:
    reply = read(Speech(play_after_ns=5), HEAD, SOUND[:100], SOUND[100:])
    assert reply.chunk_kind == "oaa"
    assert reply.audio == ReceivedAudio(2_000, 16_000, (0, 100, 1_900), 5)
    assert reply.problem is None


@pytest.mark.parametrize("header", [HEAD, HEAD[:40] + b"\xff\xff\xff\xff", HEAD[:40] + bytes(4)])
def test_the_header_may_be_cut_anywhere_and_promise_anything(header: bytes) -> None:
    content = header + SOUND
    for cut in range(1, 60):
        audio = read(Speech(), content[:cut], content[cut:]).audio
        assert audio is not None
        assert (audio.total_bytes, audio.bytes_per_s) == (2_000, 16_000)
        assert audio.chunk_bytes == (max(0, cut - 44), 2_000 - max(0, cut - 44))
    audio = read(Speech(), *(content[at : at + 1] for at in range(len(content))), one_by_one=True).audio
    assert audio is not None
    assert audio.chunk_bytes == (0,) * 44 + (1,) * 2_000


def test_what_follows_the_samples_is_no_audio() -> None:
    audio = read(Speech(), WAV + b"LIST" + bytes(50)).audio
    assert audio is not None
    assert audio.total_bytes == 2_000


def test_several_files_one_behind_the_other_are_one_audio() -> None:
    content = WAV + b"LIST" + bytes(4) + WAV
    pieces = [WAV, WAV[:30], WAV[30:] + WAV[:3], WAV[3:]]
    for events, sizes in (([content], (4_000,)), ([WAV * 3], (6_000,)), (pieces, (2_000, 0, 2_000, 2_000))):
        reply = read(Speech(), *events)
        assert (reply.audio, reply.problem) == (ReceivedAudio(sum(sizes), 16_000, sizes), None)
    cut = read(Speech(), WAV, WAV[:1_044]).problem
    assert cut is not None
    assert "ended 1000 bytes before" in cut.message


def extensible(kind: int) -> bytes:
    """A header with its format at the end, as FFmpeg writes for 24 bits or several channels."""
    format_of = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 24_000, 48_000, 2, 16, 22, 16, 4, kind) + bytes(14)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 40) + format_of + b"data\xff\xff\xff\xff"


FLOATS = (
    b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8_000, 32_000, 4, 32) + b"data\xff\xff\xff\xff"
)


@pytest.mark.parametrize(
    ("kind", "pieces", "sizes", "rate"),
    [
        ("pcm", [b"a\0", b"c"], (2, 1), 48_000),
        ("mp3", [b"\xff\xfb", b"c"], (2, 1), None),
        ("wav", [b"ID3\4no wav", b"c"], (10, 1), None),
        ("wav", [FLOATS, b"abcd"], (len(FLOATS), 4), None),
        ("wav", [extensible(1), b"abcd"], (0, 4), 48_000),
        ("wav", [extensible(1)[:50], extensible(1)[50:] + b"abcd"], (0, 4), 48_000),
        ("wav", [extensible(3), b"abcd"], (len(extensible(3)), 4), None),
    ],
)
def test_the_length_of_other_formats_is_not_known(
    kind: str, pieces: list[bytes], sizes: tuple[int, ...], rate: int | None
) -> None:
    assert read(Speech(kind), *pieces).audio == ReceivedAudio(sum(sizes), rate, sizes)


def event(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def delta(content: bytes) -> bytes:
    return event(type="speech.audio.delta", audio=base64.b64encode(content).decode())


DONE = event(type="speech.audio.done", usage={"input_tokens": 7, "output_tokens": 90, "total_tokens": 97})


@pytest.mark.parametrize("one_by_one", [False, True])
def test_events_bear_pieces_of_the_file(one_by_one: bool) -> None:
    events = [delta(HEAD), delta(SOUND[:500]), event(type="other"), delta(SOUND[500:]), DONE]
    reply = read(Speech(events=True), *events, one_by_one=one_by_one)
    assert reply.chunk_kind == "oaoau"
    assert reply.audio == ReceivedAudio(2_000, 16_000, (0, 500, 0, 1_500, 0))
    assert (reply.input_tokens, reply.output_tokens, reply.complete, reply.problem) == (7, None, True, None)
    stream = b"".join(b"data: " + one + b"\n\n" for one in events)
    whole = Speech(events=True).read_whole(stream, ReadOptions())
    assert whole.audio == ReceivedAudio(2_000, 16_000, None)


@pytest.mark.parametrize(
    ("endpoint", "pieces", "outcome", "words"),
    [
        (Speech(), [], Outcome.NO_TOKENS, "without audio"),
        (Speech(), [HEAD], Outcome.NO_TOKENS, "without audio"),
        (Speech("mp3"), [b'{"error": {"mess', b'age": "no voice"}}'], Outcome.STREAM_ERROR, "no voice"),
        (Speech("pcm"), [b'\n [{"error": "x"}]'], Outcome.MALFORMED, "the reply is text, not audio: '[{"),
        (Speech(), [b'{"audio": "', b'AAAA"}'], Outcome.MALFORMED, "the reply is text, not audio: '{\"audio"),
        (Speech("mp3"), ["Leider überlastet".encode()], Outcome.MALFORMED, "not audio: 'Leider überlastet'"),
        (
            Speech("opus"),
            [b"<!DOCTYPE html><title>Sign", b" in</title>"],
            Outcome.MALFORMED,
            "HTML page ('Sign in'), not",
        ),
        (Speech(), [HEAD, SOUND[:500]], Outcome.TRUNCATED, "ended 1500 bytes before the length that the header"),
        (Speech(events=True), [delta(HEAD + SOUND[:500]), DONE], Outcome.TRUNCATED, "ended 1500 bytes before"),
        (Speech(events=True), [DONE], Outcome.NO_TOKENS, "without audio"),
        (Speech(events=True), [delta(WAV)], Outcome.TRUNCATED, "without speech.audio.done"),
        (Speech(events=True), [delta(WAV), event(type="error", error={"message": "no"})], Outcome.STREAM_ERROR, "no"),
        (Speech(events=True), [event(type="speech.audio.delta", audio="?")], Outcome.STREAM_ERROR, "not base64"),
        (Speech(events=True), [b"{"], Outcome.MALFORMED, "not JSON"),
    ],
)
def test_a_reply_that_is_no_success_says_why(
    endpoint: Speech, pieces: list[bytes], outcome: Outcome, words: str
) -> None:
    reply = read(endpoint, *pieces)
    assert reply.problem is not None
    assert reply.problem.outcome is outcome
    assert words in reply.problem.message
    assert reply.audio is None or outcome in (Outcome.TRUNCATED, Outcome.STREAM_ERROR)
