"""The text of a search: at most 80 columns, in which no number of a visit is cut."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents.document import Level
from bench.errors import Exit
from bench.load_search.answer import Answer
from bench.load_search.search_document import search_document
from bench.load_search.visit_numbers import VisitNumbers
from bench.report import text
from bench.results.numbers import Metric
from tests.support.made_visits import ERRORS, MEAN, P99, TPOT, made_search, made_visit
from tests.support.results import filled

FOUND = Answer("It holds a load that is told in a sentence of more than eighty columns, so that it goes on below.",
               ("held: what stands under it is longer than that too, and is set in by four where it goes on", "end"),
               Exit.GOOD)  # fmt: skip


def shown(search: Any, numbers: Any) -> list[str]:
    return text.render(search_document(FOUND, search, numbers), Level.USUAL, width=80).splitlines()


def test_the_answer_stands_above_the_visits_and_is_folded_at_80_columns() -> None:
    lines = shown(made_search(made_visit(1, 12.5, 0.02)), {})
    assert lines[:6] == [
        "It holds a load that is told in a sentence of more than eighty columns, so that",
        "it goes on below.",
        "  - held: what stands under it is longer than that too, and is set in by four",
        "  where it goes on",
        "  - end",
        "",
    ]
    assert shown(made_search(), {}) == lines[:5]


def test_visits_are_a_table_with_a_column_for_as_many_objectives_as_there_is_room_for() -> None:
    search = made_search(
        made_visit(1, 12.5, 0.02, phase="scout", requests=1_000), made_visit(2, 100.0, verdict="INVALID"),
        goals=(P99, MEAN, TPOT, ERRORS),
    )  # fmt: skip
    numbers = {1: VisitNumbers(latency={"ttft_ms": filled(Metric, {"p50": 40.0, "p99": 300.0})})}
    lines = shown(search, numbers)
    head = next(line for line in lines if "Requests" in line)
    first, second = [line for line in lines if line.startswith(("1 scout", "2 visit"))]
    assert head.split()[:3] == ["Visit", "Load", "Requests"]
    assert head.endswith("TTFT p50 / p99, ms Verdict")
    assert first.split() == ["1", "scout", "12.5/s", "1,000", "2%", "40", "/", "300", "VALID"]
    assert second.split() == ["2", "visit", "100/s", "4,000", "0%", "–", "/", "–", "INVALID"]
    assert first.index("VALID") == second.index("INVALID")
    assert lines[lines.index(first) + 2] == f"Left out for lack of room: {MEAN.text}, {TPOT.text}, {ERRORS.text}."
    inputs = {1: VisitNumbers(latency={"e2el_ms": filled(Metric, {"p50": 50.0, "p99": 400.0})}, inputs_per_s=3.0)}
    assert "E2EL p50 / p99, ms" in "\n".join(shown(search, inputs))


@pytest.mark.parametrize(
    ("kind", "load", "p99_ms"),
    [("rate", 12_000.0, 300.0), ("sessions", 1_200.0, 123_456.0), ("sessions", 1_200.0, 1e8)],
)
def test_wide_numbers_leave_room_for_fewer_objectives_and_are_never_cut(kind: str, load: float, p99_ms: float) -> None:
    goals = (P99, TPOT, ERRORS)
    judged = {goal.text: 12_000 for goal in goals[:2]}
    visit = made_visit(1, load, requests=123_456, jobs=judged, violations=judged, phase="scout", verdict="INVALID")
    numbers = {1: VisitNumbers(latency={"ttft_ms": filled(Metric, {"p50": p99_ms, "p99": p99_ms})})}
    lines = shown(made_search(visit, goals=goals, load_kind=kind), numbers)
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("1 scout ")]
    unit = "/s" if kind == "rate" else " sessions"
    assert f" {load:,.0f}{unit} " in row
    assert row.endswith(f"{p99_ms:,.0f} / {p99_ms:,.0f} INVALID")
    assert " 123,456 " in row
