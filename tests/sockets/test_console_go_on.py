"""Stopped or killed searches and sweeps resume from the console, with their finished runs; keys are typed again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from bench import cli
from bench.errors import Exit
from tests.support.console_process import SMALL, console_of, until
from tests.support.mock_process import mock_process

SHORT = {key: value for key, value in SMALL.items() if key != "concurrency"}


def is_under_way(search: Path) -> bool:
    """Whether the latest visit is sending its load."""
    begun = sorted(search.glob("[0-9]*/live.jsonl"))
    return bool(begun) and begun[-1].stat().st_size > 0


def test_a_sweep_that_was_killed_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Only this many requests are answered, so the first run of the sweep ends, and the second cannot end before it is
    # killed.
    held = ("--fault", "stall:skip=30,after=0,for=600s")
    with mock_process("--ttft", "20ms", "--tpot", "1ms", *held) as mock, console_of(tmp_path) as (client, _):
        sweep = {"url": mock.url, **SHORT, "loads": "concurrency=1,2", "requests": 25}
        task = client.post("/tasks", json={"kind": "sweep", "settings": sweep}).json()["id"]
        until(client, task, lambda task: task["run"] == "concurrency-2-1")
        until(client, task, lambda _: (tmp_path / task / "concurrency-2-1" / "run.yaml").is_file())
        assert client.post(f"/tasks/{task}/go-on").status_code == 409
        kept = (tmp_path / task / "concurrency-1-1" / "requests.jsonl").stat()
        os.kill(int((tmp_path / task / "console.pid").read_text()), signal.SIGKILL)
        found = until(client, task, lambda task: bool(task["can_go_on"]))
        assert (found["state"], len(found["steps"])) == ("killed", 1)
        assert httpx.patch(f"{mock.url}/admin/config", json={"fault": []}).status_code == 200
        assert "error" in client.post(f"/tasks/{task}/start").json()
        assert cli.main(["tasks", "go-on", task, "--runs", str(tmp_path)]) == Exit.GOOD
        assert task in capsys.readouterr().out
        found = until(client, task, lambda task: task["has_report"] and task["state"] not in ("queued", "starting"))
        assert (found["state"], found["can_go_on"]) == ("ended", False)
        assert [step["run"] for step in found["steps"]] == ["concurrency-1-1", "concurrency-2-1"]
        assert (tmp_path / task / "concurrency-1-1" / "requests.jsonl").stat() == kept


def test_a_search_that_was_stopped_goes_on_with_a_key_that_is_kept_until_it_is_over(tmp_path: Path) -> None:
    # Far more than it needs before it is stopped. A longer budget would make each visit longer.
    goal = {"slo": ["ttft:p90<100s"], "load": "concurrency", "max": 1024, "budget": "120s"}
    # With a slow server, visits have few requests.
    with mock_process("--ttft", "200ms", "--tpot", "1ms") as mock, console_of(tmp_path) as (client, _):
        body = {"kind": "search", "settings": {"url": mock.url, **SHORT, **goal}, "api_key": "typed-in-once"}
        task = client.post("/tasks", json=body).json()["id"]
        until(client, task, lambda task: bool(task["steps"]) and is_under_way(tmp_path / str(task["id"])))
        client.post(f"/tasks/{task}/stop")
        found = until(client, task, lambda task: bool(task["can_go_on"]))
        assert (found["state"], found["needs"]) == ("stopped", ["api_key"])
        visits = [step["run"] for step in found["steps"]]
        refused = client.post(f"/tasks/{task}/go-on")
        assert (refused.status_code, "type it again" in refused.json()["error"]) == (409, True)
        assert client.post(f"/tasks/{task}/go-on", json={"api_key": "typed-in-once"}).json()["state"] != "stopped"
        found = until(client, task, lambda task: len(task["steps"]) > len(visits))
        assert [step["run"] for step in found["steps"]][: len(visits)] == visits
        if found["state"] == "running":
            until(client, task, lambda task: task["state"] != "running" or is_under_way(tmp_path / str(task["id"])))
            client.post(f"/tasks/{task}/stop")
        until(client, task, lambda task: task["state"] in ("stopped", "ended") and task["has_report"])
    assert not any(b"typed-in-once" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
