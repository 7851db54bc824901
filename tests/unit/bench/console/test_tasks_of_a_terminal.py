"""Races of flags, and plans, as tasks of the console. Only a terminal can start them."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from bench.console.errors import Conflict
from bench.console.service import Console
from tests.support.made_tasks import made_plan, made_run, made_tune
from tests.unit.bench.capacity_plan.test_searched import searched


def test_a_race_of_flags_has_its_answer_in_the_list_and_its_page(console: Console, user: TestClient) -> None:
    made_tune(console.runs, "race")
    task = user.get("/api/tasks/race").json()
    assert (task["kind"], task["state"], task["load"]) == ("tune", "ended", "tune, tokens per s")
    assert task["headline"].startswith("Best: max-num-seqs=256: ")
    assert "max-num-seqs=256" in user.get("/api/tasks/race/text").text
    assert user.get("/api/tasks/race/summary").json()["goal"] == "tokens_per_s"
    assert "Flags of a server" in user.get("/tasks/race/report").text
    assert "max-num-seqs=256" in user.get("/").text


def test_a_race_that_was_killed_can_go_on_in_its_terminal_only(console: Console, user: TestClient) -> None:
    made_tune(console.runs, "race", ended=None)
    assert user.get("/api/tasks/race").json()["state"] == "killed"
    refused = user.post("/api/tasks/race/go-on")
    assert (refused.status_code, "continue it there, with --resume" in refused.text) == (409, True)


@pytest.mark.parametrize("action", ["clone", "clone-and-edit", "compare", "create"])
def test_what_a_terminal_made_is_not_started_and_not_compared(console: Console, user: TestClient, action: str) -> None:
    made_tune(console.runs, "race")
    made_run(console.runs, "run")
    page = user.get("/tasks/race").text
    assert "Run again" not in page
    assert "/new?from=" not in page + user.get("/?search=race").text
    reply = {
        "clone": lambda: user.post("/api/tasks/race/clone"),
        "clone-and-edit": lambda: user.get("/new?from=race"),
        "compare": lambda: user.get("/api/compare", params={"task": ["race", "run"]}),
        "create": lambda: user.post("/api/tasks", json={"kind": "tune", "settings": {"url": "http://127.0.0.1:9"}}),
    }[action]()
    assert reply.status_code in (400, 409) or reply.json()["left_out"], reply.text


def test_a_search_links_to_the_plans_made_from_it_and_back(
    console: Console, user: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = console.runs / "found"
    folder.mkdir()
    made_plan(searched(folder), "planned")
    task = user.get("/api/tasks/planned").json()
    assert (task["kind"], task["made_from"], task["headline"]) == ("plan", "found", "4 replicas hold the objectives.")
    assert '<a href="/tasks/found">found</a>' in user.get("/tasks/planned").text
    assert "4 replicas hold the objectives" in user.get("/api/tasks/planned/text").text
    assert capsys.readouterr().out
    (folder / "search.yaml").write_text("config: {}\nmanifest: {}\n")
    (folder / "search.html").write_text("<!doctype html>")
    page = user.get("/tasks/found").text
    assert '<a href="/tasks/planned">planned</a>' in page
    assert f"python -m bench plan --search {folder} --rates day.csv" in page


def test_a_task_is_interrupted_by_the_console_that_started_it_and_no_other_is(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *of: killed.append(of))
    names = [made_run(console.runs, name, state="running").name for name in ("ours", "other")]
    child: Any = SimpleNamespace(pid=77)
    console.runner._child, console.runner._task = child, "ours"
    with pytest.raises(Conflict, match="was not started by a console"):
        console.runner.stop("other", "running")
    with pytest.raises(Conflict, match="it has ended"):
        console.runner.stop("ours", "ended")
    with pytest.raises(Conflict, match="other is not running"):
        console.runner.stop("other", "not started")
    assert (killed, names) == ([], ["ours", "other"])
    console.runner.stop("ours", "running")
    assert killed == [(77, signal.SIGINT)]
    console.runner._child = console.runner._task = None
