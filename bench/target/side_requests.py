"""Small GETs before and after the load: never during it, and never part of a measurement."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import trust
from bench.target.page_connection import NoPage, PageConnection

if TYPE_CHECKING:
    from bench.transport.interface import Target

TIMEOUT_S = 10.0


async def get(url: str, target: Target, timeout_s: float | None = None) -> bytes | None:
    """The content at this URL, fetched with the headers and certificates of the target. Returns None if there is no
    answer within TIMEOUT_S, or a shorter `timeout_s`."""
    timeout_s = TIMEOUT_S if timeout_s is None else min(timeout_s, TIMEOUT_S)
    thread = ThreadPoolExecutor(1)
    answered = False
    try:
        content = await asyncio.get_running_loop().run_in_executor(thread, _get, url, target, timeout_s)
        answered = True
    finally:
        # The thread ends with the request, so this process has one thread again (child_process.py). If cancelled, do
        # not wait for it.
        thread.shutdown(wait=answered)
    return content


def _get(url: str, target: Target, timeout_s: float) -> bytes | None:
    target = replace(target, url=url).without_credentials()
    context = trust.context(target) if target.url.startswith("https:") else None
    try:
        # A redirect is no answer, as under load: following it would send the key to another server.
        with closing(
            PageConnection(target.url, target.headers, timeout_s, context, target.proxy, target.address)
        ) as connection:
            return connection.get()
    except (NoPage, ValueError):
        return None
