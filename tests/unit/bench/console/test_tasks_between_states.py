"""Tasks between two states: waiting, starting, going on again; and what their page then shows and asks for."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bench.clock import utc_now
from bench.config import resolve
from bench.console import runner
from bench.console.errors import Refused
from bench.console.plan import Plan
from bench.console.security import Keys
from bench.console.series import read
from bench.console.service import Console
from bench.console.store import Marks, Store, Target
from bench.console.task import Task
from bench.console.tasks import TaskFolder, last_words
from bench.load_search.decisions import Ending
from bench.load_search.files import SearchDirectory, config_sha256
from bench.run_files.run_directory import RunDirectory, series_held
from tests.support.made_sweeps import LADDER, content
from tests.support.made_tasks import made_run
from tests.support.made_visits import in_turn, made_search
from tests.unit.bench.load_search.test_conclusion import CLOSE, SCOUTS

HERE = {"url": "http://127.0.0.1:9", "requests": 1}


def made_sweep(runs: Path, ended: str | None = "interrupted") -> Path:
    """The directory of a sweep that was stopped, with its page."""
    (path := runs / "sweep").mkdir(parents=True)
    (path / "sweep.json").write_text(json.dumps({**content(LADDER[:2]), "ended": ended}))
    (path / "sweep.html").write_text("<!doctype html>")
    (path / "01").mkdir()
    for name in ("run.yaml", "summary.json"):
        (path / "01" / name).touch()
    return path


def test_a_task_that_has_ended_needs_no_secret_any_more(console: Console) -> None:
    Plan(settings=HERE, typed=("api_key",)).write(made_run(console.runs, "night"))
    assert (console.task("night").state, console.task("night").needs) == ("ended", ())
    waiting = console.create(HERE, secrets={"api_key": "sk-1"}, start=False).id
    console.runner.secrets.clear()
    assert console.task(waiting).needs == ("api_key",)


def test_a_stopped_series_that_is_to_go_on_needs_its_secret_again(console: Console) -> None:
    Plan(kind="sweep", settings=HERE, typed=("api_key",)).write(made_sweep(console.runs))
    task = console.task("sweep")
    assert (task.state, task.needs, task.can_go_on) == ("stopped", ("api_key",), True)


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_finished_task_that_waits_or_starts_again_is_not_shown_as_it_ended(kind: str, tmp_path: Path) -> None:
    path = made_sweep(tmp_path) if kind == "sweep" else made_run(tmp_path, "run")
    Plan(kind=kind, settings=HERE).write(path)
    (path / "console.pid").write_text("1")  # Written after the series ended.
    store = Store(tmp_path / ".console" / "console.sqlite")
    folder = TaskFolder(tmp_path, store)

    def seen(*, queued: bool = False, starting: bool = False) -> tuple[str, bool]:
        task = folder.task(path.name, {path.name: None} if queued else {}, (path.name,) if starting else ())
        return task.state, task.has_report

    over = ("ended" if kind == "run" else "stopped", True)
    # A run does not go on again, so it stays as it is.
    waits, starts = (over, over) if kind == "run" else (("queued", False), ("starting", False))
    assert seen() == over
    assert [seen(queued=True), seen(starting=True), seen()] == [waits, starts, over]
    store.close()


def test_a_series_that_runs_is_running_although_it_is_in_the_queue(tmp_path: Path) -> None:
    path = made_sweep(tmp_path)
    store = Store(tmp_path / ".console" / "console.sqlite")
    folder = TaskFolder(tmp_path, store)
    with series_held(path):
        assert folder.task("sweep", {"sweep": None}, ()).state == "running"
        assert folder.task("sweep", {}, ("sweep",)).state == "running"
    assert folder.task("sweep", {"sweep": None}, ()).state == "queued"
    store.close()


@pytest.mark.parametrize(("log", "problem"), [("", None), ("sending\nerror: the key is wrong\n", "the key is wrong"),
                                              ("sending\nwaiting\n", None)])  # fmt: skip
def test_a_stopped_series_shows_the_error_that_kept_it_from_going_on(
    log: str, problem: str | None, console: Console
) -> None:
    (made_sweep(console.runs) / "console.log").write_text(log)
    assert (console.task("sweep").state, console.task("sweep").problem) == ("stopped", problem)


def test_a_run_that_was_killed_shows_its_last_words_and_one_that_starts_none(tmp_path: Path) -> None:
    path = made_run(tmp_path, "run", state="running")
    (path / "console.log").write_text("sending\n")
    store = Store(tmp_path / ".console" / "console.sqlite")
    folder = TaskFolder(tmp_path, store)
    killed, starting = folder.task("run", {}, ()), folder.task("run", {}, ("run",))
    assert [(task.state, task.problem) for task in (killed, starting)] == [("killed", "sending"), ("starting", None)]
    with RunDirectory(path).held():
        assert folder.task("run", {}, ()).state == "running"
    store.close()


@pytest.mark.parametrize(("later_s", "is_due"), [(-1, True), (0, True), (1, False)])
def test_a_task_is_due_at_its_time(
    later_s: int, is_due: bool, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = utc_now().replace(microsecond=0)
    monkeypatch.setattr(console.runner, "look", lambda: None)
    monkeypatch.setattr(runner, "utc_now", lambda: now)
    console.create(HERE, start_at=(now + timedelta(seconds=later_s)).isoformat())
    assert (console.runner.due() is not None) is is_due


def test_a_wrong_time_hides_no_other_problem_of_a_task(console: Console) -> None:
    console.store.save_target(Target("lab", "http://127.0.0.1:9"))
    with pytest.raises(Refused) as refused:
        console.create({"url": "http://other:1", "requests": 0}, target="lab", start_at="soon", start=False)
    problems = dict(refused.value.problems)
    assert problems.keys() == {"requests", "url", "start_at"}
    assert "is not at the target lab" in problems["url"]
    sentences = [sentence for field, sentence in refused.value.problems if field == "start_at"]
    assert sentences == [
        "'soon' is not a time: write 2026-12-31T18:00",
        "a task that is saved without starting has no start time: leave it empty",
    ]


def test_a_search_says_whether_its_required_load_is_held(tmp_path: Path) -> None:
    search = made_search(*in_turn(*SCOUTS, *CLOSE))
    config = resolve({"url": "http://h:1", "rate": 1.0, "slo": ["ttft:p99<500ms"]})
    place = SearchDirectory.create(tmp_path / "search", config, {"started": "now"})
    place.write(search, config_sha256(config, "rate"), Ending.BUDGET, 20.0)
    found = read(Task(id="search", state="running", kind="search"), place.path)
    assert found is not None
    headline = found.headline or ""
    assert (found.state, headline.count("Required: 20")) == ("ended", 1)
    assert re.fullmatch(r"[^.]+(\.\d[^.]*)*\. Required: 20[^.]* is held \([\d.]+% sure\)\.", headline), headline
    place.write(search, config_sha256(config, "rate"), Ending.BUDGET, None)
    again = read(Task(id="search", state="running", kind="search"), place.path)
    assert again is not None
    assert headline.startswith(again.headline or "?")
    assert "Required" not in (again.headline or "")


def test_only_the_token_of_readers_is_theirs() -> None:
    keys = Keys("a-token-of-users", "a-token-of-readers")
    assert [keys.is_read_token(token) for token in ("a-token-of-readers", "a-token-of-users", "", "x")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert [keys.is_token(token) for token in ("a-token-of-users", "a-token-of-readers", "")] == [True, False, False]
    sessions = [keys.session_of(token) for token in ("a-token-of-users", "a-token-of-readers")]
    assert [keys.is_session(session) for session in sessions] == [True, False]
    assert [keys.is_read_session(session) for session in sessions] == [False, True]
    assert not Keys("a-token-of-users").is_read_token("a-token-of-readers")


def test_a_copy_of_a_task_without_a_title_has_none(user: TestClient, console: Console) -> None:
    made_run(console.runs, "night")
    page = user.get("/new?from=night").text
    assert re.findall(r'name="title" value="([^"]*)"', page) == [""]


def test_the_list_offers_the_states_and_labels_that_tasks_have(user: TestClient, console: Console) -> None:
    made_run(console.runs, "a")
    made_run(console.runs, "b", state="running")
    console.store.mark("a", Marks(label="weekly"))
    page = user.get("/").text
    offered = {
        name: re.findall(r"<option[^>]*>([^<]*)", page.partition(f'name="{name}"')[2].partition("</select>")[0])
        for name in ("state", "label")
    }
    assert offered == {"state": ["all", "ended", "killed"], "label": ["all", "weekly"]}


def test_the_page_of_data_says_how_large_a_file_may_be(user: TestClient) -> None:
    text = user.get("/data").text
    assert "at most 2 GiB, also unpacked (64 MiB from a URL, or without JavaScript), and 100 files." in text


def test_a_damaged_plan_is_not_called_queued_or_starting(tmp_path: Path) -> None:
    (path := tmp_path / "bad").mkdir()
    (path / "task.yaml").write_text("[1]")
    store = Store(tmp_path / ".console" / "console.sqlite")
    folder = TaskFolder(tmp_path, store)
    for queue, starting in (({}, ()), ({"bad": None}, ()), ({}, ("bad",))):
        task = folder.task("bad", queue, starting)
        assert (task.state, task.problem) == (
            "could not start", "task.yaml is damaged: it must hold keys with values",
        )  # fmt: skip
    store.close()


@pytest.mark.parametrize(("length", "words"), [(8_000, "gone\nmore"), (8_001, "rror: gone\nmore")])
def test_of_a_log_the_last_8000_characters_are_read(length: int, words: str, tmp_path: Path) -> None:
    log = tmp_path / "a" / "console.log"
    log.parent.mkdir()
    text = "error: gone\nmore"
    log.write_text(text + " " * (length - len(text)))
    assert last_words(log) == words
