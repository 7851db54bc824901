"""A summary as tables for a terminal: the verdict first, then latencies, then throughput.

80 to 120 columns wide; plain where the output is not a terminal, without colour where NO_COLOR is set.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.metrics.catalog import METRICS
from bench.report import (
    calibration_words,
    details,
    formatting,
    jobs,
    other_tools,
    parts_table,
    prefix_cache,
    remarks,
    segments_table,
    server,
    server_requests,
    token_details,
)
from bench.verdict import headline

if TYPE_CHECKING:
    from bench.documents.summary import SummaryDocument

NARROW, WIDE = 80, 120
_ROOMY = 98
STATS = {"mean": "average", "p50": "median", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9", "max": "max"}
MAIN = ("ttft", "tpot", "itl", "e2el", "tps")
COLOURS = {"VALID": "bold green", "SUSPECT": "bold yellow", "INVALID": "bold red", "FAILED": "bold red"}

TROUBLESHOOTING = "docs/troubleshooting.md"
_ERRORS_SHOWN = 8
_ERROR_WIDTH = 200
_WORTH_SHOWING = 0.01


def render(summary: SummaryDocument, *, width: int = 100, brief: bool = False) -> str:
    """The report as plain text; `brief` gives the verdict and the errors only."""
    columns = min(max(width, NARROW), WIDE)
    return render_plain(_page(summary, columns, brief), columns)


def render_plain(page: RenderableType, width: int) -> str:
    """A page as plain text, at most `width` columns wide, without blanks at the ends of lines."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(page)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def show(summary: SummaryDocument, file: IO[str] | None = None, *, brief: bool = False) -> None:
    """Print the report to a file (standard output): in colour on a terminal."""
    console = Console(file=file)
    if console.is_terminal:
        console.width = min(max(console.width, NARROW), WIDE)
        console.print(_page(summary, console.width, brief))
    else:
        # A file or pipe gets a fixed width, whatever the terminal.
        console.file.write(render(summary, brief=brief))


def _page(summary: SummaryDocument, columns: int, brief: bool) -> Group:
    wide = columns >= _ROOMY
    ended_early = details.ended_early(summary)
    parts = [_verdict(summary), *[Text(sentence, "yellow") for sentence in ended_early]]
    if not brief:
        parts += [_run(summary), _latency(summary, columns), *_too_few(summary), _throughput(summary, wide)]
        parts += _segments(summary)
        parts += _parts(summary)
        parts += _jobs(summary)
        if summary["slo"]["objectives"]:
            parts.append(_objectives(summary))
        parts += _other_tools(summary)
    elif summary["slo"]["held"] is False:
        parts.append(_objectives(summary))
    parts.append(_errors(summary))
    if not brief:
        parts += [
            Text(printable(line))
            for line in (*server.text_lines(summary), *server_requests.lines(summary), *server.gpu_lines(summary))
        ]
        parts += _calibrated(summary)
        parts += [Text(warning, "yellow") for warning in remarks.warnings(summary) if warning not in ended_early]
        parts += [Text(f"note: {printable(note)}", "dim") for note in remarks.notes(summary)]
    return Group(*parts)


def _verdict(summary: SummaryDocument) -> RenderableType:
    verdict = summary.get("verdict")
    if verdict is None:
        return Text("")
    line = headline.of(summary, verdict["status"])
    first = Text.assemble((line.status, COLOURS.get(line.status, "bold")), line.rest)
    if not verdict["reasons"]:
        return first
    reasons = [
        Padding(Text(f"- {reason}"), (0, 0, 0, 2))
        for reason in [*map(printable, details.failures(summary)), *verdict["reasons"]]
    ]
    return Group(
        first,
        *reasons,
        Padding(Text(f"what to do, reason by reason: {TROUBLESHOOTING}", "dim"), (0, 0, 0, 2)),
    )


def _run(summary: SummaryDocument) -> RenderableType:
    run, load = summary.get("run", {}), summary["load"]
    what = " · ".join(str(run[key]) for key in ("name", "model", "url") if run.get(key))
    rate = details.sent_rate(summary, "requests/s sent")
    if load["offered_rps"] is not None:
        rate += f" ({formatting.number(load['offered_rps'])} offered)"
    in_flight = (
        f"in flight {formatting.number(load['concurrency_mean'])}, at most {formatting.number(load['concurrency_max'])}"
    )
    lines = [what] if what else []
    lines += [
        f"{remarks.sent(summary)} in {formatting.seconds(summary['throughput']['duration_s'])}",
        f"{load['mode']}: {rate}; {in_flight}",
    ]
    if (cache := summary.get("prefix_cache")) is not None:
        lines.append(f"prefix cache: {prefix_cache.shares(cache, ', ')}")
    lines += [f"{row.name.lower()}: {row.value}" for row in token_details.requests_and_replies(summary)]
    return Padding(Text("\n".join(lines)), (1, 0))


