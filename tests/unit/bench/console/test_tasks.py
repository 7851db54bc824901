"""A task's current state follows from its files, and a lost or broken SQLite file loses no task."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from bench.console import live_lines
from bench.console.errors import NotFound
from bench.console.plan import TASK_FILE
from bench.console.store import MIGRATIONS, Marks, Store, Target
from bench.console.task import Task
from bench.console.tasks import LOG, TaskFolder, load_of
from bench.run_files.run_directory import LIVE, RunDirectory
from tests.support.made_tasks import made_run


def store_at(runs: Path) -> Store:
    return Store(runs / ".console" / "console.sqlite")


def tasks_of(runs: Path, queue: dict[str, str | None] | None = None, starting: tuple[str, ...] = ()) -> dict[str, Task]:
    store = store_at(runs)
    found = TaskFolder(runs, store).tasks(queue or {}, starting)
    store.close()
    return {task.id: task for task in found}


def planned(runs: Path, name: str) -> Path:
    path = runs / name
    path.mkdir()
    content = {"kind": "run", "settings": {"url": "http://h:1", "rate": "5", "duration": "2m"}}
    (path / TASK_FILE).write_text(yaml.safe_dump(content))
    return path


def test_every_state_is_told_from_the_files(tmp_path: Path) -> None:
    made_run(tmp_path, "a-ended")
    made_run(tmp_path, "b-stopped", stop_reason="interrupted")
    (made_run(tmp_path, "c-killed", state="running") / LOG).write_text("sending\nerror: the disk is full\n")
    made_run(tmp_path, "d-running", state="warming up")
    planned(tmp_path, "e-queued")
    planned(tmp_path, "f-waits")
    planned(tmp_path, "g-starting")
    (planned(tmp_path, "h-failed") / LOG).write_text("probing http://h:1\nerror: cannot connect to http://h:1\n")
    (tmp_path / "i-other").mkdir()
    # The process of a finished run may still exist.
    with RunDirectory(tmp_path / "d-running").held(), RunDirectory(tmp_path / "a-ended").held():
        found = tasks_of(tmp_path, {"e-queued": None}, ("g-starting",))
    assert {name: task.state for name, task in found.items()} == {
        "a-ended": "ended", "b-stopped": "stopped", "c-killed": "killed", "d-running": "warming up", "e-queued": "queued",
        "f-waits": "not started", "g-starting": "starting", "h-failed": "could not start",
    }  # fmt: skip
    assert found["h-failed"].problem == "cannot connect to http://h:1"
    assert found["c-killed"].problem == "the disk is full"
    assert (found["e-queued"].target, found["e-queued"].load) == ("http://h:1", "5 requests/s, 2 min")
    assert load_of({"concurrency": 2000, "requests": "12000"}) == "2,000 users, 12,000 requests"
    ended = found["a-ended"]
    assert (ended.verdict, ended.load, ended.has_report) == ("VALID", "4 users, 100 requests", True)
    assert ended.verdict_headline == "VALID, 100 requests, 1 failed: median of TTFT can be given, no P90"
    assert (ended.numbers["ttft_p99_ms"], ended.numbers["requests_per_s"]) == (100.0, 12.5)
    assert ended.sparkline == (0.25, 0.5, 1.0)
    assert "out" not in ended.settings
    assert "command" not in ended.settings


def test_the_last_words_of_a_task_call_its_data_by_its_name(tmp_path: Path) -> None:
    data = tmp_path / ".console" / "files" / "rows.jsonl"
    (planned(tmp_path, "a") / LOG).write_text(
        f"error: 2 problems\n- {data}, line 2: not JSON\n- {data}: correct these\n"
    )
    problem = tasks_of(tmp_path)["a"].problem
    assert problem == "2 problems\n- rows.jsonl, line 2: not JSON\n- rows.jsonl: correct these"


def test_the_latest_stands_first_whatever_its_name(tmp_path: Path) -> None:
    made_run(tmp_path, "users")
    started = tasks_of(tmp_path)["users"].started
    assert started is not None
    assert started.startswith("2026-11-25T15:00")
    planned(tmp_path, "20261125T145959-before")
    planned(tmp_path, "20261125T150001-after")
    made_run(tmp_path, "a-later", started="2026-11-25T15:00:00.500000+00:00")
    assert list(tasks_of(tmp_path)) == ["20261125T150001-after", "a-later", "users", "20261125T145959-before"]


def test_a_finished_run_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = made_run(tmp_path, "a")
    assert tasks_of(tmp_path)["a"].numbers["ttft_p50_ms"] == 50.0
    store = store_at(tmp_path)
    assert list(store.seen()) == ["a"]
    store.close()
    (path / "summary.json").write_text((path / "summary.json").read_text().replace("50.0", "250.5"))
    assert tasks_of(tmp_path)["a"].numbers["ttft_p50_ms"] == 250.5


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"id": "a", "state": "ended"}', b'{"id": "a", "state": "ended", "new": 1}']
)
def test_what_another_version_has_stored_of_a_run_is_read_again(content: bytes, tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    before = tasks_of(tmp_path)["a"]
    store = store_at(tmp_path)
    store.keep_seen([("a", store.seen()["a"][0], content)])
    store.close()
    assert tasks_of(tmp_path)["a"] == before


def test_a_damaged_run_does_not_end_the_list(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    (made_run(tmp_path, "b", state="running") / "run.yaml").write_text("config: [")
    found = tasks_of(tmp_path)
    assert [task.state for task in found.values()] == ["killed", "ended"]
    assert (found["b"].problem or "").startswith("run.yaml cannot be read: ")


@pytest.mark.parametrize("name", ["..", ".", "../other", "/etc", "a/../b", ".console", "", "a\x00b", "link", "missing"])
def test_no_name_leads_out_of_the_runs_folder(name: str, tmp_path: Path) -> None:
    runs, other = tmp_path / "runs", tmp_path / "other"
    made_run(tmp_path, "other")
    runs.mkdir()
    (runs / "link").symlink_to(other)
    store = store_at(runs)
    folder = TaskFolder(runs, store)
    with pytest.raises(NotFound):
        folder.directory(name)
    assert folder.names() == []
    store.close()


def test_a_link_to_another_task_is_no_task(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    store = store_at(tmp_path)
    folder = TaskFolder(tmp_path, store)
    with pytest.raises(NotFound):
        folder.directory("b")
    assert folder.names() == ["a"]
    store.close()


def test_a_link_inside_a_task_is_no_file_of_it(tmp_path: Path) -> None:
    path = made_run(tmp_path, "a")
    (tmp_path / "secret").write_text("s")
    (path / "summary.json").unlink()
    (path / "summary.json").symlink_to(tmp_path / "secret")
    store = store_at(tmp_path)
    folder = TaskFolder(tmp_path, store)
    for name in ("summary.json", "../secret", "nothing"):
        with pytest.raises(NotFound):
            folder.file("a", name)
    store.close()


def test_the_queue_keeps_its_order_and_can_be_changed(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for name in "abcd":
        store.enqueue(name)
    store.move("d", -1)
    store.move("a", 1)
    store.move("b", -5)
    store.dequeue("c")
    assert [name for name, _ in store.queue()] == ["b", "a", "d"]
    store.close()


def test_marks_and_targets_outlive_the_process(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    store.mark("a", Marks("Nightly", "gpu", "a note", True))
    store.save_target(Target("lab", "http://lab:8000", key_variable="LAB_KEY", header_variables={"X-Tenant": "TENANT"}))
    store.close()
    again = store_at(tmp_path)
    assert again.marks() == {"a": Marks("Nightly", "gpu", "a note", True)}
    assert again.targets()[0].header_variables == {"X-Tenant": "TENANT"}
    again.forget("a")
    assert again.marks() == {}
    again.close()


def test_a_broken_file_is_put_aside_and_every_task_is_found_again(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    tasks_of(tmp_path)
    path = tmp_path / ".console" / "console.sqlite"
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(b"this is no database, and long enough to be read as one" * 40)
    assert tasks_of(tmp_path)["a"].state == "ended"
    assert path.with_name("console.sqlite.broken").is_file()


def test_a_file_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / ".console" / "console.sqlite"
    path.parent.mkdir()
    sqlite3.connect(path).close()  # An empty database of version 0.
    store = store_at(tmp_path)
    assert store.queue() == []
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"a":' + b"[" * 5000,
        b"[" * 900 + b"]" * 900,
        b"\x00" * 99,
        b'{"latency": [], "throughput": 3}',
    ],
)
@pytest.mark.parametrize("file", ["summary.json", "live.jsonl", "run.yaml", "task.yaml", "search.json", "sweep.json"])
def test_no_damage_to_a_file_of_one_task_ends_the_list_of_the_others(tmp_path: Path, file: str, content: bytes) -> None:
    made_run(tmp_path, "a")
    (made_run(tmp_path, "b") / file).write_bytes(content)
    found = tasks_of(tmp_path)
    assert found["a"].state == "ended"
    assert found["a"].problem is None
    if file == "summary.json":
        assert (found["b"].state, found["b"].has_report) == ("ended", True)
        assert (found["b"].problem or "").startswith("summary.json cannot be read: ")
        assert f"python -m bench report {tmp_path / 'b'}" in (found["b"].problem or "")


def test_settings_of_another_type_are_none(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    for name, content in {
        "b": "settings: [1]",
        "c": "settings: {concurrency: [1], duration: {a: 1}}",
        "d": "kind: [1]",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.yaml").write_text(content)
    assert set(tasks_of(tmp_path)) == {"a", "b", "c", "d"}


def live_line(tokens: int) -> bytes:
    client = {"loop_lag_ms": 0, "cpu": None, "run_queue_share": None}
    line = {"second": {"output_tokens": tokens, "succeeded": 1}, "client": client, "left_s": None, "share_done": None}
    line |= {"sent": 1, "done": 1, "in_flight": 0, "failed": 0}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def test_the_list_shows_what_a_running_load_does_now_and_its_page_does_not_change_with_it(tmp_path: Path) -> None:
    run = made_run(tmp_path, "a", state="running")
    (run / LIVE).write_bytes(b"".join(map(live_line, (10, 40, 20))) + live_line(30)[:20])
    with RunDirectory(run).held():
        assert tasks_of(tmp_path)["a"].sparkline == (0.25, 1.0, 0.5)
        store = store_at(tmp_path)
        assert TaskFolder(tmp_path, store).task("a", {}, ()).sparkline == ()
        store.close()


def test_who_follows_a_run_reads_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / LIVE

    def tokens(rows: list[dict[str, Any] | None]) -> list[int | None]:
        return [None if row is None else row["second"]["output_tokens"] for row in rows]

    assert live_lines.read_on(path, 0, None) == ([], None)
    path.write_bytes(live_line(1) + b"damaged\n" + live_line(2)[:20])
    rows, position = live_lines.read_on(path, 0, None)
    assert tokens(rows) == [1, None]
    path.write_bytes(live_line(1) + b"damaged\n" + live_line(2) + live_line(3))
    rows, end = live_lines.read_on(path, 0, position)
    assert tokens(rows) == [2, 3]
    assert live_lines.read_on(path, 0, end) == ([], end)
    # A reader that reconnects already has two lines.
    assert tokens(live_lines.read_on(path, 2, None)[0]) == [2, 3]


def test_of_directories_that_were_never_read_only_so_many_are_and_what_waits_or_starts_is_read_at_once(
    tmp_path: Path,
) -> None:
    for name in ("d", "c", "b", "a"):
        made_run(tmp_path, name)
    store = store_at(tmp_path)
    folder = TaskFolder(tmp_path, store)

    def states(most_new: int | None) -> dict[str, str]:
        return {task.id: task.state for task in folder.tasks({"b": None}, ("a",), most_new=most_new)}

    assert states(0) == {"a": "ended", "b": "ended", "c": "being read", "d": "being read"}
    assert states(1) == {"a": "ended", "b": "ended", "c": "being read", "d": "ended"}
    assert states(None) == {"a": "ended", "b": "ended", "c": "ended", "d": "ended"}
    assert states(0) == states(None)
    store.close()


def test_some_tasks_are_read_alone_and_a_list_says_when_it_has_others(tmp_path: Path) -> None:
    made_run(tmp_path, "a")
    made_run(tmp_path, "b")
    store = store_at(tmp_path)
    folder = TaskFolder(tmp_path, store)
    assert [task.id for task in folder.tasks({}, (), only=["b", "../b", "none", ".console"])] == ["b"]
    before = folder.mark()
    assert folder.mark() == before
    made_run(tmp_path, "c")
    assert folder.mark() != before
    store.close()
