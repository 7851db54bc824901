"""Sends requests over WebSockets, one after the other, with the wire transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from bench.clock import Clock, process_clock
from bench.endpoints import ENDPOINTS
from bench.records import RequestRecord
from bench.transport import TRANSPORTS
from bench.transport.interface import Reading, Target, Transport
from bench.workload import Continuation, Request
from tests.support.patience import PATIENCE_S


class Sender:
    """Requests over an open transport, one after the other."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self.transport = transport
        self.clock = clock
        self.made = 0

    async def ask(
        self, goes_on: Continuation | None = None, body: bytes = b'{"input":"x"}', **more: Any
    ) -> RequestRecord:
        answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
        request = Request(
            id=f"r-{self.made}", index=self.made, body=body, stream=True, input_tokens_asked=None,
            output_tokens_asked=None, continuation=goes_on, **more,
        )  # fmt: skip
        self.made += 1
        at_ns = self.clock.now_ns()
        self.transport.start(request, at_ns, at_ns, answered.set_result)
        return await asyncio.wait_for(answered, PATIENCE_S)


def over(
    url: str,
    what: Callable[[Sender], Coroutine[Any, Any, Any]],
    changed: Callable[[Clock], Clock] = lambda clock: clock,
    path: str = "/v1/responses",
    endpoint: str = "responses",
    **target: Any,
) -> Any:
    async def main() -> Any:
        clock = changed(process_clock())
        to = Target(url=url + path, websocket=True, **target)
        transport = TRANSPORTS["wire"](to, Reading(endpoint=ENDPOINTS[endpoint]), clock)
        await transport.open()
        sender = Sender(transport, clock)
        try:
            return await what(sender)
        finally:
            await transport.close()
            clock.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
