"""Faults, latencies and shapes of a running mock: by rule, by time, after a number of requests, by header."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.mock_process import MockProcess, mock_process
from tests.support.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
MS = 1_000_000


@pytest.fixture(scope="module")
def mock() -> Iterator[MockProcess]:
    with mock_process("--ttft", "5ms", "--tpot", "1ms", "--reasoning-tokens", "2") as mock:
        yield mock


def ask(mock: MockProcess, request_id: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    row = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 6, "stream": True, **(body or {})}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(mock.url + CHAT, json=row, headers={"x-request-id": request_id, **names})


def set_faults(mock: MockProcess, *specs: str) -> None:
    assert httpx.patch(mock.url + "/admin/config", json={"fault": list(specs)}).status_code == 200


def test_a_request_has_its_own_latencies_and_length(mock: MockProcess) -> None:
    response = ask(mock, "own-1", x_mock_ttft="60ms", x_mock_itl="8ms", x_mock_output_tokens="3")
    assert '"finish_reason":"stop"' in response.text
    planned = mock.line_of("own-1")["planned"]
    assert planned == {"ttft_ns": 60 * MS, "gaps_ns": [8 * MS] * 2, "output_tokens": 3, "fault": None}


def test_what_is_wrong_with_a_header_is_said(mock: MockProcess) -> None:
    response = ask(mock, "wrong-1", x_mock_tpot="5", x_mock_fault="gzipp")
    message = response.json()["error"]["message"]
    assert response.status_code == 400
    assert "x-mock-tpot: '5'" in message
    assert "did you mean gzip?" in message


def test_several_faults_strike_one_request_and_the_ledger_joins_their_names(mock: MockProcess) -> None:
    response = ask(mock, "several-1", x_mock_fault="crlf; gzip; empty:after=3; no_done")
    assert response.headers["content-encoding"] == "gzip"
    assert response.text.count("\r\n\r\n") == 8  # One for the role, two of reasoning, one empty, four of content.
    assert not response.text.endswith("[DONE]\r\n\r\n")
    line = mock.line_of("several-1")
    assert (line["fault"], line["planned"]["fault"]) == ("crlf+gzip+empty+no_done",) * 2
    assert (line["chunk_kind"], len(line["write_ns"])) == ("rttcoccc", 8)
    assert line["bytes_out"] == response.num_bytes_downloaded


def test_reasoning_is_in_the_ledger_and_a_stop_string_ends_the_answer(mock: MockProcess) -> None:
    whole = ask(mock, "words-7", {"stream": False}).json()
    answer, thought = whole["choices"][0]["message"]["content"], whole["choices"][0]["message"]["reasoning"]
    assert (len(thought.split()), len(answer.split())) == (2, 4)
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
    stop = answer.split()[2]
    # The same index gives the same words.
    cut = ask(mock, "again-7", {"stream": False, "stop": [stop]}).json()["choices"][0]
    assert cut["message"]["content"] == answer[: answer.index(stop)]
    assert (cut["finish_reason"], cut["stop_reason"]) == ("stop", stop)
    assert mock.line_of("again-7")["planned"]["output_tokens"] < 6


def test_faults_begin_after_so_many_requests(mock: MockProcess) -> None:
    set_faults(mock, "500:skip=2")
    assert [ask(mock, f"skip-{i}").status_code for i in range(4)] == [200, 200, 500, 500]
    set_faults(mock)


def test_faults_end_when_their_time_is_over(mock: MockProcess) -> None:
    set_faults(mock, "503:until=600s,retry_after=7")
    first = ask(mock, "window-1")
    assert (first.status_code, first.headers["retry-after"]) == (503, "7")
    set_faults(mock, "503:until=50ms,retry_after=7")
    deadline = time.monotonic() + PATIENCE_S
    while ask(mock, "window-2").status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    set_faults(mock)


def test_a_header_may_ask_for_no_fault_where_a_rule_has_one(mock: MockProcess) -> None:
    set_faults(mock, "500")
    assert [ask(mock, "free-1", x_mock_fault="none").status_code, ask(mock, "free-2").status_code] == [200, 500]
    set_faults(mock)


def test_a_gateways_page_is_no_json(mock: MockProcess) -> None:
    response = ask(mock, "gate-1", x_mock_fault="504")
    assert (response.status_code, response.headers.get_list("content-type")) == (504, ["text/html"])
    assert response.text.startswith("<html>")
