"""Connections that are refused or read late, on real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S
from tests.support.timing import timing

CHAT = "/v1/chat/completions"
MS = 1_000_000


def ask(client: Any, mock: MockProcess, request_id: str) -> Any:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "stream": True}
    return client.post(mock.url + CHAT, json=body, headers={"x-request-id": request_id})


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refused(mock: MockProcess) -> bool:
    try:
        httpx.get(mock.url + "/health")
    except httpx.ConnectError:
        return True
    except (httpx.ReadError, httpx.RemoteProtocolError):  # It stood in the queue of the listener when that was closed.
        return False
    return False


def refuse(mock: MockProcess, until: str) -> None:
    assert httpx.patch(mock.url + "/admin/config", json={"fault": [f"refuse:until={until}"]}).status_code == 200


@timing(tries=10, why="TODO In which the window is seen while it is open.")
def test_nothing_listens_in_a_window_and_it_listens_again_after_it() -> None:
    with mock_process("--ttft", "1ms", "--tpot", "1ms") as mock:
        with httpx.Client() as client:
            assert ask(client, mock, "kept-1").status_code == 200
            refuse(mock, "700ms")
            until(lambda: refused(mock))
            # The connection that stood idle is gone too: who keeps one must make a new one.
            with pytest.raises(httpx.ConnectError):
                ask(client, mock, "kept-2")
            until(lambda: not refused(mock))
            assert ask(client, mock, "kept-3").status_code == 200
        assert [line["id"] for line in mock.ledger_lines(at_least=2)] == ["kept-1", "kept-3"]


def test_what_is_under_way_goes_on_while_connections_are_refused() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "stream": True}
    with (
        mock_process("--ttft", "800ms", "--tpot", "1ms") as mock,
        httpx.stream("POST", mock.url + CHAT, json=body) as response,
    ):
        refuse(mock, "60s")
        until(lambda: refused(mock))
        assert response.read().endswith(b"data: [DONE]\n\n")
        assert refused(mock)


@timing(tries=10, why="TODO ")
def test_a_connection_that_is_read_late_makes_its_first_request_late_and_no_other() -> None:
    with mock_process("--ttft", "20ms", "--tpot", "1ms", "--fault", "slow_accept:every=2,for=500ms") as mock:
        # The first connection (0) is the one that saw whether the mock is up; each client makes one.
        for number in range(4):
            with httpx.Client() as client:
                ask(client, mock, f"first-{number}")
                ask(client, mock, f"second-{number}")
        lines = {line["id"]: line for line in mock.ledger_lines(at_least=8)}
    late = [line for line in lines.values() if line["fault"] is not None]
    assert [line["id"] for line in late] in (["first-1", "first-3"], ["first-0", "first-2"])
    for line in late:
        assert line["fault"] == line["planned"]["fault"] == "slow_accept"
        # The wait counts from when the mock heard of the connection, a little before or after the request came.
        assert 100 * MS < line["planned"]["ttft_ns"] - 20 * MS < 1000 * MS
        assert line["handled_ns"] - line["received_ns"] >= 95 * MS
        assert line["write_ns"][1] - line["received_ns"] >= line["planned"]["ttft_ns"] - MS // 10


def test_a_header_cannot_ask_for_what_happens_before_it() -> None:
    with mock_process("--ttft", "1ms") as mock:
        body = {"messages": [{"role": "user", "content": "x"}]}
        response = httpx.post(mock.url + CHAT, json=body, headers={"x-mock-fault": "slow_accept"})
    assert response.status_code == 400
    assert "before a request is read" in response.json()["error"]["message"]
