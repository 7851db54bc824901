"""A token source that costs almost nothing: `python -m bench.limits.source --gap-ms G`, with precomputed bytes.

It stands in for a server, so that the client gives way first. It is an HTTP/1.1 server on a free port of 127.0.0.1,
with one thread and one epoll set. It answers each POST with as many tokens as the body's "max_tokens" requests, in the
OpenAI chat format: the first G ms after the request was read, each further one G ms after the previous one, by absolute
deadlines. It parses only what it needs. For real measurements use the mock.

All gaps are equal, so a queue holds the streams in the order of their deadlines. (When the source has fallen behind, a
new stream may be queued behind one with a later deadline, by no more than the source was late.)
"""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import sys
from collections import deque
from contextlib import suppress

from bench.clock import NS_PER_MS, NS_PER_S, now_ns

READY = "source ready at "
_REQUEST_MAX = 1 << 20
_DEFAULT_TOKENS = 128
_READ_EVERY = 256
"""Chunks sent between two polls of the sockets, so that a late source still reads its requests."""

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_TOKENS = re.compile(rb'"max_tokens": *([0-9]+)')

_SHAPE = b'data: {"id":"c","object":"chat.completion.chunk","created":0,"model":"source","choices":'


def _framed(event: bytes) -> bytes:
    """One event as one HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(event), event)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
TOKEN = _framed(_SHAPE + b'[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n')
LAST_TOKEN = _framed(_SHAPE + b'[{"index":0,"delta":{"content":" word"},"finish_reason":"length"}]}\n\n')
_MODELS = b'{"object":"list","data":[{"id":"source","object":"model"}]}'
MODELS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_MODELS), _MODELS)


def end_of(tokens: int) -> bytes:
    """The bytes after the last token: the usage, which counts only the reply, `[DONE]`, and the end of the body."""
    usage = b'{"completion_tokens":%d}' % tokens
    return _framed(_SHAPE + b'[],"usage":%b}\n\n' % usage) + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def take_request(received: bytearray) -> tuple[int, int | None] | None:
    """(length of the first request in bytes, requested tokens, or None for a GET). Returns None while it is incomplete."""
    head = received.find(b"\r\n\r\n")
    if head < 0:
        return None
    if received.startswith(b"GET "):
        return head + 4, None
    length = _LENGTH.search(received, 0, head)
    end = head + 4 + (int(length[1]) if length is not None else 0)
    if len(received) < end:
        return None
    asked = _TOKENS.search(received, head, end)
    return end, max(1, int(asked[1])) if asked is not None else _DEFAULT_TOKENS


class _Stream:
    """A connection, and what remains to be sent on it."""

    __slots__ = ("due_ns", "left", "received", "socket", "tokens")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = bytearray()
        self.due_ns = self.left = self.tokens = 0


class BareSource:
    """The source. `run` serves until the descriptor `until_closed` is readable or closed."""

    def __init__(self, gap_ns: int, until_closed: int) -> None:
        self._gap_ns = gap_ns
        self._streams: dict[int, _Stream] = {}
        self._due = deque[_Stream]()
        self._poll = select.epoll()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16384)
        self._listener.setblocking(False)
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._until_closed = until_closed
        self._poll.register(until_closed, select.EPOLLIN)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        """Serve: wait until a socket is readable or a token is due, then read and send."""
        ended = False
        while not ended:
            wait_s = max(0.0, (self._due[0].due_ns - now_ns()) / NS_PER_S) if self._due else None
            # epoll_wait(2) has millisecond resolution; select(2) on the set itself is finer.
            select.select([self._poll], [], [], wait_s)
            for fd, _ in self._poll.poll(0):
                if fd in self._streams:
                    self._read(self._streams[fd])
                elif fd == self._until_closed:
                    ended = True
                else:
                    self._accept()
            self._send_due()
        for stream in self._streams.values():
            stream.socket.close()
        self._listener.close()
        self._poll.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._streams[connection.fileno()] = _Stream(connection)
            self._poll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, stream: _Stream) -> None:
        try:
            data = stream.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        stream.received += data
        if not data or len(stream.received) > _REQUEST_MAX:
            self._close(stream)
            return
        while not stream.left and (request := take_request(stream.received)) is not None:
            size, tokens = request
            del stream.received[:size]
            if tokens is None:
                self._send(stream, MODELS)
                continue
            stream.left = stream.tokens = tokens
            stream.due_ns = now_ns() + self._gap_ns
            self._due.append(stream)

    def _send_due(self) -> None:
        due, gap_ns, send = self._due, self._gap_ns, self._send
        now = now_ns()
        for _ in range(min(_READ_EVERY, len(due))):
            if due[0].due_ns > now:
                return
            stream = due.popleft()
            first = stream.left == stream.tokens
            stream.left -= 1
            if stream.left:
                stream.due_ns += gap_ns
                due.append(stream)
                send(stream, HEAD + TOKEN if first else TOKEN)
            else:
                send(stream, HEAD + LAST_TOKEN if first else LAST_TOKEN)
                send(stream, end_of(stream.tokens))

    def _send(self, stream: _Stream, data: bytes) -> None:
        try:
            sent = stream.socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            # The client reads too slowly for the socket's buffer, or has gone: the rest would be late anyway.
            self._close(stream)

    def _close(self, stream: _Stream) -> None:
        if self._streams.pop(stream.socket.fileno(), None) is None:
            return
        stream.left = stream.tokens = 1  # Its next due token meets a closed socket, once.
        stream.socket.close()


def main(argv: list[str]) -> int:
    """Serve until standard input is closed: by the process that started the source, or because it died."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits.source")
    parser.add_argument("--gap-ms", type=float, default=20.0, help="time to the first token, and between tokens")
    source = BareSource(round(parser.parse_args(argv).gap_ms * NS_PER_MS), until_closed=sys.stdin.fileno())
    # Not `print`: on exit Python would retry the write if the parent has died.
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), f"{READY}{source.url}\n".encode())
    source.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
