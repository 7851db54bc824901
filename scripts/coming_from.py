"""The tables of docs/coming-from.md, made of bench/config/other_tools.yaml, which also answers wrong flags."""

from __future__ import annotations

import re
from pathlib import Path

from bench.config.other_tools import Row, table

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
_TABLE = re.compile(r"^\| .* \| Trueload \|\n(?:\|.*\n)+", re.MULTILINE)

_FLAG = re.compile(
    r"(?<![\w-])(python -m bench [\w-]+|--[a-z][\w-]*(?: (?:[A-Z]+\b|constant|[\w:=,]*\d[\w:=,]*(?:\.+[\w:=,]+)*))?"
    r"|(?:sweep|search)\b|\w+:\w*[.=]\S*\d|\w+\.(?:jsonl?|html))"
)


def page(text: str) -> str:
    """The page with its tables made anew. A table begins with the name of its tool."""
    common = common_notes()
    if missing := sorted(flag for flag, _ in common if f"| `{flag}` |" not in text):
        raise ValueError(f"docs/coming-from.md needs a row in its first table for each of {missing}")
    return _TABLE.sub(lambda found: rows_of(found[0].split(" | ")[0].removeprefix("| "), common), text)


def common_notes() -> set[tuple[str, str]]:
    """Sentences about flags of ours that several tools would repeat: the page has them in its first table, by hand."""
    users: dict[tuple[str, str], set[str]] = {}
    for tool, rows in table().tools.items():
        for row in rows:
            if row.ours and row.differs:
                users.setdefault((_flag_of(row), row.differs), set()).add(tool)
    return {note for note, tools in users.items() if len(tools) > 1}


def rows_of(tool: str, common: set[tuple[str, str]]) -> str:
    """The table of one tool: one row for each flag of ours, without the sentences in `common`."""
    merged: dict[tuple[str, str], list[str]] = {}
    for row in table().tools[tool]:
        differs = "" if (_flag_of(row), row.differs) in common else row.differs
        merged.setdefault((row.ours, differs), []).extend(row.theirs.split(", "))
    lines = [f"| {tool} | Trueload |", "|---|---|"]
    for (ours, differs), theirs in merged.items():
        cell = ". ".join(part for part in (_code(ours) if ours else "", _sentence(differs)) if part)
        lines.append(f"| {', '.join(dict.fromkeys(map(_theirs, theirs)))} | {cell} |")
    return "\n".join(lines) + "\n"


def _flag_of(row: Row) -> str:
    return row.ours.split(" ")[0]


def _theirs(flag: str) -> str:
    """A flag of theirs, with its value only if the row is for that value."""
    name, _, value = flag.partition(" ")
    return _code(name if value.isupper() else flag)


def _sentence(differs: str) -> str:
    return differs if "`" in differs else _FLAG.sub(r"`\1`", differs)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
