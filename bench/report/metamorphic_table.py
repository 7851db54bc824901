"""What `calibrate --full` found, for a terminal: each check, and what had to follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.report.formatting import NOTHING, number
from bench.report.text import render_plain

WIDTH = 110


def text(found: Mapping[str, Any]) -> str:
    """The content of full.json as plain text of at most 110 columns."""
    checks = found["checks"]
    failed = [check["name"] for check in checks if not check["held"]]
    says = f"{', '.join(failed)}: does not hold" if failed else f"all {len(checks)} checks hold"
    parts: list[Any] = [Text(f"What must follow where the mock is changed: {says}.")]
    for check in checks:
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
        for head, justify in (("", "left"), ("expected", "right"), ("seen", "right"), ("", "left")):
            table.add_column(head, justify="right" if justify == "right" else "left")
        for row in check["rows"]:
            table.add_row(
                row["what"], _cell(row["expected"]), _cell(row["seen"]), "" if row["held"] else "DOES NOT HOLD"
            )
        parts.append(Padding(Text(f"{check['name']}: {check['says']}"), (1, 0, 0, 0)))
        parts.append(Padding(table, (0, 0, 0, 2)))
    return render_plain(Group(*parts), WIDTH)


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, Mapping):
        return ", ".join(f"{n} {what}" for what, n in value.items())
    return f"{value:,}" if isinstance(value, int) else number(value)
