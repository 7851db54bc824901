"""The mock on real sockets: framing, keep-alive, faults, misbehaving clients."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.raw_mock import (
    CHAT,
    COMPLETIONS,
    MS,
    chat,
    connect,
    line_of,
    read_until,
    request,
    unchunk,
    until_read,
)  # fmt: skip


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "20ms", "--tpot", "4ms", "--head-timeout-s", "600") as mock:
        yield mock


def test_a_stream_is_well_framed_and_the_ledger_has_its_every_event(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(request(CHAT, chat(stream_options={"include_usage": True}), x_request_id="frame-1"))
        head, _, rest = read_until(sock, b"0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/event-stream; charset=utf-8" in head
    assert b"transfer-encoding: chunked" in head
    body = unchunk(rest)
    events = body.split(b"\n\n")[:-1]
    assert all(event.startswith(b"data: ") for event in events)
    line = line_of(mock, "frame-1")
    assert len(events) == len(line["write_ns"]) == len(line["chunk_tokens"]) == len(line["chunk_kind"])
    assert line["chunk_kind"] == "rcccccuo"
    assert line["chunk_tokens"] == [0, 1, 1, 1, 1, 1, 0, 0]
    assert line["bytes_out"] == len(body)
    assert (line["index"], line["attempt"], line["status"], line["fault"]) == (1, 1, 200, None)
    assert line["planned"] == {
        "ttft_ns": 20 * MS, "gaps_ns": [4 * MS] * 4, "output_tokens": 5, "fault": None,
    }  # fmt: skip


@pytest.mark.wall_clock
def test_the_stamps_are_in_order_and_keep_the_plan(mock: MockProcess) -> None:
    before = time.monotonic_ns()
    httpx.post(mock.url + CHAT, json=chat(), headers={"x-request-id": "order-1"})
    after = time.monotonic_ns()
    line = line_of(mock, "order-1")
    stamps = [before, line["received_ns"], *line["write_ns"], line["end_ns"], after]
    assert stamps == sorted(stamps)
    # The handler may begin with the head, before the last byte has come.
    assert before <= line["handled_ns"] <= line["write_ns"][0]
    # By design the pacing may be 0.1 ms early. The timing tests check lateness.
    assert line["write_ns"][1] - line["received_ns"] >= 20 * MS - 100_000
    assert line["write_ns"][-2] - line["received_ns"] >= 36 * MS - 100_000
    assert line["bytes_in"] == len(httpx.Request("POST", mock.url, json=chat()).content)


def test_one_connection_serves_many_replies_streamed_whole_and_refused(mock: MockProcess) -> None:
    with connect(mock) as sock:
        for i in range(3):
            sock.sendall(request(CHAT, chat(), x_request_id=f"keep-{i}"))
            assert read_until(sock, b"0\r\n\r\n").count(b"data: ") == 7
            sock.sendall(request(CHAT, chat(stream=False)))
            assert b"200 OK" in read_until(sock, b"}}")
            sock.sendall(request(CHAT, chat(), x_mock_fault="429"))
            assert b"retry-after: 1" in read_until(sock, b"}}")


def test_requests_sent_ahead_are_answered_in_order(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(request(COMPLETIONS, {"prompt": "a", "max_tokens": 1}) * 3)
        data = b""
        while data.count(b"HTTP/1.1 200") < 3 or not data.endswith(b"}}"):
            data += sock.recv(65536)
    ids = re.findall(rb'"id":"cmpl-mock-(\d+)"', data)
    assert len(ids) == 3
    assert ids == sorted(ids, key=int)


def test_a_head_in_pieces_is_served(mock: MockProcess) -> None:
    with connect(mock) as sock:
        for piece in (b"GET /hea", b"lth HTTP/1.1\r\n", b"host: localhost\r\nconnection: close\r\n", b"\r\n"):
            sock.sendall(piece)
            until_read(sock)
        assert read_until(sock, b"nothing ends like this").startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_clients_wish_to_close_is_kept(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(request(CHAT, chat(), connection="close"))
        data = read_until(sock, b"nothing ends like this")
    assert b"connection: close" in data
    assert data.endswith(b"0\r\n\r\n")


def test_http_1_0_gets_no_chunks(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(request(CHAT, chat()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        data = read_until(sock, b"nothing ends like this")
    assert b"transfer-encoding" not in data
    assert data.endswith(b"data: [DONE]\n\n")


def test_a_reset_is_a_reset_after_so_many_tokens(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(request(CHAT, chat(), x_request_id="rst-1", x_mock_fault="reset:after=2"))
        data = sock.recv(65536)
        while data.count(b'"content":"') < 3:
            data += sock.recv(65536)
        with pytest.raises(ConnectionResetError):
            sock.recv(65536)
    assert data.count(b'"content":"') == 3  # The role's empty text, and two tokens.
    line = line_of(mock, "rst-1")
    assert (line["fault"], line["planned"]["fault"], line["chunk_kind"]) == ("reset", "reset", "rcc")


def test_a_truncated_stream_is_closed_in_good_order_and_not_ended(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(request(CHAT, chat(), x_request_id="fin-1", x_mock_fault="truncate:after=2"))
        data = read_until(sock, b"nothing ends like this")
    assert not data.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in data
    assert line_of(mock, "fin-1")["chunk_kind"] == "rcc"


def test_a_stall_is_planned_and_done(mock: MockProcess) -> None:
    httpx.post(
        mock.url + CHAT, json=chat(), headers={"x-request-id": "stall-1", "x-mock-fault": "stall:after=2,for=80ms"}
    )
    line = line_of(mock, "stall-1")
    assert line["planned"]["gaps_ns"] == [4 * MS, 84 * MS, 4 * MS, 4 * MS]
    # The third token is due 20 + 4 + 84 ms after the arrival, however late the second was.
    assert line["write_ns"][3] - line["received_ns"] >= 108 * MS - 100_000
    assert line["fault"] == "stall"


@pytest.mark.parametrize("name", ["400", "401", "403", "404", "413", "429", "500", "503", "529"])
def test_a_refusal_is_in_the_ledger_without_chunks(mock: MockProcess, name: str) -> None:
    response = httpx.post(mock.url + CHAT, json=chat(), headers={"x-request-id": f"no{name}-1", "x-mock-fault": name})
    assert response.status_code == int(name)
    line = line_of(mock, f"no{name}-1")
    assert (line["status"], line["fault"], line["write_ns"], line["chunk_kind"]) == (int(name), name, [], "")
    assert line["planned"] == {"ttft_ns": None, "gaps_ns": [], "output_tokens": 0, "fault": name}
    assert line["bytes_out"] == len(response.content)


def test_a_wrong_fault_header_is_a_400_with_the_sentence(mock: MockProcess) -> None:
    response = httpx.post(mock.url + CHAT, json=chat(), headers={"x-mock-fault": "rest"})
    assert response.status_code == 400
    assert "did you mean reset?" in response.json()["error"]["message"]


def test_a_bad_request_is_in_the_ledger_and_is_no_fault(mock: MockProcess) -> None:
    response = httpx.post(mock.url + CHAT, content=b"{", headers={"x-request-id": "bad-1"})
    assert response.status_code == 400
    line = line_of(mock, "bad-1")
    assert (line["status"], line["fault"], line["planned"]["ttft_ns"], line["bytes_in"]) == (400, None, None, 1)


def test_a_whole_reply_has_no_chunks_and_ends_when_its_last_token_is_due(mock: MockProcess) -> None:
    response = httpx.post(mock.url + CHAT, json=chat(stream=False), headers={"x-request-id": "whole-1"})
    line = line_of(mock, "whole-1")
    assert (line["write_ns"], line["chunk_kind"], line["bytes_out"]) == ([], "", len(response.content))
    assert line["end_ns"] - line["received_ns"] >= 36 * MS - 100_000
    assert line["input_tokens"] == response.json()["usage"]["prompt_tokens"]


def test_a_client_that_vanishes_ends_its_stream_alone(mock: MockProcess) -> None:
    with connect(mock) as gone, connect(mock) as stays:
        stays.sendall(request(CHAT, chat(max_tokens=20), x_request_id="stay-1"))
        gone.sendall(request(CHAT, chat(max_tokens=100_000), x_request_id="gone-1"))
        gone.recv(65536)
        gone.close()
        assert read_until(stays, b"0\r\n\r\n").endswith(b"0\r\n\r\n")
    line = line_of(mock, "gone-1")
    assert (line["fault"], line["engine"]["cut"]) == (None, "client_closed")
    assert len(line["write_ns"]) < 100_000
    assert "cut" not in line_of(mock, "stay-1")["engine"]
    assert 'num_requests_running{engine="0",model_name="mock-model"} 0.0' in httpx.get(mock.url + "/metrics").text


def test_a_client_that_vanishes_while_it_waits_is_noticed_at_once(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(request(CHAT, chat(), x_request_id="left-1", x_mock_fault="stall:for=60s"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    line = line_of(mock, "left-1")
    assert (line["engine"]["cut"], line["chunk_kind"]) == ("client_closed", "")


def test_a_client_that_never_reads_blocks_its_own_chunks_and_nobody_elses() -> None:
    with mock_process("--ttft", "1ms", "--tpot", "0us") as mock, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = mock.url.removeprefix("http://").split(":")
        sock.connect((host, int(port)))
        sock.sendall(request(CHAT, chat(max_tokens=60_000), x_request_id="deaf-1"))
        assert httpx.post(mock.url + CHAT, json=chat(), headers={"x-request-id": "other-1"}).status_code == 200
        assert line_of(mock, "other-1")["blocked"] == []
        line = line_of(mock, "deaf-1")
        first = line["blocked"][0]
        assert 0 < first < 60_000
        # The kernel may make some more space once, after the first blocked chunk.
        last = list(range(40_000, len(line["write_ns"])))
        assert line["blocked"][-len(last) :] == last


def test_garbage_gets_a_400_and_the_mock_goes_on(mock: MockProcess) -> None:
    with connect(mock) as sock:
        sock.sendall(b"\x16\x03\x01 garbage\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 400")
    assert httpx.get(mock.url + "/health").status_code == 200


def test_a_body_that_is_too_large_is_refused_and_not_kept() -> None:
    with mock_process("--max-body-mb", "0.5") as mock:
        response = httpx.post(mock.url + COMPLETIONS, json={"prompt": "x" * 600_000})
        assert response.status_code == 413
        assert response.headers["connection"] == "close"
        assert httpx.post(mock.url + COMPLETIONS, json={"prompt": "x" * 100_000, "max_tokens": 1}).status_code == 200


def test_tokens_models_version_and_health_are_served(mock: MockProcess) -> None:
    assert httpx.get(mock.url + "/health").content == b""
    assert set(httpx.get(mock.url + "/version").json()) == {"version"}
    assert httpx.get(mock.url + "/v1/models").json()["data"][0]["max_model_len"] == 131072
    tokens = httpx.post(mock.url + "/tokenize", json={"prompt": "hello world"}).json()
    assert tokens["count"] == len(tokens["tokens"]) > 0
    rendered = httpx.post(mock.url + "/tokenize", json={"messages": chat()["messages"]}).json()
    usage = httpx.post(mock.url + CHAT, json=chat(stream=False, max_tokens=1)).json()["usage"]
    assert rendered["count"] == usage["prompt_tokens"]
    assert httpx.post(mock.url + "/tokenize", json={"prompt": 5}).status_code == 400


def test_the_ledger_is_served_from_a_line_on(mock: MockProcess) -> None:
    lines = int(httpx.get(mock.url + "/ledger").headers["x-ledger-lines"])
    httpx.post(mock.url + CHAT, json=chat(), headers={"x-request-id": "served-1"})
    new = httpx.get(mock.url + f"/ledger?since={lines}").text.splitlines()
    assert [json.loads(line)["id"] for line in new] == ["served-1"]
    assert line_of(mock, "served-1") == json.loads(new[0])
    assert httpx.get(mock.url + "/ledger?since=-1").status_code == 422


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set from outside")
def test_a_ledger_that_cannot_be_written_costs_no_request_and_no_line() -> None:
    import resource

    with mock_process("--ttft", "1ms", "--tpot", "1ms") as mock:

        def limit_file_size(most: int) -> None:
            resource.prlimit(mock.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

        def ask(name: str) -> None:
            assert httpx.post(mock.url + CHAT, json=chat(), headers={"x-request-id": name}).status_code == 200
            httpx.get(mock.url + "/ledger")  # It answers after the attempt to write the line.

        ask("room-0")
        limit_file_size(len(httpx.get(mock.url + "/ledger").content) + 700)  # A line and a half.
        for i in range(1, 5):
            ask(f"room-{i}")
        served = httpx.get(mock.url + "/ledger").text.splitlines()
        assert [json.loads(line)["id"] for line in served] == [f"room-{i}" for i in range(5)]
        assert httpx.get(mock.url + "/truth").json()["ledger"] == {"unwritten": 3, "lost": 0, "error": "File too large"}
        assert [line["id"] for line in mock.ledger_lines()] == ["room-0", "room-1"]
        limit_file_size(10_000_000)
        assert [line["id"] for line in mock.ledger_lines(at_least=5)] == [f"room-{i}" for i in range(5)]
        assert httpx.get(mock.url + "/truth").json()["ledger"] == {"unwritten": 0, "lost": 0, "error": None}
    assert "cannot write the ledger (File too large)" in mock.stderr[0]
    assert len(mock.stderr) == 2


def test_the_truth_says_what_was_configured_and_what_to_expect(mock: MockProcess) -> None:
    truth = httpx.get(mock.url + "/truth").json()
    assert truth["config"]["ttft"] == "20ms"
    assert (truth["expected"]["ttft_ms"]["mean"], truth["expected"]["ttft_ms"]["p99"]) == (20.0, 20.0)
    assert truth["expected"]["e2el_ms"]["mean"] == 20.0 + 127 * 4.0
    asked = httpx.get(mock.url + "/truth?output_tokens=11&input_tokens=1024").json()
    assert asked["expected"]["e2el_ms"]["p50"] == 20.0 + 10 * 4.0
    assert httpx.get(mock.url + "/truth?output_tokens=0").status_code == 422
    assert truth["plans_keyed_by"].keys() == {"index", "id", "arrival_order"}


def test_plans_do_not_depend_on_concurrency_or_order() -> None:
    flags = ("--ttft", "exp:mean=10ms", "--itl", "exp:mean=1ms", "--output-tokens", "uniform:2..9", "--seed", "7")
    plans: list[Any] = []
    for order in (range(12), reversed(range(12))):
        with mock_process(*flags) as mock:
            socks = []
            for i in order:
                socks.append(connect(mock))
                socks[-1].sendall(request(CHAT, chat(max_tokens=None), x_request_id=f"{len(plans)}-{i}"))
            for sock in socks:
                read_until(sock, b"0\r\n\r\n")
                sock.close()
            plans.append({line["index"]: line["planned"] for line in mock.ledger_lines(at_least=12)})
    assert plans[0] == plans[1]
    assert len({json.dumps(plan) for plan in plans[0].values()}) == 12
