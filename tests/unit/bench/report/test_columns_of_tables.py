"""Where the columns of every kind of table stand, and which a narrow terminal leaves out first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from bench.documents.calibration_sweep_document import calibration_sweep_document
from bench.documents.certificate_document import ledger_document
from bench.documents.document import Column, Document, Level, Table
from bench.documents.gate_document import gate_document
from bench.documents.quality_document import quality_document
from bench.documents.run_document import run_document
from bench.documents.sweep_document import sweep_document
from bench.documents.tune_document import tune_document
from bench.results.certificate import LedgerCalibration
from tests.support.golden_run import golden_summary
from tests.support.made_sweeps import LADDER, content, typed
from tests.support.rendered import typed_summary
from tests.support.results import filled
from tests.unit.bench.accuracy.test_sweep import SWEPT
from tests.unit.bench.report import test_comparison_by_hand as comparison
from tests.unit.bench.report import test_gate_by_hand as gate
from tests.unit.bench.report import test_quality_by_hand as quality
from tests.unit.bench.report import test_tune_by_hand as tune

STATS = dict.fromkeys(("mean", "p50", "p75", "p90", "p95", "p99", "p999", "max"), 0.1)
FOREIGN = {"phase": "loaded", "request": "r", "probe": "p", "code": "K7", "owner": "q", "answer": "an answer"}


@cache
def documents() -> list[Document]:
    errors: Any = [
        {"metric": "ttft_ms", "stat": stat, "unit": "ms", "measured": 5.0, "true": 5.0, "error": error}
        for stat, error in STATS.items()
    ]
    agreement = [{"what": "requests", "here": 5, "there": 5}]
    objective = {"name": "ttft:p90<1s", "unit": "ms", "value": 5, "verdict": "held"}
    return [
        run_document(typed_summary(golden_summary())),
        calibration_sweep_document(SWEPT),
        ledger_document(filled(LedgerCalibration, metrics=errors, agreement=agreement)),
        gate_document(gate.gate(held=2, metrics=[gate.number()], objectives=[objective])),
        comparison.made(comparison.number(**comparison.CHANGED, answer="differs", worse=True)),
        sweep_document([typed(content(LADDER))]),
        quality_document(
            quality.content(
                quality.LOADED,
                cross_talk={"found": 1, "first": [FOREIGN]},
                kinds=[{"kind": "canary", "probes": 9, "alone": 0.5, "loaded": 0.5, "loaded_answers": 9}],
                runs=[{"phase": "alone", "name": "alone", "status": "VALID", "answers": 9, "failed": 2}],
            )
        ),
        tune_document(tune.race(points=[tune.point(1, 16, 2_000, 90.5, dollars=1.25)])),
    ]


@cache
def tables() -> list[Table]:
    blocks = (block for document in documents() for section in document.sections for block in section.blocks)
    return [block for block in blocks if isinstance(block, Table)]


MISSING, NUMBER = re.compile(r"[–/ ]*"), re.compile(r"(about )?\[?[+-]?[\d.,]+")


def test_words_stand_on_the_left_and_numbers_on_the_right() -> None:
    wrong = []
    for table in tables():
        for k, column in [*enumerate(table.columns)][1:]:  # The first one is on the left anyway.
            texts = [row.cells[k].text for row in table.rows if k < len(row.cells)]
            are_numbers = {NUMBER.match(text) is not None for text in texts if not MISSING.fullmatch(text)}
            # The status of HTTP is a name.
            if are_numbers and column.left is any(are_numbers) and column.title != "Status":
                wrong.append((table.title, column.title))
    assert wrong == []


def going(columns: Sequence[Column]) -> list[str]:
    """The titles in the order in which a terminal that becomes narrower leaves them out."""
    return [column.title for column in sorted(columns, key=lambda column: column.drop) if column.drop]


@pytest.mark.parametrize(
    ("title", "first"),
    [
        ("Arms", ["Turns", "Against the best", "95% interval"]),
        ("Error of each number", ["P75", "P99.9", "Max", "P95"]),
        ("Throughput against latency", ["$ per million"]),
        ("Alone against under load", ["p", "Probes needed"]),
        ("Answers with another request's code", ["Answer"]),
        ("Fixed rate: an open loop with Poisson arrivals", ["Chunks/s"]),
    ],
)
def test_a_narrow_terminal_leaves_out_what_helps_least(title: str, first: list[str]) -> None:
    (table,) = (table for table in tables() if table.title == title)
    assert going(table.columns) == first


@pytest.mark.parametrize(
    ("titles", "wrapped"),
    [
        (("Arms",), ["Flags"]),
        (("Throughput against latency",), ["On the front"]),
        (("Turns without a value",), ["Flags", "Why a turn has no value", "Last words of the server"]),
        (("Answers with another request's code",), ["Answer"]),
        (("Errors",), ["Message"]),
        (("By kind of probe", "The three runs", "Every load", "Error of each number", "The numbers that decide",
          "Alone against under load", "Against the baseline", "What must agree exactly"), []),
    ],
)  # fmt: skip
def test_only_words_of_any_length_are_written_over_several_lines(titles: Sequence[str], wrapped: list[str]) -> None:
    for title in titles:
        (table,) = (table for table in tables() if table.title == title)
        assert [column.title for column in table.columns if column.wrap] == wrapped


def test_drawings_and_links_have_room_on_a_page_alone() -> None:
    assert {(table.title, column.title) for table in tables() for column in table.columns if column.page_only} == {
        ("The numbers that decide", "Shaded: the margin"), ("Every load", "Runs"),
    }  # fmt: skip


def test_names_begin_on_the_left_in_tables_of_names() -> None:
    for title in (
        "Arms",
        "Throughput against latency",
        "Turns without a value",
        "Answers with another request's code",
        "Errors",
    ):
        (table,) = (table for table in tables() if table.title == title)
        assert table.columns[0].left


def test_tables_of_a_first_screen_are_shown_in_a_terminal_at_once() -> None:
    assert {table.title for table in tables() if table.level < Level.USUAL} == {
        "Objectives", "Latency and throughput", "Errors", "Against the baseline", "Alone against under load",
        "Answers with another request's code", "Arms",
    }  # fmt: skip
    assert {table.title for table in tables() if table.lead} == {
        "Latency and throughput",
        "Alone against under load",
        "Arms",
    }
