"""The document of a run: the first screen, then every number, the charts, the server, the measurement itself.

`page` is data that only a page needs (`Summary.page_data`); without it there are fewer charts, and no numbers of
periods.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from bench.documents import (
    answers_section,
    calibration_words,
    details,
    formatting,
    jobs,
    other_tools,
    parts_table,
    remarks,
    request_tables,
    run_charts,
    scaling_section,
    segments_table,
    server_facts,
    server_requests,
    token_details,
)
from bench.documents.certificate_document import earlier_errors, errors
from bench.documents.configuration import configuration
from bench.documents.document import (
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    Facts,
    Finding,
    Findings,
    Level,
    Paragraph,
    Period,
    Row,
    Section,
    Table,
    findings,
)
from bench.documents.first_screen import banner, first_screen, left_out, sent_words
from bench.documents.period_data import period_data
from bench.documents.time_charts import RunNumbers
from bench.metrics.catalog import METRICS
from bench.metrics.page_data import PageData
from bench.results.certificate import KnownCalibration, LedgerCalibration
from bench.results.load import SteadyWindow
from bench.results.numbers import Goodput, Latency, Metric, Throughput, TooFewValues
from bench.results.server import ServerWindow
from bench.results.summary import RunSummary

MAIN_METRICS = ("ttft", "tpot", "itl", "e2el", "tps")
STATS = {"mean": "Average", "p50": "Median", "p90": "P90", "p95": "P95", "p99": "P99", "p999": "P99.9", "max": "Max"}
_DROP = {"p999": 1, "p95": 2, "max": 3, "mean": 4, "p90": 5}
"""The columns that a narrow terminal drops first; median and P99 stay."""
FOOTER = "Made by Trueload from the records of the run. Definitions of every number: docs/metrics.md."


def run_document(summary: RunSummary, page: PageData | None = None) -> Document:
    """The document of a summary."""
    run = summary.run
    numbers = RunNumbers(summary, page)
    name = run.name or "Load test"
    counts = Facts("Requests", tuple(details.counts(summary)), half=True)
    # They fit next to the first table, unless there are objectives or errors.
    above = not summary.errors and not summary.slo.objectives
    sections = (
        Section("", (*first_screen(summary), *((counts,) if above else ()))),
        Section("Numbers", tuple(_numbers(summary, () if above else (counts,)))),
        Section("Charts", tuple(_charts(numbers)), level=Level.PAGE),
        *_requests(summary, page),
        *scaling_section.section(summary),
        *_server(summary),
        *answers_section.section(summary),
        *_replies(summary),
        *_gpu(summary),
        Section("How good is the measurement?", tuple(_measurement(summary))),
        *_other_tools(summary),
        configuration(run),
    )
    targets = run.config.get("targets")
    more = f"{run.url} and {len(targets) - 1} more" if isinstance(targets, list) and len(targets) > 1 else run.url
    about = " · ".join(word for word in (more, run.started) if word)
    return Document(name, banner(summary), sections, sent_words(summary), about, name, FOOTER)


def _numbers(summary: RunSummary, counts: Sequence[Block]) -> Iterator[Block]:
    latency, steady, window = summary.latency, summary.steady, summary.window
    yield _latency_table("Latency over the whole run", summary, latency, meanings=True)
    if steady is not None and any(steady.latency[key].n != row.n for key, row in latency.items()):
        yield _latency_table(f"Latency in the steady window, {_span(window)}", summary, steady.latency)
    yield _throughput(summary)
    yield from counts
    yield from _segments(summary)
    yield from parts_table.tables(summary)
    if rows := jobs.rows(summary):
        yield Facts("Sessions" if summary.jobs is None else "Jobs", tuple(rows))
    for title, heads, bins in jobs.tables(summary):
        yield _table(title, heads, bins, (jobs.NOTE,), half=True)
    yield from left_out(summary)


def _table(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: tuple[str, ...] = (),
    *,
    half: bool = False,
    wrap: bool = False,
) -> Table:
    columns = tuple(Column(head, wrap=wrap and not k) for k, head in enumerate(heads))
    return Table(title, columns, tuple(Row(*row) for row in rows), notes=notes, half=half)


def _span(window: SteadyWindow | ServerWindow) -> str:
    return f"{formatting.seconds(window.start_s)} to {formatting.seconds(window.end_s)}"


LATENCY_NOTE = (
    "With each value: its 95% confidence interval, or “too few” if there are not enough "
    "independent values for one. Requests wait in one queue, so they are not independent: ~ says how many "
    "independent values they are worth "
    "(docs/metrics.md). Values marked ± 0.1% come from a histogram of that precision. Quantiles interpolate between "
    "neighbours, as in numpy."
)


def _latency_table(title: str, summary: RunSummary, latency: Latency, *, meanings: bool = False) -> Table:
    rows = []
    for metric in sorted(details.latencies(summary).values(), key=lambda m: m.name not in MAIN_METRICS):
        row = latency[metric.key]
        independent = f"~{math.floor(row.independent):,}" if row.n else ""
        precision = "" if row.quantiles == "exact" else "± 0.1%"
        cells = [_statistic(row, stat) for stat in STATS]
        cells.append(
            Cell(formatting.number(row.n), below=(" ".join(filter(None, (independent, precision))),),
                 hint="Independent values that these are worth")
        )  # fmt: skip
        head = Cell(metric.title, unit=metric.unit, meaning=metric.description if meanings else "")
        rows.append(Row(head, *cells))
    columns = (
        Column("Metric"), *(Column(name, drop=_DROP.get(stat, 0)) for stat, name in STATS.items()), Column("Values")
    )  # fmt: skip
    notes = (LATENCY_NOTE, *_too_few(summary)) if meanings else ()
    return Table(title, columns, tuple(rows), below=("95% interval",), notes=notes)


def _statistic(row: Metric, stat: str) -> Cell:
    return _with_interval(formatting.statistic(row, stat), row.ci95.get(stat), row.too_few.get(stat))


def _with_interval(value: str, ends: Sequence[float | None] | None, too_few: TooFewValues | None) -> Cell:
    below = formatting.interval(ends) or ("" if too_few is None else remarks.TOO_FEW)
    return Cell(value, below=(below,), hint="" if too_few is None else formatting.missing(too_few))


def _too_few(summary: RunSummary) -> list[str]:
    """For each statistic without an interval, the metric that would need the longest run."""
    longest: dict[str, TooFewValues] = {}
    known = details.latencies(summary)
    for name in (name for name in MAIN_METRICS if name in known):
        for stat, missing in summary.latency[METRICS[name].key].too_few.items():
            if stat in STATS and (stat not in longest or _run_s(missing) > _run_s(longest[stat])):
                longest[stat] = missing
    parts = [
        f"{name} {math.floor(longest[stat].independent):,} of {longest[stat].needed:,}"
        + ("" if (run_s := longest[stat].run_s) is None else f" (a run of {formatting.about(run_s)})")
        for stat, name in STATS.items()
        if stat in longest
    ]
    return [f"Too few independent values, and the run that would do: {' · '.join(parts)}."] if parts else []


def _run_s(missing: TooFewValues) -> float:
    return -1.0 if missing.run_s is None else float(missing.run_s)


def _throughput(summary: RunSummary) -> Table:
    """Rates of successful requests, and of those that met every objective."""
    steady, good = summary.steady, summary.goodput
    inside = None if steady is None else steady.throughput
    rows = [
        Row(Cell(title, unit=unit), _rate(summary.throughput, key), _rate(inside, key))
        for key, (title, unit) in details.rate_names(summary).items()
    ]
    if good is not None:
        inside_good = None if steady is None else steady.goodput
        goods = {"requests_per_s": ("requests", "requests/s"), "output_tokens_per_s": ("tokens", "tokens/s")}
        rows += [
            Row(Cell(f"Goodput, {title}", unit=unit), _rate(good, key), _rate(inside_good, key))
            for key, (title, unit) in goods.items()
            if key == "requests_per_s" or details.has_tokens(summary)
        ]
    columns = (
        Column("Per second"),
        Column("Whole run", below=formatting.seconds(summary.throughput.duration_s)),
        Column("Steady window", below="none" if steady is None else _span(summary.window)),
    )
    note = (
        "Successful requests only. The whole run lasts from the first send to the last end; the steady window leaves out "
        "ramp, warm-up and drain."
    )
    return Table("Throughput", columns, tuple(rows), below=("95% interval",), beside=True, notes=(note,), half=True)


def _rate(rates: Throughput | Goodput | None, key: str) -> Cell:
    value = formatting.number(None if rates is None else rates.of(key))
    if not isinstance(rates, Throughput):
        return Cell(value, below=("",))
    return _with_interval(value, rates.ci95[key], rates.too_few.get(key))


def _segments(summary: RunSummary) -> Iterator[Block]:
    rows = segments_table.rows(summary)
    if not rows:
        return
    columns = (Column(segments_table.unit(summary)), *map(Column, segments_table.heads(summary)))
    yield Table("Segment by segment", columns, tuple(rows), notes=(segments_table.NOTE,))
    if changes := segments_table.changes(summary):
        yield Findings(tuple(Finding(f"Load changed at {change}", "quiet") for change in changes))


def _charts(numbers: RunNumbers) -> Iterator[Block]:
    if (data := period_data(numbers)) is not None:
        yield Period(data, Level.PAGE)
    yield from (ChartBlock(chart, Level.PAGE) for chart in run_charts.build(numbers))


def _requests(summary: RunSummary, page: PageData | None) -> Iterator[Section]:
    tokens = details.has_tokens(summary) if details.counts_tokens(summary) else None
    tables = (
        ("The slowest requests", request_tables.slowest(page, tokens=tokens)),
        ("Failed requests", request_tables.failed(page, tokens=tokens)),
    )
    blocks: list[Block] = [_request_table(title, rows) for title, rows in tables if rows]
    if blocks:
        link = ("requests.jsonl", "requests.jsonl")
        text = "This file, in the directory of the run, has one line per request:"
        blocks.append(Paragraph(text, link, Level.PAGE))
        yield Section("Requests one by one", tuple(blocks), level=Level.PAGE)


def _request_table(title: str, rows: Sequence[request_tables.RequestRow]) -> Table:
    columns = (Column("Request"), *(Column(name) for name, _ in rows[0].cells))
    cells = tuple(Row(Cell(row.id, code=True, meaning=row.error), *(value for _, value in row.cells)) for row in rows)
    return Table(title, columns, cells, level=Level.PAGE)


def _server(summary: RunSummary) -> Iterator[Section]:
    server = summary.server
    if server is None or not server.scrapes:
        return
    mismatch = None if server.reconciliation is None else server.reconciliation.mismatch
    tones: list[Finding] = [Finding(mismatch, "warn")] if mismatch else []
    tones += [Finding(sentence[:1].upper() + sentence[1:], "quiet") for sentence in server_facts.sentences(server)
              if sentence != mismatch]  # fmt: skip
    blocks: list[Block] = [Findings(tuple(tones))] if tones else []
    if levels := server_facts.levels(server, generates=details.has_tokens(summary)):
        blocks.append(Facts("Levels and rates", tuple(levels), half=True))
    if times := server_facts.times(server):
        note = (
            "A server counts times in buckets: a quantile lies between two bounds. Its averages are exact. Between scrapes, "
            "once a second, counts are taken to rise evenly."
        )
        heads = ("ms", "Average", "Median", "P90", "P99", "Values")
        blocks.append(_table("Times by its own clock", heads, times, (note,), half=True))
    if parts := server_facts.parts(server):
        blocks.append(_table("Replicas and ranks by their own metrics", server_facts.PART_HEADS, parts, wrap=True))
    kind, where = server.kind or "a server of an unknown kind", ", ".join(server.urls)
    span = f"{server.window.of}, {_span(server.window)}" + (
        "" if server.window.covered else ", of which only a part was read"
    )
    subtitle = f"{kind}, by its own metrics at {where}, over {span}"
    yield Section("Inside the server", tuple(blocks), subtitle)


def _replies(summary: RunSummary) -> Iterator[Section]:
    times, facts = server_requests.times(summary), server_requests.facts(summary)
    blocks: list[Block] = []
    if times:
        columns = (Column("ms"), *map(Column, server_requests.STATS.values()), Column("Replies"))
        blocks.append(Table("Times that replies say", columns, tuple(times), half=True))
    if facts:
        blocks.append(Facts("Cache and drafts", tuple(facts), half=True))
    if blocks:
        subtitle = "In its replies: its own clock and counts, over the whole run"
        yield Section("What the server says of each request", tuple(blocks), subtitle)


def _gpu(summary: RunSummary) -> Iterator[Section]:
    if rows := server_facts.gpu_rows(summary):
        note = "Energy is the area under the power, sampled once a second. Levels are those of the server's window."
        yield Section("The GPU", (Facts("Levels and costs", tuple(rows), (note,)),))


def _measurement(summary: RunSummary) -> Iterator[Block]:
    if notes := remarks.notes(summary):
        yield findings(notes, "quiet")
    yield Facts("Load", (*details.load(summary), *details.window(summary)), half=True)
    if rows := token_details.tokens(summary):
        other = "Inputs" if details.counts_tokens(summary) else "Responses"
        yield Facts("Tokens" if details.has_tokens(summary) else other, tuple(rows), half=True)
    yield Facts("The client itself", tuple(details.client(summary)), half=True, level=Level.DETAILS)
    yield from _calibration(summary.calibration)


_CERTIFIED = ("p50", "p90", "p99")


def _calibration(certificate: LedgerCalibration | KnownCalibration | None) -> Iterator[Block]:
    """The calibration of this run, or of an earlier run that covers it."""
    if certificate is None:
        yield Findings((Finding(calibration_words.certainty(None)),), "Calibration", half=True)
        return
    if facts := details.calibration(certificate):
        yield Facts("Stamps and counts against the mock's ledger", tuple(facts), half=True)
    sentences = [Finding(problem, "warn") for problem in certificate.problems]
    if isinstance(certificate, LedgerCalibration):
        sentences += [Finding(calibration_words.cause_sentence(cause), "warn") for cause in certificate.causes]
    else:
        sentences.append(Finding(calibration_words.certainty(certificate)))
    if sentences:
        yield Findings(tuple(sentences))
    if isinstance(certificate, LedgerCalibration):
        yield errors([row for row in certificate.metrics if row.stat in _CERTIFIED and row.unit == "ms"], ())
        yield Paragraph("The whole certificate, with plots:", ("certificate.html", "certificate.html"), Level.PAGE)
    elif certificate.metrics:
        yield earlier_errors([row for row in certificate.metrics if row.stat in _CERTIFIED and row.unit == "ms"])


def _other_tools(summary: RunSummary) -> Iterator[Section]:
    rows = other_tools.rows(summary)
    if not rows:
        return
    heads = other_tools.columns(summary)
    cells = tuple(Row(Cell(row.title, meaning=row.version), *row.cells) for row in rows)
    columns = (
        Column("Tool"),
        *(Column(title, unit=unit, drop=len(heads) - k if k >= 4 else 0) for k, (title, unit) in enumerate(heads)),
    )
    note = (
        "The same requests, measured by the definitions of other load testers: the median, with average and P99. "
        "The page colours figures that are at least 0.1% away from ours."
    )
    table = Table("The same requests by their definitions", columns, cells, below=("average", "P99"), notes=(note,))
    why = tuple(Finding(f"{row.title}: {sentence}") for row in rows for sentence in row.why)
    blocks: list[Block] = [table]
    if why:
        blocks.append(Findings(why, "Why they differ, tool by tool", Level.PAGE, folded=True))
    yield Section("What other tools would print", tuple(blocks), folded=True)
