"""A transport without a network: each response follows a script. The fake for the dispatchers' tests.

Shipped with the package, because authors of dispatchers and searches on top of `bench` also need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from bench.clock import Clock, Timer
from bench.records import Outcome
from bench.transport.exchange import Exchange
from bench.transport.interface import OnEnd, OnRecord, Reading, ReplyInFlight, ignore
from bench.workload import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedReply:
    """The fake server's behaviour for a request: wait, then send its tokens, or fail instead of the first."""

    ttft_ns: int
    gaps_ns: tuple[int, ...] = ()
    failed: Outcome | None = None


class ScriptedTransport:
    """Answers each request with the script from `script_for`. `started` keeps (request, instant) in order."""

    def __init__(self, script_for: Callable[[Request], ScriptedReply], clock: Clock) -> None:
        self._script_for = script_for
        self._clock = clock
        self._open: dict[str, tuple[Exchange, Timer, OnRecord, OnEnd]] = {}
        self.started: list[tuple[Request, int]] = []
        self.in_flight_max = 0

    async def open(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        self.cut()

    async def prepare(self, connections: int) -> None:
        """Does nothing."""

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        exchange = Exchange(request, intended_ns, eligible_ns, Reading(), clock="user")
        exchange.connect_ns = 0
        exchange.sent_ns = self._clock.now_ns()
        self.started.append((request, exchange.sent_ns))
        script = self._script_for(request)
        instants = [exchange.sent_ns + script.ttft_ns]
        for gap_ns in script.gaps_ns:
            instants.append(instants[-1] + gap_ns)

        after_ns = request.cancel_after_ns
        leaves_ns = None if after_ns is None else exchange.sent_ns + after_ns

        def leave() -> None:
            if instants[0] <= self._clock.now_ns():
                exchange.first_byte_ns = instants[0]
                exchange.head(200, "text/event-stream", "", None)
            for instant in instants:
                if instant <= self._clock.now_ns():
                    exchange.feed(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n', instant, instant)
            self._finish(request.id, Outcome.CANCELLED)

        def finish() -> None:
            if script.failed is None:
                exchange.first_byte_ns = instants[0]
                exchange.head(200, "text/event-stream", "", None)
                for instant in instants:
                    exchange.feed(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n', instant, instant)
                exchange.feed(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', instants[-1], 0)
                usage = {"prompt_tokens": 1, "completion_tokens": len(instants)}
                exchange.feed(b"data: " + orjson.dumps({"choices": [], "usage": usage}) + b"\n\n", instants[-1], 0)
                exchange.feed(b"data: [DONE]\n\n", instants[-1], 0)
            self._finish(request.id, script.failed)

        if leaves_ns is not None and leaves_ns < instants[-1]:
            timer = self._clock.call_at(leaves_ns, leave)
        else:
            timer = self._clock.call_at(instants[-1], finish)
        self._open[request.id] = (exchange, timer, done, ended)
        self.in_flight_max = max(self.in_flight_max, len(self._open))

    def read_replies(self, then: Callable[[Iterable[ReplyInFlight]], None]) -> None:
        then(exchange for exchange, _, _, _ in self._open.values())

    def cut(self) -> None:
        for request_id in list(self._open):
            self._finish(request_id, Outcome.INTERRUPTED)

    def _finish(self, request_id: str, failed: Outcome | None) -> None:
        exchange, timer, done, ended = self._open.pop(request_id)
        timer.cancel()
        end_ns = self._clock.now_ns()
        ended(end_ns, exchange.is_whole(failed))
        done(exchange.close(end_ns, failed))
