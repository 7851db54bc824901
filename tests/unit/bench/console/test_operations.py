"""The operations of a console, called directly: what they do, remember and refuse."""

from __future__ import annotations

import io
import os
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bench.clock import NS_PER_S, LoopClock
from bench.console.comparing import Comparison
from bench.console.errors import Conflict, ConsoleError, NotFound, Refused
from bench.console.service import Console
from bench.console.store import Target
from bench.run_files.run_directory import RunDirectory
from tests.support.made_tasks import made_run, made_tune
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

HERE = {"url": "http://127.0.0.1:9", "requests": 1}


def test_the_queue_is_looked_at_four_times_a_second_whatever_fails(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OSError("full"), sqlite3.OperationalError("locked"), ConsoleError("odd"), None, ZeroDivisionError()]
    looked: list[float] = []

    def look() -> None:
        looked.append((LoopClock().now_ns() - START_NS) / NS_PER_S)
        if (error := errors[len(looked) - 1]) is not None:
            raise error

    async def main(loop: VirtualTimeLoop) -> None:
        with pytest.raises(ZeroDivisionError):
            await console.runner.run()

    async def at_once(function: Any, *of: object) -> object:
        return function(*of)

    monkeypatch.setattr(console.runner, "look", look)
    monkeypatch.setattr("bench.console.runner.asyncio.to_thread", at_once)
    monkeypatch.setattr(console.runner, "_running_elsewhere", lambda: "of-a-terminal")
    run_virtual(main)
    assert looked == [0, 0.25, 0.5, 0.75, 1.0]
    assert console.runner.current == "of-a-terminal"
    console.runner._found = None


