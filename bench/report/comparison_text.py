"""A comparison as tables for a terminal, and as Markdown for a pull request. At most 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.documents.comparison import (
    Row,
    answer_text,
    change_text,
    interval_text,
    method_text,
    seen_text,
    title,
    value,
)
from bench.report.text import NARROW, printable, render_plain

COLOURS = {"worse": "bold red", "better": "bold green", "same": "green"}
_LONGEST_VALUE = 60


def render(document: Mapping[str, Any]) -> str:
    """The comparison as plain text."""
    return render_plain(page(document), NARROW)


def page(document: Mapping[str, Any]) -> RenderableType:
    """The comparison for a terminal."""
    sides = {side["name"]: side for side in document["sides"]}
    parts: list[RenderableType] = [_sides(document["sides"]), _variations(document)]
    for versus in document["versus"]:
        parts += [
            Text(versus["headline"], "bold"),
            Text(method_text(versus, sides), "dim"),
            Padding(_table(versus, [row for row in versus["numbers"] if row["primary"]]), (1, 0)),
        ]
        others = [row for row in versus["numbers"] if not row["primary"] and row["change"] is not None]
        if others:
            parts += [Text("explored, no claim rests on these:", "dim"), Padding(_table(versus, others), (0, 0, 1, 0))]
        parts += _missing(versus)
        parts += [Text(f"- {printable(warning)}", "yellow") for warning in versus["warnings"]]
    return Group(*parts)


def _sides(sides: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for side in sides:
        n = len(side["runs"])
        table.add_row(Text(side["name"], "bold"), Text(side["path"]), f"{n} run{'s' if n > 1 else ''}")
    return table


def _variations(document: Mapping[str, Any]) -> RenderableType:
    rows = document["variations"]
    if not rows:
        return Padding(Text("configuration, versions, machine and server are the same"), (1, 0))
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("what differs", no_wrap=True)
    table.add_column("")
    for side in document["sides"]:
        table.add_column(side["name"], overflow="fold", max_width=_LONGEST_VALUE // len(document["sides"]))
    before = ""
    for row in rows:
        group = "" if row["group"] == before else row["group"]
        table.add_row(group, row["name"], *(Text(printable(value)) for value in row["values"]))
        before = row["group"]
    return Padding(table, (1, 0))


def _table(versus: Mapping[str, Any], rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for head in (versus["a"], versus["b"], "change", "95% interval", "seen from"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        answer = answer_text(row)
        # The names of a sweep's numbers leave no room for a unit.
        name = row["title"] if ":" in row["title"] or not row["primary"] else title(row)
        table.add_row(
            name, value(row, "a"), value(row, "b"), change_text(row), interval_text(row), seen_text(row),
            Text(f" {answer}", COLOURS.get(answer, "")),
        )  # fmt: skip
    return table


def _missing(versus: Mapping[str, Any]) -> list[RenderableType]:
    said = dict.fromkeys(
        f"- {row['title']}: {row['missing']}" for row in versus["numbers"] if row["primary"] and row["missing"]
    )
    return [Text(sentence, "yellow") for sentence in said]


def markdown(document: Mapping[str, Any]) -> str:
    """The comparison as GitHub's Markdown: the headline, what differs, and the numbers that decide."""
    sides = {side["name"]: side for side in document["sides"]}
    lines = []
    for versus in document["versus"]:
        lines += [f"**{versus['headline']}**", "", method_text(versus, sides), ""]
        lines += [f"| | {versus['a']} | {versus['b']} | change | 95% interval | seen from | |"]
        lines += ["|---|--:|--:|--:|:-:|--:|---|"]
        rows = [row for row in versus["numbers"] if row["primary"]]
        rows += [row for row in versus["numbers"] if not row["primary"] and row["worse"] is not None]
        for row in rows:
            cells = (
                title(row) + ("" if row["primary"] else ", explored"), value(row, "a"), value(row, "b"),
                change_text(row), interval_text(row), seen_text(row), answer_text(row),
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(escape, cells))} |")
        said = [f"{row['title']}: {row['missing']}" for row in rows if row["missing"]]
        if said or versus["warnings"]:
            lines += ["", *(f"- {escape(sentence)}" for sentence in (*said, *versus["warnings"]))]
        lines.append("")
    names = [side["name"] for side in document["sides"]]
    paths = [f"{side['name']} = `{side['path']}`" for side in document["sides"]]
    lines.append(", ".join(paths))
    if document["variations"]:
        lines += ["", f"| what differs | | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
        for row in document["variations"]:
            lines.append(f"| {row['group']} | {escape(row['name'])} | {' | '.join(map(escape, row['values']))} |")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text from outside, in a cell of a table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
