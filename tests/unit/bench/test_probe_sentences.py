"""What the probe says where nobody answers or no end comes, and where the environment names a proxy."""

from __future__ import annotations

from typing import Any

import pytest

from bench.endpoints.interface import BodyOptions
from bench.records import Outcome
from bench.target.probe import diagnose
from tests.support.made_records import START_NS, made_record

URL = "https://llm.example:8443/v1/chat/completions"


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def said(url: str = URL, outcome: Outcome = Outcome.CONNECT_ERROR) -> str:
    found = diagnose(
        made_record(0, outcome=outcome, error="Connection refused"),
        url,
        BodyOptions(endpoint="chat", model=None),
        None,
        False,
    )
    assert found is not None
    return found


def test_a_proxy_of_the_environment_is_named_as_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PROXY" not in said()
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy:3128")
    assert "connects directly, and not through the proxy of HTTPS_PROXY" in said()
    assert "secret" not in said()
    assert "PROXY" not in said("http://llm.example/v1/chat/completions")
    monkeypatch.setenv("NO_PROXY", "llm.example")
    assert "PROXY" not in said()


def test_a_host_that_does_not_answer_names_the_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    assert "HTTP_PROXY" in said("http://llm.example/v1/chat/completions", Outcome.TIMEOUT_CONNECT)


def test_a_handshake_without_an_end_is_told_from_a_host_that_does_not_answer() -> None:
    assert said(URL, Outcome.TIMEOUT_CONNECT) == (
        f"cannot connect to {URL}: no TLS handshake in time. Is the host right, and is it an https port?"
    )
    plain = URL.replace("https", "http")
    assert said(plain, Outcome.TIMEOUT_CONNECT) == (
        f"cannot connect to {plain}: no answer in time. Is the host right, and does a firewall let you through?"
    )


@pytest.mark.parametrize(
    ("came", "how_far"),
    [
        ({"sent_ns": None, "first_byte_ns": None}, "no connection could be made"),
        ({"first_byte_ns": None}, "it took the connection and the request, and sent no byte"),
        ({"status": None}, "it sent the beginning of a response, and no whole head"),
        ({"bytes_received": 0}, "it sent the head of a response (status 200), and no body"),
        ({"chunks_ms": ()}, "it sent 1,234 bytes (status 200), and no end"),
        ({}, "it sent 1,234 bytes in 3 events (status 200), and no end"),
    ],
)
def test_a_reply_without_an_end_says_how_far_it_came(came: dict[str, Any], how_far: str) -> None:
    fields: dict[str, Any] = {"status": 200, "bytes_received": 1234, "first_byte_ns": START_NS, **came}
    record = made_record(0, outcome=Outcome.TIMEOUT_IDLE, error="said", **fields)
    sentence = diagnose(record, URL, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence == f"{URL} did not answer in time (said): {how_far}. Is its model loaded yet?"


@pytest.mark.parametrize("outcome", [Outcome.RESET, Outcome.TRUNCATED])
def test_a_reply_that_breaks_off_after_text_does_not_blame_the_url(outcome: Outcome) -> None:
    record = made_record(0, outcome=outcome, error="said", status=200, bytes_received=1234, first_byte_ns=START_NS)
    sentence = diagnose(record, URL, BodyOptions(endpoint="chat", model=None), None, False)
    assert sentence == (
        f"{URL} broke off its reply (said): it sent 1,234 bytes in 3 events (status 200), and no end. "
        "Does the server's log say why?"
    )


SOCKET_URL = "http://127.0.0.1:8000/v1/responses"


@pytest.mark.parametrize(
    ("status", "listed", "authorized", "told", "not_told"),
    [
        pytest.param(403, ["m"], False, "it has none there; leave out --websocket", "key;", id="answers without a key"),
        pytest.param(
            403, None, False, "it has none there, or needs a key; leave out --websocket", "refuses", id="unknown"
        ),
        pytest.param(
            403, ["m"], True, "it has none there, or refuses this key; leave out --", "needs a key", id="a key"
        ),
        pytest.param(404, None, False, "(status 404: said): leave out --websocket", "key", id="not there"),
        pytest.param(405, ["m"], True, "(status 405: said): leave out --websocket", "key", id="another method"),
        pytest.param(
            401, None, False, "the server needs a key (status 401: said)", "--websocket", id="401 is about keys"
        ),
    ],
)
def test_a_handshake_that_is_refused_blames_the_key_only_where_it_may_be_the_cause(
    status: int, listed: list[str] | None, authorized: bool, told: str, not_told: str
) -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error="said", status=status)
    options = BodyOptions(endpoint="responses", model=None, websocket=True)
    sentence = diagnose(record, SOCKET_URL, options, listed, authorized)
    assert sentence is not None
    assert told in sentence
    assert not_told not in sentence


def test_without_a_websocket_403_is_about_the_key() -> None:
    record = made_record(0, outcome=Outcome.HTTP_ERROR, error="said", status=403)
    sentence = diagnose(record, SOCKET_URL, BodyOptions(endpoint="responses", model=None), ["m"], False)
    assert sentence == "the server needs a key (status 403: said): give it with --api-key or OPENAI_API_KEY"
