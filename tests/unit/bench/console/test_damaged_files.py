"""Damaged files and a full disk: the task shows one sentence, while the list, the other tasks and the queue continue."""

from __future__ import annotations

import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from bench.console import beside
from bench.console.kinds import CALIBRATION_SWEEP, SHOWN
from bench.console.plan import TASK_FILE, Plan
from bench.console.service import Console
from bench.console.task import NOT_STARTED, Task
from bench.console.tasks import LOG, PID
from bench.run_files.run_directory import REPORT, RUN_FILES, SUMMARY, RunDirectory
from tests.support.full_disk import full_disk
from tests.support.made_tasks import made_run

HERE = {"url": "http://127.0.0.1:9", "requests": 1}
LATER = "2999-01-01T00:00"
PAGES = (
    "/", "/tasks/bad", "/new?from=bad", "/compare?task=bad", "/tasks/bad/report", "/api/tasks", "/api/tasks/bad",
    "/api/tasks/bad/live", "/api/tasks/bad/summary", "/api/tasks/bad/text", "/api/tasks/bad/zip",
    "/api/tasks/bad/numbers.csv",
)  # fmt: skip

PLANS = {
    "empty": b"",
    "no-text": b"\0\xff\xfe",
    "list": b"[1, 2]",
    "other-kind": b"kind: nonsense\nsettings: {url: x}",
    "odd-kind": b"kind: [1]",
    "odd-settings": b"settings: [1]",
    "odd-names": b"settings: {1: 2}",
    "odd-typed": b"settings: {}\ntyped: 5",
    "odd-paths": b"settings: {}\npaths: 7",
    "odd-keys": b"settings: {}\nkey_variable: [1]",
    "bytes": b"settings: {a: !!binary aGk=}",
}
ODD_MIX = b"settings: {mix: a}\npaths: {mix: {classes: [{rate: x}]}}"
LINE = {"second": {"output_tokens": 3, "succeeded": 1}, "client": {"loop_lag_ms": 0.1, "cpu": 0.1, "run_queue_share": 0},
        "sent": 1, "done": 1, "in_flight": 0, "failed": 0, "left_s": None, "share_done": None}  # fmt: skip
LINES = {
    "no-text": b"\0\xff",
    "list": b"[1]",
    "null": b"null",
    "nothing": b"{}",
    "odd-client": orjson.dumps(LINE | {"client": 3}),
    "odd-numbers": orjson.dumps(LINE | {"client": {"loop_lag_ms": "x", "cpu": None, "run_queue_share": None}}),
    "odd-second": orjson.dumps(LINE | {"second": {"output_tokens": "x"}}),
    "no-counts": orjson.dumps({key: LINE[key] for key in ("second", "client")}),
}


def pages_are_shown(user: TestClient) -> None:
    statuses = {path: user.get(path).status_code for path in PAGES}
    assert {path: status for path, status in statuses.items() if status >= 500} == {}
    assert user.get("/tasks/good").status_code == 200


@pytest.mark.parametrize("content", PLANS.values(), ids=PLANS)
def test_a_damaged_plan_says_so_starts_nothing_and_leaves_the_queue(
    content: bytes, user: TestClient, console: Console
) -> None:
    made_run(console.runs, "good")
    (console.runs / "bad").mkdir()
    (console.runs / "bad" / "task.yaml").write_bytes(content)
    pages_are_shown(user)
    task = console.task("bad")
    assert (task.state, "task.yaml" in str(task.problem)) == ("could not start", True)
    assert "task.yaml" in user.get("/tasks/bad").text
    for action in ("start", "clone", "go-on", "stop"):
        assert user.post(f"/api/tasks/bad/{action}").status_code in (409, 422)
    console.store.enqueue("bad")
    later = console.create(HERE, start=False).id
    console.store.enqueue(later)
    due = console.runner.due()
    assert due is not None
    assert due[0] == later
    assert user.delete("/api/tasks/bad", params={"files": True}).status_code == 204


def test_a_plan_with_odd_values_says_so(user: TestClient, console: Console) -> None:
    made_run(console.runs, "good")
    (console.runs / "bad").mkdir()
    (console.runs / "bad" / "task.yaml").write_bytes(ODD_MIX)
    pages_are_shown(user)
    assert "task.yaml cannot be read" in str(console.task("bad").problem)


