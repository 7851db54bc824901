"""How far a sweep is, as its task says it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from starlette.testclient import TestClient

from bench.console.series import read
from bench.console.service import Console
from bench.console.task import Task
from tests.unit.bench.load_sweep.test_sweep_points import LADDER, content


def test_a_sweep_that_runs_is_not_said_to_be_interrupted(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({**content(LADDER[:4]), "ended": "interrupted"}))
    (tmp_path / "001").mkdir()
    for name in ("run.yaml", "summary.json"):
        (tmp_path / "001" / name).touch()
    task = Task(id="sweep", state="running", kind="sweep")
    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    running = read(task, tmp_path)
    os.close(lock)
    stopped = read(task, tmp_path)
    assert running is not None
    assert stopped is not None
    assert (running.state, "Not complete" in (running.headline or "")) == ("running", False)
    assert "Not complete (interrupted)" in (stopped.headline or "")


def test_a_series_with_a_report_shows_that_alone_and_without_one_its_runs(console: Console, user: TestClient) -> None:
    sweep = console.runs / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text(json.dumps(content(LADDER[:4])))
    assert 'id="steps"' in user.get("/tasks/sweep").text
    (sweep / "sweep.html").write_text("<!doctype html>")
    page = user.get("/tasks/sweep").text
    assert ('id="steps"' in page, 'class="report"' in page) == (False, True)
