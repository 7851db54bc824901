"""The mock through ASGI: no port, no process, and its ledger afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from mockserver.cli import read_arguments
from mockserver.http.app import create_app

QUICK = ("--ttft", "2ms", "--tpot", "1ms")


def through_asgi(call: Callable[[httpx.AsyncClient], Awaitable[None]], *flags: str) -> list[dict[str, Any]]:
    """Run `call` with a client of the application, and return the ledger in order of arrival: a line is written once
    its request's input tokens are counted, possibly after the line of a later request."""

    async def main() -> list[dict[str, Any]]:
        app = create_app(read_arguments(["--embedding-size", "16", *(flags or QUICK)]))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                await call(client)
                lines = [json.loads(line) for line in (await client.get("/ledger")).text.splitlines()]
                return sorted(lines, key=lambda line: int(line["received_ns"]))

    return asyncio.run(main())
