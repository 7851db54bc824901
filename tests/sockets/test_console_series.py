"""Searches and sweeps as tasks of a running console: watched, stopped, recovered after a kill, with their results in
the list."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import markupsafe
import orjson
import pytest
import yaml

from tests.support.console_process import SMALL, console_of, until
from tests.support.mock_process import mock_process


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with mock_process("--ttft", "20ms", "--tpot", "1ms") as running:
        yield running.url


def test_a_search_is_watched_and_its_answer_stands_in_the_list(mock: str, tmp_path: Path) -> None:
    short = {"input_tokens": 16, "output_tokens": 4}
    limits = {"slo": ["ttft:p90<5s"], "load": "concurrency", "max": 2, "budget": "10s"}
    with console_of(tmp_path) as (client, _):
        made = client.post("/tasks", json={"kind": "search", "settings": {"url": mock, **short, **limits}})
        assert made.status_code == 201, made.text
        task = made.json()["id"]
        events = client.get(f"/tasks/{task}/events").text
        found = until(client, task, lambda task: task["has_report"])
        assert found["state"] == "ended"
        assert found["load"] == "search, users: ttft:p90<5s"
        names = [step["run"] for step in found["steps"]]
        assert names[0] == "01-scout-1"
        # The page polls twice per second, so it may miss a short run on a busy machine.
        watched = re.findall(r'data: \{"run":"([^"]+)"\}', events)
        assert watched
        assert watched == [name for name in names if name in watched]
        assert "event: line" in events
        assert orjson.loads(client.get(f"/tasks/{task}/summary").content)["load_kind"] == "concurrency"
        # The heading of a page is the first sentence. On a busy machine there are two sentences.
        page = client.get(f"/tasks/{task}/report").text
        assert [
            s for s in re.split(r"(?<=\.) (?=[A-Z])", found["headline"]) if str(markupsafe.escape(s)) not in page
        ] == []
        assert client.get(f"/tasks/{task}/runs/{names[0]}/report.html").status_code == 200
        assert client.get(f"/tasks/{task}/runs/..%2f{names[0]}/report.html").status_code == 404
        assert "".join(client.get(f"/tasks/{task}/text").text.split()).startswith("".join(found["headline"].split()))
        wrong = client.post(f"/tasks/{task}/clone", json={"settings": {"budget": "1s"}})
        assert [row["field"] for row in wrong.json()["problems"]] == ["budget"]
    # The console passes the command the same values as the terminal would.
    kept = yaml.safe_load((tmp_path / task / "search.yaml").read_text())["config"]
    assert (kept["output_tokens"], kept["name"]) == ("4", task.partition("-")[2])


def test_a_sweep_outlives_its_console_and_stops_in_the_middle(mock: str, tmp_path: Path) -> None:
    settings = {"url": mock, **SMALL, "loads": "concurrency=1,2", "duration": "600s"}
    settings.pop("concurrency")
    with console_of(tmp_path) as (client, process):
        task = client.post("/tasks", json={"kind": "sweep", "settings": settings, "title": "curve"}).json()["id"]
        until(client, task, lambda task: task["run"] == "concurrency-1-1")
        process.send_signal(signal.SIGKILL)
    with console_of(tmp_path) as (client, _):
        found = client.get(f"/tasks/{task}").json()
        assert (found["state"], found["run"], found["load"]) == ("running", "concurrency-1-1", "sweep, concurrency=1,2")
        assert client.delete(f"/tasks/{task}").status_code == 409
        until(client, task, lambda _: bool(client.get(f"/tasks/{task}/live", params={"run": "concurrency-1-1"}).json()))
        client.post(f"/tasks/{task}/stop")
        found = until(client, task, lambda task: task["has_report"] and task["state"] != "running")
        assert found["state"] == "stopped"
        again = client.post(f"/tasks/{task}/clone", json={"settings": {"duration": None, "requests": 4}}).json()
        found = until(client, again["id"], lambda task: task["has_report"] and task["state"] != "running")
        assert (found["state"], found["title"], len(found["steps"])) == ("ended", "curve", 2)
        assert "Most output at" in (found["headline"] or "") or {s["verdict"] for s in found["steps"]} == {"INVALID"}
        assert found["steps"][0]["verdict"] in client.get(f"/tasks/{again['id']}/text").text
        assert client.get(f"/tasks/{again['id']}/zip").content.count(b"concurrency-2-1/run.yaml") == 2


def test_a_task_of_quality_is_watched_and_cloned(mock: str, tmp_path: Path) -> None:
    settings = {"url": mock, **SMALL, "requests": 40, "share": "50%", "probes": "canary=8", "alone": "3"}
    with console_of(tmp_path) as (client, _):
        made = client.post("/tasks", json={"kind": "quality", "settings": settings})
        assert made.status_code == 201, made.text
        task = made.json()["id"]
        found = until(client, task, lambda task: task["has_report"] and task["state"] != "running")
        assert (found["state"], found["load"]) == ("ended", "quality, 50% probes")
        assert [(step["run"], step["load"]) for step in found["steps"]] == [
            ("alone", "alone"), ("loaded", "under load"), ("back", "alone again"),
        ]  # fmt: skip
        assert found["steps"][0]["said"] == "24 answers"
        # A busy machine makes a run INVALID, and then there is no answer.
        answer = (
            "No answer: the run " if "INVALID" in found["headline"] else "No change is shown: right answers fall by "
        )
        assert found["headline"].startswith(answer)
        assert "Alone against under load" in client.get(f"/tasks/{task}/report").text
        assert answer in " ".join(client.get(f"/tasks/{task}/text").text.split())
        wrong = client.post(f"/tasks/{task}/clone", json={"settings": {"alone": "1", "share": "100%"}})
        assert {row["field"] for row in wrong.json()["problems"]} == {"alone", "share"}
