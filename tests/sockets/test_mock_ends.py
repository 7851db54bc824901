"""The mock's process: how it ends, and what it refuses at start-up."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.raw_mock import CHAT, chat, connect, read_until, request
from tests.support.ready_made import popen


def start(*flags: str) -> subprocess.Popen[str]:
    return popen(
        [sys.executable, "-m", "mockserver", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_end_and_flushes_the_ledger(number: int) -> None:
    with mock_process("--ttft", "200ms", "--tpot", "1ms", "--drain-s", "600") as mock, connect(mock) as sock:
        sock.sendall(request(CHAT, chat(), x_request_id="drain-1"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")  # Active: the head is sent, the tokens are not.
        mock.process.send_signal(number)
        assert read_until(sock, b"0\r\n\r\n").endswith(b"0\r\n\r\n")
        assert mock.process.wait(PATIENCE_S) == 0
        (line,) = mock.ledger_lines(at_least=1)
        assert (line["chunk_kind"], "cut" in line["engine"]) == ("rccccco", False)
        assert mock.process.stdout is not None
        assert mock.process.stdout.read() == ""


def test_what_does_not_end_in_time_is_cut_and_the_ledger_says_so() -> None:
    with mock_process("--ttft", "5ms", "--tpot", "20ms", "--drain-s", "0.1") as mock, connect(mock) as sock:
        sock.sendall(request(CHAT, chat(max_tokens=10_000), x_request_id="long-1"))
        sock.recv(65536)
        assert mock.stop() == 0
        (line,) = mock.ledger_lines(at_least=1)
        assert line["engine"]["cut"] == "shutdown"


def test_a_port_in_use_is_wrong_usage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--port", str(taken.getsockname()[1]))
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (2, "")
    assert "cannot listen" in err
    assert "give another --port" in err
    assert "Traceback" not in err


def test_a_tokenizer_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    process = start("--tokenizer", str(tmp_path))
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("mockserver: --tokenizer: ")
