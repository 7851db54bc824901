"""A sweep, or repeats, for a terminal: what each run showed, and tables of at most 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.report.formatting import NOTHING, interval, number, share
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


OUTPUT = "output_tokens_per_s"
UNITS = {OUTPUT: "tokens/s", "inputs_per_s": "inputs/s"}


def delivered(numbers: Mapping[str, Any]) -> str:
    """The number of a load that says what was delivered: output tokens, or inputs where replies are no generated text."""
    return "inputs_per_s" if "inputs_per_s" in numbers else OUTPUT


def delivered_by(content: Mapping[str, Any]) -> str:
    """The same of a whole sweep."""
    return delivered(content["points"][0]["numbers"]) if content["points"] else OUTPUT


def progress_line(status: str, numbers: Mapping[str, Any]) -> str:
    """One line about a run that has just ended."""
    parts = [f"{number(_value(numbers[delivered(numbers)]))} {UNITS[delivered(numbers)]}"]
    for name in ("ttft", "tpot", "e2el") if delivered(numbers) == OUTPUT else ("e2el",):
        p50, p99 = (number(_value(numbers[f"{name}:{stat}"])) for stat in ("p50", "p99"))
        parts.append(f"{name.upper()} p50 {p50} p99 {p99} ms")
    return f"  {status}: {', '.join(parts)}"


class _Number(Protocol):
    """A number of a point, as it is measured."""

    @property
    def value(self) -> float | None: ...


def _value(found: _Number | Mapping[str, Any]) -> float | None:
    value: float | None = found["value"] if isinstance(found, Mapping) else found.value
    return value


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


FELL_BEHIND = (
    "requests in flight kept rising, so the server may not keep up, and latencies grow with the length of the run"
)


def sentences(content: Mapping[str, Any]) -> list[str]:
    """What the sweep says: how far it came, and its knee."""
    found = []
    runs, planned = len(content["runs"]), len(content["loads"]) * content["repeats"]
    if content["ended"] is not None:
        found.append(f"Not complete ({content['ended']}): {runs} of {planned} runs.")
    knee = content["knee"]
    if knee is None:
        return [*found, *([content["no_knee"][0].upper() + content["no_knee"][1:] + "."] if content["no_knee"] else [])]
    unit, half, at_most = UNITS[delivered_by(content)], half_interval(content), knee["ceiling_interval"]
    sure = "" if half is None else f" (95%: {half})"
    ceiling = "" if at_most is None else f" (95%: {interval(at_most)})"
    reached, ninety = load_within(content, knee["half_at"]), ninety_percent(content)
    found.append(
        f"Half of the greatest throughput is reached {_with(reached)} {content['unit']}{sure}, 90% {_with(ninety)}; "
        f"the ceiling of the fitted curve is {number(knee['ceiling'])} {unit}{ceiling}."
    )
    if ninety.startswith(BEYOND):
        found.append(
            f"No load above {highest_load(content):,g} {content['unit']} was measured: sweep further up to see it."
        )
    if knee["warning"] is not None:
        found.append(knee["warning"][0].upper() + knee["warning"][1:] + ".")
    return found


BEYOND = "beyond"


def highest_load(content: Mapping[str, Any]) -> float:
    """The highest load that was measured: what a curve says of loads above it was not."""
    return max((float(point["load"]) for point in content["points"] if point["usable"]), default=0.0)


def load_within(content: Mapping[str, Any], load: float | None) -> str:
    """A load that follows from the fitted curve; beyond the highest that was measured no number is given."""
    highest = highest_load(content)
    return f"{BEYOND} {highest:,g}" if load is None or load > highest else number(load)


def _with(load: str) -> str:
    return load if load.startswith(BEYOND) else f"with {load}"


def ninety_percent(content: Mapping[str, Any]) -> str:
    """The load that reaches 90% of the ceiling."""
    return load_within(content, 9 * content["knee"]["half_at"])


def half_interval(content: Mapping[str, Any]) -> str | None:
    """The 95% interval of the load that reaches half of the ceiling; None where there is none."""
    ends = content["knee"]["half_at_interval"]
    if ends is None or None in ends:
        return None
    low, high = (load_within(content, end) for end in ends)
    return low if low.startswith(BEYOND) else f"{low} to {high}" if high.startswith(BEYOND) else interval(ends)


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


def written(value: float | None, name: str) -> str:
    """A number of a point: shares in percent."""
    return share(value) if name in ("goodput", "error_rate") else number(value)


def has_goodput(content: Mapping[str, Any]) -> bool:
    """Whether there were objectives to hold requests against."""
    return any(point["numbers"]["goodput"]["value"] is not None for point in content["points"])


def has_jobs(content: Mapping[str, Any]) -> bool:
    """Whether every load had jobs of sessions."""
    points = content["points"]
    return bool(points) and all("jobs_per_hour" in point["numbers"] for point in points)


TITLES = {
    "output_tokens_per_s": "Output tokens/s",
    "inputs_per_s": "Inputs/s",
    "requests_per_s": "Requests/s",
    "ttft:p50": "TTFT p50 (ms)",
    "ttft:p90": "TTFT p90 (ms)",
    "ttft:p99": "TTFT p99 (ms)",
    "tpot:p50": "TPOT p50 (ms)",
    "tpot:p90": "TPOT p90 (ms)",
    "tpot:p99": "TPOT p99 (ms)",
    "e2el:p50": "E2EL p50 (ms)",
    "e2el:p90": "E2EL p90 (ms)",
    "e2el:p99": "E2EL p99 (ms)",
    "job:p50": "Job p50 (s)",
    "job:p90": "Job p90 (s)",
    "jobs_per_hour": "Jobs/hour",
    "goodput": "Goodput",
    "error_rate": "Failed",
}


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
