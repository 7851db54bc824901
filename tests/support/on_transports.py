"""A request over any transport to a server of literal bytes, and the resulting record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvloop

from bench.clock import Clock, process_clock
from bench.endpoints import ENDPOINTS
from bench.records import RequestRecord
from bench.transport import TRANSPORTS, wire
from bench.transport.interface import Reading, Target, Transport
from bench.workload import Request
from tests.support.literal_server import LiteralServer, Received, Step

IN_PYTHON = "wire without its compiled core"
WAYS = (*TRANSPORTS, IN_PYTHON)
"""Every transport, including the wire transport without its compiled core."""


def transport_of(way: str, target: Target, reading: Reading, clock: Clock) -> Transport:
    """The transport, not open yet. Whether it uses the compiled core (if built) is fixed for its whole life."""
    if way != IN_PYTHON:
        return TRANSPORTS[way](target, reading, clock)
    made = wire.WireTransport(target, reading, clock)
    made.reads_plainly = False
    return made


def ask(
    transport: str,
    url: str,
    *,
    streamed: bool = True,
    asked: int | None = None,
    endpoint: str = "chat",
    count: Callable[[str], int] | None = None,
    requests: int = 1,
    **target: Any,
) -> list[RequestRecord]:
    """The records of `requests` requests, all sent at once. `target` are fields of the transport's Target."""

    async def main() -> list[RequestRecord]:
        clock = process_clock()
        reading = Reading(endpoint=ENDPOINTS[endpoint], count=count, proxy=target.get("proxy"))
        sender = transport_of(transport, Target(url=url, **target), reading, clock)
        await sender.open()
        try:
            pending: list[asyncio.Future[RequestRecord]] = []
            for index in range(requests):
                answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
                request = Request(
                    id=f"literal-{index}",
                    index=index,
                    body=b"{}",
                    stream=streamed,
                    input_tokens_asked=None,
                    output_tokens_asked=asked,
                )
                now = clock.now_ns()
                sender.start(request, now, now, answered.set_result)
                pending.append(answered)
            return list(await asyncio.gather(*pending))
        finally:
            await sender.close()
            clock.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def ask_each(transport: str, replies: Mapping[str, Sequence[Step]], **how: Any) -> dict[str, RequestRecord]:
    """The record of each of these replies of one server, all requested at once; `how` as in `ask`."""
    given = list(replies.values())

    def script(request: Received) -> Sequence[Step]:
        return given[int(request.headers["x-request-id"].rpartition("-")[2])]

    with LiteralServer(script) as server:
        return dict(zip(replies, ask(transport, server.url, requests=len(given), **how), strict=True))
