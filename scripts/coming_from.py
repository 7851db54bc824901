"""The tables of docs/coming-from.md, made of bench/config/other_tools.yaml, which also answers wrong flags."""

from __future__ import annotations

import re
from pathlib import Path

from bench.config.other_tools import Row, table

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
_TABLE = re.compile(r"^\| .* \| Trueload \| what differs \|\n(?:\|.*\n)+", re.MULTILINE)

_FLAG = re.compile(
    r"(?<![\w-])(--[a-z][\w-]*(?: (?:[A-Z]+\b|constant|[\w:=,]*\d[\w:=,]*(?:\.+[\w:=,]+)*))?|sweep\b|\w+:\w*[.=]\S*\d)"
)


def page(text: str) -> str:
    """The page with its tables made anew. A table begins with the name of its tool."""
    return _TABLE.sub(lambda found: rows_of(found[0].split(" | ")[0].removeprefix("| ")), text)


def rows_of(tool: str) -> str:
    """The table of one tool."""
    lines = [f"| {tool} | Trueload | what differs |", "|---|---|---|"]
    return "\n".join([*lines, *map(_line, table().tools[tool])]) + "\n"


def _line(row: Row) -> str:
    theirs = ", ".join(_code(part) for part in row.theirs.split(", "))
    flags = _FLAG.sub(r"`\1`", row.differs)
    return f"| {theirs} | {_code(row.ours) if row.ours else '–'} | {flags if '`' not in row.differs else row.differs} |"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
