"""Several workers form one mock: one port, one ledger, one count of everything, and one end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S
from tests.support.raw_mock import CHAT, chat, connect, read_until, request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers need Linux")

WORKERS = 3
ONE_EACH = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=PATIENCE_S)
"""Each request uses a new connection, so that the kernel chooses a worker."""
# With two drawn times each worker would have to compute the expectations of /truth in a separate program.
FLAGS = ("--workers", str(WORKERS), "--ttft", "exp:mean=5ms", "--tpot", "1ms", "--seed", "7")


def ask(mock: MockProcess, request_id: str | None, **more: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "stream": True, **more}
    headers = {} if request_id is None else {"x-request-id": request_id}
    return ONE_EACH.post(mock.url + CHAT, json=body, headers=headers)


def ask_all(mock: MockProcess, ids: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert {response.status_code for response in pool.map(lambda name: ask(mock, name), ids)} == {200}


def pids(mock: MockProcess) -> list[int]:
    pid = mock.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def served_by(mock: MockProcess, pid: int) -> int:
    """The CPU ticks that a worker has used. Idle workers use none."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(some: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not all(map(gone, some)):
        assert time.monotonic() < deadline, "some processes still exist"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process(*FLAGS) as mock:
        yield mock


def test_the_kernel_deals_requests_out_and_every_worker_gives_the_whole_ledger(mock: MockProcess) -> None:
    before = int(ONE_EACH.get(mock.url + "/ledger").headers["x-ledger-lines"])
    ids = [f"deal-{i}" for i in range(60)]
    ask_all(mock, ids)
    responses = [ONE_EACH.get(f"{mock.url}/ledger?since={before}") for _ in range(4 * WORKERS)]
    assert {response.headers["x-ledger-lines"] for response in responses} == {str(before + 60)}
    assert len({response.content for response in responses}) == 1
    assert sorted(json.loads(line)["id"] for line in responses[0].text.splitlines()) == sorted(ids)
    assert responses[0].content == b"".join(mock.ledger_path.read_bytes().splitlines(keepends=True)[before:])
    # With 60 connections each worker gets at least one (except once in 10^10).
    assert len(pids(mock)) == WORKERS
    assert all(served_by(mock, pid) > 0 for pid in pids(mock))


def test_plans_are_those_of_one_worker(mock: MockProcess) -> None:
    ids = [f"plan-{i}" for i in range(20)]
    ask_all(mock, ids)
    with mock_process(*FLAGS, "--workers", "1") as alone:
        ask_all(alone, ids)
        expected = {name: line["planned"] for name, line in alone.lines_of(ids).items()}
    assert {name: line["planned"] for name, line in mock.lines_of(ids).items()} == expected


def test_attempts_and_the_order_of_arrival_are_counted_over_all_workers(mock: MockProcess) -> None:
    for _ in range(9):
        ask(mock, "again-1")
    lines = [json.loads(line) for line in ONE_EACH.get(mock.url + "/ledger").text.splitlines()]
    assert sorted(line["attempt"] for line in lines if line["id"] == "again-1") == list(range(1, 10))
    replies = {ask(mock, None, stream=False).json()["id"] for _ in range(9)}
    assert replies == {f"chatcmpl-mock-{i}" for i in range(9)}
    assert ONE_EACH.get(mock.url + "/truth").json()["plans_keyed_by"]["arrival_order"] == 9


def test_metrics_and_truth_add_up_to_the_ledger_at_every_worker(mock: MockProcess) -> None:
    # The kernel begins to stamp shortly after it is requested.
    numbers = itertools.count()
    while not (before := ONE_EACH.get(mock.url + "/truth").json()["arrival_clock"])["kernel"]:
        ask(mock, f"stamp-{next(numbers)}")
    ask_all(mock, [f"sum-{i}" for i in range(12)])
    lines = len(ONE_EACH.get(mock.url + "/ledger").text.splitlines())
    success = 'vllm:request_success_total{engine="0",finished_reason="length",model_name="mock-model"} '
    for _ in range(2 * WORKERS):
        text = ONE_EACH.get(mock.url + "/metrics").text
        assert text.count(success) == 1
        assert f"{success}{lines}.0\n" in text
        truth = ONE_EACH.get(mock.url + "/truth").json()
        assert truth["ledger_lines"] == sum(truth["plans_keyed_by"].values()) == lines
        assert sum(truth["arrival_clock"].values()) == lines
        assert truth["arrival_clock"] == {**before, "kernel": before["kernel"] + 12}
        assert truth["ledger"] == {"unwritten": 0, "lost": 0, "error": None}


