"""What the queue of tasks does and refuses, word for word, without starting a program."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.console import task_queue
from bench.console.errors import Conflict, Refused
from bench.console.runner import _process_of
from bench.console.service import Console
from bench.console.store import Target
from bench.console.task_queue import utc
from bench.run_files.run_directory import RunDirectory
from tests.support.made_sweeps import LADDER, content
from tests.support.made_tasks import made_run, made_tune

HERE = {"url": "http://127.0.0.1:9", "requests": 1}
LATER = "2999-01-01T00:00"


@pytest.fixture
def idle(console: Console, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A console that starts nothing."""
    monkeypatch.setattr(console.runner, "look", lambda: None)
    return console


def test_a_page_reads_20_runs_that_were_never_read() -> None:
    assert task_queue.READ_AT_ONCE == 20


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-12-31T18:00", "2026-12-31T18:00:00+00:00"),
        ("2026-12-31T18:00+02:00", "2026-12-31T16:00:00+00:00"),
        ("2026-12-31T18:00:05Z", "2026-12-31T18:00:05+00:00"),
    ],
)
def test_a_time_without_a_zone_is_in_utc(text: str, at: str) -> None:
    assert utc(text) == at


@pytest.mark.parametrize("text", ["soon", "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        utc(text)
    assert refused.value.problems == (("start_at", f"{text!r} is not a time: write 2026-12-31T18:00"),)


def refusal(console: Console, action: str, name: str) -> str:
    with pytest.raises(Conflict) as refused:
        {"start": console.queue.start, "go on": console.queue.go_on, "stop": console.queue.stop}[action](name)
    return str(refused.value)


def test_a_task_that_cannot_start_or_go_on_says_why(idle: Console) -> None:
    made_run(idle.runs, "ended")
    made_tune(idle.runs, "race", ended=None)
    (idle.runs / "sweep").mkdir()
    (idle.runs / "sweep" / "sweep.json").write_text(json.dumps({**content(LADDER[:2]), "ended": "interrupted"}))
    (idle.runs / "sweep" / "01").mkdir()
    for file in ("run.yaml", "summary.json"):
        (idle.runs / "sweep" / "01" / file).touch()
    queued = idle.create(HERE, start_at=LATER).id
    kinds = "only a task of the kind search, sweep or quality that was stopped or killed can continue; "
    assert refusal(idle, "start", "ended") == "ended is ended: clone it to run it again"
    assert refusal(idle, "start", queued) == f"{queued} is queued: clone it to run it again"
    assert refusal(idle, "go on", "ended") == f"{kinds}ended is of the kind run, and ended"
    assert refusal(idle, "go on", queued) == f"{kinds}{queued} is of the kind run, and queued"
    for name in ("race", "sweep"):
        path = idle.runs / name
        assert (
            refusal(idle, "go on", name) == f"{name} was started in a terminal: continue it there, with --resume {path}"
        )
    assert refusal(idle, "stop", "ended") == "ended is not running: it has ended"
    with pytest.raises(Conflict) as refused:
        idle.queue.move("ended", 1)
    assert str(refused.value) == "ended is not in the queue"


@pytest.mark.parametrize(
    ("typed", "given", "sentence"),
    [
        ({"api_key": "sk-1"}, {}, "the API key was typed in and not saved: type it again"),
        ({"header": ["X: y"]}, {}, "the headers was typed in and not saved: type it again"),
        ({"api_key": "sk-1", "header": ["X: y"]}, {},
         "the API key and the headers was typed in and not saved: type it again"),
        ({"api_key": "sk-1", "header": ["X: y"]}, {"api_key": "sk-1"},
         "the headers was typed in and not saved: type it again"),
        ({"api_key": "sk-1", "header": ["X: y"]}, {"api_key": "sk-1", "header": ["X: z"]}, None),
    ],
)  # fmt: skip
def test_a_task_starts_once_each_of_its_secrets_is_typed_again(
    typed: dict[str, Any], given: dict[str, Any], sentence: str | None, idle: Console
) -> None:
    task = idle.create(HERE, secrets=typed, start=False).id
    idle.runner.secrets.clear()  # As after a restart.
    assert idle.task(task).needs == tuple(sorted(typed))
    if sentence is None:
        assert idle.queue.start(task, given).state == "queued"
        assert idle.runner.secrets == {task: given}
    else:
        with pytest.raises(Conflict) as refused:
            idle.queue.start(task, given)
        assert (str(refused.value), idle.runner.queue) == (sentence, {})


def test_a_queued_task_gets_its_secrets_and_a_new_time_and_keeps_its_place_without_one(idle: Console) -> None:
    first, second = (idle.create(HERE, secrets={"api_key": "sk-1"}, title=title, start_at=LATER).id for title in "ab")
    idle.runner.secrets.clear()
    assert idle.queue.start(first, {"api_key": "sk-2"}).needs == ()
    assert [*idle.runner.queue] == [first, second]
    idle.runner.secrets.clear()
    assert idle.queue.start(first, {"api_key": "sk-2"}, "2999-01-02T00:00").start_at == "2999-01-02T00:00:00+00:00"
    assert idle.runner.queue == {second: "2999-01-01T00:00:00+00:00", first: "2999-01-02T00:00:00+00:00"}
    idle.queue.move(first, -1)
    idle.queue.stop(first)
    assert [act.what for act in idle.history(first)] == [
        "created it", "put it into the queue", "gave it its secrets", "gave it its secrets", "moved it in the queue",
        "stopped it",
    ]  # fmt: skip


def test_the_mark_of_the_list_changes_with_the_queue_and_with_what_runs(idle: Console) -> None:
    marks = [idle.queue.mark()]
    names = [idle.create(HERE, title=title, start=False).id for title in "ab"]
    for change in (
        lambda: idle.queue.start(names[0], None, LATER),
        lambda: idle.queue.start(names[1], None, LATER),
        lambda: idle.queue.move(names[0], 1),
        lambda: setattr(idle.runner, "_found", "x"),
    ):
        change()
        marks.append(idle.queue.mark())
    assert len({*marks}) == len(marks)
    idle.runner._found = None


def test_a_task_that_is_due_has_its_time_behind_it_and_its_secrets_known(idle: Console) -> None:
    later = idle.create(HERE, title="later", start_at=LATER).id
    secret = idle.create(HERE, title="secret", secrets={"api_key": "sk-1"}).id
    past = idle.create(HERE, title="past", start_at="2020-01-01T00:00").id
    assert [*idle.runner.queue] == [later, secret, past]

    def due() -> str | None:
        found = idle.runner.due()
        return None if found is None else found[0]

    assert due() == secret
    idle.runner.secrets.clear()
    assert due() == past
    idle.store.dequeue(past)
    assert due() is None


class Child:
    """A process that reads its settings and ends when it is told to."""

    def __init__(self) -> None:
        self.pid, self.ended = 77, False
        self.stdin = SimpleNamespace(write=lambda content: None, close=lambda: None)

    def poll(self) -> int | None:
        return 0 if self.ended else None


def test_one_task_runs_at_a_time_and_its_secrets_are_forgotten_when_it_ends(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, child = console.runner, Child()
    begun: list[str] = []

    def start(name: str, plan: object) -> None:
        begun.append(name)
        any_child: Any = child
        runner._child = any_child

    monkeypatch.setattr(runner, "_start", start)
    first = console.create(HERE, title="a", secrets={"api_key": "sk-1"}).id
    second = console.create(HERE, title="b").id
    assert (begun, runner.current, runner.starting, [*runner.queue]) == ([first], first, (first,), [second])
    runner.look()
    assert (begun, runner.secrets) == ([first], {first: {"api_key": "sk-1"}})
    child.ended = True
    runner.look()
    assert (begun, runner.secrets, runner.current, runner.queue) == ([first, second], {}, second, {})
    runner.look()
    assert (runner.current, runner.starting) == (None, ())


def test_a_run_of_a_terminal_is_waited_for_until_it_ends(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(console.runner, "_start", lambda name, plan: begun.append(name))
    ended = made_run(console.runs, "ended")
    with RunDirectory(made_run(console.runs, "other", state="running")).held(), RunDirectory(ended).held():
        waiting = console.create(HERE).id
        assert (console.runner.current, begun, [*console.runner.queue]) == ("other", [], [waiting])
    console.runner.look()
    assert begun == [waiting]


def test_a_program_that_cannot_be_started_gives_its_reason_and_leaves_no_task_running(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([OSError(28, "No space left on device"), OSError("odd")])

    def start(name: str, plan: object) -> None:
        raise next(errors)

    monkeypatch.setattr(console.runner, "_start", start)
    for why in ("No space left on device", "odd"):
        task = console.create(HERE)
        assert (task.state, task.problem) == ("could not start", f"its program could not be started: {why}")
        assert (console.runner.current, console.runner.queue) == (None, {})


def test_the_program_of_a_task_gets_its_settings_and_secrets_over_its_standard_input(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUELOAD_KEY_TENANT", "blue")
    console.store.save_target(Target("lab", "http://127.0.0.1:9", header_variables={"X-Tenant": "TRUELOAD_KEY_TENANT"}))
    made: list[tuple[list[str], dict[str, Any]]] = []
    written: list[bytes] = []

    def popen(command: list[str], **options: Any) -> Child:
        made.append((command, options))
        child = Child()
        child.stdin = SimpleNamespace(write=written.append, close=lambda: written.append(b"closed"))
        return child

    monkeypatch.setattr("bench.console.runner.subprocess.Popen", popen)
    secrets = {"api_key": "sk-1", "header": ["X-A: b"]}
    task = console.create({"requests": 1, "model": "größe"}, target="lab", title="Night", secrets=secrets)
    ((command, options),) = made
    path = (console.runs / task.id).resolve()
    assert command[1:] == ["-m", "bench", "run", "--config", "-", "--out", str(path)]
    assert options["start_new_session"] is True
    text, closed = written
    assert text.decode() == (
        "api_key: sk-1\nheader:\n- 'X-A: b'\n- 'X-Tenant: blue'\nmodel: größe\nname: Night\nrequests: 1\nurl: http://127.0.0.1:9\n"
    )
    assert closed == b"closed"
    assert (path / "console.pid").read_text() == "77"
    assert (path / "console.log").read_bytes() == b""
    console.runner._child = console.runner._task = None


def test_a_program_is_that_of_a_task_if_its_command_line_has_the_directory(tmp_path: Path) -> None:
    assert _process_of(tmp_path) is None
    for text in ("", "x", "0", "1"):
        (tmp_path / "console.pid").write_text(text)
        assert _process_of(tmp_path) is None