def test_a_console_that_is_closed_ends_its_mock_its_loads_and_its_store(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name, part, method in (
        ("mock", console.mock, "stop"),
        ("loads", console.hub_loads, "close"),
        ("store", console.store, "close"),
    ):
        monkeypatch.setattr(part, method, lambda name=name: done.append(name))
    console.close()
    assert done == ["mock", "loads", "store"]


def test_a_copy_has_the_title_and_the_changes_and_says_where_it_comes_from(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.runner, "look", lambda: None)
    first = console.create({**HERE, "rate": "5"}, title="Night", start=False).id
    copy = console.clone(first, {"rate": None, "concurrency": "3", "out": "/x"}, start=False)
    assert (copy.title, copy.state, copy.settings) == ("Night", "not started", {**HERE, "concurrency": "3"})
    assert [act.what for act in console.history(copy.id)] == [f"made it from {first}"]
    again = console.clone(first, {})
    assert (again.state, again.settings["rate"]) == ("queued", "5")
    secret = console.create(HERE, secrets={"api_key": "sk-1"}, start=False).id
    console.runner.secrets.clear()
    waiting = console.clone(secret, {})
    assert (waiting.state, waiting.needs) == ("not started", ("api_key",))
    assert console.clone(secret, {}, secrets={"api_key": "sk-2"}).state == "queued"
    made_tune(console.runs, "race")
    with pytest.raises(Conflict) as refused:
        console.clone("race", {})
    assert str(refused.value) == "race was made in a terminal: run its command again there"


def test_a_task_that_runs_is_not_deleted_and_one_that_is_leaves_no_secret(console: Console) -> None:
    running = made_run(console.runs, "running", state="running")
    with RunDirectory(running).held(), pytest.raises(Conflict) as refused:
        console.remove("running", files=True)
    assert (str(refused.value), running.is_dir()) == ("running is running: stop it first", True)
    for files in (True, False):
        task = console.create(HERE, secrets={"api_key": "sk-1"}, start=False).id
        assert console.runner.secrets == {task: {"api_key": "sk-1"}}
        console.remove(task, files=files)
        assert (console.runner.secrets, (console.runs / task).exists()) == ({}, False)
        acts = [act.what for act in console.history(task)]
        assert acts[-1] == ("deleted it with its files" if files else "deleted it")
    with pytest.raises(NotFound, match=r"^there is no task 'never'$"):
        console.history("never")
    made_run(console.runs, "old")
    assert console.history("old") == []


def test_marks_of_another_name_are_refused(console: Console) -> None:
    made_run(console.runs, "night")
    with pytest.raises(ConsoleError) as refused:
        console.mark("night", {"title": "T", "colour": "red", "at": 1})
    assert str(refused.value) == "a task has a title, a label, a note and a baseline, not at, colour"
    assert console.task("night").title == "night"


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({"name": "", "url": "http://h"}, {"name": "give it a name of letters, digits, dots and dashes"}),
        ({"name": "a b", "url": "http://h"}, {"name": "give it a name of letters, digits, dots and dashes"}),
        ({"name": "mock", "url": "http://h"}, {"name": "give it a name of letters, digits, dots and dashes"}),
        ({"name": "lab", "url": "http://h", "key_variable": "HOME", "header_variables": {"X": "PATH"}},
         {"key_variable": "HOME may not be used as a key: start the console with --key-env HOME",
          "header_variables": "PATH may not be used as a key: start the console with --key-env PATH"}),
        ({"name": "a b", "url": "h", "key_variable": "HOME"},
         {"name": "give it a name of letters, digits, dots and dashes",
          "key_variable": "HOME may not be used as a key: start the console with --key-env HOME", "url": None}),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_saved_says_everything_that_is_wrong(
    values: dict[str, Any], problems: dict[str, str | None], console: Console
) -> None:
    with pytest.raises(Refused) as refused:
        console.save_target(values)
    found = dict(refused.value.problems)
    assert found.keys() == problems.keys()
    assert {name: found[name] for name, sentence in problems.items() if sentence is not None} == {
        name: sentence for name, sentence in problems.items() if sentence is not None
    }
    assert console.targets() == []


def test_a_server_is_found_by_its_name_or_the_names_of_the_others_are_told(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sentence(name: str) -> str:
        with pytest.raises(NotFound) as refused:
            console.target(name)
        return str(refused.value)

    assert sentence("lab") == "there is no target 'lab', and none is saved: give the URL instead"
    start = "start it on the page Targets, or with POST /api/mock/start"
    assert sentence("mock") == f"the built-in mock does not run: {start}"
    assert console.save_target({"name": "b", "url": "http://h", "model": ""}) == Target("b", "http://h")
    console.save_target({"name": "a", "url": "http://h", "model": "m"})
    assert sentence("lab") == "there is no target 'lab': choose a, b, or save it"
    monkeypatch.setattr(type(console.mock), "url", property(lambda mock: "http://127.0.0.1:7"))
    assert [target.name for target in console.targets()] == ["mock", "a", "b"]
    assert console.target("mock") == Target("mock", "http://127.0.0.1:7")
    assert console.target("a").model == "m"


@pytest.mark.parametrize(("margin", "passed"), [("5%", "5%"), (" 3% ", "3%"), ("", "5%"), (" ", "5%")])
def test_an_empty_margin_is_the_usual_one(
    margin: str, passed: str, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        made_run(console.runs, name)
    asked: list[tuple[list[str], str, str]] = []

    def compare(groups: Any, *, margin: str, allow: str) -> Comparison:
        asked.append(([group.name for group in groups], margin, allow))
        return Comparison(())

    monkeypatch.setattr(console._comparer, "compare", compare)
    console.compared(["b", "a", "b"], margin=margin, allow=" rate ")
    assert asked == [(["a", "b"], passed, "rate")]
    with pytest.raises(ConsoleError, match=r"^tasks are compared by task or by label, not by 'day'$"):
        console.compared(["a", "b"], by="day")


def test_a_file_without_a_date_can_be_downloaded(console: Console) -> None:
    path = made_run(console.runs, "night")
    os.utime(path / "report.html", (0, 0))
    with zipfile.ZipFile(io.BytesIO(console.archive("night"))) as archive:
        assert archive.getinfo("night/report.html").date_time[0] == 1980
        assert archive.getinfo("night/run.yaml").compress_type == zipfile.ZIP_DEFLATED


def test_a_task_of_an_unknown_kind_or_without_a_server_is_refused(console: Console) -> None:
    with pytest.raises(ConsoleError) as refused:
        console.create(HERE, kind="tune")
    assert str(refused.value) == "kind: 'tune' is not one of run, search, sweep, quality, calibrate"
    # A calibration starts a mock of its own, so it needs none.
    task = console.create({"requests": 1}, kind="calibrate", target="nowhere", start=False)
    assert (task.kind, task.settings) == ("calibrate", {"requests": 1})
    assert not console.asks_for_secrets(task.id)
    assert console.asks_for_secrets(console.create(HERE, secrets={"api_key": "sk-1"}, start=False).id)
    made_run(console.runs, "night")
    assert not console.asks_for_secrets("night")


@pytest.mark.parametrize("allowed", [True, False])
def test_data_of_this_machine_is_fetched_only_if_the_console_allows_it(
    allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    async def fetch(url: str, *, allow_local: bool) -> tuple[str, bytes]:
        asked.append(allow_local)
        return "a.csv", b"x\n"

    monkeypatch.setattr("bench.console.service.fetch", fetch)
    console = Console(tmp_path, allow_local_data=allowed) if allowed else Console(tmp_path)

    async def main(loop: VirtualTimeLoop) -> list[str]:
        return await console.fetch("http://127.0.0.1/a.csv")

    async def at_once(function: Any, *of: object) -> object:
        return function(*of)

    monkeypatch.setattr("bench.console.service.asyncio.to_thread", at_once)
    assert run_virtual(main) == ["a.csv"]
    assert asked == [allowed]
    console.close()
