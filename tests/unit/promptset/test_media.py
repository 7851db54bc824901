"""Audio and video in chats: their kinds, their sizes, and the generated files."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any

import pytest
from PIL import Image

from bench.config import resolve
from bench.endpoints import encode
from bench.endpoints.interface import BodyOptions
from bench.errors import UsageError
from bench.load.components import source_of
from promptset.audio import wav_length_ns
from promptset.errors import SpecError
from promptset.media import has_media, media_bytes, without_media
from promptset.tokens import load_tokenizer
from promptset.video import parse

TEXT = {"type": "text", "text": "what?"}
FIVE = base64.b64encode(b"12345").decode()
PARTS: list[tuple[dict[str, Any], int]] = [
    ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{FIVE}"}}, 5),
    ({"type": "image_url", "image_url": {"url": "https://h/a.png"}}, 0),
    ({"type": "input_image", "image_url": f"data:image/png;base64,{FIVE}"}, 5),
    ({"type": "image", "source": {"type": "base64", "data": FIVE}}, 5),
    ({"type": "input_audio", "input_audio": {"data": FIVE, "format": "wav"}}, 5),
    ({"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{FIVE}"}}, 5),
    ({"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{FIVE}"}}, 5),
    ({"type": "video_url"}, 0),
]


@pytest.mark.parametrize(("part", "size"), PARTS)
def test_a_part_that_is_no_text_is_known_with_its_bytes_and_taken_out(part: dict[str, Any], size: int) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": [TEXT, part, part]},
    ]
    assert has_media(messages)
    assert media_bytes(messages) == 2 * size
    assert without_media(messages) == [messages[0], {"role": "user", "content": [TEXT]}]
    assert without_media([{"role": "user", "content": [part]}]) == [{"role": "user", "content": ""}]


def test_texts_have_no_bytes() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": [TEXT]}, {"role": "user", "content": "b"}]
    assert (has_media(messages), media_bytes(messages), without_media(messages)) == (False, None, messages)
    assert (media_bytes(None), media_bytes([5])) == (None, None)


def chunks(data: bytes) -> list[tuple[str, bytes]]:
    """The chunks of a RIFF file, including those in lists: an independent reader, written from the specification."""
    found: list[tuple[str, bytes]] = []
    at = 0
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + size]
        assert len(body) == size
        found += chunks(body[4:]) if name in (b"RIFF", b"LIST") else [(name.decode(), body)]
        at += 8 + size + size % 2
    return found


def test_a_video_is_an_avi_file_of_jpeg_frames() -> None:
    (url,) = parse("length=1s,fps=3,size=48x32").urls(1, None, 0)
    head, _, data = url.partition(",")
    assert head == "data:video/x-msvideo;base64"
    file = base64.b64decode(data)
    assert file[8:12] == b"AVI "
    found = chunks(file)
    assert [name for name, _ in found] == ["avih", "strh", "strf", "00dc", "00dc", "00dc", "idx1"]
    main = struct.unpack("<14I", found[0][1])
    largest = max(len(frame) for _, frame in found[3:6])
    # Microseconds a frame, bytes a second, no padding, an index (0x10), frames, none before the first, one track, a buffer
    # for a frame, its size, and four reserved fields.
    assert main == (333_333, 3 * largest, 0, 0x10, 3, 0, 1, largest, 48, 32, 0, 0, 0, 0)
    # Video as Motion JPEG; 1/3 s a frame, from the first frame on; a buffer for a frame, no quality; its place.
    stream = struct.unpack("<4s4s10I4H", found[1][1])
    assert stream == (b"vids", b"MJPG", 0, 0, 0, 1, 3, 0, 3, largest, 0xFFFFFFFF, 0, 0, 0, 48, 32)
    # Its own size, that of the picture, one plane of 24 bits, and the bytes of a picture.
    assert struct.unpack("<IiiHH4sIiiII", found[2][1]) == (40, 48, 32, 1, 24, b"MJPG", 3 * 48 * 32, 0, 0, 0, 0)
    for number, (_, frame) in enumerate(found[3:6]):
        with Image.open(io.BytesIO(frame)) as image:
            assert (image.format, image.size) == ("JPEG", (48, 32))
        _, _, at, size = struct.unpack_from("<4sIII", found[6][1], 16 * number)
        start = file.index(b"movi") + at
        assert file[start : start + 8] == struct.pack("<4sI", b"00dc", size)
        assert file[start + 8 : start + 8 + size] == frame


def test_number_and_length_are_drawn_and_no_two_videos_are_alike() -> None:
    plan = parse("n=uniform:1..2,length=uniform:100ms..1s,fps=10,size=16x16")
    made = [plan.urls(3, "salt", number) for number in range(12)]
    assert {len(urls) for urls in made} == {1, 2}
    every = [url for urls in made for url in urls]
    assert len(set(every)) == len(every)
    assert made[0] == plan.urls(3, "salt", 0)
    assert made[0] != plan.urls(3, "other", 0)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("320x240", "write some of n, length, fps, size once each, for example n=1,length=2s"),
        ("n=1,n=2", "once each"),
        ("size=big", "size: 'big' is not WIDTHxHEIGHT, each from 1 to 8192"),
        ("size=0x5", "size: '0x5' is not WIDTHxHEIGHT"),
        ("fps=0", "fps: '0' is not a whole number from 1 to 60"),
        ("n=17", "n: '17' draws values outside 1 to 16: limit it with min and max"),
        ("length=700s", "length: '700s' draws values outside 10ms to 600s"),
        ("length=5", "video, length:"),
    ],
)
def test_what_is_wrong_with_a_video_is_said(given: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(given)
    assert problem in str(caught.value)


def test_a_simulated_chat_has_audio_and_video_behind_its_text() -> None:
    config = resolve({
        "url": "http://h", "images": "size=16x16", "audio": "length=2s,rate=8000", "video": "size=16x16", "input_tokens": 20,
    })  # fmt: skip
    source = source_of(config, load_tokenizer())
    body = json.loads(encode(next(source), BodyOptions(endpoint="chat", model="m")).body)
    parts = body["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "input_audio", "video_url"]
    assert parts[2]["input_audio"]["format"] == "wav"
    assert wav_length_ns(base64.b64decode(parts[2]["input_audio"]["data"])) == 2_000_000_000
    assert any("requests have images, audio and video: their input tokens" in note for note in source.notes)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"video": "n=1", "endpoint": "responses"}, "--video needs --endpoint chat, and the endpoint is responses"),
        (
            {"audio": "length=1s", "endpoint": "completions"},
            "--audio needs --endpoint chat, transcriptions or realtime, and the",
        ),
        ({"audio": "length=1s", "mode": "sessions"}, "--audio does not work with --mode sessions: sessions are texts"),
        ({"video": "n=1", "endpoint": "http"}, "--video is about prompts or models"),
    ],
)
def test_audio_and_video_do_not_go_with_what_has_none(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", **given})
    assert any(words in problem for problem in refused.value.problems), refused.value.problems


def test_the_limits_of_a_video_are_taken_themselves() -> None:
    assert isinstance(parse("n=2").length.constant, float)
    for given in ("n=16", "n=1", "length=600s", "length=10ms", "fps=60,size=8192x1", "fps=1,size=1x8192"):
        parse(given)
