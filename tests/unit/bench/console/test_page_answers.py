"""What the forms of the pages pass on, and what the pages offer: without a browser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from bench.console import hubs
from bench.console.comparing import Comparison
from bench.console.data_rows import Rows
from bench.console.errors import Refused
from bench.console.hub_loads import HubLoad
from bench.console.pages import site as pages_site
from bench.console.pages.site import Answer, Site
from bench.console.pages.tasks import in_turn
from bench.console.service import Console
from bench.console.store import Target
from bench.console.task import Task
from tests.support.made_tasks import made_run, made_tune

HERE = {"url": "http://127.0.0.1:9", "requests": 1}
LATER = "2999-01-01T00:00"
SPLITS = {
    "line": Rows(),
    "whole": Rows(whole=True),
    "base64": Rows(base64=True),
    "whole-base64": Rows(whole=True, base64=True),
    "unknown": Rows(),
}


@pytest.mark.parametrize("split", SPLITS)
def test_data_is_taken_from_a_file_else_a_url_else_a_hub_and_split_as_chosen(
    split: str, user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def add(name: str, content: bytes, rows: Rows) -> list[str]:
        given.append((name, content, rows))
        return [name]

    async def fetch(url: str, rows: Rows) -> list[str]:
        given.append((url, rows))
        return ["x"]

    monkeypatch.setattr(console.files, "add", add)
    monkeypatch.setattr(console, "fetch", fetch)
    monkeypatch.setattr(console.hub_loads, "begin", lambda *words: given.append(words))
    form = {"split": split, "url": " http://h/x ", "name": " o/n ", "hub": "modelscope", "file_of_it": " f "}
    file = {"file": ("a.csv", b"rows")}
    for data, files in (
        (form, file),
        (form, {"file": ("", b"")}),
        ({**form, "url": " "}, {"file": ("", b"")}),
        ({**form, "url": "", "file_of_it": ""}, {"file": ("", b"")}),
    ):
        reply = user.post("/data", data=data, files=files, follow_redirects=False)
        assert (reply.status_code, reply.headers["location"]) == (303, "/data")
    rows = SPLITS[split]
    assert given == [
        ("a.csv", b"rows", rows), ("http://h/x", rows), ("modelscope", "o/n", "f", rows), ("modelscope", "o/n", None, rows),
    ]  # fmt: skip


def test_a_field_of_a_file_that_a_browser_left_empty_is_no_file(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    async def fetch(url: str, rows: Rows) -> list[str]:
        given.append(url)
        return ["x"]

    monkeypatch.setattr(console, "fetch", fetch)
    body = (
        '--B\r\ncontent-disposition: form-data; name="file"; filename=""\r\ncontent-type: application/octet-stream\r\n\r\n'
        '\r\n--B\r\ncontent-disposition: form-data; name="url"\r\n\r\nhttp://h/x\r\n--B--\r\n'
    )
    kind = {"content-type": "multipart/form-data; boundary=B"}
    reply = user.post("/data", content=body, headers=kind, follow_redirects=False)
    assert (reply.status_code, given) == (303, ["http://h/x"])


def test_a_form_of_data_without_any_is_refused_and_shown_as_it_was(user: TestClient) -> None:
    page = user.post("/data", data={"url": " ", "split": "base64"}, files={"file": ("", b"")})
    assert page.status_code == 400
    assert "Choose a file, or give a URL or the name of a data set." in page.text
    assert re.findall(r'value="([^"]+)" selected', page.text)[-1:] == ["base64"]


def test_the_page_of_data_states_its_limits_and_lists_what_is_not_kept_yet(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = [
        HubLoad(
            id=str(n), hub="huggingface", name=f"lab/{state}", file=None, state=state, begun="2026-12-02T18:00:00+00:00"
        )
        for n, state in enumerate(("looking it up", "kept", "failed"))
    ]
    monkeypatch.setattr(console.hub_loads, "listed", lambda: loads)
    console.files.add("mine.jsonl", b'{"prompt": "hello"}\n')
    text = user.get("/data").text
    assert [name in text for name in ("lab/looking it up", "lab/kept", "lab/failed")] == [True, False, True]
    assert all(limit in text for limit in ("2 GiB", "64 MiB", "100 files"))
    assert all(hub.title in text for hub in hubs.HUBS.values())
    assert "{&#34;prompt&#34;: &#34;hello&#34;}" in text


def test_what_waits_and_runs_comes_first_and_the_rest_keeps_its_order() -> None:
    tasks = [Task(id=name, state=state) for name, state in (
        ("e1", "ended"), ("q2", "queued"), ("n", "not started"), ("q1", "queued"), ("r", "running"), ("q3", "queued"),
        ("e2", "killed"), ("w", "warming up"),
    )]  # fmt: skip
    first, rest = in_turn(tasks, ["q1", "q2"])
    assert [task.id for task in first] == ["r", "w", "q1", "q2", "q3"]
    assert [task.id for task in rest] == ["e1", "n", "e2"]


def test_the_list_reads_200_of_the_tasks_that_a_page_follows(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def tasks(*, only: list[str]) -> list[Task]:
        asked.append(only)
        return []

    monkeypatch.setattr(console, "tasks", tasks)
    user.get("/?" + "&".join(f"only={number}" for number in range(201)))
    user.get("/")
    assert asked == [[str(number) for number in range(200)], []]


def test_a_page_of_the_list_beyond_the_last_is_the_last_and_says_which_tasks_it_has(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.console.pages.tasks.SHOWN_AT_ONCE", 2)
    for name in "abcde":
        made_run(console.runs, name)
    parts = {
        page: re.findall(r"\d to \d of \d", user.get(f"/?page={page}").text) for page in ("1", "2", "3", "4", "1x", "²")
    }
    assert parts == {"1": ["1 to 2 of 5"], "2": ["3 to 4 of 5"], "3": ["5 to 5 of 5"], "4": ["5 to 5 of 5"],
                     "1x": ["1 to 2 of 5"], "²": ["1 to 2 of 5"]}  # fmt: skip


def test_the_last_50_answers_to_forms_are_kept(console: Console) -> None:
    site = Site(console, "csrf")
    assert pages_site.MOST_ANSWERS == 50
    keys = [
        site.answer("/new", 422, number=number).headers["location"].partition("?answer=")[2] for number in range(51)
    ]
    assert {len(key) for key in keys} == {16}

    def answer_of(key: str | None) -> Answer:
        request: Any = SimpleNamespace(query_params={} if key is None else {"answer": key})
        return site.answer_of(request)

    assert [answer_of(keys[number]) for number in (1, 50)] == [Answer(422, {"number": 1}), Answer(422, {"number": 50})]
    assert answer_of(keys[0]) == answer_of(None) == Answer(200, {})
    assert site.answer("/new").headers["location"].startswith("/new?answer=")
    assert {answer.status for answer in site._answers.values()} == {422, 200}


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("", None),
        ("X-A: ONE\n\n X-B :TWO ", {"X-A": "ONE", "X-B": "TWO"}),
        ("X-A: ONE\nX-B", "refused"),
        ("X-A:", "refused"),
        (": ONE\nX-B: TWO", "refused"),
        ("X-A: ONE\nX-B:", "refused"),
    ],
)
def test_variables_of_headers_are_typed_one_on_a_line(
    text: str,
    variables: dict[str, str] | str | None,
    user: TestClient,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved: list[Mapping[str, Any]] = []
    monkeypatch.setattr(console, "save_target", saved.append)
    form = {"name": "lab", "url": "http://h", "model": "m", "header_variables": text, "other": "x"}
    reply = user.post("/targets", data=form, follow_redirects=False)
    assert reply.status_code == 303
    if variables == "refused":
        page = user.get(reply.headers["location"])
        assert (page.status_code, saved) == (400, [])
        assert "Write each header as NAME: VARIABLE, one on a line." in page.text
        assert 'value="lab"' in page.text
    else:
        (row,) = saved
        assert row == {"name": "lab", "url": "http://h", "endpoint": "", "model": "m", "tokenizer": "", "key_variable": "",
                       "header_variables": variables or {}}  # fmt: skip


def test_a_target_is_removed_by_its_button_and_one_that_is_gone_is_named(user: TestClient, console: Console) -> None:
    console.store.save_target(Target("lab", "http://127.0.0.1:9"))
    first = user.post("/targets/lab/remove", follow_redirects=False)
    assert (first.headers["location"], console.targets()) == ("/targets", [])
    gone = user.post("/targets/lab/remove")
    assert gone.status_code == 404
    assert "lab: there is no target &#39;lab&#39;, and none is saved: give the URL instead" in gone.text


def test_the_mock_is_stopped_by_its_button_and_a_refusal_keeps_what_was_typed(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(type(console.mock), "stop", lambda mock: stopped.append("it"))
    assert user.post("/mock/stop", follow_redirects=False).headers["location"] == "/targets"
    assert stopped == ["it"]

    def start(mock: object, flags: str) -> str:
        raise Refused([("flags", "--nonsense is not known")])

    monkeypatch.setattr(type(console.mock), "start", start)
    page = user.post("/mock/start", data={"flags": "--nonsense 1"})
    assert (page.status_code, 'value="--nonsense 1"' in page.text) == (422, True)
    assert "The mock: --nonsense is not known." in page.text


def test_a_task_alone_is_offered_those_it_can_be_compared_with(user: TestClient, console: Console) -> None:
    for name in ("a", "b"):
        made_run(console.runs, name)
    made_run(console.runs, "killed", state="running")
    made_tune(console.runs, "race")
    page = user.get("/compare?task=a").text
    assert re.findall(r'<option value="([^"]+)"', page) == ["b"]
    assert "<option" not in user.get("/compare").text


def test_the_page_of_a_comparison_passes_its_words_on(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        made_run(console.runs, name)
    asked: list[tuple[list[str], dict[str, str]]] = []

    def compared(names: list[str], **words: str) -> Comparison:
        asked.append((names, words))
        return Comparison((), page="<p>", document=None)

    monkeypatch.setattr(console, "compared", compared)
    page = user.get("/compare?task=b&task=a&task=b&margin=3%25&by=label").text
    assert asked == [(["a", "b"], {"by": "label", "margin": "3%", "allow": ""})]
    assert 'src="/compare/report?task=a&amp;task=b&amp;by=label&amp;margin=3%25"' in page
    user.get("/compare?task=a")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("action", "fields", "leads_to"),
    [
        ("mark", {"title": "T"}, "/tasks/run"),
        ("mark", {"title": "T", "then": "list"}, "/"),
        ("baseline", {"baseline": "on"}, "/tasks/run"),
        ("remove", {}, "/?removed=run"),
        ("remove", {"then": "list"}, "/?removed=run"),
        ("remove", {"files": "yes"}, "/"),
    ],
)
def test_an_action_leads_to_the_task_or_to_the_list(
    action: str, fields: dict[str, str], leads_to: str, user: TestClient, console: Console
) -> None:
    made_run(console.runs, "run")
    reply = user.post(f"/tasks/run/{action}", data=fields, follow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (303, leads_to)


def test_marks_are_changed_by_the_fields_that_are_sent(user: TestClient, console: Console) -> None:
    made_run(console.runs, "run")
    for fields in ({"title": "T", "label": "l", "note": "n"}, {"label": ""}):
        user.post("/tasks/run/mark", data=fields)
    marks = console.task("run").marks
    assert (marks.title, marks.label, marks.note, marks.baseline) == ("T", None, "n", False)
    for value, baseline in (("on", True), ("off", False)):
        user.post("/tasks/run/baseline", data={"baseline": value})
        assert console.task("run").marks.baseline is baseline
    wrong = user.post("/tasks/run/dance")
    assert (wrong.status_code, "A task has no action &#39;dance&#39;." in wrong.text) == (400, True)
    assert user.post("/tasks/none/dance", follow_redirects=False).status_code == 404


@pytest.mark.parametrize(
    ("load", "problem", "has_report", "offered"),
    [("rate", None, True, True), ("concurrency", None, True, False), ("rate", "damaged", True, False),
     ("rate", None, False, False), (None, None, True, True)],
)  # fmt: skip
def test_replicas_are_planned_from_a_search_of_a_rate_that_has_a_result(
    load: str | None, problem: str | None, has_report: bool, offered: bool, user: TestClient, console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    made_run(console.runs, "found")
    settings = {"url": "http://h", "slo": ["ttft:p99<1s"], **({} if load is None else {"load": load})}
    task = Task(id="found", state="ended", kind="search", settings=settings, problem=problem, has_report=has_report)
    other = Task(id="planned", state="ended", kind="plan", made_from="found")
    monkeypatch.setattr(console, "task", lambda name: task)
    monkeypatch.setattr(
        console, "tasks", lambda **_: [task, other, Task(id="x", state="ended", kind="plan", made_from="y")]
    )
    page = user.get("/tasks/found").text
    path = console.runs / "found"
    assert (f"python -m bench plan --search {path} --rates day.csv --out {path}-plan" in page) is offered
    assert ('href="/tasks/planned"' in page, 'href="/tasks/x"' in page) == (offered, False)


def test_the_form_begins_with_the_first_server_or_the_named_one(user: TestClient, console: Console) -> None:
    for name in ("a", "b"):
        console.store.save_target(Target(name, f"http://{name}:1"))

    def chosen(query: str) -> list[str]:
        return re.findall(
            r'<option value="([^"]+)" data-url="[^"]*" selected',
            user.get(f"/new{query}").text.partition('name="target"')[2],
        )[:1]

    assert [chosen(query) for query in ("", "?target=b", "?template=rate")] == [["a"], ["b"], ["a"]]


def test_the_form_shows_the_command_and_the_yaml_of_what_is_complete(user: TestClient, console: Console) -> None:
    command = "python -m bench run --rate 5 --duration 2m"
    assert command in user.get("/new?template=rate").text
    assert "python -m bench run" not in user.get("/new").text
    refused = user.post("/new", data={"kind": "run", "rate": "5", "duration": "soon", "data": "simulated"}).text
    assert "python -m bench run --rate" not in refused
    made_run(console.runs, "night")
    console.mark("night", {"title": "Night"})
    copy = user.get("/new?from=night").text
    assert ('name="title" value="Night"' in copy, "--requests 100 --url http://127.0.0.1:9" in copy) == (True, True)


def test_a_copy_of_a_task_of_a_saved_server_keeps_the_server_and_not_its_address(
    user: TestClient, console: Console
) -> None:
    made_run(console.runs, "night")
    console.store.save_target(Target("lab", "http://127.0.0.1:9"))
    page = user.get("/new?from=night").text
    assert '<option value="lab" data-url="http://127.0.0.1:9" selected' in page
    assert ("--requests 100" in page, "--url http://127.0.0.1:9" in page) == (True, False)


@pytest.mark.parametrize(
    ("key", "target", "created"),
    [("rate", "lab", ("lab", "run", "Fixed rate", 0)), ("rate", "", ("mock", "run", "Fixed rate", 1)),
     ("search", "lab", ("lab", "search", "Which load it holds", 0)),
     ("calibration", "lab", (None, "calibrate", "Calibration", 0))],
)  # fmt: skip
def test_a_template_is_started_against_the_chosen_server_or_the_mock(
    key: str, target: str, created: tuple[object, ...], user: TestClient, console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    started: list[str] = []
    made: list[tuple[object, ...]] = []

    def create(settings: object, *, target: str | None, kind: str, title: str) -> Task:
        made.append((target, kind, title, len(started)))
        return Task(id="new", state="queued")

    monkeypatch.setattr(console, "create", create)
    monkeypatch.setattr(type(console.mock), "start", lambda mock: started.append("it"))
    reply = user.post(f"/new/template/{key}", data={"target": target}, follow_redirects=False)
    assert (reply.status_code, reply.headers["location"], made) == (303, "/tasks/new", [created])
    assert user.post("/new/template/none").status_code == 400


def test_a_form_is_kept_or_started_with_its_secrets_and_its_time(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[object, ...]] = []

    def create(settings: Mapping[str, Any], **words: object) -> Task:
        made.append(
            (dict(settings), *(words[name] for name in ("secrets", "target", "kind", "title", "start", "start_at")))
        )
        return Task(id="new", state="queued")

    monkeypatch.setattr(console, "create", create)
    form = {"kind": "run", "rate": "5", "stream": "on", "title": " T ", "data": "simulated"}
    user.post("/new", data={**form, "target": "lab", "api_key": "sk-1", "headers": "X: y", "start_at": LATER})
    user.post("/new", data={**form, "action": "keep", "url": "http://h"})
    assert made == [
        ({"rate": "5"}, {"api_key": "sk-1", "header": ["X: y"]}, "lab", "run", "T", True, LATER),
        ({"url": "http://h", "rate": "5"}, {}, None, "run", "T", False, None),
    ]  # fmt: skip


def test_a_form_that_is_probed_shows_the_answer_and_remembers_that_secrets_were_typed(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def probe(settings: object, secrets: object, target: Target | None) -> str:
        asked.append((settings, secrets, target and target.name))
        return "it answers"

    monkeypatch.setattr(console, "probe", probe)
    console.store.save_target(Target("lab", "http://h"))
    form = {"kind": "search", "action": "probe", "budget": "3m", "stream": "on", "data": "simulated"}
    first = user.post("/new", data={**form, "target": "lab", "api_key": "sk-1"}).text
    second = user.post("/new", data={**form, "url": "http://x"}).text
    assert asked == [({}, {"api_key": "sk-1"}, "lab"), ({"url": "http://x"}, {}, None)]
    assert all("It answers." in page for page in (first, second))
    assert "sk-1" not in first
