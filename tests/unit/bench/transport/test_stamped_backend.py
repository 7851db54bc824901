"""The sockets of the httpx transport without a network: TLS that fails, writes that wait, and the end of a connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import httpcore
import pytest

from bench.transport import stamped_backend
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading, Target
from bench.transport.stamped_backend import StampedStream, _Connection, current
from bench.workload import Request


class Transport:
    """A transport that records what is written. `secured`: what a TLS handshake on it gives, or raises."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str) -> str:
        return name


def exchange() -> Exchange:
    request = Request(id="r", index=0, body=b"{}", stream=True, input_tokens_asked=None, output_tokens_asked=None)
    made = Exchange(request, 0, 0, Reading(), clock="user")
    current.set(made)
    return made


def stream(**target: Any) -> tuple[StampedStream, _Connection, Transport]:
    connection, transport = _Connection(), Transport()
    return StampedStream(cast("Any", transport), connection, Target(url="http://h/", **target)), connection, transport


def secured(result: Any, timeout: float | None = 5.0) -> tuple[object, Transport, dict[str, Any]]:
    """What `start_tls` returned or raised, its transport, and the arguments of the loop's handshake."""

    async def main() -> tuple[object, Transport, dict[str, Any]]:
        told: dict[str, Any] = {}

        async def start_tls(*_: object, **how: Any) -> Any:
            told.update(how)
            if isinstance(result, BaseException):
                raise result
            if result == "hangs":
                await asyncio.get_running_loop().create_future()
            return result

        loop = asyncio.get_running_loop()
        loop.start_tls = start_tls  # type: ignore[method-assign]
        made, _, transport = stream()
        exchange()
        try:
            answer: object = await made.start_tls(ssl.create_default_context(), "h", timeout)
        except httpcore.ConnectError as e:
            answer = e
        except httpcore.ConnectTimeout as e:
            answer = e
        return answer, transport, told

    return asyncio.run(main())


@pytest.mark.parametrize(("timeout", "of_loop"), [(5.0, 6.0), (None, None)])
def test_the_time_limit_of_a_handshake_is_ours_and_that_of_the_loop_a_second_longer(
    timeout: float | None, of_loop: float | None
) -> None:
    answer, transport, told = secured(Transport(), timeout)
    assert isinstance(answer, StampedStream)
    assert (told["server_hostname"], told["ssl_handshake_timeout"]) == ("h", of_loop)
    assert not transport.aborted


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (ssl.SSLError(1, "a bad certificate"), "TLS: "),
        (ConnectionResetError("reset"), "TLS: reset"),
        (None, "TLS: the server closed the connection during the handshake"),
    ],
)
def test_a_handshake_that_fails_is_no_connection_and_leaves_none(result: Any, words: str) -> None:
    answer, transport, _ = secured(result)
    assert isinstance(answer, httpcore.ConnectError)
    assert str(answer).startswith(words)
    assert transport.aborted is (result is not None)


def test_a_handshake_that_takes_too_long_leaves_no_connection() -> None:
    answer, transport, _ = secured("hangs", 0.0)
    assert isinstance(answer, httpcore.ConnectTimeout)
    assert transport.aborted


def finished(what: Callable[[], Any], then: Callable[[], None]) -> bool:
    """Whether this waits until `then` is done."""

    async def main() -> bool:
        exchange()
        waits = asyncio.ensure_future(what())
        for _ in range(5):
            await asyncio.sleep(0)
        before = waits.done()
        then()
        await waits
        return not before

    return asyncio.run(main())


def test_a_write_waits_while_the_transport_is_full() -> None:
    made, connection, transport = stream()
    assert not finished(lambda: made.write(b"request"), lambda: None)
    connection.pause_writing()
    assert finished(lambda: made.write(b"more"), connection.resume_writing)
    assert transport.written == [b"request", b"more"]


def test_a_write_waits_no_longer_once_the_connection_is_lost() -> None:
    made, connection, _ = stream()
    connection.pause_writing()
    assert finished(lambda: made.write(b"request"), lambda: connection.connection_lost(None))


def test_a_read_waits_for_data_or_the_end() -> None:
    made, connection, _ = stream()
    answer: list[bytes] = []

    async def read() -> None:
        answer.append(await made.read(100))

    head = b"HTTP/1.1 200 OK\r\n\r\n"
    assert finished(read, lambda: connection.data_received(head))
    assert finished(read, lambda: cast("None", connection.eof_received()))
    assert answer == [head, b""]


def test_data_from_before_the_request_is_not_its_response(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(sent_ns: int) -> bytes:
        made, connection, _ = stream()
        exchange().mark_sent(sent_ns)
        monkeypatch.setattr(stamped_backend, "now_ns", lambda: 500)
        connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
        return await made.read(100)

    assert asyncio.run(main(500)).startswith(b"HTTP/1.1 200")
    with pytest.raises(httpcore.ReadError, match="the server sent a response that no request had asked for"):
        asyncio.run(main(501))


def test_a_read_is_cut_at_what_was_asked_for_and_keeps_its_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[tuple[bytes, int, int]]:
        made, connection, _ = stream()
        exchange().mark_sent(100)
        made._head.complete = True
        read = []
        for at_ns, data in ((200, b"abcdef"), (300, b"g")):
            monkeypatch.setattr(stamped_backend, "now_ns", lambda at_ns=at_ns: at_ns)
            connection.data_received(data)
        for _ in range(3):
            read.append((await made.read(4), made.last_read_ns, made.bound_ns))
        return read

    assert asyncio.run(main()) == [(b"abcd", 200, 100), (b"ef", 200, 100), (b"g", 300, 200)]


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_a_connection_that_is_lost_ends_its_reads_and_writes(error: Exception | None) -> None:
    async def main() -> None:
        made, connection, _ = stream()
        sent = exchange()
        connection.connection_lost(error)
        assert made.get_extra_info("is_readable") is True
        if error is None:
            assert await made.read(10) == b""
            assert sent.peer_closed
        else:
            with pytest.raises(httpcore.ReadError, match="reset"):
                await made.read(10)
        with pytest.raises(httpcore.WriteError, match="the server has closed the connection"):
            await made.write(b"x")
        await made.write(b"")

    asyncio.run(main())


def test_an_idle_connection_is_readable_when_something_came_or_a_second_attempt_needs_another() -> None:
    async def main() -> None:
        made, connection, transport = stream()
        sent = exchange()
        assert made.get_extra_info("is_readable") is False
        sent.retry()
        assert made.get_extra_info("is_readable") is True
        sent.mark_sent(5)
        assert made.get_extra_info("is_readable") is False
        connection.data_received(b"x")
        assert made.get_extra_info("is_readable") is True
        assert (made.get_extra_info("ssl_object"), made.get_extra_info("other")) == ("ssl_object", None)
        await made.aclose()
        assert transport.aborted

    asyncio.run(main())


@pytest.mark.parametrize("first", [True, False])
def test_a_read_that_takes_too_long_is_a_timeout_of_its_kind(first: bool) -> None:
    async def main() -> None:
        made, _, _ = stream(**{"timeout_first_byte_ns" if first else "timeout_idle_ns": 0})
        sent = exchange()
        sent.first_byte_ns = None if first else 5
        with pytest.raises(httpcore.ReadTimeout):
            await made.read(10)

    asyncio.run(main())
