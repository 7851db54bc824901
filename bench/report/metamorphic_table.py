"""The result of `calibrate --full` for a terminal: each check, and what had to follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.accuracy.metamorphic import ChecksResult
from bench.documents.formatting import NOTHING, number
from bench.report.text import render_plain

WIDTH = 110


def text(found: ChecksResult) -> str:
    """The checks as plain text of at most 110 columns."""
    failed = [check.name for check in found.checks if not check.holds]
    says = f"{', '.join(failed)}: does not hold" if failed else f"all {len(found.checks)} checks hold"
    parts: list[Any] = [Text(f"What must follow when the mock changes: {says}.")]
    for check in found.checks:
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        for head, justify in (("", "left"), ("expected", "right"), ("seen", "right"), ("", "left")):
            table.add_column(head, justify="right" if justify == "right" else "left")
        for row in check.rows:
            table.add_row(row.what, _cell(row.expected), _cell(row.seen), "" if row.held else "DOES NOT HOLD")
        parts.append(Padding(Text(f"{check.name}: {check.says}"), (1, 0, 0, 0)))
        parts.append(Padding(table, (0, 0, 0, 2)))
    return render_plain(Group(*parts), WIDTH)


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{n} {what}" for what, n in value.items())
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else NOTHING
