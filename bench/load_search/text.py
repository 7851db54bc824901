"""The answer of a search at 80 columns: the sentence, what it rests on, and every visit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.load_search.answer import Answer, Numbers
from bench.load_search.decisions import Search
from bench.load_search.goals import Goal
from bench.load_search.visit_numbers import of_inputs
from bench.load_search.visit_table import Row, rows
from bench.report.text import COLOURS, render_plain

WIDTH = 80
_OF_AN_OBJECTIVE = 10
"""The width of its column, in which its text is folded."""
_APART = 2


def render(found: Answer, search: Search, numbers: Numbers, *, brief: bool = False) -> str:
    """The answer as plain text."""
    head = [textwrap.fill(found.headline, WIDTH)]
    head += [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False,
                           break_on_hyphens=False) for line in found.lines]  # fmt: skip
    if brief:
        return "\n".join(head[:1]) + "\n"
    parts: list[RenderableType] = [Text("\n".join(head))]
    if search.results:
        visits, goals = rows(search, numbers), search.settings.goals
        latency = f"{'E2EL' if of_inputs(numbers) else 'TTFT'} p50 / p99"
        shown = _objectives_shown(visits, latency)
        parts += [Text(""), _table(goals[:shown], visits, latency)]
        if goals[shown:]:
            parts.append(Text(f"on the page as well: {', '.join(goal.text for goal in goals[shown:])}"))
    return render_plain(Group(*parts), WIDTH)


def _objectives_shown(visits: Sequence[Row], latency: str) -> int:
    """How many objectives have a column: so many that no number of another column is cut."""
    others = (
        _longest("visit", (str(row.n) for row in visits)),
        _longest("", (row.phase for row in visits)),
        _longest("load", (row.load for row in visits)),
        _longest("requests", (row.requests for row in visits)),
        _longest(latency, (row.latency for row in visits)),
        _longest("verdict", (row.verdict for row in visits)),
    )
    room = WIDTH - sum(others) - _APART * (len(others) - 1)
    return max(0, room // (_OF_AN_OBJECTIVE + _APART))


def _longest(head: str, cells: Iterable[str]) -> int:
    return max(len(head), *map(len, cells))


def _table(goals: Sequence[Goal], visits: Sequence[Row], latency: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _APART // 2), header_style="dim")
    table.add_column("visit", justify="right")
    table.add_column("")
    table.add_column("load", justify="right", no_wrap=True)
    table.add_column("requests", justify="right", no_wrap=True)
    for goal in goals:
        head = f"break {goal.text}" if goal.allowed is not None else f"{goal.text}, off by"
        table.add_column(head, justify="right", overflow="fold", min_width=_OF_AN_OBJECTIVE)
    table.add_column(latency, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in visits:
        table.add_row(
            str(row.n),
            row.phase,
            row.load,
            row.requests,
            *(Text(text, "red" if bad else "") for text, bad in row.broke[: len(goals)]),
            row.latency,
            Text(row.verdict, COLOURS.get(row.verdict, "")),
        )
    return table
