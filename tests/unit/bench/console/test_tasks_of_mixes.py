"""The page of a task with a mix, in each state before it has a report."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from bench.console.service import Console
from bench.console.set_load import unit_of

RATES = b"classes:\n- {name: short, rate: 2, input_tokens: 16, output_tokens: 4}\n- {name: long, rate: 0.5}\n"
SHARES = b"classes:\n- {name: short, share: 2}\n- {name: long, share: 1}\n"
SETTINGS = {"url": "http://127.0.0.1:9", "mix": "mine.yaml", "duration": "5s"}


@pytest.mark.parametrize(
    ("mix", "more", "unit", "load"),
    [
        (RATES, {}, "requests/s", "2.5 requests/s in 2 classes, 5 s"),
        (SHARES, {}, "users", "10 users, 5 s"),
        (SHARES, {"concurrency": 1}, "users", "1 user, 5 s"),
        (SHARES, {"rate": 3.0}, "requests/s", "3 requests/s, 5 s"),
    ],
    ids=["rates", "shares", "one-user", "shares-of-a-rate"],
)
def test_a_saved_or_queued_task_with_a_mix_has_a_page_with_its_load(
    mix: bytes, more: dict[str, object], unit: str, load: str, user: TestClient, console: Console
) -> None:
    console.files.add("mine.yaml", mix)
    saved = console.create({**SETTINGS, **more}, title="saved", start=False)
    queued = console.create({**SETTINGS, **more}, title="queued", start_at="2999-01-01T00:00")
    for task in (saved, queued):
        assert user.get(f"/tasks/{task.id}").status_code == 200
        assert (console.load_unit(task), task.load) == (unit, load)
    assert "Start" in user.get(f"/tasks/{saved.id}").text
    console.queue.start(saved.id, start_at="2999-01-01T00:00")
    assert user.get(f"/tasks/{saved.id}").status_code == 200


def test_a_task_that_starts_has_its_unit_from_the_content_of_the_mix(console: Console) -> None:
    console.files.add("mine.yaml", RATES)
    task = console.create(SETTINGS, start=False)
    assert unit_of(task, {"mix": {"classes": [{"name": "a", "rate": 1}]}}) == "requests/s"
