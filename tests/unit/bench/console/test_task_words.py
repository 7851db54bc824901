"""The list of tasks: its words for a load, a place and an answer, and which tasks it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.console.service import Console
from bench.console.store import Marks
from bench.console.task import ACTIVE, OVER, QUEUED, STATES, Task, headlines, place_of, selected
from bench.console.tasks import _is_shown, last_error, last_words, load_of
from bench.results.summary import Slo
from tests.support.results import filled

TASK = Task(id="a", state="ended")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "10 users"),
        ({"concurrency": 1}, "1 user"),
        ({"concurrency": "1", "requests": "1234"}, "1 user, 1,234 requests"),
        ({"concurrency": 12_345, "duration": "90s"}, "12,345 users, 90 s"),
        ({"concurrency": "many", "duration": "soon"}, "many users, soon"),
        ({"rate": 2.50, "duration": 119, "requests": 7}, "2.5 requests/s, 119 s or 7 requests"),
        ({"rate": "3", "duration": "2m"}, "3 requests/s, 2 min"),
        ({"rate": 3, "duration": "121s"}, "3 requests/s, 121 s"),
        ({"rate": 3, "duration": "90m"}, "3 requests/s, 90 min"),
        ({"rate": 3, "duration": "2h"}, "3 requests/s, 2 h"),
        ({"rate": 3, "duration": "121m"}, "3 requests/s, 121 min"),
        ({"mode": "throughput", "requests": 9}, "throughput, 9 requests"),
        ({"mode": "trace"}, "trace"),
        ({"mode": "sessions", "concurrency": 5}, "5 users"),
        ({"mode": "throughput", "rate": 3}, "3 requests/s"),
    ],
)
def test_a_load_is_told_in_a_few_words(config: dict[str, Any], words: str) -> None:
    assert load_of(config) == words


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"url": "http://a"}, "http://a"),
        ({"url": ["http://a", "http://b", "http://c"]}, "http://a +2"),
        ({"url": "http://a", "targets": [{"url": "http://b"}]}, "http://b"),
        ({"url": "http://a", "targets": [{"url": "http://b"}, {"url": "http://c"}]}, "http://b +1"),
        ({"url": "http://a", "targets": []}, "http://a"),
    ],
)
def test_a_load_goes_to_its_first_address_and_so_many_more(settings: dict[str, Any], place: str) -> None:
    assert place_of(settings) == place


@pytest.mark.parametrize(
    ("settings", "endpoint", "are", "delivered"),
    [
        ({}, "", None, "Output tokens/s"),
        ({"endpoint": "chat"}, "", None, "Output tokens/s"),
        ({"endpoint": "responses"}, "responses", None, "Output tokens/s"),
        ({"url": "http://h/v1/embeddings"}, "embeddings", "texts", "Texts/s"),
        ({"endpoint": "images"}, "images", "images", "Images/s"),
        ({"endpoint": "my-api.yaml"}, "my-api.yaml", None, "Output tokens/s"),
    ],
)
def test_a_task_knows_what_it_loads_and_what_comes_back(
    settings: dict[str, Any], endpoint: str, are: str | None, delivered: str
) -> None:
    task = replace(TASK, settings=settings)
    assert (task.endpoint, task.inputs_are, task.of_inputs, task.delivered) == (
        endpoint,
        are,
        are is not None,
        delivered,
    )


def test_each_state_is_over_goes_on_or_waits() -> None:
    found = {state: (replace(TASK, state=state).over, replace(TASK, state=state).active) for state in STATES}
    assert {state for state, (over, _) in found.items() if over} == set(OVER)
    assert {state for state, (_, active) in found.items() if active} == set(ACTIVE)
    assert [found[state] for state in (QUEUED, "not started", "being read")] == [(False, False)] * 3
    assert [replace(TASK, kind=kind).is_run for kind in ("run", "calibrate", "search", "plan")] == [
        True,
        True,
        False,
        False,
    ]


NIGHT = replace(
    TASK, id="b", target="lab", load="5 users", marks=Marks(title="Night", label="weekly", note="after the Fix")
)


@pytest.mark.parametrize(
    ("state", "label", "search", "names"),
    [
        (None, None, "", "ab"), ("", "", " ", "ab"), ("ended", None, "", "ab"), ("queued", None, "", ""),
        (None, "weekly", "", "b"),
        (None, "other", "", ""), (None, None, "NIGHT", "b"), (None, None, "the fix", "b"), (None, None, " 5 users ", "b"),
        (None, None, "lab", "b"), (None, None, "None", ""),
    ],
)  # fmt: skip
def test_tasks_are_chosen_by_state_label_and_any_of_their_words(
    state: str | None, label: str | None, search: str, names: str
) -> None:
    assert "".join(task.id for task in selected([TASK, NIGHT], state, label, search)) == names


def test_the_numbers_of_tasks_are_those_that_any_of_them_has() -> None:
    def of(endpoint: str = "chat", **numbers: float | None) -> Task:
        return replace(TASK, settings={"endpoint": endpoint}, numbers=numbers)

    one, two = of(requests_per_s=1.0, ttft_p50_ms=None), of(requests_per_s=None, e2el_p99_ms=2.0)
    assert [key for key, _ in headlines([one, two])] == ["requests_per_s", "e2el_p99_ms"]
    assert headlines([one, TASK]) == []
    images, texts = of("images", inputs_per_s=1.0), of("embeddings", inputs_per_s=1.0)
    assert [headlines([images]), headlines([images, texts])] == [
        [("inputs_per_s", "images/s")], [("inputs_per_s", "inputs/s")],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("held", "objectives", "shown"),
    [
        (None, [], None), (True, ["held", "held"], True), (True, ["held", "not shown"], False),
        (False, ["held", "failed"], True), (False, ["held", "not shown"], False),
    ],
)  # fmt: skip
def test_objectives_are_shown_to_be_held_if_each_is_and_missed_if_one_is(
    held: bool | None, objectives: list[str], shown: bool | None
) -> None:
    assert _is_shown(filled(Slo, held=held, objectives=[{"shown": one} for one in objectives])) is shown


def test_the_last_words_of_a_program_are_its_last_error_or_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "a" / "console.log"
    log.parent.mkdir()
    assert (last_words(log), last_error(log)) == (None, None)
    log.write_text("one\n\n two \nthree\nfour\n")
    assert (last_words(log), last_error(log)) == ("two\nthree\nfour", None)
    log.write_text("error: first\nthen\nerror: 2 problems\n- a\n- b\n")
    assert last_words(log) == last_error(log) == "2 problems\n- a\n- b"
    log.write_text("error: e\n" + "".join(f"{n}\n" for n in range(20)))
    assert (last_error(log) or "").split() == ["e", *map(str, range(11))]


def test_the_api_says_a_task_with_its_title_and_marks(console: Console) -> None:
    made = orjson.loads(orjson.dumps(NIGHT.to_json()))
    assert (made["title"], made["label"], made["note"], made["active"]) == ("Night", "weekly", "after the Fix", False)
    assert "marks" not in made
