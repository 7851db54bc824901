"""Reads the server's own metrics during a load: the sender's side of a separate process (`scrape_program.py`).

A page of a thousand samples takes ten ms to parse, during which no stamp could be taken. So another process fetches it,
on its own connection, and writes server.jsonl. This process receives a few numbers a second from it, for live displays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from bench.endpoints import urls
from bench.process.companion import Companion
from bench.target.gpu_pages import AMDSMI, NVML
from bench.target.scrape_task import METRICS, METRICS_OF_TRTLLM, FirstScrape, ScrapePage, ScrapeTask, ServerNow
from bench.transport.interface import Target

PROGRAM = "bench.target.scrape_program"
LAST_WITHIN_S = 10.0
"""How long the end of a run waits for the last scrape."""

OFF, AUTO = "off", "auto"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def pages_of(server: Sequence[str], gpu: str, targets: Sequence[Target]) -> tuple[ScrapePage, ...]:
    """The pages of --server-metrics (by default each target's) and of --gpu-metrics (auto: this machine's GPUs, if a
    target is on it)."""
    bare = [target.without_credentials() for target in targets]
    pages: list[ScrapePage] = []
    if OFF not in server:
        pages += [_page(url, bare) for url in server] or _own_pages(bare)
    if gpu == AUTO:
        if any(urlsplit(target.url).hostname in _LOCAL_HOSTS for target in bare):
            pages += [ScrapePage(driver, looked_for=True, gpu=True) for driver in (NVML, AMDSMI)]
    elif gpu != OFF:
        pages.append(replace(_page(gpu, bare), gpu=True))
    return tuple(pages)


def _own_pages(targets: Sequence[Target]) -> list[ScrapePage]:
    """The metrics pages of each target, next to its API, of which the first that has metrics is read; two paths of one server
    share them."""
    pages = (
        replace(_page(urls.metrics_url(target.url, path), [target]), looked_for=True, address=target.address)
        for target in targets
        for path in (METRICS, METRICS_OF_TRTLLM)
    )
    return list(dict.fromkeys(pages))


def _page(url: str, targets: Sequence[Target]) -> ScrapePage:
    page = Target(url=url).without_credentials()
    if page.headers:
        return ScrapePage(page.url, page.headers)
    place = urlsplit(page.url)[:2]
    same = next((target.headers for target in targets if urlsplit(target.url)[:2] == place), ())
    return ScrapePage(page.url, same)


class Scraper:
    """Call `begin`, then `finish` or `close`. If the process dies, the run goes on, and a note reports it."""

    def __init__(self, task: ScrapeTask) -> None:
        self._companion = Companion(PROGRAM)
        self.process = self._companion.process
        self._task = task
        self._last = asyncio.Event()
        self.now: ServerNow | None = None
        """The latest levels."""
        self.died = False

    async def begin(self) -> tuple[str, ...]:
        """Wait for the scrape before the load. Returns the problems to report: requested pages without metrics."""
        try:
            first = await self._companion.ask(self._task, FirstScrape)
        except (EOFError, OSError):
            self.died = True
            return ()
        if first.goes_on:
            self._companion.listen(self._read)
        return first.problems

    def _read(self) -> None:
        try:
            message = self._companion.connection.recv()
        except (EOFError, OSError):
            self.died = not self._last.is_set()
            self._companion.stop()
            self._last.set()
            return
        if message is None:
            self._last.set()
        else:
            self.now = message

    async def finish(self) -> None:
        """After the load: request the last scrape, and wait for it."""
        if self._companion.reading:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                self._companion.connection.send(None)
                await asyncio.wait_for(self._last.wait(), LAST_WITHIN_S)
        self.close()

    def close(self) -> None:
        """End the process, even while `begin` waits. Idempotent."""
        self._companion.close()
