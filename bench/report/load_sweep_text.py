"""A sweep, or repeats, for a terminal: what each run showed, and tables of at most 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.documents.formatting import NOTHING
from bench.documents.sweep_words import (
    FELL_BEHIND,
    OUTPUT,
    TITLES,
    delivered_by,
    has_goodput,
    has_jobs,
    sentences,
    written,
)
from bench.report.text import COLOURS, render_plain

WIDTH = 80
COLUMNS = (
    ("tokens/s", "output_tokens_per_s"),
    ("req/s", "requests_per_s"),
    ("TTFT", "ttft:p50"),
    ("p99", "ttft:p99"),
    ("TPOT", "tpot:p50"),
    ("p99", "tpot:p99"),
    ("E2EL", "e2el:p50"),
    ("p99", "e2el:p99"),
)
COLUMNS_OF_INPUTS = (
    ("inputs/s", "inputs_per_s"),
    ("req/s", "requests_per_s"),
    ("E2EL", "e2el:p50"),
    ("p90", "e2el:p90"),
    ("p99", "e2el:p99"),
)
"""Where replies are no generated text."""
COLUMNS_OF_JOBS = (
    ("jobs/h", "jobs_per_hour"),
    ("job s", "job:p50"),
    ("p90", "job:p90"),
    ("TTFT", "ttft:p50"),
    ("p99", "ttft:p99"),
    ("TPOT", "tpot:p50"),
    ("tokens/s", "output_tokens_per_s"),
)
"""Of sessions."""
_WITH_INTERVAL = ("jobs_per_hour", "job:p50", "inputs_per_s", "output_tokens_per_s", "ttft:p50", "tpot:p50", "e2el:p50")
_REASONS_SHOWN = 5


def show(content: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print a sweep: in colour on a terminal."""
    console = Console(file=file)
    if console.is_terminal:
        console.width = max(min(console.width, 100), WIDTH)
        console.print(_page(content))
    else:
        console.file.write(render(content))


def render(content: Mapping[str, Any]) -> str:
    """The sweep as plain text."""
    return render_plain(_page(content), WIDTH)


def _page(content: Mapping[str, Any]) -> Group:
    parts: list[RenderableType] = [Text(sentence) for sentence in sentences(content)]
    parts.append(Padding(_table(content), (1, 0)))
    marked = [p for p in content["points"] if p["status"] != "VALID"]
    for point in marked[:_REASONS_SHOWN]:
        counted = "" if point["usable"] else "; its numbers count for nothing else"
        reasons = point["reasons"][0] if point["reasons"] else "see its report"
        parts.append(Text(f"{point['load']:,g} {content['unit']} is {point['status']}{counted}: {reasons}", "yellow"))
    behind = [f"{point['load']:,g}" for point in content["points"] if point["kept_up"] is False]
    if behind:
        parts.append(Text(f"At {', '.join(behind)} {content['unit']}: {FELL_BEHIND}.", "yellow"))
    return Group(*parts)


def _table(content: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("req/s" if content["kind"] == "rate" else content["unit"], no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    usual = COLUMNS_OF_JOBS if has_jobs(content) else COLUMNS
    columns: list[tuple[str, str]] = list(usual if delivered_by(content) == OUTPUT else COLUMNS_OF_INPUTS)
    if content["kind"] == "rate":  # The load is the rate that was asked for; this is what was served of it.
        columns = [("served", name) if name == "requests_per_s" else (head, name) for head, name in columns]
    if has_goodput(content):
        columns = [*(c for c in columns if c[1] != "e2el:p99"), ("good", "goodput")]
    for head, _ in columns:
        table.add_column(head, justify="right", overflow="fold")
    for point in content["points"]:
        style = "" if point["usable"] else "dim"
        status = Text(point["status"], COLOURS.get(point["status"], ""))
        cells = [Text(written(point["numbers"][name]["value"], name), style) for _, name in columns]
        table.add_row(f"{point['load']:,g}", status, *cells)
        table.add_row("", "", *(_reach(point["numbers"][name], name) for _, name in columns), style="dim")
    return table


def _reach(cell: Mapping[str, Any], name: str) -> str:
    """Half of the interval, relative to the value."""
    if name not in _WITH_INTERVAL or not cell["value"]:
        return ""
    if cell["low"] is None or cell["high"] is None:
        return "±?"
    return f"±{(cell['high'] - cell['low']) / 2 / cell['value']:.1%}"


def render_repeats(content: Mapping[str, Any]) -> str:
    """The spread between the runs of one configuration, as plain text."""
    return render_plain(_repeats(content), WIDTH)


def show_repeats(content: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print the spread between runs: in colour on a terminal."""
    console = Console(file=file)
    if console.is_terminal:
        console.print(_repeats(content))
    else:
        console.file.write(render_repeats(content))


def _repeats(content: Mapping[str, Any]) -> Group:
    runs: Sequence[Mapping[str, Any]] = content["runs"]
    verdicts = Text("runs: ")
    for k, run in enumerate(runs):
        verdicts.append(", " if k else "")
        verdicts.append(run["status"], COLOURS.get(run["status"], ""))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for head in ("mean of runs", "sd between runs", "95% interval of the mean"):
        table.add_column(head, justify="right")
    for name, title in TITLES.items():
        cell = content["numbers"].get(name)
        if cell is None or cell["value"] is None:
            continue
        relative = name not in ("goodput", "error_rate")
        sd = NOTHING if cell["sd"] is None else f"{cell['sd']:.2%}"
        ends = NOTHING if cell["low"] is None else f"{written(cell['low'], name)}–{written(cell['high'], name)}"
        table.add_row(title, written(cell["value"], name), sd + ("" if relative or sd == NOTHING else " of all"), ends)
    parts: list[RenderableType] = [verdicts, Padding(table, (1, 0))]
    usable = sum(run["usable"] for run in runs)
    if usable < len(runs):
        counted = "the numbers are of the others" if usable else "there are no others, so their numbers are shown"
        parts.append(Text(f"{len(runs) - usable} of {len(runs)} runs are INVALID or FAILED: {counted}.", "yellow"))
    if usable == 1:
        parts.append(Text("One run: the spread between runs is not known.", "yellow"))
    return Group(*parts)