def test_a_change_holds_at_every_worker_once_it_is_answered() -> None:
    with mock_process(*FLAGS) as mock:
        for i in range(2):
            status = 429 if i % 2 == 0 else 200
            fault = ["429"] if i % 2 == 0 else []
            assert ONE_EACH.patch(mock.url + "/admin/config", json={"fault": fault}).status_code == 200
            assert {ask(mock, f"change-{i}{k}").status_code for k in range(2 * WORKERS)} == {status}
            versions = [ONE_EACH.get(mock.url + "/admin/config").json()["version"] for _ in range(2 * WORKERS)]
            assert versions == [i + 1] * (2 * WORKERS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_every_worker_end_what_is_in_flight(number: int) -> None:
    with mock_process("--workers", str(WORKERS), "--ttft", "1s", "--tpot", "1ms", "--drain-s", "600") as mock:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(connect(mock)) for _ in range(12)]
            for i, sock in enumerate(socks):
                sock.sendall(request(CHAT, chat(max_tokens=3), x_request_id=f"drain-{i}"))
            for sock in socks:
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")  # Active: the head is sent, the tokens are not.
            workers = pids(mock)
            # A terminal sends SIGINT to all at once.
            for pid in [mock.process.pid, *(workers if number == signal.SIGINT else [])]:
                os.kill(pid, number)
            for sock in socks:
                assert read_until(sock, b"0\r\n\r\n").endswith(b"0\r\n\r\n")
        assert mock.process.wait(PATIENCE_S) == 0
        wait_until_gone(workers)
        lines = mock.ledger_lines(at_least=12)
        assert {line["chunk_kind"] for line in lines} == {"rccco"}
        assert mock.stderr == []


def test_a_request_keeps_the_configuration_that_it_began_with_at_any_worker() -> None:
    flags = ("--workers", "2", "--ttft", "1ms", "--tpot", "1ms", "--max-model-len", "1000000000")
    with mock_process(*flags) as mock, httpx.Client(base_url=mock.url) as other, ThreadPoolExecutor(1) as pool:
        for number, megabytes in enumerate((1, 4, 16)):
            before = other.patch("/admin/config", json={"stream_interval": 1}).json()["version"]
            text = "hello " * (megabytes * 170_000)
            # Usage on every chunk: the reply waits until its prompt is counted.
            usage = {"include_usage": True, "continuous_usage_stats": True}
            reply = pool.submit(
                httpx.post,
                mock.url + "/v1/completions",
                json={"prompt": text, "max_tokens": 9, "stream": True, "stream_options": usage},
                headers={"x-request-id": f"long-{number}"},
                timeout=PATIENCE_S,
            )
            while other.get("/truth").json()["plans_keyed_by"]["index"] <= number:
                pass
            other.patch("/admin/config", json={"stream_interval": 3})
            other.get("/truth")  # /truth asks every worker, so each has applied the change.
            changed_ns = time.monotonic_ns()
            assert reply.result().status_code == 200
            line = mock.ledger_lines(at_least=number + 1)[-1]
            if line["write_ns"][0] > changed_ns:
                assert line["engine"]["config"] == before
                assert (line["chunk_kind"], line["chunk_tokens"]) == ("c" * 9 + "uo", [1] * 9 + [0, 0])
                return
        raise AssertionError("every prompt was counted before the configuration changed")


def test_a_worker_that_dies_is_named_and_ends_the_mock() -> None:
    with mock_process(*FLAGS) as mock:
        ask(mock, "before-1")
        workers = pids(mock)
        os.kill(workers[1], signal.SIGKILL)
        assert mock.process.wait(PATIENCE_S) == 70
        wait_until_gone(workers)
    (said,) = mock.stderr
    assert f"worker 1 of {WORKERS} (process {workers[1]}) was killed by SIGKILL" in said
    assert "so the mock stops" in said


def test_workers_do_not_outlive_their_parent_and_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with mock_process(*FLAGS) as mock:
        workers = pids(mock)
        mock.process.kill()
        try:
            wait_until_gone(workers)
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert list(tmp_path.glob("mockserver-*")) == []


def test_a_port_in_use_is_wrong_usage_also_where_ports_are_shared() -> None:
    with mock_process(*FLAGS) as mock:
        port = mock.url.rpartition(":")[2]
        with (
            pytest.raises(AssertionError, match=r"status 2.*cannot listen"),
            mock_process(*FLAGS, "--port", port),
        ):
            pass
        assert ask(mock, "still-1").status_code == 200


def test_what_waits_in_a_dead_workers_queue_is_refused_and_does_not_hang() -> None:
    with mock_process(*FLAGS) as mock:
        for pid in pids(mock):
            os.kill(pid, signal.SIGKILL)
        assert mock.process.wait(PATIENCE_S) == 70
        host, port = mock.url.removeprefix("http://").split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=PATIENCE_S)
