"""Connection kept: the page and its resources are requested one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bench.cli import main
from bench.console.app import create_app
from bench.console.comparing import grouped
from bench.console.errors import ConsoleError
from bench.console.security import Keys
from bench.console.service import Console
from bench.console.store import Marks
from bench.console.task import Task
from tests.support import made_tasks
from tests.support.made_runs import made_run


def finished(path: Path, **made: object) -> Path:
    made_run(path, **made)  # type: ignore[arg-type]
    (path / "report.html").write_text("<title>r</title>")
    return path


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    runs = tmp_path / "runs"
    for n, (name, ttft) in enumerate({"a1": 50.0, "a2": 50.5, "b1": 60.0, "b2": 60.5}.items()):
        finished(runs / name, at=n, seed=n, ttft_ms=ttft)
    finished(runs / "many", at=9, settings={"rate": 20.0})
    made_tasks.made_run(runs, "killed", state="running")
    console = Console(runs)
    yield console
    console.close()


def test_two_tasks_give_the_very_page_of_the_command(console: Console, tmp_path: Path) -> None:
    found = console.compared(["a1", "b1"])
    out = tmp_path / "out"
    assert (
        main(["compare", str(console.runs / "a1"), str(console.runs / "b1"), "--out", str(out), "--format", "json"])
        == 0
    )
    assert found.page == (out / "compare.html").read_text().replace(f"{console.runs}/", "")
    assert (found.left_out, found.allow) == ((), ())
    assert found.document is not None
    assert found.document["versus"][0]["headline"]
    assert (
        console.compared(["a1", "b1"]) is found
    )  # Kept: the page and what it holds are asked for one after the other.


def test_tasks_of_a_label_are_one_side_and_the_baseline_is_the_first(console: Console) -> None:
    for name in ("a1", "a2", "b1", "b2"):
        console.mark(name, {"label": {"a": "old", "b": "new"}[name[0]]})
    console.mark("b1", {"baseline": True})
    found = console.compared(["a1", "a2", "b1", "b2"], by="label")
    assert found.document is not None
    assert [(side["path"], len(side["runs"])) for side in found.document["sides"]] == [("new", 2), ("old", 2)]


def test_what_cannot_be_compared_is_said_and_keeps_the_others_from_nothing(console: Console) -> None:
    found = console.compared(["a1", "b1", "many", "killed"])
    assert found.document is not None
    assert [side["path"] for side in found.document["sides"]] == ["a1", "b1"]
    not_ready, other_load = found.left_out
    assert not_ready == "killed has no result, so it cannot be compared"
    assert other_load.startswith("“a1” and “many” cannot be compared: they differ in rate (10 against 20).")
    assert other_load.endswith("If you mean to measure this change, compare them all the same")
    assert found.allow == ("rate",)
    assert console.compared(["a1", "many"], allow="rate").page is not None
    none = console.compared(["a1", "killed"])
    assert (none.page, len(none.left_out)) == (None, 1)


def test_wrong_words_are_refused_with_a_sentence(console: Console) -> None:
    with pytest.raises(ConsoleError, match="2 to 26 tasks"):
        console.compared(["a1", "a1"])
    with pytest.raises(ConsoleError, match="by task or by label"):
        console.compared(["a1", "b1"], by="day")
    (said,) = console.compared(["a1", "b1"], margin="wide").left_out
    assert "--margin" in said


def test_the_pages_and_the_api_show_it(console: Console) -> None:
    client = TestClient(create_app(console, Keys("a-token-of-the-test")), base_url="http://127.0.0.1")
    client.headers["authorization"] = "Bearer a-token-of-the-test"
    page = client.get("/compare?task=a1&task=b1")
    inner = re.search(r'src="(/compare/report\?[^"]+)"', page.text)
    assert inner is not None
    query = inner[1].replace("&amp;", "&")
    alone, shown = client.get(query.replace("/compare/report", "/api/compare/page")), client.get(query)
    assert alone.text == console.compared(["a1", "b1"]).page
    assert "A against B" in shown.text
    assert shown.headers["content-security-policy"].startswith("sandbox ")
    assert client.get("/api/compare?task=a1&task=b1").json()["comparison"]["sides"][0]["path"] == "a1"
    refused = client.get("/compare?task=a1&task=many")
    assert "they differ in rate (10 against 20)" in refused.text
    assert "Compare all the same: rate may differ" in refused.text
    assert "<iframe" not in refused.text
    assert client.get("/api/compare/page?task=a1&task=many").status_code == 409


def test_sides_are_named_as_their_tasks() -> None:
    tasks = [Task(id="x", state="ended", started="2", marks=Marks(title="X")),
             Task(id="y", state="ended", started="1", marks=Marks(label="l"))]  # fmt: skip
    assert [group.name for group in grouped(tasks, "task")] == ["y", "X"]
    assert [group.name for group in grouped(tasks, "label")] == ["l", "X"]
