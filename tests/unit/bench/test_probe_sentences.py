"""What the probe says where nobody answers and the environment names a proxy."""

from __future__ import annotations

import pytest

from bench.endpoints.interface import BodyOptions
from bench.records import Outcome
from bench.target.probe import diagnose
from tests.support.made_records import made_record

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
