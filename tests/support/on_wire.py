"""An open wire transport for tests, and requests through it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from bench.clock import now_ns, process_clock
from bench.records import RequestRecord
from bench.transport.interface import Reading, Target
from bench.transport.wire import WireTransport
from bench.workload import Request
from tests.support.patience import PATIENCE_S

MS = 1_000_000
T = TypeVar("T")


class Wire:
    """An open wire transport, and requests through it."""

    def __init__(self, transport: WireTransport) -> None:
        self.transport = transport
        self.made = 0
        self.calls: list[str] = []

    def start(self, *, body: bytes = b'{"stream": true}') -> asyncio.Future[RequestRecord]:
        answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
        request = Request(
            id=f"wire-{self.made}",
            index=self.made,
            body=body,
            stream=True,
            input_tokens_asked=None,
            output_tokens_asked=None,
        )
        self.made += 1
        now = now_ns()

        def ended(end_ns: int, whole: bool) -> None:
            self.calls.append("ended")

        self.transport.start(request, now, now, answered.set_result, ended)
        return answered

    async def until(self, what: Callable[[], bool]) -> None:
        """Run the loop until this is true."""
        async with asyncio.timeout(PATIENCE_S):
            while not what():
                await asyncio.sleep(0.002)


def on_wire(url: str, what: Callable[[Wire], Coroutine[Any, Any, T]], **target: Any) -> T:
    async def main() -> T:
        clock = process_clock()
        transport = WireTransport(Target(url=url + "/", **target), Reading(), clock)
        await transport.open()
        try:
            return await what(Wire(transport))
        finally:
            await transport.close()
            clock.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def once(wire: Wire) -> RequestRecord:
    return await wire.start()
