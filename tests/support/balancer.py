"""A load balancer on the loopback: each new connection goes to the next server. It does not parse HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from tests.support.patience import PATIENCE_S


@contextlib.contextmanager
def balanced(urls: Sequence[str]) -> Iterator[str]:
    """The URL in front of these servers."""
    places = itertools.cycle([(urlsplit(url).hostname, urlsplit(url).port) for url in urls])
    loop = asyncio.new_event_loop()
    open_ones: set[asyncio.StreamWriter] = set()

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
        sink.close()

    async def serve(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*next(places))
        both = {to_client, to_server}
        open_ones.update(both)
        await asyncio.gather(copy(from_client, to_server), copy(from_server, to_client))
        open_ones.difference_update(both)

    async def begin() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    async def end(server: asyncio.Server) -> None:
        server.close()
        for writer in open_ones:
            writer.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(begin(), loop).result(timeout=PATIENCE_S)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        asyncio.run_coroutine_threadsafe(end(server), loop).result(timeout=PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
