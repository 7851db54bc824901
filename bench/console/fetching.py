"""Fetches a data file from a URL, with limits on time, size and redirects, and never from addresses that trust this
machine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from bench.console.errors import ConsoleError, TooLarge
from bench.console.language import tr
from bench.console.local_addresses import Resolve, public_address, resolved
from bench.errors import UsageError
from bench.stores.transfer import is_address
from bench.stores.words import transferred

MOST_FETCHED = 64 * 1024 * 1024
"""Bytes fetched from a URL."""
FETCH_WITHIN_S = 60.0
MOST_REDIRECTS = 3


async def fetch(
    url: str, client: httpx.AsyncClient | None = None, *, allow_local: bool = False, resolve: Resolve = resolved
) -> tuple[str, bytes]:
    """Fetch a URL with limits on time, size and redirects. Returns name and content. Cookies are neither sent nor kept.

    Raises ConsoleError. With `allow_local`, addresses of this machine and its local network link are permitted.
    """
    if is_address(url):
        return await _from_store(url, allow_local=allow_local, resolve=resolve)
    http_client = httpx.AsyncClient(timeout=FETCH_WITHIN_S, trust_env=False) if client is None else client
    try:
        for _ in range(MOST_REDIRECTS + 1):
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ConsoleError(tr("give an http:// or https:// URL"))
            http_client.cookies.clear()
            request = http_client.build_request("GET", url)
            if not allow_local:
                await _pin(request, resolve)
            async with aclosing(await http_client.send(request, stream=True, follow_redirects=False)) as reply:
                if reply.has_redirect_location:
                    url = urljoin(url, reply.headers["location"])
                    continue
                if reply.status_code != 200:
                    host = urlsplit(url).hostname
                    raise ConsoleError(
                        tr("%(host)s answers with status %(status)s", host=host, status=reply.status_code)
                    )
                return Path(urlsplit(url).path).name or "data.jsonl", await _limited(reply.aiter_bytes())
        raise ConsoleError(tr("more than %(n)s redirects", n=MOST_REDIRECTS))
    except (httpx.InvalidURL, ValueError) as e:
        raise ConsoleError(tr("give an http:// or https:// URL")) from e
    except httpx.HTTPError as e:
        why = str(e) or type(e).__name__
        host = urlsplit(url).hostname
        raise ConsoleError(
            tr(
                "%(host)s cannot be fetched from (%(why)s): check the URL, and whether its server runs",
                host=host,
                why=why,
            )
        ) from e
    finally:
        if client is None:
            with suppress(httpx.HTTPError):
                await http_client.aclose()


async def _from_store(address: str, *, allow_local: bool, resolve: Resolve) -> tuple[str, bytes]:
    """Name and content of an object in an object store, read with the console's own credentials."""
    name = Path(urlsplit(address).path).name or "data.jsonl"
    try:
        if not allow_local:
            # The console's settings (AWS_ENDPOINT_URL) determine the host, never the given address.
            endpoint = await asyncio.to_thread(transferred, "endpoint", address)
            await public_address(urlsplit(endpoint).hostname or "", resolve)
        with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
            place = Path(folder) / "data"
            await asyncio.to_thread(transferred, "get", address, str(place), str(MOST_FETCHED))
            return name, place.read_bytes()
    except (UsageError, OSError) as e:
        raise ConsoleError(
            tr("%(host)s cannot be fetched from (%(why)s): check the URL", host=address, why=str(e))
        ) from e


async def _pin(request: httpx.Request, resolve: Resolve) -> None:
    """Send a request to the address that was checked. The header and the TLS handshake keep the host name."""
    url = request.url
    host = url.raw_host.decode()
    request.url = url.copy_with(host=await public_address(host, resolve))
    request.extensions = {**request.extensions, "sni_hostname": host}


async def _limited(chunks: AsyncIterator[bytes]) -> bytes:
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > MOST_FETCHED:
            raise TooLarge(tr("the file at the URL has more than %(mib)s MiB", mib=MOST_FETCHED // 2**20))
    return bytes(content)
