"""Connections that are refused or read late, on real sockets."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S
from tests.support.raw_mock import CHAT, MS, chat, connect, read_until, request, until_read, until_stamped

END = b"0\r\n\r\n"


def ask(mock: MockProcess, request_id: str) -> httpx.Response:
    return httpx.post(mock.url + CHAT, json=chat(), headers={"x-request-id": request_id})


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
    # The connection was in the listener's queue when the listener was closed.
    except (httpx.ReadError, httpx.RemoteProtocolError):
        return False
    return False


def test_nothing_listens_in_a_window_but_what_is_under_way_goes_on_and_it_listens_again_after_it() -> None:
    again = json.dumps({"fault": ["refuse:until=1ms"]}).encode()
    change = b"PATCH /admin/config HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(again), again)
    with (
        mock_process("--ttft", "1ms", "--tpot", "1ms", "--body-timeout-s", "600") as mock,
        connect(mock) as idle,
        connect(mock) as busy,
        connect(mock) as half,
    ):
        idle.sendall(request(CHAT, chat(), x_request_id="kept-1"))
        read_until(idle, END)
        busy.sendall(request(CHAT, chat(), x_request_id="busy-1", x_mock_ttft="800ms"))
        half.sendall(change[:-1])
        until_read(half)
        response = httpx.patch(mock.url + "/admin/config", json={"fault": ["refuse:until=600s"]})
        assert response.status_code == 200
        # The idle connection is closed too: its owner must open a new one.
        assert idle.recv(1) == b""
        until(lambda: refused(mock))
        assert read_until(busy, END).endswith(b"data: [DONE]\n\n\r\n" + END)
        assert refused(mock)
        half.sendall(change[-1:])
        assert half.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: not refused(mock))
        assert ask(mock, "late-1").status_code == 200
        assert mock.lines_of(["kept-1", "busy-1", "late-1"]).keys() == {"kept-1", "busy-1", "late-1"}


@pytest.mark.wall_clock
@pytest.mark.skipif(sys.platform == "win32", reason="no process can be held still")
def test_a_connection_that_is_read_late_makes_its_first_request_late_and_no_other() -> None:
    with mock_process("--ttft", "20ms", "--tpot", "1ms", "--fault", "slow_accept:every=2,for=300ms") as mock:
        until_stamped(mock)
        for number in range(4):
            with contextlib.ExitStack() as stack:
                # The wait counts from the instant at which the mock accepts the connection, here after its request has
                # arrived.
                with mock.held_still():
                    sock = stack.enter_context(connect(mock))
                    sock.sendall(request(CHAT, chat(), x_request_id=f"first-{number}"))
                read_until(sock, END)
                sock.sendall(request(CHAT, chat(), x_request_id=f"second-{number}"))
                read_until(sock, END)
        lines = mock.lines_of([f"{which}-{number}" for which in ("first", "second") for number in range(4)])
    late = {name for name, line in lines.items() if line["fault"] is not None}
    assert late in ({"first-1", "first-3"}, {"first-0", "first-2"})
    for name, line in lines.items():
        held_ns = line["planned"]["ttft_ns"] - 20 * MS
        if name not in late:
            assert held_ns == 0
            continue
        assert line["fault"] == line["planned"]["fault"] == "slow_accept"
        assert held_ns >= 300 * MS
        assert line["handled_ns"] - line["received_ns"] >= held_ns - 5 * MS  # Timers of the loop may fire early.
        assert line["write_ns"][1] - line["received_ns"] >= line["planned"]["ttft_ns"] - MS // 10


def test_a_header_cannot_ask_for_what_happens_before_it() -> None:
    with mock_process("--ttft", "1ms") as mock:
        body = {"messages": [{"role": "user", "content": "x"}]}
        response = httpx.post(mock.url + CHAT, json=body, headers={"x-mock-fault": "slow_accept"})
    assert response.status_code == 400
    assert "before a request is read" in response.json()["error"]["message"]
