"""The bytes of the bare source are those that a client expects, whole and in any split."""

from __future__ import annotations

import orjson
import pytest

from bench.limits.source import HEAD, LAST_TOKEN, MODELS, TOKEN, end_of, take_request

POST = b'POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\n{"max_tokens": 64}'
GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "taken"),
    [
        (b"", None),
        (POST, (len(POST), 64)),
        (POST.replace(b"64", b" 3"), (len(POST), 3)),
        (POST.replace(b"64", b"00"), (len(POST), 1)),
        (POST.replace(b"max_tokens", b"maxi_token"), (len(POST), 128)),
        (POST + POST, (len(POST), 64)),
        (GET, (len(GET), None)),
        (GET + POST, (len(GET), None)),
    ],
)
def test_a_request_is_taken_when_it_is_whole(received: bytes, taken: tuple[int, int | None] | None) -> None:
    assert take_request(bytearray(received)) == taken


@pytest.mark.parametrize("size", range(len(POST)))
def test_a_part_of_a_request_waits(size: int) -> None:
    assert take_request(bytearray(POST[:size])) is None


def test_a_body_is_not_read_beyond_its_length() -> None:
    assert take_request(bytearray(POST.replace(b"18", b" 2") + b"}")) == (len(POST) - 16, 128)


def unchunked(body: bytes) -> bytes:
    """The content of chunked bytes: an own decoder, by the letter of RFC 9112."""
    content = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        assert body[length : length + 2] == b"\r\n"
        content, body = content + body[:length], body[length + 2 :]
        if not length:
            assert body == b""
            return content


def test_a_stream_has_its_tokens_its_usage_and_its_end() -> None:
    stream = HEAD + TOKEN + TOKEN + LAST_TOKEN + end_of(3)
    head, _, body = stream.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    *events, done, rest = unchunked(body).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    rows = [orjson.loads(event.removeprefix(b"data: ")) for event in events]
    assert [row["choices"][0]["delta"]["content"] for row in rows[:-1]] == [" word"] * 3
    assert [row["choices"][0]["finish_reason"] for row in rows[:-1]] == [None, None, "length"]
    assert rows[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}


def test_the_list_of_models_has_the_length_that_it_says() -> None:
    head, _, body = MODELS.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert [model["id"] for model in orjson.loads(body)["data"]] == ["source"]
