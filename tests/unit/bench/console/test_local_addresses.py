"""Data is never fetched from this machine or its local network, whatever name, notation or redirect leads there."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import httpx
import pytest

from bench.console.errors import ConsoleError
from bench.console.fetching import fetch
from bench.console.local_addresses import is_local, is_own, resolved

NAMES = {"data": ["203.0.113.7"], "inside": ["127.0.0.1"], "mixed": ["203.0.113.7", "169.254.169.254"]}


async def resolve(host: str) -> list[str]:
    if host in NAMES:
        return NAMES[host]
    return await resolved(host)  # These are addresses, so no name server is needed.


def fetched(url: str, location: str = "") -> list[httpx.Request]:
    """The requests sent for a URL whose server redirects to `location`."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if location and len(sent) == 1:
            return httpx.Response(302, headers={"location": location})
        return httpx.Response(200, content=b"rows")

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await fetch(url, client, resolve=resolve)

    asyncio.run(main())
    return sent


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("0.0.0.0", True),
        ("169.254.169.254", True),
        ("224.0.0.1", True),
        ("::1", True),
        ("::", True),
        ("fe80::1%eth0", True),
        ("::ffff:127.0.0.1", True),
        ("2002:7f00:1::", True),
        ("64:ff9b::7f00:1", True),
        ("10.0.0.7", False),
        ("203.0.113.7", False),
        ("::ffff:203.0.113.7", False),
        ("64:ff9b::cb00:7107", False),
        ("2001:db8::1", False),
    ],
)
def test_an_address_of_this_machine_or_its_link_is_local(address: str, local: bool) -> None:
    assert is_local(address) is local


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8600/x.jsonl",
        "http://[::1]/x.jsonl",
        "http://0.0.0.0/x",
        "http://2130706433/x",
        "http://0x7f.1/x",
        "http://169.254.169.254/latest",
        "http://inside/x.jsonl",
        "https://mixed/x.jsonl",
    ],
)
def test_nothing_is_sent_to_a_local_address_itself_or_after_a_redirect(url: str) -> None:
    with pytest.raises(ConsoleError, match="--allow-local-data"):
        fetched(url)
    with pytest.raises(ConsoleError, match="an address of this machine or its link"):
        fetched("http://data/x.jsonl", location=url)


def test_the_request_goes_to_the_address_that_was_checked_under_the_name_that_was_given() -> None:
    (request,) = fetched("https://data:8443/x.jsonl")
    assert str(request.url) == "https://203.0.113.7:8443/x.jsonl"
    assert request.headers["host"] == "data:8443"
    assert request.extensions["sni_hostname"] == "data"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(-2, "Name or service not known"), "Name or service not known"),
        (OSError("no name server"), "no name server"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_a_name_that_does_not_resolve_is_refused_with_the_reason(error: Exception, why: str) -> None:
    async def unknown(host: str) -> list[str]:
        raise error

    with pytest.raises(ConsoleError) as refused:
        asyncio.run(fetch("http://data/x", resolve=unknown))
    assert str(refused.value) == f"data cannot be fetched from ({why}): check the URL"


def test_an_address_of_this_machine_in_its_network_is_refused_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.7", 9))  # Sends nothing: the kernel only chooses the address to send from.
        except OSError:
            pytest.skip("this machine has no network")
        own = probe.getsockname()[0]
    with pytest.raises(ConsoleError, match=f"{own}, an address of this machine"):
        fetched(f"http://{own}:8000/x.jsonl")
    assert not is_own("203.0.113.7")


def test_an_address_is_recognized_as_own_whichever_ports_are_in_use() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        with suppress(OSError):  # Only root may bind it, and another program may have it.
            taken.bind(("127.0.0.1", 1))
        assert is_own("127.0.0.1")
