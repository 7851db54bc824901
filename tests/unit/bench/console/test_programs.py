"""The programs that a console starts: what it passes to them, and what it makes of their ends. None is started."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from bench.console import beside, hub_program
from bench.console.data_rows import AS_IT_IS
from bench.console.errors import ConsoleError
from bench.console.form_words import data_of
from bench.console.hubs import HUBS
from bench.console.service import Console
from bench.console.store import Target
from bench.console.task import Task
from bench.console.uploads import Uploads
from bench.process.priority import NICENESS_BESIDE

HERE = {"url": "http://127.0.0.1:9", "requests": 1}


@pytest.mark.parametrize("late", [True, False])
def test_a_command_beside_has_a_low_priority_and_is_killed_if_it_takes_too_long(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    class Process:
        pid, returncode = 77, 3

        def __init__(self, command: list[str], **options: object) -> None:
            done.append((command, options))

        def communicate(self, timeout: float | None = None) -> tuple[None, str]:
            done.append(timeout)
            if late and timeout is not None:
                raise subprocess.TimeoutExpired("it", timeout)
            return None, "error: no"

        def kill(self) -> None:
            done.append("killed")

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(os, "setpriority", lambda *of: done.append(of))
    assert beside.ran(["report", "x"], 7.5) == (None if late else (3, "error: no"))
    null = subprocess.DEVNULL
    options = {"stdin": null, "stdout": null, "stderr": subprocess.PIPE, "text": True}
    assert done == [
        ([sys.executable, "-m", "bench", "report", "x"], options),
        (os.PRIO_PROCESS, 77, NICENESS_BESIDE),
        7.5,
        *(["killed", None] if late else []),
    ]


@pytest.mark.parametrize(
    ("error", "status", "out"),
    [(None, 0, "/f/a.csv\n"), (ValueError("no such file\nat all"), 1, "no such file\n"), (KeyError(), 1, "KeyError\n")],
)
def test_the_program_that_downloads_prints_the_path_or_the_reason(
    error: Exception | None, status: int, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []

    def download(endpoint: str, name: str, file: str, folder: Path) -> Path:
        assert (endpoint, name) == ("http://hub", "o/n")
        if error is not None:
            raise error
        return folder / file

    hub = SimpleNamespace(download=download)
    monkeypatch.setitem(HUBS, "lab", hub)

    def thread(*, target: object, daemon: bool) -> object:
        started.append((target, daemon))
        return SimpleNamespace(start=lambda: started.append("it"))

    monkeypatch.setattr("bench.console.hub_program.threading.Thread", thread)
    assert hub_program.main("lab", "http://hub", "o/n", "a.csv", "/f") == status
    assert capsys.readouterr().out == out
    assert started == [(hub_program._end_with_console, True), "it"]


def test_the_program_that_downloads_ends_when_the_console_has_closed_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin, ended = io.BytesIO(b"nothing"), list[tuple[int, bytes]]()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    monkeypatch.setattr(os, "_exit", lambda status: ended.append((status, stdin.read())))
    hub_program._end_with_console()
    assert ended == [(1, b"")]


@pytest.mark.parametrize(
    ("model", "stderr", "said"),
    [
        ("m", "", "it answers, with the model m"),
        ("", "", "it answers"),
        (None, "error: no server\n", "no server"),
        (None, " \n", "the probe ended with status 2"),
    ],
)
def test_a_probe_is_a_run_of_one_small_request_with_the_keys_of_its_target(
    model: str | None, stderr: str, said: str, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUELOAD_KEY_TENANT", "blue")
    asked: list[tuple[list[str], dict[str, Any]]] = []

    def run(command: list[str], **options: Any) -> object:
        asked.append((command, options))
        if model is not None:
            (folder := Path(command[7])).mkdir()
            (folder / "run.yaml").write_text(yaml.safe_dump({"manifest": {"model": model}}))
        return SimpleNamespace(stderr=stderr, returncode=2)

    monkeypatch.setattr("bench.console.service.subprocess.run", run)
    target = Target("lab", "http://127.0.0.1:9", header_variables={"X-Tenant": "TRUELOAD_KEY_TENANT"})
    secrets = {"api_key": "sk-1", "header": ["X-A: b"]}
    if model is None:
        with pytest.raises(ConsoleError) as refused:
            console.probe({"concurrency": "50"}, secrets, target)
        assert str(refused.value) == said
    else:
        assert console.probe({"concurrency": "50"}, secrets, target) == said
    ((command, options),) = asked
    assert command[1:7] == ["-m", "bench", "run", "--config", "-", "--out"]
    assert command[8:] == ["--quiet"]
    assert yaml.safe_load(options["input"]) == {
        "url": "http://127.0.0.1:9", "api_key": "sk-1", "header": ["X-A: b", "X-Tenant: blue"], "requests": 1,
        "concurrency": 1, "input_tokens": 16, "output_tokens": 4, "wait_for_server": None,
    }  # fmt: skip
    given = {name: options[name] for name in ("capture_output", "text", "timeout", "check")}
    assert given == {"capture_output": True, "text": True, "timeout": 60.0, "check": False}
    assert not Path(command[7]).exists()


def test_a_probe_without_an_answer_in_a_minute_is_given_up(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> object:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr("bench.console.service.subprocess.run", run)
    with pytest.raises(ConsoleError, match=r"^no answer within 60 s$"):
        console.probe(HERE, {}, None)


def test_the_buttons_of_a_task_pass_on_what_was_typed(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = console.create(HERE, start=False).id
    done: list[tuple[object, ...]] = []

    def note(name: str) -> Any:
        return lambda *of: done.append((name, *of))

    monkeypatch.setattr(console, "set_load", note("load"))
    for name in ("start", "go_on", "stop", "move"):
        monkeypatch.setattr(console.queue, name, note(name))
    monkeypatch.setattr(console, "clone", lambda name, changes: Task(id="copy", state="queued"))
    secrets = {"api_key": " sk-1 ", "headers": "X: y"}
    leads = [
        user.post(f"/tasks/{task}/{action}", data=data, follow_redirects=False).headers["location"]
        for action, data in (
            ("load", {"load": "2.5"}), ("start", secrets), ("go-on", secrets), ("stop", {}), ("move", {"to": "front"}),
            ("move", {"to": "end"}), ("clone", {}),
        )
    ]  # fmt: skip
    typed = {"api_key": "sk-1", "header": ["X: y"]}
    assert done == [
        ("load", task, 2.5), ("start", task, typed), ("go_on", task, typed), ("stop", task), ("move", task, -1),
        ("move", task, 1),
    ]  # fmt: skip
    assert leads == [*[f"/tasks/{task}"] * 4, "/", "/", "/tasks/copy"]
    wrong = user.post(f"/tasks/{task}/load", data={"load": "many"})
    assert (wrong.status_code, "&#39;many&#39; is not a load" in wrong.text) == (400, True)


def test_a_load_that_is_set_is_in_the_history(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    task = console.create(HERE, start=False).id
    monkeypatch.setattr("bench.console.service.set_load", lambda path, found, load: (path.name, found.id, load))
    found: object = console.set_load(task, 2.50)
    assert found == (task, task, 2.5)
    assert [act.what for act in console.history(task)][-1] == "set its load to 2.5"


def test_files_and_uploads_are_deleted_through_the_api(user: TestClient, console: Console) -> None:
    console.files.add("a.csv", b"x\n")
    assert [user.delete("/api/files/a.csv").status_code for _ in range(2)] == [204, 404]
    half = user.post("/api/uploads", json={"name": "b.csv", "size_bytes": 10}).json()["id"]
    assert [user.delete(f"/api/uploads/{half}").status_code for _ in range(2)] == [204, 404]
    assert (console.files.listed(), console.uploads.listed()) == ([], [])


def test_an_upload_that_a_full_disk_does_not_begin_leaves_nothing(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads, write = Uploads(tmp_path / "uploads", console.files), Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "about.json":
            write(path, content[:5])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 40))
    with pytest.raises(OSError, match="No space left"):
        uploads.begin("a.csv", 10, AS_IT_IS)
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({}, "simulated"), ({"endpoint": "http"}, "body"), ({"dataset": "mine.jsonl"}, "file"),
        ({"dataset": "azure-2023-code"}, "recipe"), ({"dataset": "mine.jsonl", "endpoint": "http"}, "file"),
    ],
)  # fmt: skip
def test_the_source_of_requests_follows_from_the_settings(settings: dict[str, str], source: str) -> None:
    assert data_of(settings) == source
