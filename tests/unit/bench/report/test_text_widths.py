"""The report in a terminal: no number is split over two lines, however wide its interval is."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from bench.documents.document import Level, Table
from bench.documents.run_document import run_document
from bench.report import text
from tests.support.golden_run import golden_summary
from tests.support.rendered import run_text, typed_summary
from tests.support.terminal_output import written


@pytest.mark.parametrize("width", [80, 90, 100, 110, 120])
def test_no_number_is_broken_over_two_lines(width: int) -> None:
    summary: Any = golden_summary()
    for row in summary["latency"].values():
        if isinstance(row, dict) and "ci95" in row:
            row["too_few"] = {}
            row["ci95"] = {key: [1234.5, 9876.5] for key in ("mean", "p50", "p90", "p95", "P99", "p999", "max")}
    lines = run_text(summary, width=width).splitlines()
    lines = lines[lines.index("Latency over the whole run") :]
    first = next(n for n, line in enumerate(lines) if line.startswith("TTFT (ms)"))
    assert lines[first + 1].startswith("  95% interval")
    assert lines[first + 1].count("–") >= 2
    assert set(re.findall(r"\S+–\S+", lines[first + 1])) == {"1,234–9,876"}
    assert lines[first + 2][:1].isalpha()  # The next line is the next metric, not the rest of a number.
    assert "Median" in lines[first - 1]
    assert "P99" in lines[first - 1]


def test_a_narrow_terminal_keeps_the_median_and_p99_longest() -> None:
    sections = run_document(typed_summary(golden_summary())).sections
    tables = [block for section in sections for block in section.blocks if isinstance(block, Table)]
    (columns,) = (table.columns for table in tables if table.title == "Latency over the whole run")
    droppable = sorted((column.drop, place, column.title) for place, column in enumerate(columns) if column.drop)
    assert [title for *_, title in droppable] == ["P99.9", "P95", "Max", "Average", "P90"]


@pytest.mark.parametrize(("columns", "kind"), [(60, "xterm"), (60, "dumb"), (200, "xterm")])
def test_a_terminal_gets_no_line_wider_than_itself(columns: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", kind)
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as stream:
        text.show(run_document(typed_summary(golden_summary())), Level.FIRST, stream)
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line).rstrip() for line in written(leader).splitlines()]
    assert max(map(len, lines)) <= min(columns, text.WIDE)
    assert any(line.startswith("TTFT (ms)") and len(line.split()) > 3 for line in lines)
