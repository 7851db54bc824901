"""An open transport inside a running loop, and what a test does with it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.records import RequestRecord
from bench.transport.interface import Transport
from bench.workload import Request
from tests.support.literal_replies import CHUNKED, ROLE, content, frames, head
from tests.support.literal_server import LiteralServer, Send, Step, Until
from tests.support.patience import PATIENCE_S

MS = 1_000_000
Act = Callable[["Client"], Any]


@dataclass
class Client:
    """An open transport inside a running loop, and its records."""

    transport: Transport
    now_ns: Callable[[], int]
    made: int = 0
    records: list[RequestRecord] = field(default_factory=list)

    def start(self, *, streamed: bool = True, cancel_after_ns: int | None = None) -> asyncio.Future[RequestRecord]:
        answered: asyncio.Future[RequestRecord] = asyncio.get_running_loop().create_future()
        request = Request(
            id=f"literal-{self.made}",
            index=self.made,
            body=json.dumps({"stream": streamed, "n": self.made}).encode(),
            stream=streamed,
            input_tokens_asked=None,
            output_tokens_asked=None,
            cancel_after_ns=cancel_after_ns,
        )
        self.made += 1
        now = self.now_ns()
        self.transport.start(request, now, now, answered.set_result)
        return answered

    async def ask(self, *, streamed: bool = True, cancel_after_ns: int | None = None) -> RequestRecord:
        return await self.start(streamed=streamed, cancel_after_ns=cancel_after_ns)


async def once(client: Client) -> RequestRecord:
    return await client.ask()


def times(n: int) -> Act:
    async def ask(client: Client) -> list[RequestRecord]:
        return [await client.ask() for _ in range(n)]

    return ask


async def read_of(server: LiteralServer, writes: int) -> None:
    """Wait until the server has written this often in reply to its latest request, and the client has processed it."""
    async with asyncio.timeout(PATIENCE_S):
        while not server.received or len(server.received[-1].writes) < writes or not server.all_is_read():
            await asyncio.sleep(0.001)
    for _ in range(100):  # Data passes through a client's tasks, each in a turn of the loop.
        await asyncio.sleep(0)


def one_by_one(server: Callable[[], LiteralServer], *writes: bytes) -> tuple[list[Step], Act]:
    """A reply in which each write waits until the client has read everything before it (the first: until it has sent),
    and the request for it."""
    may_write = threading.Semaphore(0)
    steps: list[Step] = []
    for data in writes:
        steps += [Until(lambda: may_write.acquire(blocking=False)), Send(data)]

    async def ask(client: Client) -> RequestRecord:
        pending = client.start()
        for written in range(len(writes)):
            await read_of(server(), written)
            may_write.release()
        return await pending

    return steps, ask


def in_order(record: RequestRecord) -> None:
    """intended <= eligible <= sent <= first byte <= chunks <= end; every bound no later than its stamp."""
    seen = [
        record.intended_ns,
        record.eligible_ns,
        record.sent_ns,
        record.resent_ns,
        record.first_byte_ns,
        *record.chunk_ns,
    ]
    happened = [at for at in [*seen, record.end_ns] if at is not None]
    assert happened == sorted(happened)
    assert len(record.chunk_ns) == len(record.chunk_kind)
    assert (record.resent_ns is None) or record.attempts == 2
    if record.chunk_bound_ns is not None:
        assert record.last_sent_ns is not None
        for bound, at in zip(record.chunk_bound_ns, record.chunk_ns, strict=True):
            assert bound is None or record.last_sent_ns <= bound <= at
    bounds = record.chunk_bound_ns if record.chunk_bound_ns is not None else ()
    assert record.coalesced == sum(bound is not None for bound in bounds)


A, B = content("a"), content("b")
PART = frames(ROLE, A, B)
SSE_HEAD = Send(head("200 OK", "text/event-stream", CHUNKED))
