"""The names of a proxy, its errors, the trusted certificates, and unique run names."""

from __future__ import annotations

import re
import ssl
from types import SimpleNamespace

import pytest

from bench import rng, trust
from bench.proxy import Proxy, is_of_proxy


@pytest.mark.parametrize(
    ("url", "name", "headers"),
    [
        ("http://proxy:3128", "proxy:3128", ()),
        ("http://proxy", "proxy:80", ()),
        ("http://[::1]:81", "[::1]:81", ()),
        ("http://me:p%40ss@proxy", "proxy:80", (("proxy-authorization", "Basic bWU6cEBzcw=="),)),
        ("http://me@proxy", "proxy:80", (("proxy-authorization", "Basic bWU6"),)),
    ],
)
def test_a_proxy_is_a_host_a_port_and_perhaps_a_user(url: str, name: str, headers: tuple[tuple[str, str], ...]) -> None:
    proxy = Proxy.of(url)
    assert proxy is not None
    assert (proxy.name, proxy.headers) == (name, headers)
    assert "Basic" not in repr(proxy)
    assert Proxy.of(None) is None


PROXY, WITH_USER = Proxy("p", 1), Proxy("p", 1, "Basic x")
ASKS = "the proxy p:1 wants a user and a password (status 407): give them with --proxy http://USER:PASSWORD@p:1"
REFUSES = "the proxy p:1 refuses the user and the password of --proxy (status 407)"


@pytest.mark.parametrize(
    ("proxy", "status", "error", "explained"),
    [
        (PROXY, 407, "status 407", ASKS),
        (WITH_USER, 407, "status 407", REFUSES),
        (PROXY, None, "the proxy p:1 cannot be used: x", "the proxy p:1 cannot be used: x"),
        (PROXY, 500, "status 500", "status 500 (through the proxy p:1)"),
        (PROXY, None, "reset", "reset (through the proxy p:1)"),
        *((PROXY, status, "no", "no (through the proxy p:1, which may have sent it)") for status in (502, 503, 504)),
    ],
)
def test_an_error_names_the_proxy_that_it_came_through(
    proxy: Proxy, status: int | None, error: str, explained: str
) -> None:
    assert proxy.explained(status, error) == explained


def test_only_a_proxy_of_its_own_error_is_to_blame() -> None:
    assert is_of_proxy(PROXY.wants_credentials())
    assert is_of_proxy(PROXY.failed("x"))
    assert is_of_proxy(PROXY.unreached("s:1", "403 No"))
    assert not is_of_proxy(PROXY.unreached("s:1", "503 Not yet"))
    assert not is_of_proxy("reset")
    assert not is_of_proxy(None)


@pytest.mark.parametrize("insecure", [True, False])
def test_certificates_are_checked_unless_that_is_given_up(insecure: bool) -> None:
    made = trust.context(SimpleNamespace(ca_file=None, insecure=insecure, client_cert=None, client_key=None))
    assert made.check_hostname is not insecure
    assert made.verify_mode == (ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED)


def test_the_certificate_of_the_client_is_loaded() -> None:
    with pytest.raises(FileNotFoundError):
        trust.context(SimpleNamespace(ca_file=None, insecure=False, client_cert="no such file", client_key=None))


def test_names_are_of_their_lengths_and_each_is_another() -> None:
    for make, form in (
        (rng.fresh_salt, r"[0-9a-f]{16}"),
        (rng.unique_id, r"[0-9a-f]{8}"),
        (rng.secret_token, r"[\w-]{43}"),
    ):
        assert re.fullmatch(form, make())
        assert make() != make()


def test_a_stream_depends_on_its_seed_and_its_key() -> None:
    first = rng.stream(1, "arrivals", 2).getrandbits(128)
    assert rng.stream(1, "arrivals", 2).getrandbits(128) == first
    assert first not in [rng.stream(*of).getrandbits(128) for of in ((2, "arrivals", 2), (1, "arrivals"), (1, "x", 2))]
    assert first > 1 << 100
