"""What the API answers: its statuses, headers and defaults, and the errors that every route has in common."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import orjson
import pytest
from starlette.testclient import TestClient

from bench.console.app import create_app
from bench.console.data_rows import Rows
from bench.console.hub_loads import HubLoad
from bench.console.mock import DEFAULT_FLAGS
from bench.console.security import Keys
from bench.console.service import Console
from bench.console.store import Store
from bench.results.base import to_plain
from tests.support.console_process import TOKEN
from tests.support.golden_run import golden_summary
from tests.support.made_tasks import made_run, made_tune

HERE = {"url": "http://127.0.0.1:9", "requests": 1}
LATER = "2999-01-01T00:00"
SANDBOX = "sandbox allow-scripts"


def test_a_console_that_ends_stops_its_index_then_its_queue_and_closes_its_store_last(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    indexing, closed = threading.Event(), threading.Event()

    def index(stopped: Callable[[], bool]) -> None:
        indexing.set()
        for _ in range(60_000):
            if stopped():
                # Nothing may be closed while the index still reads.
                events.append("closed too soon" if closed.wait(0.1) else "index")
                return
            closed.wait(0.001)
        events.append("index was not told to stop")

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("queue")

    def close() -> None:
        closed.set()
        events.append("store")

    monkeypatch.setattr(console.folder, "index", index)
    monkeypatch.setattr(console.runner, "run", run)
    monkeypatch.setattr(console, "close", close)
    with TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1"):
        assert indexing.wait(60)
        assert events == []
    assert events == ["index", "queue", "store"]


def test_a_console_that_starts_reads_each_run_so_that_no_page_has_to(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made_run(tmp_path, name)
    console = Console(tmp_path)
    read, keep = threading.Event(), console.store.keep_seen

    def kept(rows: Any) -> None:
        keep(rows)
        if len(console.store.seen()) == 2:
            read.set()

    console.store.keep_seen = kept  # type: ignore[method-assign]
    with TestClient(create_app(console, Keys(TOKEN)), base_url="http://127.0.0.1"):
        assert read.wait(60)
    with pytest.raises(sqlite3.ProgrammingError):
        console.store.queue()
    store = Store(tmp_path / ".console" / "console.sqlite")
    assert sorted(store.seen()) == ["a", "b"]
    store.close()


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (OSError(28, "No space left on device"), 507, "(No space left on device)"),
        (OSError("odd"), 507, "(odd)"),
        (sqlite3.OperationalError("database or disk is full"), 507, "(database or disk is full)"),
        (FileNotFoundError(2, "No such file or directory"), 404, None),
    ],
)
def test_a_disk_that_fails_is_one_sentence_with_its_reason(
    error: Exception, status: int, sentence: str | None, user: TestClient, console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(**_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(console, "tasks", fail)
    whole = (
        "this was deleted in the meantime"
        if sentence is None
        else f"a file of the console cannot be read or written {sentence}: look at the disk of its runs folder"
    )
    reply, page = user.get("/api/tasks"), user.get("/")
    assert (reply.status_code, reply.json(), page.status_code) == (status, {"error": whole}, status)
    title = "Not here" if status == 404 else "That did not work"
    assert f"<h1>{title}</h1><p>{whole[0].upper()}{whole[1:]}.</p><p><a href=/>All tasks</a></p>" in page.text


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (b"[]", [(None, "Input should be a valid dictionary or object to extract fields from")]),
        (b'{"settings": 5, "start": "perhaps"}',
         [("settings", "Input should be a valid dictionary"),
          ("start", "Input should be a valid boolean, unable to interpret input")]),
        (b'{"sk-1": 1}', [("sk-1", "Extra inputs are not permitted")]),
    ],
)  # fmt: skip
def test_a_body_of_another_shape_is_refused_with_each_problem(
    body: bytes, problems: list[tuple[str | None, str]], user: TestClient
) -> None:
    reply = user.post("/api/tasks", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()) == (422, {
        "error": "; ".join(f"{field or 'body'}: {problem}" for field, problem in problems),
        "problems": [{"field": field, "problem": problem} for field, problem in problems],
    })  # fmt: skip


def test_settings_that_are_refused_name_their_fields(user: TestClient) -> None:
    reply = user.post("/api/tasks", json={"settings": {**HERE, "requests": 0}})
    assert reply.status_code == 422
    (problem,) = reply.json()["problems"]
    assert problem["field"] == "requests"
    assert reply.json()["error"] == problem["problem"]


def test_a_static_file_comes_with_its_hash_and_is_not_sent_again(user: TestClient) -> None:
    reply = user.get("/static/console.css")
    assert (reply.status_code, reply.headers["cache-control"], len(reply.headers["etag"])) == (200, "no-cache", 34)
    again = user.get("/static/console.css", headers={"if-none-match": reply.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", reply.headers["etag"])
    assert user.get("/static/console.css", headers={"if-none-match": '"other"'}).content == reply.content


@pytest.mark.parametrize(
    ("path", "kind", "name", "has_sandbox"),
    [
        ("summary", "application/json", None, False),
        ("requests", "application/jsonl", "run.jsonl", False),
        ("report", "text/html; charset=utf-8", None, True),
        ("report?download=true", "text/html; charset=utf-8", "run.html", True),
        ("text", "text/plain; charset=utf-8", None, False),
        ("text?download=1", "text/plain; charset=utf-8", "run.md", False),
        ("zip", "application/zip", "run.zip", False),
        ("numbers.csv", "text/csv; charset=utf-8", "run.csv", False),
    ],
)
def test_a_result_has_its_type_and_a_download_its_name(
    path: str, kind: str, name: str | None, has_sandbox: bool, user: TestClient, console: Console
) -> None:
    summary = made_run(console.runs, "run") / "summary.json"
    summary.write_bytes(orjson.dumps(to_plain(golden_summary())))
    reply = user.get(f"/api/tasks/run/{path}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, kind)
    disposition = None if name is None else f'attachment; filename="{name}"'
    assert reply.headers.get("content-disposition") == disposition
    assert reply.headers["content-security-policy"].startswith(SANDBOX) is has_sandbox


def test_the_text_of_a_race_is_no_markdown(user: TestClient, console: Console) -> None:
    made_tune(console.runs, "race")
    reply = user.get("/api/tasks/race/text?download=1")
    assert reply.headers["content-disposition"] == 'attachment; filename="race.txt"'


def test_the_live_lines_begin_after_those_that_are_known(user: TestClient, console: Console) -> None:
    made_run(console.runs, "run")
    tokens = {
        after: [row["second"]["output_tokens"] for row in user.get(f"/api/tasks/run/live{after}").json()]
        for after in ("", "?after=0", "?after=1", "?after=4", "?after=-3")
    }
    whole = [10, 20, 40, 1]
    assert tokens == {"": whole, "?after=0": whole, "?after=1": whole[1:], "?after=4": [], "?after=-3": whole}
    assert len(console.live("run")) == 4
    events = {
        query: user.get(f"/api/tasks/run/events{query}", headers=headers).text.count("event: line")
        for query, headers in (("", {}), ("?after=1", {}), ("?after=-3", {}), ("?after=2", {"last-event-id": "3"}),
                               ("?after=3", {"last-event-id": "9" * 19}), ("?after=0", {"last-event-id": "9" * 18}))
    }  # fmt: skip
    assert events == {"": 4, "?after=1": 3, "?after=-3": 4, "?after=2": 1, "?after=3": 1, "?after=0": 0}


def test_a_new_task_is_queued_and_a_copy_started_unless_asked_otherwise(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.runner, "look", lambda: None)  # Nothing is started.
    made = [user.post("/api/tasks", json={"settings": HERE, **start}).json() for start in ({}, {"start": False})]
    assert [task["state"] for task in made] == ["queued", "not started"]
    assert [task["kind"] for task in made] == ["run", "run"]
    path = f"/api/tasks/{made[0]['id']}/clone"
    copies = [
        user.post(path, json=given) for given in (None, {}, {"start": False, "settings": {"requests": None, "rate": 2}})
    ]
    assert [(copy.status_code, copy.json()["state"]) for copy in copies] == [
        (201, "queued"), (201, "queued"), (201, "not started"),
    ]  # fmt: skip
    assert copies[2].json()["settings"] == {"url": "http://127.0.0.1:9", "rate": 2}
    started = user.post(f"/api/tasks/{made[1]['id']}/start")
    assert (started.status_code, started.json()["state"]) == (200, "queued")
    later = user.post(f"/api/tasks/{copies[2].json()['id']}/start", json={"start_at": LATER}).json()
    assert (later["state"], later["start_at"]) == ("queued", "2999-01-01T00:00:00+00:00")
    moved = user.post(f"/api/tasks/{later['id']}/move", params={"places": -9}).json()
    assert (moved["id"], next(iter(console.runner.queue))) == (later["id"], later["id"])
    stopped = user.post(f"/api/tasks/{later['id']}/stop").json()
    assert (stopped["state"], later["id"] in console.runner.queue) == ("not started", False)


def test_the_history_has_the_latest_200_acts_and_at_most_10000(user: TestClient, console: Console) -> None:
    for number in range(201):
        console.store.note("a", f"act {number}")
    acts = [act["what"] for act in user.get("/api/history").json()]
    assert (len(acts), acts[0], acts[-1]) == (200, "act 200", "act 1")
    assert [act["what"] for act in user.get("/api/history?most=1").json()] == ["act 200"]
    statuses = [user.get(f"/api/history?most={most}").status_code for most in (-1, 0, 10_000, 10_001)]
    assert statuses == [422, 200, 200, 422]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", Rows()),
        ("&whole=true", Rows(whole=True)),
        ("&base64=true", Rows(base64=True)),
        ("&whole=1&base64=1", Rows(whole=True, base64=True)),
    ],
)
def test_a_file_is_split_as_the_request_says(
    query: str, rows: Rows, user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def add(name: str, content: bytes, rows: Rows) -> list[str]:
        given.append((name, content, rows))
        return [name]

    async def fetch(url: str, rows: Rows) -> list[str]:
        given.append((url, rows))
        return ["x"]

    load = HubLoad(id="1", hub="h", name="n", file=None, state="kept", begun="now")

    def begin(*words: object) -> HubLoad:
        given.append(words)
        return load

    monkeypatch.setattr(console.files, "add", add)
    monkeypatch.setattr(console, "fetch", fetch)
    monkeypatch.setattr(console.hub_loads, "begin", begin)
    reply = user.post(f"/api/files?name=a.csv{query}", content=b"rows")
    assert (reply.status_code, reply.json()) == (201, {"names": ["a.csv"]})
    body = {key: True for key in ("whole", "base64") if getattr(rows, key)}
    assert user.post("/api/files/fetch", json={"url": "http://h/x", **body}).status_code == 201
    assert user.post("/api/hub-loads", json={"name": "o/n", **body}).status_code == 201
    assert (
        user.post("/api/hub-loads", json={"name": "o/n", "hub": "modelscope", "file": "f", **body}).json()["id"] == "1"
    )
    assert given == [
        ("a.csv", b"rows", rows), ("http://h/x", rows), ("huggingface", "o/n", None, rows), ("modelscope", "o/n", "f", rows),
    ]  # fmt: skip


def test_whoever_waits_for_a_load_waits_for_30_seconds_at_most(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    load = HubLoad(id="1", hub="h", name="n", file=None, state="kept", begun="now")

    def seen(name: str, wait_s: float) -> HubLoad:
        waited.append(wait_s)
        return load

    monkeypatch.setattr(console.hub_loads, "load", seen)
    queries = ("", "?wait_s=30", "?wait_s=30.5", "?wait_s=-1", "?wait_s=0")
    statuses = [user.get(f"/api/hub-loads/1{query}").status_code for query in queries]
    assert (statuses, waited) == ([200, 200, 422, 422, 200], [0.0, 30.0, 0.0])


def test_the_mock_is_started_with_its_usual_flags_or_those_given(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def start(flags: str) -> str:
        asked.append(flags)
        return "http://127.0.0.1:1"

    monkeypatch.setattr(console.mock, "start", start)
    assert user.get("/api/mock").json() == {"url": None, "flags": DEFAULT_FLAGS}
    for body in (None, {}, {"flags": "--seed 7"}):
        assert user.post("/api/mock/start", json=body).json() == {"url": "http://127.0.0.1:1"}
    assert asked == [DEFAULT_FLAGS, DEFAULT_FLAGS, "--seed 7"]
    assert user.post("/api/mock/stop").status_code == 204


def test_a_target_is_saved_and_forgotten(user: TestClient) -> None:
    saved = user.post("/api/targets", json={"name": "lab", "url": "http://127.0.0.1:9", "model": ""})
    row = {"name": "lab", "url": "http://127.0.0.1:9", "endpoint": None, "model": None, "tokenizer": None,
           "key_variable": None, "header_variables": None}  # fmt: skip
    assert (saved.status_code, saved.json(), user.get("/api/targets").json()) == (201, row, [row])
    forgotten = [user.delete("/api/targets/lab").status_code for _ in range(2)]
    assert (forgotten, user.get("/api/targets").json()) == ([204, 404], [])
