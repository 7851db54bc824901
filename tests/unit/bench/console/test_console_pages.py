"""What forms of the pages do, without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from bench.console.app import create_app
from bench.console.pages import PAGES
from bench.console.security import CSRF_FIELD, Keys
from bench.console.service import Console
from mockserver.cli import read_arguments
from tests.support.made_tasks import made_run

SETTINGS = {"url": "http://127.0.0.1:9", "requests": 1}
LATER = "2999-01-01T00:00"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    console = Console(tmp_path / "runs")
    yield console
    console.close()


@pytest.fixture
def user(console: Console) -> TestClient:
    keys = Keys("a-token-of-the-test")
    client = TestClient(create_app(console, keys), base_url="http://127.0.0.1")
    client.headers["authorization"] = "Bearer a-token-of-the-test"
    return client


ROUTES = [route for page in PAGES for route in page.routes.routes if isinstance(route, APIRoute)]
PATHS = [route.path for route in ROUTES if "GET" in (route.methods or ()) and "{" not in route.path]


@pytest.mark.parametrize("path", PATHS)
def test_each_page_renders_with_a_title_and_a_heading(path: str, user: TestClient) -> None:
    page = user.get(path)
    assert page.status_code < 500, page.text
    assert len(re.findall("<title>.+</title>", page.text)) == 1, f"{path}: its template has a block title"
    assert page.text.count("<h1") == 1, f"{path}: its template has a heading in the block main"


def test_the_queue_is_reordered_from_the_list(user: TestClient, console: Console) -> None:
    names = [console.create(SETTINGS, title=title, start_at=LATER).id for title in "abc"]
    assert f'name="earlier" value="{names[2]}"' in user.get("/").text
    assert user.post("/queue", data={"earlier": names[2]}, follow_redirects=False).status_code == 303
    user.post("/queue", data={"later": names[0]})
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


def test_yaml_of_a_search_fills_the_form_of_a_search(user: TestClient) -> None:
    page = user.post(
        "/new", data={CSRF_FIELD: "", "action": "paste", "kind": "run", "yaml": "budget: 3m\nslo: [ttft:p99<1s]"}
    )
    assert 'name="kind" value="search"' in page.text
    assert 'name="budget" value="3m"' in page.text
    refused = user.post("/new", data={"action": "paste", "kind": "run", "yaml": "nonsense: 1"})
    assert (refused.status_code, "not known: nonsense" in refused.text) == (422, True)
    refused = user.post("/new", data={"action": "paste", "kind": "run", "yaml": "slo: " + "[" * 3000})
    assert (refused.status_code, "nested too deeply" in refused.text) == (422, True)
    refused = user.post("/new", data={"action": "paste", "kind": "run", "yaml": "slo: &a [*a]"})
    assert "an alias (*) that stands in itself" in refused.text


def test_recipes_and_uploaded_files_are_offered_as_data(user: TestClient, console: Console) -> None:
    console.files.add("mine.jsonl", b"{}\n")
    page = user.get("/new").text
    assert '<option value="mine.jsonl">uploaded</option>' in page
    assert ">recipe</option>" in page


def test_the_page_of_a_task_that_waits_says_for_what_and_shows_no_numbers(user: TestClient, console: Console) -> None:
    timed = console.create(SETTINGS, title="a", start_at="2999-01-01T18:00").id
    page = user.get(f"/tasks/{timed}").text
    assert '<time datetime="2999-01-01T18:00Z">2999-01-01 18:00 UTC</time>, or later' in page
    assert 'aria-label="Live numbers" hidden>' in page
    kept = user.get(f"/tasks/{console.create(SETTINGS, title='b', start=False).id}").text
    assert 'id="waiting"' not in kept


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
    assert "Its numbers cannot be shown." in page
    assert "summary.json cannot be read" in page
    assert "Its numbers cannot be shown." not in user.get("/tasks/good").text


def test_the_list_and_the_page_of_a_run_have_the_headline_of_its_report(user: TestClient, console: Console) -> None:
    made_run(console.folder.path, "good")
    badge = '<span class="verdict valid">VALID, 100 requests, 1 failed: median can be given, no P90</span>'
    assert [badge in user.get(path).text for path in ("/", "/tasks/good")] == [True, True]
    assert user.get("/api/tasks/good").json()["verdict_headline"] == console.task("good").verdict_headline
