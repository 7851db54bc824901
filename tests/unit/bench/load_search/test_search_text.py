"""The text of a search: 80 columns, in which no number of a visit is cut."""

from __future__ import annotations

import pytest

from bench.errors import Exit
from bench.load_search import text
from bench.load_search.answer import Answer
from bench.load_search.visit_numbers import VisitNumbers
from bench.results.numbers import Metric
from tests.support.made_visits import ERRORS, MEAN, P99, TPOT, made_search, made_visit
from tests.support.results import filled

FOUND = Answer("It holds a load that is told in a sentence of more than eighty columns, so that it goes on below.",
               ("held: what stands under it is longer than that too, and is set in by four where it goes on", "end"),
               Exit.GOOD)  # fmt: skip


def test_the_answer_stands_above_the_visits_and_is_folded_at_80_columns() -> None:
    shown = text.render(FOUND, made_search(made_visit(1, 12.5, 0.02)), {}).splitlines()
    assert shown[:6] == [
        "It holds a load that is told in a sentence of more than eighty columns, so that",
        "it goes on below.",
        "  held: what stands under it is longer than that too, and is set in by four",
        "    where it goes on",
        "  end",
        "",
    ]
    assert text.render(FOUND, made_search(), {}).splitlines() == shown[:5]
    brief = text.render(FOUND, made_search(made_visit(1, 12.5)), {}, brief=True)
    assert brief == "\n".join(shown[:2]) + "\n"


def test_visits_are_a_table_with_a_column_for_as_many_objectives_as_there_is_room_for() -> None:
    search = made_search(
        made_visit(1, 12.5, 0.02, phase="scout", requests=1_000), made_visit(2, 100.0, verdict="INVALID"),
        goals=(P99, MEAN, TPOT, ERRORS),
    )  # fmt: skip
    numbers = {1: VisitNumbers(latency={"ttft_ms": filled(Metric, {"p50": 40.0, "p99": 300.0})})}
    *_, head, first, second, others = text.render(FOUND, search, numbers).splitlines()
    assert head.split()[:3] == ["visit", "load", "requests"]
    assert head.endswith("  TTFT p50 / p99  verdict")
    assert first.split() == ["1", "scout", "12.5/s", "1,000", "2%", "–", "40", "/", "300", "VALID"]
    assert second.split() == ["2", "visit", "100/s", "4,000", "0%", "–", "–", "/", "–", "INVALID"]
    assert others == f"on the page as well: {TPOT.text}, {ERRORS.text}"
    two = made_search(*search.results, goals=(P99, MEAN))
    assert text.render(FOUND, two, numbers).splitlines()[-1] == second
    inputs = {1: VisitNumbers(latency={"e2el_ms": filled(Metric, {"p50": 50.0, "p99": 400.0})}, inputs_per_s=3.0)}
    assert "E2EL p50 / p99  verdict" in text.render(FOUND, two, inputs)


@pytest.mark.parametrize(
    ("kind", "load", "p99_ms", "shown"),
    [
        # The other columns take 5 + 5 + 9 + 8 + 14 + 7, and two between each and the next: 22 of 80 are left.
        ("rate", 12_000.0, 300.0, 1),
        ("rate", 1_200.0, 300.0, 2),
        ("sessions", 1_200.0, 123_456.0, 1),
        ("sessions", 1_200.0, 123_456_789.0, 0),
    ],
)
def test_wide_numbers_leave_room_for_fewer_objectives_and_are_never_cut(
    kind: str, load: float, p99_ms: float, shown: int
) -> None:
    goals = (P99, TPOT, ERRORS)
    judged = {goal.text: 12_000 for goal in goals[:2]}
    visit = made_visit(1, load, requests=123_456, jobs=judged, violations=judged, phase="scout", verdict="INVALID")
    numbers = {1: VisitNumbers(latency={"ttft_ms": filled(Metric, {"p50": p99_ms, "p99": p99_ms})})}
    lines = text.render(FOUND, made_search(visit, goals=goals, load_kind=kind), numbers).splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("    1  scout  ")]
    unit = "/s" if kind == "rate" else " sessions"
    assert row.startswith(f"    1  scout  {load:,.0f}{unit}  ")
    assert row.endswith(f"  {p99_ms:,.0f} / {p99_ms:,.0f}  INVALID")
    assert " 123,456  " in row
    assert row.count("100% of") == shown
    assert lines[-1] == f"on the page as well: {', '.join(goal.text for goal in goals[shown:])}"
