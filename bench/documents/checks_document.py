"""The document of calibrate --full: each check, with its expected and its seen values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.documents.document import Cell, Column, Document, Finding, Findings, Row, Section, Table
from bench.documents.formatting import NOTHING, number

if TYPE_CHECKING:
    from bench.accuracy.metamorphic import CheckResult, ChecksResult


def checks_document(result: ChecksResult) -> Document:
    """The document of the checks."""
    failed = [check.name for check in result.checks if not check.holds]
    says = f"{', '.join(failed)}: does not hold" if failed else f"all {len(result.checks)} checks hold"
    summary = Finding(f"What must follow when the mock changes: {says}.")
    return Document("", (), (Section("", (Findings((summary,)), *map(_check, result.checks))),))


def _check(check: CheckResult) -> Table:
    rows = tuple(
        Row(row.what, _value(row.expected), _value(row.seen), Cell("" if row.held else "DOES NOT HOLD", "bad"))
        for row in check.rows
    )  # fmt: skip
    columns = (Column(""), Column("Expected"), Column("Seen"), Column("", left=True))
    return Table(f"{check.name}: {check.says}", columns, rows)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{n} {label}" for label, n in value.items())
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else NOTHING