def _shown(summary: SummaryDocument) -> list[str]:
    """The main metrics, plus those from due if requests waited, and TTFO if there was reasoning."""
    latency, known = summary["latency"], details.latencies(summary)
    names = [name for name in MAIN if name in known]
    for name, usual in (("ttft_from_intended", "ttft"), ("e2el_from_intended", "e2el"), ("ttfo", "ttft")):
        if name not in known:
            continue
        value, base = (latency[METRICS[n].key]["p99"] for n in (name, usual))
        if value is not None and base is not None and abs(value - base) > _WORTH_SHOWING * base:
            names.append(name)
    return names


def _latency(summary: SummaryDocument, columns: int) -> RenderableType:
    """As many columns as fit without breaking a number: p99.9 and p95 are the first to go, median and p99 stay."""
    few = ("p999", "p95")
    choices = ((), ("p999",), few, (*few, "max"), (*few, "mean"), (*few, "mean", "max"), (*few, "mean", "max", "p90"))
    return first_that_fits(
        (_latency_table(summary, [stat for stat in STATS if stat not in left_out]) for left_out in choices), columns
    )


def first_that_fits(tables: Iterable[Table], columns: int) -> Table:
    """The first table that is not too wide; the last where all are."""
    endless = Console(width=1000)
    for table in tables:
        if endless.measure(table).maximum <= columns:
            break
    return table


def _latency_table(summary: SummaryDocument, stats: list[str]) -> Table:
    table = _table("", "n", *(STATS[stat] for stat in stats))
    latency = summary["latency"]
    for name in _shown(summary):
        metric, row = METRICS[name], latency[METRICS[name].key]
        table.add_row(
            f"{metric.title} ({metric.unit})", f"{row['n']:,}", *(formatting.statistic(row, stat) for stat in stats)
        )
        if row["n"]:
            cells = (
                remarks.TOO_FEW if stat in row["too_few"] else formatting.interval(row["ci95"].get(stat))
                for stat in stats
            )
            table.add_row("  95% interval", f"~{math.floor(row['independent']):,}", *cells, style="dim")
    return table


def _too_few(summary: SummaryDocument) -> list[RenderableType]:
    """What `~` means; and of each statistic without an interval, the metric that would take the longest run."""
    longest: dict[str, Mapping[str, Any]] = {}
    for name in _shown(summary):
        for stat, found in summary["latency"][METRICS[name].key]["too_few"].items():
            if stat in STATS and (stat not in longest or _run_s(found) > _run_s(longest[stat])):
                longest[stat] = found
    missing = [
        f"{STATS[stat]} {math.floor(longest[stat]['independent']):,} of {longest[stat]['needed']:,}"
        + ("" if longest[stat]["run_s"] is None else f" (a run of {formatting.about(longest[stat]['run_s'])})")
        for stat in STATS
        if stat in longest
    ]
    lines: list[RenderableType] = [Text("~: how many independent values n are worth (docs/statistics.md)", "dim")]
    if missing:
        lines.append(Text(f"too few independent values, and the run that would do: {' · '.join(missing)}", "dim"))
    return lines


def _run_s(missing: Mapping[str, Any]) -> float:
    return -1.0 if missing["run_s"] is None else float(missing["run_s"])


