"""A gate as text for a terminal, and as Markdown for the summary of a job."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.documents.comparison import change_text, interval_text, seen_text, title, value
from bench.documents.formatting import measured, number, share
from bench.report.comparison_text import escape
from bench.report.text import NARROW, printable, render_plain

Document = Mapping[str, Any]
COLOURS = {"failed": "bold red", "held": "green", "not shown": "yellow"}
MARKS = {"failed": "❌", "held": "✅", "not shown": "❔"}


_NOT_HELD = ". Not shown is not held: it may be broken, and these runs cannot tell. --strict fails it"


def verdict_line(document: Document) -> str:
    """The outcome in a sentence."""
    counts = document["counts"]
    if document["exit"] in (3, 4):
        bad = [run for run in document["runs"] if run["verdict"] in ("INVALID", "FAILED")]
        because = bad[0]["reasons"][0] if bad[0]["reasons"] else "no reason was written down"
        return f"{bad[0]['verdict']}: {bad[0]['directory']} cannot be judged ({because})"
    said = ", ".join(f"{counts[name]} {name}" for name in ("failed", "held", "not shown") if counts[name])
    passed = "failed" if document["exit"] else "passed"
    if document["exit"] and not counts["failed"]:
        return f"The gate failed: {said}, and --strict takes what is not shown for failed"
    if not said:
        return f"The gate {passed}: nothing was judged"
    return f"The gate {passed}: {said}{'' if document['exit'] or not counts['not shown'] else _NOT_HELD}"


def allowed_text(row: Mapping[str, Any]) -> str:
    """What a number may change by before it fails: the margin, to the worse side."""
    sign = "+" if row["higher_is_worse"] else "-"
    return f"{sign}{share(row['margin'])}" if row["ratio"] else f"{sign}{row['margin'] * 100:g} pts"


def objective_interval(row: Mapping[str, Any]) -> str:
    """The interval of an objective's value; empty where there is none."""
    if row["low"] is None:
        return ""
    write = share if row["unit"] == "share" else number
    return f"[{write(row['low'])}, {write(row['high'])}]"


def render(document: Document) -> str:
    """The gate as plain text, at most 80 columns wide."""
    return render_plain(page(document), NARROW)


def page(document: Document) -> RenderableType:
    """The gate for a terminal."""
    parts: list[RenderableType] = [
        Text(printable(verdict_line(document)), "bold red" if document["exit"] else "bold green")
    ]
    if document["objectives"]:
        table = _table("objective", "measured", "95% interval")
        for row in document["objectives"]:
            found = measured(row["value"], row["unit"])
            table.add_row(Text(row["name"]), found, objective_interval(row), _verdict(row))
        parts.append(Padding(table, (1, 0, 0, 0)))
    if document["metrics"]:
        table = _table("against the baseline", "before", "now", "change", "95% interval", "allowed")
        for row in document["metrics"]:
            cells = (value(row, "a"), value(row, "b"), change_text(row), interval_text(row), allowed_text(row))
            table.add_row(title(row), *cells, _verdict(row))
        parts.append(Padding(table, (1, 0, 0, 0)))
    said = [*(f"{row['name']}: {row['why']}" for row in document["objectives"] if row["why"])]
    said += [*map(_power, _unshown(document)), *document["notes"]]
    if said:
        parts.append(Text(""))
    parts += [Text(f"- {printable(sentence)}", "yellow") for sentence in said]
    return Group(*parts)


def _unshown(document: Document) -> list[Mapping[str, Any]]:
    return [row for row in document["metrics"] if row["verdict"] == "not shown"]


def _power(row: Mapping[str, Any]) -> str:
    """What these runs could have shown of a number."""
    worse = "+" if row["higher_is_worse"] else "-"
    return (
        f"{row['title']}: not shown; these runs find a change of {worse}{seen_text(row)} or more in four gates of five"
    )


def _table(first: str, *rest: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in rest:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    return table


def _verdict(row: Mapping[str, Any]) -> Text:
    return Text(f" {row['verdict']}", COLOURS[row["verdict"]])


def markdown(document: Document) -> str:
    """The gate for the summary of a job: the verdict, the numbers, the reasons, and the command."""
    lines = [f"### {'❌' if document['exit'] else '✅'} {escape(verdict_line(document))}", ""]
    if document["metrics"]:
        lines += [
            "| metric | baseline | now | change [95%] | found from | allowed | verdict |",
            "|---|--:|--:|--:|--:|--:|---|",
        ]
        for row in document["metrics"]:
            change = f"{change_text(row)} {interval_text(row)}"
            cells = (title(row), value(row, "a"), value(row, "b"), change, seen_text(row), allowed_text(row))
            lines.append(f"| {' | '.join(map(escape, cells))} | {MARKS[row['verdict']]} {row['verdict']} |")
        lines.append("")
    if document["objectives"]:
        lines += ["| objective | measured [95%] | verdict |", "|---|--:|---|"]
        for row in document["objectives"]:
            cell = f"{measured(row['value'], row['unit'])} {objective_interval(row)}".strip()
            lines.append(f"| `{row['name']}` | {cell} | {MARKS[row['verdict']]} {row['verdict']} |")
        lines.append("")
    said = [*(f"{row['name']}: {row['why']}" for row in document["objectives"] if row["why"])]
    said += [*map(_power, _unshown(document)), *document["notes"]]
    said += [
        f"{run['directory']}: {r}" for run in document["runs"] if run["verdict"] != "VALID" for r in run["reasons"]
    ]
    lines += [f"- {escape(sentence)}" for sentence in dict.fromkeys(said)]
    if said:
        lines.append("")
    lines += ["```sh", shlex.join(document["command"]), "```"]
    return "\n".join(lines) + "\n"
