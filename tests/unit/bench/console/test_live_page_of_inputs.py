"""The live page of a task shows what its endpoint has: inputs for replies without generated text, tokens otherwise."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jinja2 import Undefined

from bench.console.pages import site
from bench.console.task import Task


@pytest.mark.parametrize(
    ("settings", "tiles"),
    [
        ({"endpoint": "rerank"}, ["E2EL p50 / p99, ms", "Documents/s"]),
        ({}, ["TTFT p50 / p99, ms", "Output tokens/s"]),
    ],
)
def test_the_live_page_has_the_tiles_of_its_endpoint(settings: dict[str, Any], tiles: list[str]) -> None:
    task = Task(id="a", state="running", settings={"url": "http://h", **settings})
    line = {"second": {"inputs": 3, "output_tokens": 7}, "sent": 1, "done": 1, "in_flight": 0, "failed": 0,
            "share_done": 0.1, "left_s": 3}  # fmt: skip
    # The test checks only the live numbers, so values for the rest of the page may be missing.
    environment = site.templates().overlay(undefined=Undefined)
    period = {"metrics": [], "slice": 1, "step": 1, "start": 0, "steps": 1, "steady": None}
    shown = environment.get_template("task.html.j2").render(
        task=task, line=line, series=False, warnings=[], charts=[], period=period
    )
    assert re.findall(r'class="name">([^<]*)<', shown)[-2:] == tiles
