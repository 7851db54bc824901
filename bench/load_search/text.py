"""The answer of a search at 80 columns: the sentence, what it rests on, and every visit."""

from __future__ import annotations

import textwrap

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.load_search.answer import Answer, Numbers
from bench.load_search.decisions import Search
from bench.load_search.visit_numbers import of_inputs
from bench.load_search.visit_table import Row, rows
from bench.report.text import COLOURS, render_plain

WIDTH = 80
_OBJECTIVES_SHOWN = 3


def render(found: Answer, search: Search, numbers: Numbers, *, brief: bool = False) -> str:
    """The answer as plain text."""
    head = [textwrap.fill(found.headline, WIDTH)]
    head += [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
                           break_on_hyphens=False) for line in found.lines]  # fmt: skip
    if brief:
        return "\n".join(head[:1]) + "\n"
    parts: list[RenderableType] = [Text("\n".join(head))]
    if search.results:
        parts += [Text(""), _table(search, rows(search, numbers), "E2EL" if of_inputs(numbers) else "TTFT")]
    return render_plain(Group(*parts), WIDTH)


def _table(search: Search, visits: list[Row], latency: str) -> Table:
    goals = search.settings.goals
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("visit", justify="right")
    table.add_column("")
    table.add_column("load", justify="right", no_wrap=True)
    table.add_column("requests", justify="right")
    for goal in goals[:_OBJECTIVES_SHOWN]:
        head = f"break {goal.text}" if goal.allowed is not None else f"{goal.text}, off by"
        table.add_column(head, justify="right", overflow="fold", min_width=10)
    table.add_column(f"{latency} p50 / p99", justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in visits:
        table.add_row(
            str(row.n),
            row.phase,
            row.load,
            row.requests,
            *(Text(text, "red" if bad else "") for text, bad in row.broke[:_OBJECTIVES_SHOWN]),
            row.latency,
            Text(row.verdict, COLOURS.get(row.verdict, "")),
        )
    return table
