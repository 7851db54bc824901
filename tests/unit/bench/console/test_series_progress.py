"""A sweep's progress, as its task shows it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import yaml
from starlette.testclient import TestClient

from bench.answer_quality import stored as quality
from bench.config import resolve
from bench.console.api import results
from bench.console.series import left_since, load_of, read
from bench.console.service import Console
from bench.console.task import Task
from bench.load_search.decisions import Ending, Search, Settings
from bench.load_search.files import SearchDirectory, config_sha256
from bench.load_search.goals import Goal
from bench.run_files.run_directory import RunDirectory, series_held
from promptset.probes import make_probes, parse_probes
from tests.support.made_sweeps import LADDER, content
from tests.support.made_tasks import made_run
from tests.unit.bench.answers.test_quality_document import content_of


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


def test_of_the_runs_inside_the_one_that_is_held_goes_on(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    shown = content(LADDER[:2])
    (sweep / "sweep.json").write_text(json.dumps(shown))
    for path in (tmp_path / "elsewhere", sweep / "idle", sweep / shown["runs"][0]["name"]):
        path.mkdir()
    (sweep / "link").symlink_to(tmp_path / "elsewhere")
    (sweep / "a-file").touch()
    task = Task(id="sweep", state="running", kind="sweep")

    def run() -> str | None:
        found = read(task, sweep)
        assert found is not None
        assert found.state == "running"
        return found.run

    with series_held(sweep), RunDirectory(tmp_path / "elsewhere").held():
        with RunDirectory(sweep / shown["runs"][0]["name"]).held():
            assert run() is None
        with RunDirectory(sweep / "idle").held():
            assert run() == "idle"


def test_who_follows_a_series_gets_the_lines_of_the_run_that_goes_on_and_after_a_reconnect_only_new_ones(
    console: Console, user: TestClient
) -> None:
    sweep = console.runs / "sweep"
    made_run(sweep, "third")
    (sweep / "sweep.json").write_text(json.dumps(content(LADDER[:2])))
    console.ending.set()  # So the stream ends, although the sweep goes on.
    with series_held(sweep), RunDirectory(sweep / "third").held():
        events = user.get("/api/tasks/sweep/events").text
        again = user.get("/api/tasks/sweep/events", headers={"last-event-id": "3 third"}).text
        other = user.get("/api/tasks/sweep/events", headers={"last-event-id": "3 second"}).text
    assert re.findall(r"^id: ([^\r\n]+)", events, re.MULTILINE) == ["1 third", "2 third", "3 third", "4 third"]
    assert 'data: {"run":"third"}' in events
    assert re.findall(r"^id: ([^\r\n]+)", again, re.MULTILINE) == ["4 third"]
    assert "event: run" not in again
    assert other == events


ANSWERS = content_of(make_probes(parse_probes("canary=60"), seed=7), None)


@pytest.mark.parametrize(
    ("runs", "measured", "ended", "state", "headline"),
    [
        (3, True, None, "ended", "No change is shown: right answers fall by no more than 6 points (95%)."),
        (2, False, "interrupted", "stopped", "Not over: 2 runs of 3 made."),
        (1, False, None, "killed", "Not over: 1 run of 3 made."),
        (0, False, None, "killed", None),
        (0, False, "interrupted", "could not start", None),
    ],
)
def test_a_task_of_checked_answers_has_the_answer_of_its_report_once_a_run_has_ended(
    runs: int, measured: bool, ended: str | None, state: str, headline: str | None, tmp_path: Path
) -> None:
    measures = ANSWERS.measures if measured else ()
    quality.write(tmp_path, msgspec.structs.replace(ANSWERS, runs=ANSWERS.runs[:runs], measures=measures, ended=ended))
    found = read(Task(id="quality", state="running", kind="quality"), tmp_path)
    assert found is not None
    assert found.state == state
    assert (found.headline or "").startswith(headline or "")
    assert (found.headline is None) is (headline is None)
    loads = [("alone", "120 answers"), ("under load", "60 answers"), ("alone again", "60 answers")]
    assert [(step.load, step.said) for step in found.steps] == loads[:runs]
    with series_held(tmp_path):
        going_on = read(Task(id="quality", state="running", kind="quality"), tmp_path)
    assert going_on is not None
    assert (going_on.state, going_on.share_done) == ("running", pytest.approx(runs / 3))


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("sweep", {"loads": "concurrency=1,2"}, "sweep, concurrency=1,2"),
        ("sweep", {"loads": "rate=1,2", "repeats": 3}, "sweep, rate=1,2, 3 times"),
        ("sweep", {"loads": "rate=1,2", "repeats": 1}, "sweep, rate=1,2"),
        ("search", {"load": "concurrency", "slo": "ttft:p99<1s"}, "search, users: ttft:p99<1s"),
        ("search", {"slo": ["ttft:p99<1s", "tpot:p50<9ms"]}, "search, requests/s: ttft:p99<1s, tpot:p50<9ms"),
        ("quality", {"share": "50%"}, "quality, 50% probes"),
        ("quality", {"share": 0.05}, "quality, 5% probes"),
        ("quality", {}, "quality, 5% probes"),
        ("tune", {"goal": "held load"}, "tune, held load"),
    ],
)
def test_what_a_series_looks_for_in_a_few_words(kind: str, config: dict[str, Any], words: str) -> None:
    assert load_of(config, kind) == words


def test_a_series_has_written_since_its_program_began_if_its_file_is_no_older(tmp_path: Path) -> None:
    begun, file = tmp_path / "log", tmp_path / "sweep.json"
    assert not left_since(tmp_path, "sweep", begun)
    begun.touch()
    file.touch()
    for at_ns, since in ((99, False), (100, True), (101, True)):
        os.utime(begun, ns=(100, 100))
        os.utime(file, ns=(at_ns, at_ns))
        assert left_since(tmp_path, "sweep", begun) is since


@pytest.mark.parametrize("held", [False, True])
def test_a_series_without_its_file_is_preparing_while_its_program_is_there(held: bool, tmp_path: Path) -> None:
    task = Task(id="sweep", state="running", kind="sweep")
    with series_held(tmp_path) if held else nullcontext():
        found = read(task, tmp_path)
        assert (None if found is None else found.state) == ("preparing" if held else None)
        (tmp_path / "sweep.json").write_text("[")
        damaged = read(task, tmp_path)
    assert damaged is not None
    assert damaged.state == ("running" if held else "ended")
    assert (damaged.headline or "").startswith("sweep.json cannot be read: ")


def test_a_series_can_go_on_if_the_console_started_it_and_it_has_ended_too_soon(console: Console) -> None:
    sweep = console.runs / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text(json.dumps({**content(LADDER[:2]), "ended": "interrupted"}))
    for name in ("run.yaml", "summary.json"):
        (sweep / "01").mkdir(exist_ok=True)
        (sweep / "01" / name).touch()

    def state() -> tuple[str, bool]:
        found = console.queue.task("sweep")
        return found.state, found.can_go_on

    assert state() == ("stopped", False)
    (sweep / "task.yaml").write_text(yaml.safe_dump({"kind": "sweep", "settings": {"url": "http://h:1"}}))
    assert state() == ("stopped", True)
    with series_held(sweep):
        assert state() == ("running", False)


@pytest.mark.parametrize(
    ("stopped_by", "state"),
    [
        (Ending.INTERRUPTED, "stopped"), (Ending.BUDGET, "ended"), (Ending.TARGET, "could not start"),
        (None, "could not start"),
    ],
)  # fmt: skip
def test_a_search_without_a_visit_says_why_it_is_over(stopped_by: Ending | None, state: str, tmp_path: Path) -> None:
    config = resolve({"url": "http://h:1", "rate": 1.0, "slo": ["ttft:p99<500ms"]})
    place = SearchDirectory.create(tmp_path / "search", config, {"started": "now"})
    search = Search(Settings("rate", (Goal("ttft:p99<500ms", 0.01),)))
    place.write(search, config_sha256(config, "rate"), stopped_by, None)
    found = read(Task(id="search", state="queued", kind="search"), place.path)
    assert found is not None
    assert (found.state, found.target, found.load) == (state, "http://h:1", "search, requests/s: ttft:p99<500ms")
    assert found.settings["url"] == "http://h:1"
    typed = {"url": "http://typed:2"}
    task = Task(id="search", state="queued", kind="search", settings=typed, target="lab", load="as it was typed")
    again = read(task, place.path)
    assert again is not None
    assert (again.settings, again.target, again.load) == (typed, "lab", "as it was typed")


def test_the_last_lines_of_a_run_are_sent_before_the_next_run_begins(console: Console) -> None:
    """Whoever follows a series hears of the next run half a second later at most. Until then, the last one wrote lines."""
    place = console.runs / "sweep"
    for name in ("001", "002"):
        made_run(place, name)  # Four lines each.
    made = {**content(LADDER[:4]), "ended": "loads"}
    (place / "sweep.json").write_text(json.dumps(made))
    task = Task(id="sweep", state="ended", kind="sweep", run="002")

    async def followed(run: str | None) -> list[str]:
        seen = SimpleNamespace(task=lambda name: task, followed_live=console.followed_live, ending=console.ending)
        events = [event async for event in results._events(cast(Console, seen), "sweep", 3, run)]
        return [str(event.id or event.event) for event in events]

    second = ["run", "1 002", "2 002", "3 002", "4 002", "task"]
    assert asyncio.run(followed("001")) == ["4 001", *second]
    assert asyncio.run(followed("gone")) == asyncio.run(followed(None)) == second
    assert asyncio.run(followed("002")) == ["4 002", "task"]
