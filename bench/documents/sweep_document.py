"""The documents of a sweep, of several sweeps, and of the repeats of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.documents import load_curves
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    Finding,
    Findings,
    Level,
    Row,
    Section,
    Table,
    Tile,
    Tiles,
    Tone,
    command_block,
    findings,
)
from bench.documents.formatting import NOTHING, interval, number, share
from bench.documents.sweep_words import (
    FELL_BEHIND,
    OUTPUT,
    REQUESTS,
    TITLES,
    delivered_by,
    half_interval,
    has_goodput,
    has_jobs,
    inputs_of,
    load_within,
    ninety_percent,
    sentences,
    title_of,
    unit_of,
    written,
)
from bench.results.sweep import RepeatsContent, SweepContent, SweepNumber, SweepPoint

SHOWN = (
    "output_tokens_per_s", "requests_per_s", "ttft:p50", "ttft:p99", "tpot:p50", "tpot:p99", "e2el:p50", "e2el:p99",
)  # fmt: skip
OF_INPUTS = ("inputs_per_s", "requests_per_s", "e2el:p50", "e2el:p90", "e2el:p99")
"""Numbers of a sweep whose replies are not generated text."""
OF_REQUESTS = OF_INPUTS[1:]
"""Numbers of a sweep that counts no tokens."""
OF_JOBS = ("jobs_per_hour", "job:p50", "job:p90", *SHOWN)
_DROP = {
    "error_rate": 2, "e2el:p99": 3, "tpot:p99": 4, "job:p90": 5, "e2el:p50": 6, "requests_per_s": 7, "ttft:p99": 8,
    "goodput": 9, "tpot:p50": 10,
}  # fmt: skip
"""The columns that a narrow terminal drops first."""
STATUS_TONES: dict[str, Tone] = {"VALID": "good", "SUSPECT": "warn", "INVALID": "bad", "FAILED": "bad"}
_REASONS_SHOWN = 5
FOOTER = "Made by Trueload. What a sweep measures, and how its knee is found: docs/search.md."


def sweep_document(sweeps: Sequence[SweepContent], places: Sequence[str] = ()) -> Document:
    """The document of one sweep or of several. `places`: their directories relative to the page, unless the page is
    inside one."""
    names = names_of(sweeps, places)
    several = len(sweeps) > 1
    sections = []
    for name, sweep in zip(names, sweeps, strict=True):
        sections.append(Section(name if several else "", tuple(_first(sweep))))
    charts = tuple(ChartBlock(chart, Level.PAGE) for chart in load_curves.build(sweeps, names))
    sections.append(Section("By load", charts, level=Level.PAGE))
    for k, sweep in enumerate(sweeps):
        title = f"Every load of {names[k]}" if several else "Every load"
        sections.append(Section("", tuple(_loads(sweep, title, f"{places[k]}/" if places else ""))))
    title = "Load sweep" if not several else f"{len(sweeps)} load sweeps"
    subtitle = " · ".join(dict.fromkeys(f"{sweep.model or ''} {sweep.url}".strip() for sweep in sweeps))
    return Document(title, (), tuple(sections), subtitle, sweeps[-1].date, footer=FOOTER)


def names_of(sweeps: Sequence[SweepContent], places: Sequence[str]) -> list[str]:
    """A name for each sweep: the name of its runs, or its directory if runs share one."""
    names = [str(sweep.config.get("name") or "sweep") for sweep in sweeps]
    if len(set(names)) < len(names) and places:
        return list(places)
    return names if len(set(names)) == len(names) else [f"{name} {k + 1}" for k, name in enumerate(names)]


def _first(sweep: SweepContent) -> Iterator[Block]:
    yield Findings(tuple(map(Finding, sentences(sweep))))
    knee = sweep.knee
    if knee is not None:
        tiles = (
            Tile("Half of the ceiling", load_within(sweep, knee.half_at), sweep.unit,
                 interval=half_interval(sweep, knee) or ""),
            Tile("90% of the ceiling", ninety_percent(sweep, knee), sweep.unit),
            Tile("Ceiling", number(knee.ceiling), unit_of(delivered_by(sweep), inputs_of(sweep)),
                 interval=interval(knee.ceiling_interval)),
        )  # fmt: skip
        yield Tiles(tiles, Level.PAGE)


def _loads(sweep: SweepContent, title: str, place: str) -> Iterator[Block]:
    shown = _shown(sweep)
    unit = "req/s" if sweep.kind == "rate" else sweep.unit
    titles = {name: title_of(name, inputs_of(sweep)) for name in TITLES}
    if sweep.kind == "rate":  # The load is the requested rate; this is the served part.
        titles["requests_per_s"] = "Served"
    columns = (
        Column(unit), Column("Verdict", left=True), Column("Runs", page_only=True),
        *(Column(titles[name].replace(" (ms)", ""), drop=_DROP.get(name, 0)) for name in shown),
    )  # fmt: skip
    rows = tuple(_row(sweep, point, shown, place) for point in sweep.points)
    note = (
        "Latencies in ms. With each value: its 95% confidence interval, between runs if there are several, "
        "else within the run. Latencies and rates are of the steady window of each run. A load whose runs are INVALID or "
        "FAILED is marked, and counts neither for the knee nor for the frontier."
    )
    yield Table(title, columns, rows, ("95%",), notes=(note,))
    if marks := list(_marks(sweep)):
        yield findings(marks)
    if sweep.command:
        yield command_block(sweep.command)


def _shown(sweep: SweepContent) -> list[str]:
    shown: tuple[str, ...] = {OUTPUT: SHOWN, REQUESTS: OF_REQUESTS}.get(delivered_by(sweep), OF_INPUTS)
    if has_jobs(sweep):
        shown = OF_JOBS
    return [*shown, "error_rate", *(["goodput"] if has_goodput(sweep) else [])]


def _row(sweep: SweepContent, point: SweepPoint, shown: Sequence[str], place: str) -> Row:
    runs = [run for run in sweep.runs if run.load == point.load]
    links = tuple((f"run {run.repeat}", f"{place}{run.name}/report.html") for run in runs)
    return Row(
        f"{point.load:,g}",
        Cell(point.status, STATUS_TONES.get(point.status, "")),
        Cell(f"{point.usable_runs} of {point.runs}", links=links),
        *(_cell(point.numbers[name], name) for name in shown),
        quiet=not point.usable,
    )


def _cell(row: SweepNumber, name: str) -> Cell:
    value = written(row.value, name)
    if row.low is None or row.high is None:
        return Cell(value)
    if name in ("goodput", "error_rate"):
        return Cell(value, below=(f"{share(row.low)}–{share(row.high)}",))
    return Cell(value, below=(interval((row.low, row.high)),))


def _marks(sweep: SweepContent) -> Iterator[str]:
    marked = [point for point in sweep.points if point.status != "VALID"]
    for point in marked[:_REASONS_SHOWN]:
        counted = "" if point.usable else "; its numbers are not used elsewhere"
        reason = point.reasons[0] if point.reasons else "see its report"
        yield f"{point.load:,g} {sweep.unit} is {point.status}{counted}: {reason}"
    if (left := len(marked) - _REASONS_SHOWN) > 0:
        yield f"{left} more loads are not VALID: see their reports"
    behind = [f"{point.load:,g}" for point in sweep.points if point.kept_up is False]
    if behind:
        yield f"At {', '.join(behind)} {sweep.unit}: {FELL_BEHIND}."


def repeats_document(content: RepeatsContent) -> Document:
    """The document of repeats.json: the spread between the runs of one configuration."""
    runs = content.runs
    rows = []
    for name in TITLES:
        title = title_of(name, inputs_of(content))
        cell = content.numbers.get(name)
        if cell is None or cell.value is None:
            continue
        of_all = name in ("goodput", "error_rate") and cell.sd is not None
        sd = NOTHING if cell.sd is None else f"{cell.sd:.2%}{' of all' if of_all else ''}"
        ends = NOTHING if cell.low is None else f"{written(cell.low, name)}–{written(cell.high, name)}"
        rows.append(Row(title, written(cell.value, name), sd, ends))
    columns = tuple(map(Column, ("", "Mean of runs", "Sd between runs", "95% interval of the mean")))
    blocks: list[Block] = [Table("Between runs", columns, tuple(rows), level=Level.FIRST)]
    usable = sum(run.usable for run in runs)
    warnings = []
    if usable < len(runs):
        counted = "the numbers are of the others" if usable else "there are no others, so their numbers are shown"
        warnings.append(f"{len(runs) - usable} of {len(runs)} runs are INVALID or FAILED: {counted}.")
    if usable == 1:
        warnings.append("One run: the spread between runs is not known.")
    if warnings:
        blocks.append(findings(warnings, level=Level.FIRST))
    worst = max((run.status for run in runs), key=list(STATUS_TONES).index, default="")
    statuses = ", ".join(run.status for run in runs)
    return Document("", (Banner("runs:", f" {statuses}", STATUS_TONES.get(worst, "")),), (Section("", tuple(blocks)),))
