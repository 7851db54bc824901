"""A mock that is reconfigured while serving, called by web pages, and drained."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
MS = 1_000_000
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "stream": True}


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms", "--cors", "http://ui.example") as mock:
        yield mock


def send(mock: MockProcess, **headers: str) -> httpx.Response:
    return httpx.post(mock.url + CHAT, json=BODY, headers={name.replace("_", "-"): v for name, v in headers.items()})


def served(mock: MockProcess, since: int) -> list[dict[str, Any]]:
    lines = map(json.loads, httpx.get(mock.url + f"/ledger?since={since}").text.splitlines())
    return sorted(lines, key=lambda line: int(line["received_ns"]))


def test_a_change_holds_for_requests_that_come_after_and_the_ledger_names_it(mock: MockProcess) -> None:
    start = httpx.post(mock.url + "/admin/reset").json()["ledger_lines"]
    send(mock)
    changed = httpx.patch(mock.url + "/admin/config", json={"ttft": "30ms", "fault": "429:index=9"})
    assert changed.status_code == 200
    version = changed.json()["version"]
    assert changed.json()["config"]["ttft"] == "30ms"
    send(mock)
    assert send(mock, x_request_id="r-9").status_code == 429
    before, after, refused = served(mock, start)
    assert (before["planned"]["ttft_ns"], before["engine"]["config"]) == (5 * MS, version - 1)
    assert (after["planned"]["ttft_ns"], after["engine"]["config"]) == (30 * MS, version)
    assert (refused["fault"], refused["engine"]["config"]) == ("429", version)
    truth = httpx.get(mock.url + "/truth").json()
    assert truth["configurations"][-1]["version"] == version
    assert truth["configurations"][-1]["from_line"] == start + 1
    assert truth["config"]["ttft"] == "30ms"
    restored = httpx.post(mock.url + "/admin/reset").json()
    assert (restored["config"]["ttft"], restored["config"]["fault"]) == ("5ms", [])


def test_a_bad_change_is_a_400_with_every_problem_and_changes_nothing(mock: MockProcess) -> None:
    before = httpx.get(mock.url + "/admin/config").json()
    refused = httpx.post(mock.url + "/admin/config", json={"ttft": "5", "port": 4})
    assert refused.status_code == 400
    for part in ("ttft: '5'", "port: cannot change"):
        assert part in refused.json()["error"]["message"]
    for content in (b"[]", b"{"):
        assert httpx.post(mock.url + "/admin/config", content=content).status_code == 400
    assert httpx.get(mock.url + "/admin/config").json() == before


def test_a_reset_starts_counters_and_attempts_anew_and_the_ledger_goes_on(mock: MockProcess) -> None:
    send(mock, x_request_id="again-1")
    lines = httpx.post(mock.url + "/admin/reset").json()["ledger_lines"]
    assert 'request_success_total{engine="0",finished_reason="length",model_name="mock-model"} 0.0' in (
        httpx.get(mock.url + "/metrics").text
    )
    send(mock, x_request_id="again-1")
    (line,) = served(mock, lines)
    assert line["attempt"] == 1
    assert httpx.get(mock.url + "/truth").json()["plans_keyed_by"] == {"index": 1, "id": 0, "arrival_order": 0}


def test_a_page_of_a_named_origin_may_call_and_no_other(mock: MockProcess) -> None:
    preflight = {"origin": "http://ui.example", "access-control-request-method": "POST",
                 "access-control-request-headers": "authorization, content-type"}  # fmt: skip
    answer = httpx.options(mock.url + CHAT, headers=preflight)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert httpx.options(mock.url + CHAT, headers={**preflight, "origin": "http://other"}).status_code == 400
    # The streamed reply bypasses ASGI; the list of models goes through it.
    for response in (send(mock, origin="http://ui.example"), send(mock, origin="http://ui.example", x_mock_fault="429"),
                     httpx.get(mock.url + "/v1/models", headers={"origin": "http://ui.example"})):  # fmt: skip
        assert response.headers["access-control-allow-origin"] == "http://ui.example"
    assert "access-control-allow-origin" not in send(mock, origin="http://other").headers
    assert "access-control-allow-origin" not in send(mock).headers


def until(condition: Any, within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.01)


def test_while_it_drains_health_and_new_requests_get_a_503_and_a_second_signal_ends_it() -> None:
    with mock_process("--ttft", "600s", "--drain-s", "600") as mock:
        host, port = mock.url.removeprefix("http://").split(":")
        with (
            httpx.Client(base_url=mock.url) as client,
            client.stream("POST", CHAT, json=BODY, headers={"x-request-id": "in-1"}),
        ):
            mock.process.send_signal(signal.SIGTERM)
            until(lambda: httpx.get(mock.url + "/health").status_code == 503)
            refused = httpx.post(mock.url + CHAT, json=BODY, headers={"x-request-id": "late-2"})
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            mock.process.send_signal(signal.SIGTERM)
            assert mock.process.wait(PATIENCE_S) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        lines = mock.lines_of(["in-1", "late-2"])
        assert (lines["late-2"]["status"], lines["late-2"]["fault"]) == (503, None)
        assert lines["in-1"]["engine"]["cut"] == "shutdown"