@pytest.mark.parametrize("state", ["ended", "running"])
def test_damaged_live_lines_are_left_out_and_the_others_shown(state: str, user: TestClient, console: Console) -> None:
    made_run(console.runs, "good")
    live = made_run(console.runs, "bad", state=state) / "live.jsonl"
    live.write_bytes(b"".join(line + b"\n" + orjson.dumps(LINE) + b"\n" for line in LINES.values()) + b'{"torn')
    pages_are_shown(user)
    assert user.get("/api/tasks/bad/live").json() == [LINE] * len(LINES)
    # Event numbers count damaged lines, too, so nothing is sent twice after a reconnect.
    events = user.get("/api/tasks/bad/events").text
    numbers = [str(2 * number) for number in range(1, len(LINES) + 1)]
    assert re.findall(r"^id: ([^\r\n]+)", events, re.MULTILINE) == numbers
    again = user.get("/api/tasks/bad/events", headers={"last-event-id": numbers[-1]}).text
    assert "event: line" not in again


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"latency": {}}', b"\0", b'{"verdict": {"status": 5}}']
)
def test_damaged_numbers_are_said_to_be(content: bytes, user: TestClient, console: Console) -> None:
    made_run(console.runs, "good")
    (made_run(console.runs, "bad") / "summary.json").write_bytes(content)
    pages_are_shown(user)
    told = user.get("/api/tasks/bad/text")
    assert (told.status_code, "summary.json cannot be read" in told.json()["error"]) == (409, True)


@pytest.mark.parametrize(
    ("state", "plain"),
    [
        *(
            (state, plain)
            for state in ("ended", "running")
            for plain in ("run.yaml", "run.yaml summary.json report.html")
        ),
        # Without run.yaml the state is unknown.
        *(("ended", plain) for plain in ("task.yaml", "search.yaml", "sweep.json", "plan.json")),
    ],
)
def test_a_named_pipe_in_place_of_a_file_is_not_waited_for(
    state: str, plain: str, user: TestClient, console: Console
) -> None:
    made_run(console.runs, "good")
    folder = made_run(console.runs, "bad", state=state)
    (folder / "task.yaml").write_bytes(b"kind: run\nsettings: {url: http://h}")
    for path in folder.iterdir():
        if path.name not in plain.split():
            path.unlink()
    for name in (*RUN_FILES, SUMMARY, REPORT, LOG, PID, TASK_FILE, "search.yaml", "search.json", "sweep.json", "plan.json",
                 "requests-0.jsonl"):  # fmt: skip
        if name in plain.split():
            (folder / name).touch()
        else:
            os.mkfifo(folder / name)
    pages_are_shown(user)
    directory = RunDirectory(folder)
    assert (directory.has_records, [*directory.samples()], directory.shards("requests.jsonl")) == (False, [], [])
    assert (directory.mock(), directory.changes(), [*directory.scraped_lines("gpu.jsonl")]) == ({}, None, [])


def test_on_a_full_disk_no_half_of_a_task_is_left_and_one_sentence_says_why(user: TestClient, console: Console) -> None:
    made_run(console.runs, "good")
    waiting = console.create(HERE, start_at=LATER)
    with full_disk(0):
        made = user.post("/api/tasks", json={"settings": HERE, "start_at": LATER})
        form = user.post("/new", data={**HERE, "action": "keep"})
        marked = user.patch("/api/tasks/good", json={"title": "x"})
        sent = user.post("/api/files", params={"name": "a.jsonl"}, content=b"{}\n")
        listed = user.get("/api/tasks").json()
    assert [reply.status_code for reply in (made, form, marked, sent)] == [507] * 4
    assert "look at the disk of its runs folder" in made.json()["error"]
    assert "look at the disk of its runs folder" in form.text
    assert {task["id"] for task in listed} == {"good", waiting.id}
    assert sorted(path.name for path in console.runs.iterdir()) == sorted([".console", "good", waiting.id])
    assert console.files.listed() == []
    # The queue continues when there is space again.
    assert user.post("/api/tasks", json={"settings": HERE, "start_at": LATER}).status_code == 201


