"""The table of segments shows values as elsewhere, so a value that stamps do not determine is a range."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import segments_table
from bench.documents.document import Cell
from bench.documents.first_screen import sent_words
from bench.documents.formatting import NOTHING
from bench.results.summary import RunSummary
from tests.support.results import filled


def metric(**values: Any) -> dict[str, Any]:
    return {"p50": None, "p99": None, "bounds": {}, **values}


SEGMENT = {
    "first": 5.0,
    "last": 10.0,
    "measured_from_s": 2.0,
    "end_s": 4.0,
    "sent": 24,
    "failed": 1,
    "concurrency_mean": 2.5,
    "latency": {
        "ttft_ms": metric(p50=50.0, p99=60.0),
        "tpot_ms": metric(p50=0.0, p99=19.3, bounds={"p50": [0.0, 15.1662], "p99": [19.2, 19.4]}),
        "e2el_ms": metric(),
    },
    "throughput": {"requests_per_s": 12.0, "output_tokens_per_s": 96.0},
}


def test_a_value_that_is_open_is_shown_as_its_bounds() -> None:
    (row,) = segments_table.rows(filled(RunSummary, segments=[SEGMENT]))
    head, *cells = row.cells
    assert head == Cell("5–10", meaning="2.0–4.0 s")
    assert [cell.text for cell in cells] == ["50", "60", "0–15.17", "19.30", NOTHING, NOTHING, "12", "96", "2.500", "1"]
    assert cells[-1].tone == "bad"


@pytest.mark.parametrize(
    ("mode", "per_s", "unit"),
    [("rate", None, "requests/s"), ("concurrency", None, "users"), ("sessions", None, "users"),
     ("sessions", 2.0, "sessions/s")],
)  # fmt: skip
def test_the_unit_is_that_of_the_load(mode: str, per_s: float | None, unit: str) -> None:
    sessions = {"offered_per_s": per_s} if mode == "sessions" else None
    segments = [SEGMENT | {"first": load, "last": load} for load in (2.0, 4.0)]
    summary = filled(RunSummary, load={"mode": mode, "offered_rps": None}, sessions=sessions, segments=segments)
    assert segments_table.unit(summary) == unit
    assert sent_words(summary).startswith(f"2 to 4 {unit}, ")
