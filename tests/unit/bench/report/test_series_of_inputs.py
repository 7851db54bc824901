"""Sweeps, searches and comparisons of runs without generated text: inputs and E2EL replace tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

import bench.report
from bench.comparison import numbers as compared
from bench.console.task import Task, headlines
from bench.documents import load_curves, sweep_words
from bench.errors import UsageError
from bench.load_search import goals, visit_numbers
from bench.load_search.visit_numbers import VisitNumbers, of_inputs, of_summary
from bench.load_sweep.points import knee_of, numbers_of, points_of
from bench.load_sweep.sweep_file import SweepFacts, content_of
from bench.load_sweep.visits import Loads
from bench.records import RequestRecord
from bench.results.base import to_plain
from bench.results.summary import RunSummary
from bench.results.sweep import SweepContent, SweepRun
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_summary import made_summary
from tests.support.rendered import sweep_page, sweep_text
from tests.support.results import filled

USERS = (1, 2, 4, 8, 16)


def replies(users: int) -> list[RequestRecord]:
    """A server that slows with its users: each reply takes 50 ms + 10 ms per user."""
    took_ms = 50.0 + 10.0 * users
    return [
        made_record(
            index,
            sent_ms=took_ms * (index // users),
            chunks_ms=(),
            end_ns=round(START_NS + took_ms * (index // users + 1) * MS),
            output_tokens=None,
            output_tokens_from=None,
            inputs=3,
        )
        for index in range(40)
    ]


SUMMARIES = {users: made_summary(replies(users), inputs_are="texts", endpoint="embeddings") for users in USERS}


@pytest.fixture(scope="module")
def sweep() -> dict[str, Any]:
    runs = [
        SweepRun(
            name=f"concurrency-{users}-1",
            load=users,
            repeat=1,
            status="VALID",
            reasons=[],
            numbers=numbers_of(filled(RunSummary, summary)),
            kept_up=None,
            usable=True,
        )
        for users, summary in SUMMARIES.items()
    ]
    facts = SweepFacts(date="2026-01-01T00:00:00", version="0", host={}, command=("sweep",), config={"url": "http://h"},
                       model="m", loads=Loads("concurrency", USERS), gpus=None)  # fmt: skip
    return to_plain(content_of(facts, runs, "0" * 64, ended=None))


def test_a_sweep_has_inputs_and_a_knee_of_them(sweep: dict[str, Any]) -> None:
    schema = json.loads((Path(bench.report.__file__).parent / "load_sweep.schema.json").read_text())
    Draft202012Validator(schema).validate(sweep)
    values = [point["numbers"]["inputs_per_s"]["value"] for point in sweep["points"]]
    assert values == sorted(values)
    assert values[0] == pytest.approx(SUMMARIES[1]["throughput"]["inputs_per_s"])
    assert all(point["numbers"]["output_tokens_per_s"]["value"] is None for point in sweep["points"])
    assert sweep["knee"]["ceiling"] > values[-1]


def test_a_sweep_shows_inputs_and_e2el_alone(sweep: dict[str, Any]) -> None:
    shown = sweep_text(sweep)
    assert "inputs/s" in shown
    assert "E2EL" in shown
    for word in ("TTFT", "TPOT", "tokens/s"):
        assert word not in shown
    page = sweep_page([sweep]).partition("<main>")[2].partition("<script>")[0]
    assert "Inputs/s" in page
    for word in ("TTFT", "TPOT", "tokens/s"):
        assert word not in page
    assert [chart.key for chart in load_curves.build([filled(SweepContent, sweep)], [""])] == ["throughput", "e2el"]
    line = sweep_words.progress_line("VALID", filled(SweepContent, sweep).points[0].numbers, "images")
    assert line.startswith("  VALID: ")
    assert "images/s, E2EL p50" in line


def test_a_sweep_of_any_http_service_is_of_requests_alone(sweep: dict[str, Any]) -> None:
    made = {users: filled(RunSummary, of_requests(users)) for users in USERS}
    runs = [
        SweepRun(
            name=f"{users}",
            load=users,
            repeat=1,
            status="VALID",
            reasons=[],
            numbers=numbers_of(made[users]),
            kept_up=None,
            usable=True,
        )
        for users in USERS
    ]
    facts = SweepFacts(date="2026-01-01T00:00:00", version="0", host={}, command=("sweep",), config={"url": "http://h"},
                       model=None, loads=Loads("concurrency", USERS), gpus=None)  # fmt: skip
    content = to_plain(content_of(facts, runs, "0" * 64, ended=None))
    assert content["knee"]["ceiling"] > max(point["numbers"]["requests_per_s"]["value"] for point in content["points"])
    shown, page = sweep_text(content), sweep_page([content]).partition("<main>")[2].partition("<script>")[0]
    line = sweep_words.progress_line("VALID", runs[0].numbers, "requests")
    assert "requests/s, E2EL p50" in line
    for text in (shown, page, line):
        assert "requests/s" in text.lower()
        for word in ("inputs", "tokens/s", "ttft"):
            assert word not in text.lower()
    both = [filled(SweepContent, content), filled(SweepContent, sweep)]
    assert [chart.key for chart in load_curves.build(both, ["a", "b"])] == ["throughput", "e2el"]


def of_requests(users: int) -> Any:
    """The summary of the same replies for any HTTP service."""
    records = [msgspec.structs.replace(record, inputs=1) for record in replies(users)]
    return made_summary(records, inputs_are="requests", endpoint="http")


def test_a_search_and_the_console_call_the_throughput_of_any_http_service_requests() -> None:
    visit = of_summary(filled(RunSummary, of_requests(2) | {"verdict": {"reasons": []}}))
    assert visit_numbers.of_requests({1: VisitNumbers(), 2: visit})
    assert of_inputs({2: visit})
    assert not visit_numbers.of_requests({1: VisitNumbers()})
    units = {name: Task(id="a", state="running", settings={"url": "http://h", "endpoint": name}).delivered
             for name in ("chat", "embeddings", "rerank", "images", "http")}  # fmt: skip
    assert units == {"chat": "Output tokens/s", "embeddings": "Texts/s", "rerank": "Documents/s", "images": "Images/s",
                     "http": "Requests/s"}  # fmt: skip


@pytest.mark.parametrize(
    ("endpoints", "title"),
    [(["embeddings"] * 2, "texts/s"), (["images"], "images/s"), (["embeddings", "rerank"], "inputs/s")],
)
def test_tasks_side_by_side_call_a_rate_by_what_they_send(endpoints: list[str], title: str) -> None:
    tasks = [Task(id="a", state="ended", settings={"url": "http://h", "endpoint": name}, numbers={"inputs_per_s": 3.0})
             for name in endpoints]  # fmt: skip
    assert headlines(tasks) == [("inputs_per_s", title)]


def test_a_sweep_of_generated_text_has_no_inputs() -> None:
    summary = filled(RunSummary, made_summary([made_record(i, sent_ms=100.0 * i) for i in range(9)]))
    runs = [
        SweepRun(
            name="r",
            load=1,
            repeat=1,
            status="VALID",
            reasons=[],
            numbers=numbers_of(summary),
            kept_up=None,
            usable=True,
        )
    ]
    assert "inputs_per_s" not in points_of(runs, None)[0].numbers
    assert knee_of(runs) is None


def test_the_visits_of_a_search_show_inputs_and_e2el() -> None:
    found = of_summary(filled(RunSummary, SUMMARIES[2] | {"verdict": {"reasons": []}}))
    assert found.inputs_per_s == SUMMARIES[2]["throughput"]["inputs_per_s"]
    assert found.stat("e2el_ms", "p50") == 70.0
    assert of_inputs({1: VisitNumbers(), 2: found})
    assert not of_inputs({1: VisitNumbers()})


@pytest.mark.parametrize("metric", ["inputs_per_s", "input_tokens_per_s"])
def test_a_rate_that_rises_with_the_load_is_no_objective_of_a_search(metric: str) -> None:
    with pytest.raises(UsageError, match="rises with the load"):
        goals.goal(f"{metric}>5", metric, None, ">", 5.0)


def test_comparisons_decide_by_e2el_inputs_and_errors() -> None:
    summary = filled(RunSummary, SUMMARIES[4])

    def known(number: compared.Number) -> bool:
        return number.of(summary) is not None

    decided = compared.primary(known)
    assert [number.name for number in decided] == ["e2el:p90", "inputs_per_s", "error_rate"]
    explored = {number.name for number in compared.explored(known, decided)}
    assert {"input_tokens_per_s", "requests_per_s"} < explored
    assert not any(name.startswith(("ttft", "tpot", "itl", "total")) for name in explored)
    text = filled(RunSummary, made_summary([made_record(i, sent_ms=100.0 * i) for i in range(9)]))
    of_text = compared.primary(lambda number: number.of(text) is not None)
    assert [number.name for number in of_text] == ["ttft:p90", "tpot:p50", "output_tokens_per_s", "error_rate"]


def test_the_console_names_the_numbers_that_its_tasks_have() -> None:
    ranked = Task(id="a", state="ended", settings={"url": "http://h", "endpoint": "rerank"},
                  numbers={"requests_per_s": 1.0, "inputs_per_s": 9.0, "e2el_p99_ms": 5.0, "ttft_p50_ms": None})  # fmt: skip
    assert ranked.of_inputs
    assert [key for key, _ in headlines([ranked])] == ["requests_per_s", "inputs_per_s", "e2el_p99_ms"]
    by_url = Task(id="b", state="running", settings={"url": "http://h/v1/embeddings"})
    assert by_url.of_inputs
    assert not Task(id="c", state="running", settings={"url": "http://h"}).of_inputs
    assert headlines([ranked, by_url]) == []
