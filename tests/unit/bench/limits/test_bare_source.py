"""The bytes of the bare source are as a client expects, whole and in any split."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import pytest

from bench.clock import NS_PER_MS, now_ns
from bench.limits import source
from bench.limits.source import HEAD, LAST_TOKEN, MODELS, TOKEN, BareSource, end_of, take_request
from tests.support.patience import PATIENCE_S

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
    """The content of chunked bytes: an independent decoder, following RFC 9112."""
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
    assert rows[-1]["usage"] == {"completion_tokens": 3}


def test_the_list_of_models_has_the_length_that_it_says() -> None:
    head, _, body = MODELS.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert [model["id"] for model in orjson.loads(body)["data"]] == ["source"]


# ---- The server ----------------------------------------------------------------------------------------------------------

HOUR_NS = 3_600_000 * NS_PER_MS


def post(tokens: int) -> bytes:
    body = b'{"max_tokens": %d}' % tokens
    return b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def answer(tokens: int) -> bytes:
    return HEAD + TOKEN * (tokens - 1) + LAST_TOKEN + end_of(tokens)


@contextlib.contextmanager
def serving(gap_ns: int) -> Iterator[tuple[str, int]]:
    """The address of a source that serves in a thread until the block ends."""
    ours, its = socket.socketpair()
    source = BareSource(gap_ns, its.fileno())
    thread = threading.Thread(target=source.run)
    thread.start()
    try:
        url = urlsplit(source.url)
        assert url.hostname is not None
        assert url.port is not None
        yield url.hostname, url.port
    finally:
        ours.close()
        thread.join(PATIENCE_S)
        its.close()
    assert not thread.is_alive()


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def test_a_token_does_not_wait_for_the_acknowledgement_of_the_one_before() -> None:
    ours, its = socket.socketpair()
    source = BareSource(NS_PER_MS, its.fileno())
    with (
        ours,
        its,
        source._listener,
        source._poll,
        socket.create_connection(source._listener.getsockname(), PATIENCE_S),
    ):
        select.select([source._listener], [], [], PATIENCE_S)
        source._accept()
        (stream,) = source._streams.values()
        with stream.socket:
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not stream.socket.getblocking()  # Nor for a client that does not read.


def test_each_token_comes_at_its_time_and_none_before() -> None:
    gap_ns = 20 * NS_PER_MS
    with serving(gap_ns) as address, socket.create_connection(address, PATIENCE_S) as connection:
        for tokens in (3, 1):  # A connection serves one request after another.
            began_ns = now_ns()
            connection.sendall(post(tokens))
            for number in range(1, tokens + 1):
                head = HEAD if number == 1 else b""
                token = LAST_TOKEN if number == tokens else TOKEN
                assert read(connection, len(head + token)) == head + token
                assert now_ns() - began_ns >= number * gap_ns
            assert read(connection, len(end_of(tokens))) == end_of(tokens)


def test_requests_sent_ahead_are_answered_in_turn_and_a_list_of_models_at_once() -> None:
    with serving(NS_PER_MS) as address, socket.create_connection(address, PATIENCE_S) as connection:
        whole = post(2) + GET + post(1)
        connection.sendall(GET + whole[:30])
        assert read(connection, len(MODELS)) == MODELS
        connection.sendall(whole[30:])
        # Requests that wait behind a reply are handled with the next bytes.
        for sent, answers in ((b"", answer(2)), (GET, MODELS + answer(1)), (GET, MODELS * 2)):
            connection.sendall(sent)
            assert read(connection, len(answers)) == answers


def test_a_source_reads_and_ends_while_no_token_is_due() -> None:
    with serving(HOUR_NS) as address:
        with socket.create_connection(address, PATIENCE_S) as waiting, socket.create_connection(address) as other:
            waiting.sendall(post(1))
            other.settimeout(PATIENCE_S)
            other.sendall(GET)
            assert read(other, len(MODELS)) == MODELS
        # Both clients have left; the server serves others.
        with socket.create_connection(address, PATIENCE_S) as later:
            later.sendall(GET)
            assert read(later, len(MODELS)) == MODELS


def test_many_streams_have_each_their_tokens() -> None:
    with serving(5 * NS_PER_MS) as address, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(address, PATIENCE_S)) for _ in range(20)]
        for number, connection in enumerate(connections):
            connection.sendall(post(1 + number % 3))
        for number, connection in enumerate(connections):
            expected = answer(1 + number % 3)
            assert read(connection, len(expected)) == expected


def test_each_source_has_a_free_port_of_its_own() -> None:
    with serving(NS_PER_MS) as one, serving(NS_PER_MS) as other:
        assert one != other
        assert min(one[1], other[1]) >= 1_024


def test_a_client_that_goes_or_says_too_much_is_left_alone() -> None:
    with serving(NS_PER_MS) as address:
        with socket.create_connection(address, PATIENCE_S) as gone:
            gone.sendall(post(1_000_000))
            assert read(gone, len(HEAD)) == HEAD
        with socket.create_connection(address, PATIENCE_S) as much:
            with contextlib.suppress(OSError):  # The server may close before everything is sent.
                much.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + bytes((1 << 20) + 65_536))
            with contextlib.suppress(ConnectionResetError):
                assert much.recv(1) == b""
        with socket.create_connection(address, PATIENCE_S) as later:
            later.sendall(post(1))
            assert read(later, len(answer(1))) == answer(1)


def test_a_source_whose_parent_has_died_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    (stdin, parents_end), (nobody, stdout) = os.pipe(), os.pipe()
    os.close(nobody)
    os.close(parents_end)
    with open(stdout, "w") as closed, open(stdin) as stdin_of_ours:  # noqa: PTH123
        monkeypatch.setattr("sys.stdin", stdin_of_ours)
        monkeypatch.setattr("sys.stdout", closed)
        assert source.main([]) == 0
