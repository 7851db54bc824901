"""Small GETs before and after the load: never during it, and never part of a measurement."""

from __future__ import annotations

import asyncio
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPException
from typing import TYPE_CHECKING

from bench import trust

if TYPE_CHECKING:
    from bench.transport.interface import Target

TIMEOUT_S = 10.0
MOST_BYTES = 16 << 20


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is no answer, as under load: following it would send the key to another server."""

    def redirect_request(self, *arguments: object) -> None:
        return None


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
    context = None
    if target.url.startswith("https:"):
        context = trust.context(target)
    request = urllib.request.Request(target.url, headers={"user-agent": "trueload", **dict(target.headers)})
    if (proxy := target.proxy) is not None:
        request.set_proxy(proxy.name, "http")
        for name, value in proxy.headers:
            request.add_header(name, value)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),  # Without it, the environment's proxies are used.
        _NoRedirects(),
        *([urllib.request.HTTPSHandler(context=context)] if context is not None else []),
    )
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return bytes(response.read(MOST_BYTES))
    except (OSError, HTTPException, ValueError):
        return None
