"""Replies that fail despite status 200, HTTP that is slightly wrong, and unbounded sizes, on both transports.

All shapes of one kind go through one run: one user, one request after the other, each answered by the next shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from attacked.checkout import Checkout
from tests.sockets.test_http_decisions import DECISIONS
from tests.sockets.test_reply_endings import ERRORS, PAGE, SUCCESSES, TOKENS, WHOLE
from tests.support.literal_replies import (
    CHUNKED,
    DONE,
    GOOD,
    LAST_CHUNK,
    ROLE,
    api,
    chunk,
    chunked_stream,
    content,
    finish,
    frames,
    head,
    stream,
    usage,
    whole,
)
from tests.support.literal_server import Close, LiteralServer, Pause, Received, Send, Step

TRANSPORTS = ("wire", "httpx")

_SHORT = b"".join([*TOKENS, *frames(finish(), DONE)])
SHAPES: dict[str, Sequence[Step]] = {
    **{name: chunked_stream([*TOKENS, *ending.bodies]) for name, ending in ERRORS.items()},
    "[DONE] with no token": stream(DONE),
    "a finish reason and no token": stream(ROLE, finish(), usage(0), DONE),
    "a body that ends short of its Content-Length, after [DONE]": [
        Send(head("200 OK", "text/event-stream", f"content-length: {len(_SHORT) + 9}") + _SHORT), Close(),
    ],
    "an HTML page with status 200": whole("200 OK", PAGE, content_type="text/html"),
    "an HTML page that says it is an event stream": whole("200 OK", PAGE, content_type="text/event-stream"),
    "a whole reply of JSON in place of a stream": WHOLE["a good one"][0],
    "status 204": [Send(b"HTTP/1.1 204 No Content\r\n\r\n")],
    "status 302 to a sign-in page": [Send(head("302 Found", "text/html", "location: /sign-in", "content-length: 0"))],
}  # fmt: skip
GOOD_SHAPES = {f"a success: {name}": chunked_stream(bodies) for name, bodies in SUCCESSES.items()}
DECIDED = {name: steps for name, (steps, _, _) in DECISIONS.items()}


class Shapes:
    """The outcomes of many shapes, from one run per transport and checkout."""

    def __init__(self, shapes: Mapping[str, Sequence[Step]]) -> None:
        self._names = list(shapes)
        self._shapes = list(shapes.values())
        self._found: dict[tuple[str, str], list[str]] = {}

    def outcome(self, number: int, checkout: Checkout) -> str:
        """How each transport judges a shape."""
        said = []
        for transport in TRANSPORTS:
            key = str(checkout.folder), transport
            if key not in self._found:
                self._found[key] = self._run(checkout, transport)
            said.append(self._found[key][number])
        alike = len({one.partition(":")[0] for one in said}) == 1
        return said[0] if alike else f"wire: {said[0]}; httpx: {said[1]}"

    def _run(self, checkout: Checkout, transport: str) -> list[str]:
        probed: list[bool] = []
        pending = iter(self._shapes)
        good = stream(ROLE, *[content("a")] * 8, finish(), usage(8, 16), DONE)

        def chat(request: Received) -> Sequence[Step]:
            if not probed:
                probed.append(True)
                return good
            return next(pending, good)

        shape = ("--input-tokens", "16", "--output-tokens", "8")
        with LiteralServer(api(chat)) as server:
            words = ("--requests", str(len(self._shapes)), "--concurrency", "1", "--transport", transport)
            ran = checkout.run(server.url, *words, "--timeout", "10s", shape=shape)
        records = ran.records()
        if len(records) != len(self._shapes):
            return [ran.words()] * len(self._shapes)
        return [
            row["outcome"]
            if row["outcome"] == "ok" or not row.get("error")
            else f"{row['outcome']}: {_words(row['error'])}"
            for row in records
        ]

    def attacks(self) -> dict[str, Callable[[Checkout], str]]:
        """One attack per shape."""
        return {name: partial(self.outcome, number) for number, name in enumerate(self._names)}


def _words(error: str) -> str:
    error = " ".join(error.split())
    return error if len(error) <= 70 else error[:66].rstrip() + " ..."


ENDINGS = Shapes({**SHAPES, **GOOD_SHAPES}).attacks()


# ---- Sizes and times ---------------------------------------------------------------------------------------------------


def of_size(steps: Sequence[Step], *flags: str, times: int = 1) -> Callable[[Checkout], str]:
    """An oversized reply: what both transports report, how long they take, and their memory."""

    def attack(checkout: Checkout) -> str:
        probed: list[bool] = []

        def chat(request: Received) -> Sequence[Step]:
            if not probed:
                probed.append(True)
                return WHOLE["a good one"][0] if "--no-stream" in flags else stream(*GOOD)
            return steps

        said = []
        for transport in TRANSPORTS:
            probed.clear()
            with LiteralServer(api(chat)) as server:
                words = ("--requests", str(times), "--concurrency", str(times), "--transport", transport)
                ran = checkout.run(server.url, *words, *flags)
            outcome = ", ".join(sorted({row["outcome"] for row in ran.records()})) or ran.words()
            said.append(f"{transport}: {outcome}, {ran.took_s:.0f} s, {ran.peak_mb:.0f} MB")
        return "; ".join(said)

    return attack


_MB = b"x" * 1_000_000
_EVENT = b"".join(frames(content("x" * 200))) * 50


def endless(piece: bytes, times: int, pause_s: float = 0.0) -> list[Step]:
    steps: list[Step] = [Send(head("200 OK", "text/event-stream", CHUNKED))]
    part: list[Step] = [Send(chunk(piece)), Pause(pause_s)] if pause_s else [Send(chunk(piece))]
    steps += part * times
    return [*steps, Send(LAST_CHUNK)]


_TRICKLE = [Send(b"HTTP/1.1 200 OK\r\nx: "), *[step for _ in range(300) for step in (Send(b"a"), Pause(0.1))]]

HTTP: dict[str, Callable[[Checkout], str]] = {
    **Shapes(DECIDED).attacks(),
    "an event of 100 MB, far from its end": of_size(
        [Send(head("200 OK", "text/event-stream", CHUNKED) + chunk(b"data:")), *[Send(chunk(_MB))] * 100, Send(LAST_CHUNK)]
    ),
    "two streams of small events without end, --timeout 5s": of_size(
        endless(_EVENT, 100_000), "--timeout", "5s", times=2
    ),
    "a stream without end, an event every 100 ms, --timeout 2s": of_size(
        endless(frames(content("x"))[0], 200, 0.1), "--timeout", "2s"
    ),
    "a head without end, a byte every 100 ms, --timeout 2s": of_size(_TRICKLE, "--timeout", "2s"),
    "an event without end, a byte every 100 ms, --timeout 2s": of_size(
        endless(b"x", 200, 0.1), "--timeout", "2s"
    ),
    "an error page of 100 MB with status 500": of_size(
        [Send(head("500 Oops", "text/plain")), *[Send(_MB)] * 100, Close()]
    ),
    "a whole reply of 100 MB": of_size(
        [Send(head("200 OK", "application/json", "content-length: 100000000")), *[Send(_MB)] * 100], "--no-stream"
    ),
}  # fmt: skip