def test_a_task_whose_log_cannot_be_written_says_so_and_the_next_one_is_due(user: TestClient, console: Console) -> None:
    first = console.create(HERE, start=False).id
    (console.runs / first / "console.log").mkdir()  # A file cannot be opened where a directory is, not even by root.
    console.store.enqueue(first)
    console.runner.look()
    task = console.task(first)
    assert (task.state, "could not be started" in str(task.problem)) == ("could not start", True)
    assert "could not be started" in user.get(f"/tasks/{first}").text
    second = console.create(HERE, start=False)
    console.store.enqueue(second.id)
    due = console.runner.due()
    assert (second.state, None if due is None else due[0]) == (NOT_STARTED, second.id)


def test_a_directory_that_is_taken_away_leaves_the_queue(console: Console, tmp_path: Path) -> None:
    gone = console.create(HERE, start_at=LATER).id
    (console.runs / gone).rename(tmp_path / "elsewhere")
    console.store.enqueue(gone)
    assert (console.runner.due(), console.runner.queue) == (None, {})


def test_a_task_is_looked_for_and_started_by_one_thread_at_a_time(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is checked in parallel with the requests that fill it. Two checks at once could start a task twice."""
    runner, due = console.runner, console.runner.due
    seen: list[tuple[str, bool]] = []

    def looked_for() -> tuple[str, Plan] | None:
        seen.append(("due", runner._looking.locked()))
        return due()

    monkeypatch.setattr(runner, "due", looked_for)
    monkeypatch.setattr(runner, "_start", lambda name, plan: seen.append((name, runner._looking.locked())))
    first = console.create(HERE, start=False).id
    console.store.enqueue(first)
    runner.look()
    assert seen == [("due", True), (first, True)]
    assert not runner._looking.locked()


def test_a_task_counts_as_starting_before_it_leaves_the_queue(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page would say for a moment that it could not start, and follow it no more."""
    dequeue = console.store.dequeue
    seen: list[str] = []

    def taken(name: str) -> None:
        dequeue(name)
        seen.append(console.task(name).state)

    monkeypatch.setattr(console.store, "dequeue", taken)
    first = console.create(HERE, start=False).id
    (console.runs / first / "console.log").mkdir()  # No program is started.
    console.store.enqueue(first)
    console.runner.look()
    assert (seen, console.runner.current, console.task(first).state) == (["starting"], None, "could not start")


def test_a_start_is_decided_by_one_request_at_a_time(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two browsers that press Start at once would put the task into the queue twice."""
    queue, enqueue = console.queue, console.queue.enqueue
    locked: list[bool] = []

    def watched(name: str, secrets: dict[str, Any] | None, start_at: str | None = None) -> Task:
        locked.append(queue._starting.locked())
        return enqueue(name, secrets, start_at)

    monkeypatch.setattr(queue, "enqueue", watched)
    queue.start(console.create(HERE, start=False).id, start_at=LATER)
    assert (locked, queue._starting.locked()) == ([True], False)


def test_a_task_waits_for_a_run_that_a_terminal_started_after_the_console(console: Console) -> None:
    running = made_run(console.runs, "of-a-terminal", state="running")
    first = console.create(HERE, start=False).id
    (console.runs / first / "console.log").mkdir()  # No program is started.
    console.store.enqueue(first)
    with RunDirectory(running).held():
        console.runner.look()
        assert (console.runner.current, console.task(first).state) == ("of-a-terminal", "queued")
    console.runner.look()
    assert (console.runner.current, console.task(first).state) == (None, "could not start")


def test_a_running_run_gives_no_table_and_neither_a_link_nor_an_older_table_is_taken_for_it(
    user: TestClient, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "ran", lambda words, within_s: (2, "error: no request"))
    run = made_run(console.runs, "a", state="running")
    with RunDirectory(run).held():
        reply = user.get("/api/tasks/a/requests.csv")
    assert (reply.status_code, reply.json()["error"]) == (409, "a is running: stop it first")
    (tmp_path / "secret").write_text("of the machine")
    (run / "requests.csv").symlink_to(tmp_path / "secret")
    assert user.get("/api/tasks/a/requests.csv").json() == {"error": "no request"}
    (run / "requests.csv").write_text("older than the records")
    os.utime(run / "requests.csv", (0, 0))
    assert user.get("/api/tasks/a/requests.csv").json() == {"error": "no request"}


# Only the content of sweep.json shows that it belongs to a calibration.
KINDS = [name for name, kind in SHOWN.items() if kind.sign and name != CALIBRATION_SWEEP]


@pytest.mark.parametrize(
    ("kind", "content"),
    # Files that are not JSON are treated alike for every kind.
    [
        *[(kind, content) for kind in KINDS for content in (b"[]", b'{"schema": 1}')],
        *[(KINDS[0], content) for content in (b"{", b"", b"\0")],
    ],
)
def test_the_damaged_numbers_of_a_series_are_said_to_be_and_its_report_is_shown(
    kind: str, content: bytes, user: TestClient, console: Console
) -> None:
    made_run(console.runs, "good")
    (console.runs / "bad").mkdir()
    (console.runs / "bad" / str(SHOWN[kind].sign)).touch()
    numbers = console.runs / "bad" / SHOWN[kind].numbers
    numbers.write_bytes(content)
    (console.runs / "bad" / SHOWN[kind].page).write_text("<!doctype html><h1>As it was</h1>")
    pages_are_shown(user)
    task, said = console.task("bad"), f"{numbers.name} cannot be read: "
    assert (task.state, task.has_report, str(task.problem).startswith(said)) == ("ended", True, True)
    # One sentence, which names the command that makes the file again. A report cannot do that.
    assert str(task.problem).endswith(f". To make it again: python -m bench {kind}")
    assert str(console.runs) not in str(task.problem)
    page = user.get("/tasks/bad").text
    assert (page.count(said), "Its program" in page, "Continue" in page) == (1, False, False)
    assert said in user.get("/").text
    assert "As it was" in user.get("/tasks/bad/report").text
    told = user.get("/api/tasks/bad/text")
    assert (told.status_code, told.json()["error"]) == (409, task.problem)


@pytest.mark.parametrize("start_at", ["", "soon", "0001-01-01T00:00:00+23:00"])
def test_a_start_at_no_time_is_refused_for_a_new_task_and_for_one_that_waits(
    start_at: str, user: TestClient, console: Console
) -> None:
    waiting = console.create(HERE, start=False).id
    for path, body in (("/api/tasks", {"settings": HERE}), (f"/api/tasks/{waiting}/start", {})):
        refused = user.post(path, json={**body, "start_at": start_at})
        assert (refused.status_code, refused.json()["problems"]) == (
            422,
            [{"field": "start_at", "problem": f"{start_at!r} is not a time: write 2026-12-31T18:00"}],
        )
    kept = user.post("/api/tasks", json={"settings": HERE, "start": False, "start_at": LATER})
    assert (kept.status_code, "has no start time" in kept.json()["error"]) == (422, True)
    assert not console.runner.queue


def test_a_name_that_was_removed_before_can_be_removed_again_and_both_come_back(
    user: TestClient, console: Console
) -> None:
    for _ in range(3):
        made_run(console.runs, "nightly")
        assert user.delete("/api/tasks/nightly").status_code == 204
    for name in ("nightly", "nightly-removed", "nightly-removed-2"):
        assert user.post(f"/api/tasks/{name}/restore").status_code == 200


@pytest.mark.parametrize("at_s", [0, 2**33])
def test_a_zip_has_files_of_any_date(at_s: int, user: TestClient, console: Console) -> None:
    os.utime(made_run(console.runs, "old") / "summary.json", (at_s, at_s))
    reply = user.get("/api/tasks/old/zip")
    assert "old/summary.json" in zipfile.ZipFile(io.BytesIO(reply.content)).namelist()


def test_a_number_of_any_length_in_a_header_is_read_or_refused(user: TestClient, console: Console) -> None:
    made_run(console.runs, "good")
    many = "9" * 5_000
    assert user.get("/api/tasks/good/events", headers={"last-event-id": many}).status_code == 200
    upload = user.post("/api/uploads", json={"name": "a.jsonl", "size_bytes": 5}).json()["id"]
    refused = user.put(f"/api/uploads/{upload}", content=b"12345", headers={"content-range": f"bytes {many}-{many}/5"})
    assert refused.status_code == 400
    assert refused.json()["error"].endswith("write bytes FIRST-LAST/5")
