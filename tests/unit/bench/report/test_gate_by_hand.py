"""The content of a gate's document, and the notation of a change, without runs."""

from __future__ import annotations

from typing import Any

import pytest

from bench.documents import comparison
from bench.documents.document import Findings, Level, Table
from bench.documents.gate_document import allowed_text, gate_document, verdict_line
from bench.results.gate import GateMetric, GateResult
from tests.support.results import filled

RUN = {"directory": "runs/a", "verdict": "INVALID", "reasons": ["the client was late"]}
LOST = {"name": "tpot:p50", "title": "TPOT p50", "why": "the baseline has it"}
TOO_FEW = ". Not shown is not held: it may be broken, and these runs cannot tell. --strict fails it"


def gate(failed: int = 0, held: int = 0, unsure: int = 0, **more: Any) -> GateResult:
    return filled(GateResult, counts={"failed": failed, "held": held, "not shown": unsure}, **more)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gate(), "The gate passed: nothing was judged"),
        (gate(held=2), "The gate passed: 2 held"),
        (gate(held=2, unsure=1), f"The gate passed: 2 held, 1 not shown{TOO_FEW}"),
        (gate(1, 2, exit=1), "The gate failed: 1 failed, 2 held"),
        (gate(1, 2, 3, exit=1), "The gate failed: 1 failed, 2 held, 3 not shown"),
        (gate(0, 2, 3, exit=1), "The gate failed: 2 held, 3 not shown, and --strict counts not shown as failed"),
        (gate(held=2, lost=[LOST]), "The gate passed: 2 held, 1 not compared"),
        (
            gate(held=2, lost=[LOST], exit=1),
            "The gate failed: 2 held, 1 not compared, and --strict counts not compared as failed",
        ),
        (
            gate(0, 2, 3, lost=[LOST], exit=1),
            "The gate failed: 2 held, 3 not shown, 1 not compared, and --strict counts not shown and not compared as failed",
        ),
        (
            gate(exit=3, runs=[{**RUN, "verdict": "VALID"}, RUN]),
            "INVALID: runs/a cannot be judged (the client was late)",
        ),
        (
            gate(exit=4, runs=[{**RUN, "verdict": "FAILED", "reasons": []}]),
            "FAILED: runs/a cannot be judged (no reason was recorded)",
        ),
        (
            gate(exit=4, runs=[RUN, {**RUN, "directory": "runs/b", "verdict": "FAILED", "reasons": ["it is gone"]}]),
            "FAILED: runs/b cannot be judged (it is gone)",
        ),
    ],
)
def test_the_outcome_is_a_sentence(content: GateResult, sentence: str) -> None:
    assert verdict_line(content) == sentence
    (banner,) = gate_document(content).banners
    assert (banner.status, banner.tone) == (sentence, "bad" if content.exit else "good")


def number(**more: Any) -> GateMetric:
    usual = {"title": "TTFT p90", "unit": "ms", "a": 100.0, "b": 112.5, "change": 0.125, "low": -0.01, "high": 0.26,
             "seen_from": 0.2, "margin": 0.05, "higher_is_worse": True, "ratio": True, "verdict": "held"}  # fmt: skip
    return filled(GateMetric, {**usual, **more})


SHARE = {
    "title": "Failed",
    "unit": "share",
    "ratio": False,
    "a": 0.01,
    "b": 0.025,
    "change": 0.015,
    "low": -1.2,
    "high": 1.2,
}


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (number(), ["TTFT p90 (ms)", "100", "112.5", "+12.5%", "[-1.0, +26.0]", "20.0%", "+5%", "held"]),
        (
            number(title="Requests/s", unit="1/s", higher_is_worse=False, margin=0.075, change=-1.5, low=-2.0),
            ["Requests/s", "100", "112.5", "-150%", "[-200, +26.0]", "20.0%", "-7.50%", "held"],
        ),
        (number(**SHARE), ["Failed", "1%", "2.50%", "+1.5 pts", "[-100, +100]", "20.0 pts", "+5 pts", "held"]),
        (number(**SHARE, seen_from=1.0), ["Failed", "1%", "2.50%", "+1.5 pts", "[-100, +100]", "–", "+5 pts", "held"]),
        (
            number(title="Jobs", unit="1/s", change=0.0004, seen_from=1.0),
            ["Jobs (/s)", "100", "112.5", "0.0%", "[-1.0, +26.0]", "100%", "+5%", "held"],
        ),
    ],
)
def test_a_number_against_the_baseline_is_a_row(row: GateMetric, cells: list[str]) -> None:
    (table,) = (b for b in gate_document(gate(held=1, metrics=[row])).sections[0].blocks if isinstance(b, Table))
    assert [cell.text for cell in table.rows[0].cells] == cells
    assert (table.level, table.rows[0].cells[-1].tone) == (Level.FIRST, "good")
    assert allowed_text(row) == cells[-2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9994, "+99.9%"), (0.9996, "+100%"), (-0.9996, "-100%"), (0.0004, "0.0%"), (-0.0004, "0.0%"), (0.0005, "+0.1%")],
)
def test_a_change_has_a_decimal_below_a_hundred_percent(value: float, text: str) -> None:
    assert comparison.percent(value) == text
    assert comparison.percent(abs(value), sign=False) == text.lstrip("+-")


def test_reasons_of_runs_come_once_after_what_is_not_shown() -> None:
    objective = {"name": "ttft:p90<1s", "unit": "ms", "value": 5, "verdict": "held", "why": "one run"}
    unsure = number(**SHARE, seen_from=1.0, verdict="not shown")
    runs = [{**RUN, "reasons": ["late", "late"]}, {**RUN, "verdict": "VALID", "directory": "runs/b"}]
    content = gate(unsure=1, objectives=[objective], metrics=[unsure], notes=["a note", "runs/a: late"], runs=runs)
    found = [b for b in gate_document(content).sections[0].blocks if isinstance(b, Findings)]
    said = ["ttft:p90<1s: one run", "Failed: not shown; these runs can find no change of it", "a note", "runs/a: late"]
    assert [[one.text for one in block.sentences] for block in found] == [said]
    content = gate(runs=runs)
    found = [b for b in gate_document(content).sections[0].blocks if isinstance(b, Findings)]
    assert [[one.text for one in block.sentences] for block in found] == [["runs/a: late"]]
