"""Tasks of a running console: one at a time, stopped, recovered after a kill, and driven by `bench tasks`."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench import cli
from bench.errors import Exit
from tests.support.console_process import SMALL, TOKEN, console_of, new, until
from tests.support.literal_server import closed_port
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen

SMALL_LOAD = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    # The loads last until they are stopped. A fast server would let them send hundreds of requests per second.
    with mock_process("--ttft", "200ms", "--tpot", "1ms") as running:
        yield running.url


def test_one_task_runs_at_a_time_in_the_order_of_the_queue(mock: str, tmp_path: Path) -> None:
    with console_of(tmp_path) as (client, _):
        first = new(client, mock, "first", duration="600s")
        second, third = new(client, mock, "second", requests=4), new(client, mock, "third", requests=4)
        assert client.post(f"/tasks/{third}/move", params={"places": -1}).status_code == 200
        later = client.post(
            "/tasks", json={"settings": {"url": mock}, "title": "later", "start_at": "2999-01-01T00:00"}
        ).json()["id"]
        until(client, first, lambda task: task["state"] == "running")
        assert [client.get(f"/tasks/{task}").json()["state"] for task in (second, third)] == ["queued", "queued"]
        stopped = client.post(f"/tasks/{first}/stop")
        assert stopped.status_code == 200
        assert until(client, first, lambda task: task["has_report"])["state"] == "stopped"
        ends = [until(client, task, lambda task: task["has_report"])["started"] for task in (third, second)]
        assert ends == sorted(ends)
        assert client.get(f"/tasks/{later}").json()["state"] == "queued"
        assert client.get(f"/tasks/{second}/summary").json()["counts"]["sent"] == 4
        events = client.get(f"/tasks/{second}/events").text
        assert "event: line" in events
        assert "event: task" in events
        assert client.get(f"/tasks/{second}/zip").content[:2] == b"PK"
        assert client.get(f"/tasks/{second}/text").text.startswith("# second\n")
        again = client.post(f"/tasks/{second}/clone", json={"settings": {"requests": 6}}).json()
        assert until(client, again["id"], lambda task: task["has_report"])["counts"]["sent"] == 6
        assert client.delete(f"/tasks/{second}", params={"files": True}).status_code == 204
        assert not (tmp_path / second).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_console_that_is_ended_while_a_page_follows_a_task_says_nothing_of_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "bench", "console", "--no-browser", "--port", "0", "--runs", str(tmp_path)]
    process = popen([*command, "--token", TOKEN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    base = process.stdout.readline().removeprefix("console ready at ").strip()
    headers = {"authorization": f"Bearer {TOKEN}"}
    settings = {"url": "http://127.0.0.1:9", "requests": 1}
    with httpx.Client(base_url=f"{base}/api", headers=headers, timeout=PATIENCE_S) as client:
        body = {"settings": settings, "start_at": "2999-01-01T00:00"}
        task = client.post("/tasks", json=body).json()["id"]
        with client.stream("GET", f"/tasks/{task}/events") as events:
            lines = events.iter_lines()  # Keep a reference: otherwise the connection would be closed.
            next(lines)
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    assert not (tmp_path / ".console" / "address").exists()


def test_a_killed_console_loses_nothing(mock: str, tmp_path: Path) -> None:
    with console_of(tmp_path) as (client, process):
        task, waiting = new(client, mock, "long", duration="600s"), new(client, mock, "next", requests=2)
        client.patch(f"/tasks/{task}", json={"label": "nightly"})
        until(client, task, lambda task: task["state"] == "running")
        process.send_signal(signal.SIGKILL)
    with console_of(tmp_path) as (client, _):
        found = client.get(f"/tasks/{task}").json()
        assert (found["state"], found["label"], found["title"]) == ("running", "nightly", "long")
        # The waiting task keeps waiting: the recovered run is recognised. The run writes a line per second, and the
        # console checks its queue four times as often.
        lines = len(client.get(f"/tasks/{task}/live").json())
        until(client, task, lambda _: len(client.get(f"/tasks/{task}/live").json()) > lines + 1)
        assert client.get(f"/tasks/{waiting}").json()["state"] == "queued"
        assert client.delete(f"/tasks/{task}").status_code == 409
        client.post(f"/tasks/{task}/stop")
        assert until(client, task, lambda task: task["has_report"])["state"] == "stopped"
        until(client, waiting, lambda task: task["has_report"])


def test_a_run_that_a_terminal_started_is_watched_and_not_stopped(mock: str, tmp_path: Path) -> None:
    words = ["--url", mock, "--duration", "600s", "--out", str(tmp_path / "mine"), *SMALL_LOAD, "--quiet"]
    command = [sys.executable, "-m", "bench", "run", *words]
    with popen(command, stdout=subprocess.DEVNULL) as run, contextlib.ExitStack() as stack:
        stack.callback(run.kill)
        client, _ = stack.enter_context(console_of(tmp_path))
        until(client, "mine", lambda task: task.get("state") == "running")
        until(client, "mine", lambda task: bool(client.get("/tasks/mine/live").json()))
        refused = client.post("/tasks/mine/stop")
        assert (refused.status_code, "Ctrl-C" in refused.json()["error"]) == (409, True)
        run.send_signal(signal.SIGINT)
        assert until(client, "mine", lambda task: task["has_report"])["state"] == "stopped"
        run.wait(timeout=PATIENCE_S)


def test_a_target_is_saved_probed_and_tested(mock: str, tmp_path: Path) -> None:
    with console_of(tmp_path) as (client, _):
        assert client.post("/targets", json={"name": "lab", "url": mock}).status_code == 201
        assert client.post("/targets/lab/probe").json()["says"].startswith("it answers, with the model ")
        with closed_port() as gone:
            client.post("/targets", json={"name": "gone", "url": gone})
            refused = client.post("/targets/gone/probe")
        assert (refused.status_code, "cannot connect" in refused.json()["error"]) == (400, True)
        wrong = client.post("/targets", json={"name": "b", "url": "nonsense", "key_variable": "NO_SUCH_VARIABLE"})
        assert {row["field"] for row in wrong.json()["problems"]} == {"url", "key_variable"}
        started = client.post("/tasks", json={"target": "lab", "settings": {**SMALL, "requests": 2}}).json()
        assert until(client, started["id"], lambda task: task["has_report"])["target"] == mock


def test_tasks_from_a_terminal(mock: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ["--runs", str(tmp_path)]
    assert cli.main(["tasks", "ls", *runs]) == Exit.USAGE
    assert "no console was started" in capsys.readouterr().err
    with console_of(tmp_path) as (client, _):
        task = new(client, mock, "one", requests=2)
        until(client, task, lambda task: task["has_report"])
        assert cli.main(["tasks", "ls", *runs]) == Exit.GOOD
        assert task in capsys.readouterr().out
        assert cli.main(["tasks", "clone", task, *runs]) == Exit.GOOD
        copy = capsys.readouterr().out.partition(":")[0]
        until(client, copy, lambda task: task["has_report"])
        assert cli.main(["tasks", "stop", copy, *runs]) == Exit.USAGE
        assert "is not running" in capsys.readouterr().err
        assert cli.main(["tasks", "rm", copy, "--files", *runs]) == Exit.GOOD
        assert not (tmp_path / copy).exists()
