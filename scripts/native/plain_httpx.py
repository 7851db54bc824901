"""httpx with its defaults, receiving the same streams: no stamps, no decoding. Usage: plain_httpx.py PORT STREAMS
TOKENS.

Prints one JSON object: chunks, and the CPU time between the first send and the last byte.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import httpx
import uvloop


async def main(port: int, streams: int, tokens: int) -> None:
    body = {"model": "source", "max_tokens": tokens, "stream": True, "stream_options": {"include_usage": True}}
    chunks = 0

    async def one(client: httpx.AsyncClient, index: int) -> None:
        nonlocal chunks
        headers = {"x-request-id": f"h-{index}"}
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            async for line in response.aiter_lines():
                chunks += line.startswith("data:")

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=None) as client:
        began = time.process_time()
        await asyncio.gather(*[one(client, index) for index in range(streams)])
        print(json.dumps({"chunks": chunks, "cpu_s": time.process_time() - began}))


uvloop.run(main(*map(int, sys.argv[1:])))