def _table(first: str, *rest: str) -> Table:
    """A table without lines: names on the left, numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column(first, no_wrap=True)
    for title in rest:
        # A number that does not fit is broken over two lines, never cut.
        table.add_column(title, justify="right", overflow="fold")
    return table


def _throughput(summary: SummaryDocument, wide: bool) -> RenderableType:
    window = summary["window"]
    steady = "none" if window["start_s"] is None else f"{window['start_s']:.1f}–{window['end_s']:.1f} s"
    titles = ("whole run", f"steady window ({steady})")
    table = _table(
        "per second", *(column for title in titles for column in ((title, "95% interval") if wide else (title,)))
    )
    for row in details.throughput(summary):
        cells = (
            row.whole,
            row.whole_ci or (remarks.TOO_FEW if row.whole_missing else ""),
            row.steady,
            row.steady_ci or (remarks.TOO_FEW if row.steady_missing else ""),
        )
        table.add_row(row.name, *(cells if wide else cells[::2]))
    return Padding(table, (1, 0))


def _segments(summary: SummaryDocument) -> list[RenderableType]:
    rows = segments_table.rows(summary)
    if not rows:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(segments_table.unit(summary), no_wrap=True)
    for head in segments_table.heads(summary):
        table.add_column(head, justify="right", overflow="fold")
    for row in rows:
        *cells, failed = row.cells
        table.add_row(row.load, *cells, Text(failed, "red" if row.failed else ""))
    changed = [Text(f"load changed at {printable(change)}", "dim") for change in segments_table.changes(summary)]
    return [Padding(table, (0, 0, 0 if changed else 1, 0)), *changed, *([Text("")] if changed else [])]


def _parts(summary: SummaryDocument) -> list[RenderableType]:
    found: list[RenderableType] = []
    for of_kind in parts_table.tables(summary):
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        first, *others = of_kind.heads
        table.add_column(first, overflow="fold")
        for head in others:
            table.add_column(head, justify="right", overflow="fold")
        for name, *cells in of_kind.rows:
            table.add_row(Text(printable(name)), *cells)
        found += [table, *(Text(printable(note), "dim") for note in of_kind.notes[1:]), Text("")]
    return found


def _jobs(summary: SummaryDocument) -> list[RenderableType]:
    found = jobs.lines(summary)
    if not found:
        return []
    parts: list[RenderableType] = [Text("\n".join(found), overflow="fold")]
    for title, (first, *heads), rows in jobs.tables(summary):
        table = _table(f"{title}: {first.lower()}", *heads)
        for row in rows:
            table.add_row(*row)
        parts.append(Padding(table, (1, 0, 0, 0)))
    return [*parts, Text("")]


def _objectives(summary: SummaryDocument) -> RenderableType:
    table = _table("objective", "measured")
    table.add_column("")
    good = "green" if (summary.get("verdict") or {}).get("status") == "VALID" else ""
    for row in summary["slo"]["objectives"]:
        held = Text(remarks.held(row), good if row["held"] else "red")
        if unsure := details.uncertainty(row):
            held.append(f", {unsure}", "dim")
        table.add_row(Text(row["objective"]), formatting.objective_value(row), held)
    return Padding(table, (0, 0, 1, 0))


def _errors(summary: SummaryDocument) -> RenderableType:
    rows = summary["errors"]
    if not rows:
        return Text(remarks.no_errors(summary))
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    table.add_column("errors", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("message", overflow="fold")
    for row in rows[:_ERRORS_SHOWN]:
        message = "" if row["error"] is None else row["error"]
        cut = message if len(message) <= _ERROR_WIDTH else message[:_ERROR_WIDTH] + "…"
        status = formatting.NOTHING if row["status"] is None else str(row["status"])
        table.add_row(f"{row['n']:,}", Text(row["outcome"]), status, Text(printable(cut)))
    if len(rows) > _ERRORS_SHOWN:
        rest = sum(row["n"] for row in rows[_ERRORS_SHOWN:])
        table.add_row(f"{rest:,}", "", "", f"with {len(rows) - _ERRORS_SHOWN} other messages, in summary.json")
    return table


def _other_tools(summary: SummaryDocument) -> list[RenderableType]:
    """The numbers of other tools that are at least 1% apart; report.html has the whole table and the reasons."""
    rows = other_tools.lines(summary)
    if not rows:
        return []
    table = _table("other tools print", "", "average / median / p99", "here")
    before = ""
    for tool, metric, theirs, ours in rows:
        table.add_row("" if tool == before else tool, metric, theirs, ours)
        before = tool
    return [Padding(table, (0, 0, 1, 0))]


def _calibrated(summary: SummaryDocument) -> list[RenderableType]:
    """How wrong the numbers are, as far as that is known. For a calibration itself, the certificate says so."""
    calibration = summary.get("calibration")
    if calibration is not None and calibration["from"] == "ledger":
        return []
    return [Text(calibration_words.certainty(calibration), "dim")]


def printable(text: str) -> str:
    """A server's text must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
