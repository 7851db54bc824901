"""The pytest plugin and the Python API, in separate processes as users run them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mockserver import api, pytest_plugin
from mockserver.api import MockServer, flags_of
from mockserver.record.assertions import matching, report
from tests.support.patience import PATIENCE_S

SEND = """
import json, urllib.error, urllib.request
import pytest

def send(server, **headers):
    body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(server.base_url + "/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().count(b"data: ")
    except urllib.error.HTTPError as e:
        with e:
            return e.code, 0
"""


def run_pytest(
    folder: Path, *sources: str, arguments: tuple[str, ...] = (), ini: str = ""
) -> subprocess.CompletedProcess[str]:
    for number, source in enumerate(sources):
        (folder / f"test_users_{number}.py").write_text(SEND + source)
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = -p no:cacheprovider --strict-markers\n{ini}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip


PASS = """
def test_it_serves_and_writes_down(mock_llm):
    status, events = send(mock_llm, x_request_id="one-1")
    assert (status, events) == (200, 7 + 2)  # As many as pytest.ini says, a role chunk and [DONE].
    (line,) = mock_llm.expect(requests=1, status=200, output_tokens=7)
    assert line["planned"]["ttft_ns"] == 5_000_000
    assert mock_llm.truth(output_tokens=11)["expected"]["e2el_ms"]["mean"] == 15

def test_the_ledger_and_the_settings_of_the_test_before_are_gone(mock_llm):
    assert mock_llm.ledger() == []
    mock_llm.configure(ttft="1ms", fault="429:rate=1")
    assert send(mock_llm)[0] == 429
    mock_llm.expect(fault="429")

def test_and_again(mock_llm):
    send(mock_llm, x_request_id="one-1")
    assert mock_llm.expect(requests=1)[0]["attempt"] == 1

@pytest.mark.mock_llm(ttft="10ms", fault=["500:index=3", "reset:index=4"])
class TestMarked:
    def test_a_marker_sets_it_up(self, mock_llm):
        assert send(mock_llm, x_request_id="r-3")[0] == 500
        mock_llm.expect(index=3, status=500)
        assert mock_llm.settings()["ttft"] == "10ms"

    @pytest.mark.mock_llm(ttft="2ms")
    def test_the_closer_marker_wins(self, mock_llm):
        assert mock_llm.settings()["ttft"] == "2ms"
        assert mock_llm.settings()["fault"] == ["500:index=3", "reset:index=4"]

@pytest.mark.mock_llm(model="another", api_key="k")
def test_what_cannot_change_while_it_serves_gets_a_server_of_its_own(mock_llm):
    assert send(mock_llm)[0] == 401
    assert send(mock_llm, authorization="Bearer k")[0] == 200
    mock_llm.expect(requests=2)

def test_an_asynchronous_test_can_use_it_too(mock_llm):
    import asyncio

    async def main():
        return await asyncio.gather(*(asyncio.to_thread(send, mock_llm) for _ in range(4)))

    assert [status for status, _ in asyncio.run(main())] == [200] * 4
    mock_llm.expect(requests=4)
"""

FAIL = """
def test_three_were_expected(mock_llm):
    send(mock_llm, x_request_id="r-0")
    send(mock_llm, x_request_id="r-1", x_mock_fault="429")
    mock_llm.expect(requests=3, status=429, within_s=0.1)

def test_a_setting_is_wrong(mock_llm):
    mock_llm.configure(ttft="5", tpto="1ms")

@pytest.mark.mock_llm("200ms")
def test_a_marker_without_names(mock_llm):
    pass
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> str:
    """pytest's output about passing and failing tests."""
    ini = "mock_llm =\n    output_tokens = 7\n"
    return run_pytest(tmp_path_factory.mktemp("users"), PASS, FAIL, ini=ini).stdout


@pytest.mark.processes
def test_the_fixture_serves_each_test_afresh(ran: str) -> None:
    assert "2 failed, 7 passed, 1 error in" in ran, ran


@pytest.mark.processes
def test_a_failure_shows_what_was_expected_and_what_came(ran: str) -> None:
    shown = re.sub(" +", " ", ran)
    for part in (
        "AssertionError: expected 3 requests with status=429, found 1 (of 2 in the ledger)",
        "> r-1 429 429",
        "ttft: '5'",
        "tpto: no such key; did you mean tpot?",
        "takes only named settings",
    ):
        assert part in shown, ran


@pytest.mark.processes
def test_pytest_imports_next_to_nothing_for_those_who_do_not_use_it(tmp_path: Path) -> None:
    ran = run_pytest(
        tmp_path,
        """
def test_nothing(pytestconfig):
    import sys
    assert pytestconfig.pluginmanager.get_plugin("mock_llm") is not None
    ours = {name for name in sys.modules if name.partition(".")[0] in ("mockserver", "promptset", "bench")}
    assert ours == {"mockserver", "mockserver.pytest_plugin"}
    assert not {"pydantic", "fastapi", "uvicorn", "tokenizers", "orjson"} & set(sys.modules)
    assert any(line.startswith("mock_llm(**settings)") for line in pytestconfig.getini("markers"))
""",
        arguments=("-q", "-p", "no:asyncio", "-p", "no:anyio", "-p", "no:langsmith_plugin"),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.processes
def test_a_server_does_not_outlive_a_parent_that_is_killed() -> None:
    code = "from mockserver import MockServer; s = MockServer().start(); print(s.url, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(url + "/health", timeout=PATIENCE_S).close()
        except OSError:
            break
        assert time.monotonic() < deadline, "the mock still serves"
        time.sleep(0.05)


def line(**more: Any) -> dict[str, Any]:
    return {
        "id": "r-1", "index": 1, "attempt": 1, "status": 200, "fault": None, "input_tokens": 4, "received_ns": 0,
        "write_ns": [5_000_000, 5_100_000, 9_000_000], "chunk_kind": "rco", "chunk_tokens": [0, 2, 0],
        "end_ns": 9_000_000, "planned": {"output_tokens": 2}, "engine": {}, **more,
    }  # fmt: skip


def test_a_line_matches_by_all_of_its_fields() -> None:
    lines = [line(), line(status=429, fault="429", chunk_kind="", chunk_tokens=[], write_ns=[])]
    assert matching(lines, {}) == lines
    assert matching(lines, {"output_tokens": 2}) == lines[:1]
    assert matching(lines, {"output_tokens": 0, "fault": "429"}) == lines[1:]
    assert matching(lines, {"fault": None, "cut": None, "status": lambda status: status < 400}) == lines[:1]
    assert matching([line(chunk_kind="", chunk_tokens=[], write_ns=[])], {"output_tokens": 2})
    assert matching([line(engine={"cut": "client_closed"})], {"cut": "client_closed"})


def test_the_report_is_a_table_of_every_line() -> None:
    lines = [line(), line(id=None, status=429, fault="429", chunk_kind="", chunk_tokens=[], write_ns=[])]
    text = report(lines, lines[1:], 2, {"status": 429})
    assert text.splitlines() == [
        "expected 2 requests with status=429, found 1 (of 2 in the ledger)",
        "   id   status  fault  in  out  ttft ms  total ms  cut",
        "   r-1  200     -      4   2    5.1      9.0       -",
        ">  -    429     429    4   0    -        9.0       -",
    ]
    assert report([], [], None, {}).endswith("found 0 (of 0 in the ledger): no request has ended yet")
    assert "expected 1 request," in report([], [], 1, {})


def test_lines_that_are_missing_are_waited_for_and_one_too_many_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    server, answers = MockServer(), iter([[], [line()], [line()] * 2, [line()] * 3])
    monkeypatch.setattr(server, "ledger", lambda: next(answers))
    monkeypatch.setattr(api, "_LOOK_AGAIN_S", 0)
    assert server.expect(2, within_s=PATIENCE_S) == [line()] * 2
    with pytest.raises(AssertionError, match="expected 2 requests, found 3"):
        server.expect(2, within_s=PATIENCE_S)


def test_settings_become_flags() -> None:
    assert flags_of({"ttft": "5ms", "fault": ["429", "reset"], "itl": None, "output_tokens": 3, "cors": ()}) == [
        "--ttft=5ms", "--fault=429", "--fault=reset", "--output-tokens=3",
    ]  # fmt: skip


def test_lines_of_the_ini_option_are_settings_over_the_defaults() -> None:
    def of(*lines: str) -> dict[str, object]:
        config: Any = SimpleNamespace(getini=lambda name: [*lines] if name == "mock_llm" else None)
        return pytest_plugin._settings(config)

    assert of() == {"ttft": "5ms", "tpot": "1ms", "output_tokens": "16"}
    assert of("ttft = 9ms", "fault=429:rate=0.5") == {
        "ttft": "9ms", "tpot": "1ms", "output_tokens": "16", "fault": "429:rate=0.5",
    }  # fmt: skip
    with pytest.raises(pytest.UsageError, match="'ttft' is not a setting: write, for example, `ttft = 5ms`"):
        of("ttft")
