"""The actions of the pages' forms, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from fastapi.routing import APIRoute
from jinja2 import UndefinedError
from starlette.testclient import TestClient

from bench.console.app import create_app
from bench.console.errors import ConsoleError
from bench.console.pages import PAGES
from bench.console.pages import tasks as list_page
from bench.console.pages.site import templates
from bench.console.security import CSRF_FIELD, Keys
from bench.console.service import Console
from bench.console.store import Target
from bench.results.base import to_plain
from bench.run_files.run_directory import RunDirectory
from mockserver.cli import read_arguments
from tests.support.console_process import READ_TOKEN, TOKEN
from tests.support.golden_run import golden_summary
from tests.support.made_tasks import made_run

SETTINGS = {"url": "http://127.0.0.1:9", "requests": 1}
LATER = "2999-01-01T00:00"


ROUTES = [route for page in PAGES for route in page.routes.routes if isinstance(route, APIRoute)]
PATHS = [route.path for route in ROUTES if "GET" in (route.methods or ()) and "{" not in route.path]


@pytest.mark.parametrize("path", PATHS)
def test_each_page_renders_with_a_title_and_a_heading(path: str, user: TestClient) -> None:
    page = user.get(path)
    assert page.status_code < 500, page.text
    assert len(re.findall("<title>.+</title>", page.text)) == 1, f"{path}: its template needs a block title"
    assert page.text.count("<h1") == 1, f"{path}: its template needs one heading, in the block main"


def test_the_queue_is_reordered_from_the_list(user: TestClient, console: Console) -> None:
    names = [console.create(SETTINGS, title=title, start_at=LATER).id for title in "abc"]
    assert f'formaction="/tasks/{names[2]}/move" name="to" value="front"' in user.get("/").text
    assert user.post(f"/tasks/{names[2]}/move", data={"to": "front"}, follow_redirects=False).status_code == 303
    user.post(f"/tasks/{names[0]}/move", data={"to": "end"})
    assert list(console.runner.queue) == [names[2], names[0], names[1]]


def test_the_mock_takes_each_flag_that_the_page_of_targets_suggests(user: TestClient) -> None:
    said = re.search(r"As for python -m mockserver: (.+)</span>", user.get("/targets").text)
    assert said is not None
    examples = said[1].split(", --")
    assert len(examples) == 3
    for example in examples:
        read_arguments(f"--{example.removeprefix('--')}".split())


def test_a_target_names_variables_of_headers(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUELOAD_KEY_TENANT", "blue")
    form = {"name": "lab", "url": "http://127.0.0.1:9", "header_variables": "X-Tenant: TRUELOAD_KEY_TENANT\n"}
    assert user.post("/targets", data=form, follow_redirects=False).status_code == 303
    assert console.target("lab").header_variables == {"X-Tenant": "TRUELOAD_KEY_TENANT"}
    wrong = user.post("/targets", data={**form, "header_variables": "nothing"})
    assert (wrong.status_code, "NAME: VARIABLE" in wrong.text) == (400, True)


@pytest.mark.parametrize("error", [None, ConsoleError("it does not answer")])
def test_a_target_is_tried_and_its_answer_shown(
    error: ConsoleError | None, user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(_settings: object, _secrets: object, target: Target) -> str:
        if error is not None:
            raise error
        return f"{target.url} answers"

    monkeypatch.setattr(console, "probe", probe)
    user.post("/targets", data={"name": "lab", "url": "http://127.0.0.1:9"})
    page = user.post("/targets/lab/probe")
    assert page.status_code == (200 if error is None else 400)
    assert f"lab: {'http://127.0.0.1:9 answers' if error is None else error}" in page.text


def test_yaml_of_a_search_fills_the_form_of_a_search(user: TestClient) -> None:
    page = user.post(
        "/new", data={CSRF_FIELD: "", "action": "paste", "kind": "run", "yaml": "budget: 3m\nslo: [ttft:p99<1s]"}
    )
    assert 'name="kind" value="search"' in page.text
    assert 'name="budget" value="3m"' in page.text
    refused = user.post("/new", data={"action": "paste", "kind": "run", "yaml": "nonsense: 1"})
    assert (refused.status_code, "not known: nonsense" in refused.text) == (422, True)
    refused = user.post("/new", data={"action": "paste", "kind": "run", "yaml": "slo: " + "[" * 1000})
    assert (refused.status_code, "nested too deeply" in refused.text) == (422, True)
    refused = user.post("/new", data={"action": "paste", "kind": "run", "yaml": "slo: &a [*a]"})
    assert "an alias (*) that contains itself" in refused.text


def test_a_choice_is_offered_once(user: TestClient) -> None:
    page = user.get("/new?kind=search").text
    options = re.findall(r"<option[^>]*>([^<]+)", page.partition('name="load"')[2].partition("</select>")[0])
    assert options == ["Fixed rate", "Fixed users", "Conversations"]
    # A copy of a task that states a default explicitly.
    said = user.post("/new", data={"action": "paste", "kind": "search", "yaml": "load: rate"}).text
    assert '<option value="rate" selected>' in said


def test_what_was_typed_of_data_that_cannot_be_fetched_stays(user: TestClient) -> None:
    form = {"url": "ftp://host/rows", "name": "a/b", "hub": "modelscope", "file_of_it": "train.csv", "split": "whole"}
    page = user.post("/data", data=form).text
    assert "Give an http:// or https:// URL." in page
    for name in ("url", "name", "file_of_it"):
        assert f'name="{name}" value="{form[name]}"' in page, name
    assert re.findall(r'value="([^"]+)" selected', page) == ["modelscope", "whole"]


def test_a_task_that_could_not_start_says_so_in_the_words_of_the_form(user: TestClient, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "a").mkdir(parents=True)
    (runs / "a" / "task.yaml").write_text("kind: run\nsettings: {url: 'http://h:1'}\n")
    (runs / "a" / "console.log").write_text("error: the server needs a key: give it with --api-key\n")
    for path in ("/tasks/a", "/"):
        assert "the server needs a key: give it with “API key”" in user.get(path).text, path


def test_recipes_and_uploaded_files_are_offered_as_data(user: TestClient, console: Console) -> None:
    console.files.add("mine.jsonl", b"{}\n")
    page = user.get("/new").text
    assert "<option>mine.jsonl</option>" in page
    assert "<option>azure-2023-code</option>" in page


FORM = {
    "kind": "run",
    "url": "http://127.0.0.1:9",
    "requests": "1",
    "action": "keep",
    "output_tokens": "4",
    "stream": "on",
}


@pytest.mark.parametrize(
    ("chosen", "dataset"),
    [
        ({"data": "simulated", "recipe": "azure-2023-code"}, None),
        ({"data": "recipe", "recipe": "azure-2023-code"}, "azure-2023-code"),
        ({"data": "file", "file": "mine.jsonl"}, "mine.jsonl"),
        ({"data": "body", "one_body": '{"messages": [{"role": "user", "content": "Hello"}]}'}, "body-9b0e0c17.jsonl"),
    ],
)
def test_a_task_has_the_data_that_was_chosen(
    user: TestClient, console: Console, chosen: dict[str, str], dataset: str | None
) -> None:
    console.files.add("mine.jsonl", b'{"prompt": "hello"}\n')
    assert user.post("/new", data={**FORM, **chosen, "input_tokens": "64"}).status_code == 200
    (task,) = console.tasks()
    # A length entered for simulated prompts does not apply to a data set.
    assert (task.settings.get("dataset"), "input_tokens" in task.settings) == (dataset, dataset is None)


@pytest.mark.parametrize(
    ("chosen", "field", "said"),
    [
        ({"data": "file", "file": ""}, "file", "choose a file"),
        ({"data": "body", "one_body": "{"}, "body", "is not one JSON document"),
        ({"data": "url", "data_url": "http://127.0.0.1:9/x.jsonl"}, "url", "127.0.0.1"),
    ],
)
def test_what_is_wrong_with_data_stands_at_its_choice(
    user: TestClient, chosen: dict[str, str], field: str, said: str
) -> None:
    page = user.post("/new", data={**FORM, **chosen, "duration": "soon"})
    assert "&#39;soon&#39; is not a time" in page.text
    assert (page.status_code, f'value="{field}" checked' in page.text) == (422, True)
    wrong = re.search(rf'<div class="field[^"]* bad" data-of="{field}">.*?</div>', page.text, re.DOTALL)
    assert wrong is not None
    assert said in wrong[0]


def test_a_wrong_header_does_not_hide_what_else_is_wrong(user: TestClient) -> None:
    page = user.post("/new", data={**FORM, "headers": "x", "duration": "soon"})
    assert "&#39;soon&#39; is not a time" in page.text
    assert re.search('id="f-headers"[^<]*</textarea>.*?<span class="wrong"[^>]*>write each header', page.text)


def test_the_page_of_a_killed_run_names_the_command_that_makes_its_report(user: TestClient, console: Console) -> None:
    killed = made_run(console.runs, "a-killed", state="running")
    assert f"python -m bench report {killed} makes the report" in user.get("/tasks/a-killed").text


def test_the_page_of_a_task_that_waits_says_for_what_and_shows_no_numbers(user: TestClient, console: Console) -> None:
    timed = console.create(SETTINGS, title="a", start_at="2999-01-01T18:00").id
    page = user.get(f"/tasks/{timed}").text
    assert '<time datetime="2999-01-01T18:00Z">2999-01-01 18:00 UTC</time>, or later' in page
    assert 'aria-label="Live numbers" hidden>' in page
    kept = user.get(f"/tasks/{console.create(SETTINGS, title='b', start=False).id}").text
    assert 'id="waiting"' not in kept


@pytest.mark.parametrize(
    ("page", "names", "links"),
    [
        ("", ["later", "e", "d"], ["2"]),
        ("2", ["c", "b"], ["1", "3"]),
        ("3", ["a"], ["2"]),
        ("99", ["a"], ["2"]),
        ("0", ["later", "e", "d"], ["2"]),
        ("-1", ["later", "e", "d"], ["2"]),
        ("9" * 5000, ["a"], ["2"]),
    ],
)
def test_a_long_list_has_pages_and_what_waits_is_on_the_first(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch, page: str, names: list[str], links: list[str]
) -> None:
    monkeypatch.setattr("bench.console.pages.tasks.SHOWN_AT_ONCE", 2)
    for name in "abcde":
        made_run(console.runs, f"{name}-x")
    console.create(SETTINGS, title="later", start_at=LATER)
    text = user.get("/", params={"search": "", "state": "", "page": page} if page else {}).text
    assert re.findall(r'<th scope="row"><a href="[^"]*">(\w+)', text) == names
    assert re.findall(r'href="/\?page=(\d+)"', text) == links
    filtered = user.get("/?search=x&label=&state=ended").text
    assert 'href="/?search=x&amp;state=ended&amp;page=2"' in filtered
    assert "1 to 2 of 5" in filtered


@pytest.mark.parametrize(("endpoint", "shown"), [("embeddings", True), ("chat", False)])
def test_the_list_names_an_endpoint_that_is_not_chat(
    user: TestClient, console: Console, endpoint: str, shown: bool
) -> None:
    console.create({**SETTINGS, "endpoint": endpoint}, title="a", start=False)
    assert (f'<span class="sub">{endpoint}</span>' in user.get("/").text) is shown


def test_a_run_whose_numbers_are_damaged_says_so_on_its_page_and_ends_no_other(
    user: TestClient, console: Console
) -> None:
    runs = console.folder.path
    made_run(runs, "good")
    (made_run(runs, "damaged") / "summary.json").write_text('{"latency": [')
    listed = user.get("/")
    assert (listed.status_code, "/tasks/good" in listed.text, "/tasks/damaged" in listed.text) == (200, True, True)
    page = user.get("/tasks/damaged").text
    assert "Its numbers cannot be read." in page
    assert "summary.json cannot be read" in page
    assert "Its numbers cannot be read." not in user.get("/tasks/good").text


def test_the_list_shows_that_a_run_was_stopped_beside_its_verdict(user: TestClient, console: Console) -> None:
    made_run(console.folder.path, "cut", stop_reason="interrupted")
    seen = '<span class="state stopped">stopped</span> <span class="verdict valid">VALID</span>'
    assert seen in user.get("/").text


def test_the_list_shows_the_latency_that_whole_replies_have(user: TestClient, console: Console) -> None:
    path = made_run(console.folder.path, "whole") / "summary.json"
    summary = orjson.loads(path.read_bytes())
    summary["latency"]["ttft_ms"] |= {"p50": None, "p99": None}
    path.write_bytes(orjson.dumps(summary))
    assert "/ 500" in user.get("/").text
    assert "TTFT –" not in user.get("/").text


def test_the_list_shows_the_verdict_of_a_run_with_what_its_numbers_bear(user: TestClient, console: Console) -> None:
    made_run(console.folder.path, "good")
    assert '<span class="verdict valid">VALID</span>' in user.get("/tasks/good").text
    reach = '>VALID</span><span class="sub" lang="en">100 requests, 1 failed: median of TTFT can be given, no P90'
    assert reach in user.get("/").text
    assert "TTFT 50 / 100" in user.get("/").text
    assert user.get("/api/tasks/good").json()["verdict_headline"] == console.task("good").verdict_headline


@pytest.mark.parametrize(
    ("held", "shown", "seen"),
    [
        (False, "failed", "missed"),
        (False, "not shown", "unsure"),
        (True, "held", "held"),
        (True, "not shown", "unsure"),
        (None, None, None),
    ],
)
def test_an_objective_stands_before_the_verdict_and_is_sure_where_its_interval_is(
    user: TestClient, console: Console, held: bool | None, shown: str | None, seen: str | None
) -> None:
    made_run(console.folder.path, "run", held=held, shown=shown)
    for path in ("/", "/tasks/run"):
        pills = re.findall(r'<span class="(pill \w+|verdict \w+)">', user.get(path).text)
        assert pills == [*([] if seen is None else [f"pill {seen}"]), "verdict valid"], path


def test_what_runs_and_waits_stands_on_top_in_the_order_of_the_queue(user: TestClient, console: Console) -> None:
    runs = console.folder.path
    made_run(runs, "over")
    waiting = [console.create(SETTINGS, title=title, start_at=LATER).id for title in "ab"]
    console.queue.move(waiting[1], -1)
    with RunDirectory(made_run(runs, "running", state="running")).held():
        page = user.get("/").text
    assert re.findall(r'name="task" value="([^"]+)"', page) == ["running", waiting[1], waiting[0], "over"]


def test_a_refused_form_has_an_address_to_come_back_to(user: TestClient) -> None:
    form = {
        "kind": "run",
        "url": "http://127.0.0.1:9",
        "duration": "soon",
        "title": "Mine",
        "start_at": "2999-01-01T18:00",
    }
    posted = user.post("/new", data=form, follow_redirects=False)
    assert posted.status_code == 303
    for _ in range(2):
        page = user.get(posted.headers["location"])
        assert (page.status_code, 'value="soon"' in page.text, 'value="Mine"' in page.text) == (422, True, True)
        assert 'value="2999-01-01T18:00"' in page.text
    refused = user.post("/tasks/none/stop", follow_redirects=False)
    assert refused.status_code == 404


def test_a_reader_is_told_who_may_start_a_task_and_gets_no_form(console: Console) -> None:
    app = create_app(console, Keys(TOKEN, READ_TOKEN))
    reader = TestClient(app, base_url="http://127.0.0.1", headers={"authorization": f"Bearer {READ_TOKEN}"})
    page = reader.get("/new").text
    assert "Whoever started the console has the other token" in page
    assert "<form" not in page
    assert "Start one now" not in reader.get("/").text
    assert "No server is saved." in reader.get("/targets").text


def test_the_note_and_the_label_of_a_task_are_seen_on_its_page(user: TestClient, console: Console) -> None:
    task = console.create(SETTINGS, start=False).id
    console.mark(task, {"label": "nightly", "note": "a note", "baseline": True})
    head = user.get(f"/tasks/{task}").text.partition('id="bar"')[0]
    assert all(f">{text}<" in head for text in ("nightly", "a note", "baseline"))


def test_the_ends_of_the_queue_cannot_be_passed(user: TestClient, console: Console) -> None:
    names = [console.create(SETTINGS, title=title, start_at=LATER).id for title in "ab"]
    page = user.get("/").text
    able = [re.search(rf'/tasks/{name}/move" name="to" value="{way}" class="small" disabled', page) is None
            for name in names for way in ("front", "end")]  # fmt: skip
    assert able == [False, True, True, False]


def test_a_path_that_is_none_is_a_page_and_in_the_api_json(user: TestClient) -> None:
    page, reply = user.get("/nowhere"), user.get("/api/nowhere")
    assert (page.status_code, "<h1>Not here</h1><p>The console has no page /nowhere.</p>" in page.text) == (404, True)
    assert (reply.status_code, reply.json()) == (404, {"error": "the console has no page /api/nowhere"})
    other = user.put("/data")
    assert (other.status_code, "<h1>That did not work</h1><p>/data does not accept PUT.</p>" in other.text) == (
        405,
        True,
    )


def test_the_page_of_an_error_has_a_title_for_what_is_missing_and_one_for_what_was_refused(user: TestClient) -> None:
    missing, refused = user.get("/tasks/none"), user.get("/new?kind=none")
    assert (missing.status_code, "<h1>Not here</h1>" in missing.text) == (404, True)
    assert (refused.status_code, "<h1>That did not work</h1>" in refused.text) == (400, True)
    assert "<p>There is no kind of task &#39;none&#39;.</p>" in refused.text


def test_only_the_form_of_a_load_with_modes_offers_them(user: TestClient) -> None:
    for kind, offered in (("run", True), ("sweep", False), ("search", False)):
        assert ('type="radio" name="mode"' in user.get(f"/new?kind={kind}").text) is offered


def test_a_deleted_task_comes_back_with_its_title(user: TestClient, console: Console) -> None:
    made_run(console.folder.path, "run")
    console.mark("run", {"title": "Nightly"})
    page = user.post("/tasks/run/remove")
    assert (page.status_code, console.tasks()) == (200, [])
    # A browser would end a paragraph before the form in it, so this must be a div.
    assert re.search(r'<div class="told[^>]*>(?:(?!</div>).)*/tasks/run/restore', page.text, re.DOTALL) is not None
    user.post("/tasks/run/restore")
    assert [task.title for task in console.tasks()] == ["Nightly"]
    user.post("/tasks/run/remove", data={"files": "yes"})
    assert user.post("/api/tasks/run/restore").status_code == 404


def test_the_numbers_of_a_run_are_exported_as_csv(user: TestClient, console: Console) -> None:
    made_run(console.folder.path, "run").joinpath("summary.json").write_bytes(orjson.dumps(to_plain(golden_summary())))
    rows = user.get("/api/tasks/run/numbers.csv").text.splitlines()
    assert (rows[0][:18], rows[1][:8]) == ("metric,unit,values", "ttft,ms,")
    assert user.get("/api/tasks/run/requests.doc").status_code == 400


def test_any_http_service_is_asked_for_its_method_body_and_what_to_expect(user: TestClient, console: Console) -> None:
    """With the check box off, values entered for an LLM service do not count."""
    off = {
        "kind": "run", "action": "keep", "asked_llm": "1", "url": "http://127.0.0.1:9/orders", "requests": "5",
        "method": "PUT", "expect": "status=200\ntext:done", "one_body": '{"id": 7}', "data": "simulated",
        "endpoint": "completions", "model": "m", "input_tokens": "64", "output_tokens": "8", "stream": "on",
    }  # fmt: skip
    assert user.post("/new", data=off).status_code == 200
    (task,) = console.tasks()
    assert task.settings == {
        "url": "http://127.0.0.1:9/orders", "endpoint": "http", "method": "PUT", "body": '{"id": 7}',
        "expect": ["status=200", "text:done"], "requests": "5",
    }  # fmt: skip
    page = user.get(f"/new?from={task.id}").text
    assert 'name="llm" value="on">' in page
    assert "{&#34;id&#34;: 7}</textarea>" in page
    # With the check box on again, values for other services do not count.
    on = {**off, "llm": "on", "title": "llm"}
    assert user.post("/new", data=on).status_code == 200
    settings = next(task.settings for task in console.tasks() if task.title == "llm")
    assert settings.keys() == {"url", "endpoint", "model", "input_tokens", "output_tokens", "requests"}
    assert 'name="llm" value="on" checked>' in user.get("/new").text
    wrong = user.post("/new", data={**off, "expect": "nonsense"})
    assert (wrong.status_code, console.files.listed()) == (422, [])


def test_the_form_of_checked_answers_asks_for_its_probes_and_their_share(user: TestClient, console: Console) -> None:
    page = user.get("/new?kind=quality").text
    load = page.partition('id="load"')[2].partition('id="data"')[0]
    assert [name for name in ("probes", "share", "alone", "margin", "concurrency", "slo") if f'name="{name}"' in load] == [
        "probes", "share", "alone", "margin", "concurrency", "slo",
    ]  # fmt: skip
    assert 'name="llm"' not in page
    typed = {"probes": "canary=20", "share": "10%", "alone": "3", "margin": "2%", "requests": "100"}
    form = {"kind": "quality", "action": "keep", "url": "http://127.0.0.1:9", "data": "simulated", **typed}
    assert user.post("/new", data=form).status_code == 200
    (task,) = console.tasks()
    assert (task.kind, {name: task.settings[name] for name in typed}) == ("quality", typed)
    wrong = user.post("/new", data={**form, "alone": "1", "share": "100%"})
    assert (wrong.status_code, wrong.text.count('class="wrong"')) == (422, 2)


def test_every_template_escapes_what_it_is_given() -> None:
    for environment in (templates(), templates.__wrapped__()):
        assert environment.from_string("{{ title }}").render(title="<script>") == "&lt;script&gt;"
        with pytest.raises(UndefinedError):
            environment.from_string("{{ titel }}").render(title="")


def test_the_list_has_pages_of_ended_tasks_and_what_goes_on_stands_on_the_first(
    user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list_page.SHOWN_AT_ONCE == 200
    monkeypatch.setattr(list_page, "SHOWN_AT_ONCE", 2)
    for day in range(1, 6):
        made_run(console.runs, f"day-{day}", held=True)
    waiting = console.create({"url": "http://127.0.0.1:9", "requests": 1}, start_at="2999-01-01T00:00").id

    def shown(query: str) -> tuple[list[str], list[str]]:
        text = user.get(f"/?{query}").text
        names = [name for name in (waiting, *(f"day-{day}" for day in range(1, 6))) if f'href="/tasks/{name}"' in text]
        return names, [f"page={n}" for n in range(1, 5) if f'href="/?page={n}"' in text]

    first, second, last = (shown(f"page={n}") for n in (1, 2, 3))
    assert (len(first[0]), first[0][0], first[1]) == (3, waiting, ["page=2"])
    assert (len(second[0]), second[1]) == (2, ["page=1", "page=3"])
    assert (len(last[0]), last[1]) == (1, ["page=2"])
    assert {*first[0], *second[0], *last[0]} == {waiting, *(f"day-{day}" for day in range(1, 6))}
    assert shown("page=99") == shown("page=3")
    assert shown("page=0") == shown("page=x") == shown("") == first
    assert "search=day&amp;page=2" in user.get("/?search=day").text


@pytest.mark.parametrize(("typed", "started"), [("--seed 7", "--seed 7"), ("", "--ttft 9ms")])
def test_the_mock_starts_with_what_was_typed_or_what_it_had(
    typed: str, started: str, user: TestClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(type(console.mock), "start", lambda mock, flags: asked.append(flags))
    console.mock.flags = "--ttft 9ms"
    assert user.post("/mock/start", data={"flags": typed}, follow_redirects=False).status_code == 303
    assert asked == [started]
