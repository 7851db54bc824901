"""The document of a certificate: the true value of each number, and the error of the measured one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import UNSET

from bench.documents import certificate_charts
from bench.documents.calibration_words import STATS, THROUGHPUT, cause_sentence
from bench.documents.details import joined
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    Fact,
    Facts,
    Finding,
    Findings,
    Level,
    Reason,
    Row,
    Section,
    Table,
    Tile,
    Tiles,
    Tone,
)
from bench.documents.formatting import NOTHING, interval, measured, number, signed, signed_share
from bench.metrics.catalog import METRICS, OF_FEW, Metric
from bench.results.certificate import METRICS as WITH_TRUTH
from bench.results.certificate import (
    Agreement,
    Certificate,
    Deviation,
    KnownErrorRow,
    LedgerCalibration,
    NumberRow,
    RequestError,
    TargetErrors,
)
from bench.results.metric_titles import TITLES

_Row = TypeVar("_Row", "NumberRow", "KnownErrorRow", "Deviation")
MEANINGS: dict[str, tuple[Tone, str]] = {
    "VALID": ("good", "On this machine, the numbers of this load are right within the errors below."),
    "SUSPECT": ("warn", "Some numbers of this load are off, or something in the measurement may have gone wrong."),
    "INVALID": ("bad", "On this machine, the numbers of this load are wrong: do not use them."),
}
OTHER_CLOCK = (
    "The mock runs on another machine, so clocks are not compared. TTFT and E2EL are compared with the mock's time from the "
    "arrival of a request to its writes: their errors include the network, both ways. The lags of the stamps are not known. "
    "TPOT, ITL and chunk gaps are compared as usual."
)
FOOTER = (
    "Made by Trueload from the run's records and the mock's ledger. Numbers are compared as docs/calibration.md says."
)
_WORTH, _WORTH_SHARE = 0.0005, 0.0025
"""The interval that the stamps allow is shown only if it is wider than both; the first is in the unit of the metric.
The histogram of token times alone makes an interval of 0.2%."""
_DROP = {"p75": 1, "p999": 2, "max": 3, "p95": 4}
"""The columns that a narrow terminal drops, lowest number first."""
_SAME_AS = {
    "ttft_from_intended_ms": "ttft_ms",
    "e2el_from_intended_ms": "e2el_ms",
    "ttfo_ms": "ttft_ms",
    "chunk_gap_ms": "itl_ms",
}
"""Without waits, without reasoning and with one token per chunk, these equal each other: the table shows them once."""


_UNITS = {metric.key: metric.unit for metric in METRICS.values()} | {"job_ms": "ms"}
_SIZE = (("streams", "Most streams at once"), ("requests_per_s", "Requests/s"), ("chunks_per_s", "Chunks of text/s"))
_KIND = (("loop", "Kind of load"), ("transport", "Transport"), ("workers", "Workers"), ("stream", "Replies"),
         ("clock", "Time stamps"))  # fmt: skip


def certificate_document(certificate: Certificate) -> Document:
    """The document of certificate.json."""
    run, verdict = certificate.run, certificate.verdict
    tone, meaning = MEANINGS[verdict.status]
    about = " · ".join(map(str, (run.host.get("name", "a machine"), run.name, certificate.date)))
    charts = tuple(ChartBlock(chart, Level.PAGE) for chart in certificate_charts.build(certificate))
    return Document(
        "Calibration certificate",
        (Banner(verdict.status, "", tone, meaning, tuple(map(Reason, verdict.reasons))),),
        (
            Section("", (Tiles(tuple(_tiles(certificate))),)),
            Section("How wrong is each number?", tuple(_compared(certificate))),
            Section("Plots", charts, level=Level.PAGE),
            Section("About this certificate", tuple(_about(certificate))),
        ),
        about=about,
        name=f"Certificate: {run.name or 'calibration'}",
        footer=FOOTER,
    )


def ledger_document(calibration: LedgerCalibration) -> Document:
    """The part of a certificate that a terminal shows below its run."""
    return Document("Against the mock's ledger", (), (Section("", tuple(_compared(calibration))),), heading=True)


def _without_truth() -> list[Metric]:
    """The common metrics that are not in the ledger."""
    return [metric for name, metric in METRICS.items() if metric.key not in WITH_TRUTH and name not in OF_FEW]


def _compared(calibration: Certificate | LedgerCalibration) -> Iterator[Block]:
    """The agreement of counts, the errors of the numbers, and the accuracy of the stamps and of the mock."""
    yield Findings(tuple(_sentences(calibration)))
    yield errors(calibration.metrics, _without_truth())
    yield from _replicas(() if calibration.per_target is UNSET else calibration.per_target)
    yield _throughput(calibration.throughput)
    yield from _stamps(calibration)
    yield from _agreement(calibration.agreement)
    yield from _worst(calibration.worst)
    yield from _closed_form(calibration.mock.closed_form)


def agreed(rows: Sequence[Agreement]) -> str:
    """The agreed totals in words, by the ledger."""
    return ", ".join(f"{row.there:,} {row.what}" for row in rows if not row.what.startswith(("outcome", "status")))


def _sentences(calibration: Certificate | LedgerCalibration) -> Iterator[Finding]:
    rows, problems = calibration.agreement, calibration.problems
    kinds = ", ".join(row.what for row in rows if row.what.startswith(("outcome", "status")))
    if problems:
        yield Finding(f"Compared: {agreed(rows)} ({kinds})")
        yield from (Finding(problem, "bad") for problem in problems)
    else:
        yield Finding(f"{agreed(rows)}: all agree ({kinds})")
    yield from (Finding(cause_sentence(cause), "warn") for cause in calibration.causes)
    if blocked := calibration.counts.blocked:
        text = "chunks waited in the mock because the client read too slowly; the lag leaves them out"
        yield Finding(f"{blocked:,} {text}")
    if calibration.clock != "shared":
        network = calibration.network_ms
        least = "" if network is None else f" The network takes at least {network:.3f} ms."
        yield Finding(OTHER_CLOCK + least, "warn")


def errors(metrics: Sequence[NumberRow], without_truth: Sequence[Metric]) -> Table:
    """The error of each number; metrics that are not in the ledger have a row of "no truth"."""
    shown = _by_metric(metrics)
    same = [key for key in shown if key in _SAME_AS and _same(shown[key], shown.get(_SAME_AS[key]))]
    stats = _stats(shown.values())
    rows = tuple(
        Row(Cell(TITLES[key], unit=_UNITS[key]), *(_error(of.get(stat)) for stat in stats))
        for key, of in shown.items()
        if key not in same
    )
    rows += tuple(
        Row(Cell(metric.title, unit=metric.unit), *(Cell("no truth", "quiet") for _ in stats))
        for metric in without_truth
    )
    note = (
        "Measured less true. With each error: the true value, from the mock's ledger of what it wrote and when, and the "
        "error as a share of it. Stamps: the range that the time stamps allow if several chunks came in one read, so that "
        "only bounds are known. Quantiles of tokens may come from a histogram of ± 0.1%."
    )
    left_out = [f"{TITLES[key]} has the values of {TITLES[_SAME_AS[key]]}" for key in same]
    notes: tuple[str, ...] = (note, *([f"Left out: {', '.join(left_out)}."] if left_out else []))
    if without_truth:
        notes += ("No truth: the ledger of the mock does not say it.",)
    return Table("Error of each number", _columns(stats), rows, ("true", "of it", "stamps"), notes=notes)


def earlier_errors(metrics: Sequence[KnownErrorRow]) -> Table:
    """The errors of this run's numbers according to an earlier calibration."""
    shown = _by_metric(metrics)
    stats = _stats(shown.values())
    rows = tuple(
        Row(Cell(TITLES[key], unit=_UNITS[key]), *(_earlier_error(of.get(stat)) for stat in stats))
        for key, of in shown.items()
    )
    note = "Measured less true, then. With each error: what this run measured, and the error as a share of it."
    return Table("Errors of an earlier calibration", _columns(stats), rows, ("measured", "of it"), notes=(note,))


def _earlier_error(row: KnownErrorRow | None) -> Cell:
    if row is None:
        return Cell(NOTHING, "quiet")
    return Cell(signed(row.error), below=(number(row.measured), signed_share(row.error_share)))


def _by_metric(rows: Sequence[_Row]) -> dict[str, dict[str, _Row]]:
    by_metric: dict[str, dict[str, _Row]] = {}
    for row in rows:
        by_metric.setdefault(row.metric, {})[row.stat] = row
    return by_metric


def _stats(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The statistics that any row has, in the order of `STATS`."""
    return [stat for stat in STATS if any(stat in of for of in rows)]


def _columns(stats: Sequence[str]) -> tuple[Column, ...]:
    names = (f"{STATS[stat][:1].upper()}{STATS[stat][1:]}" for stat in stats)
    return (Column("Metric"), *(Column(name, drop=_DROP.get(stat, 0)) for name, stat in zip(names, stats, strict=True)))


def _error(row: NumberRow | None) -> Cell:
    if row is None:
        return Cell("too few", "quiet")
    allowed = interval(row.allowed) if wide(row) else ""
    return Cell(signed(row.error), below=(number(row.true), signed_share(row.error_share), allowed))


def _same(of: Mapping[str, NumberRow], other: Mapping[str, NumberRow] | None) -> bool:
    return other is not None and all(
        stat in other and (row.measured, row.true) == (other[stat].measured, other[stat].true)
        for stat, row in of.items()
    )


def wide(row: NumberRow) -> bool:
    """Whether the interval that the stamps allow is worth showing."""
    if row.allowed is None:
        return False
    low, high = row.allowed
    return low is None or high is None or high - low > max(_WORTH, _WORTH_SHARE * abs(row.true))


def _replicas(targets: Sequence[TargetErrors]) -> Iterator[Table]:
    """The errors of each replica's own numbers."""
    if not targets:
        return
    shown = [(key, stat) for key in ("ttft_ms", "tpot_ms", "e2el_ms") for stat in ("p50", "p99")]
    rows = []
    for target in targets:
        by_key = {(row.metric, row.stat): row for row in target.metrics}
        rows.append(Row(target.name, number(target.requests), *(_error(by_key.get(key)) for key in shown)))
    heads = [f"{TITLES[key]} {STATS[stat]} ({_UNITS[key]})" for key, stat in shown]
    note = "Measured less true, of the requests that this replica's lines in the ledger have, whatever the client recorded."
    columns = (Column("Replica"), Column("Requests"), *map(Column, heads))
    yield Table("Error of each replica", columns, tuple(rows), ("true", "of it", "stamps"), notes=(note,))


def _throughput(rows: Sequence[NumberRow]) -> Table:
    cells = (
        (THROUGHPUT[row.metric], number(row.measured), number(row.true), signed_share(row.error_share)) for row in rows
    )
    columns = tuple(map(Column, ("Per second", "Measured", "True", "Error")))
    return Table("Throughput", columns, tuple(Row(*row) for row in cells), half=True)


def _stamps(calibration: Certificate | LedgerCalibration) -> Iterator[Table]:
    rows = (
        ("Observation lag", "The client's time of a chunk minus the mock's time of its write.",
         calibration.observation_lag_ms),
        ("Way in", "The mock's time of a request's arrival minus the client's time of its send.",
         calibration.way_in_ms),
        ("The mock's own accuracy", "Its time of a write minus the planned time. No error above includes it.",
         calibration.mock.done_minus_planned_ms),
    )  # fmt: skip
    cells = [
        Row(Cell(name, meaning=meaning), f"{row.n:,}", *(f"{value:.4f}" for value in (row.p50, row.p99, row.max)))
        for name, meaning, row in rows
        if row.n
    ]
    if cells:
        columns = (Column("Time stamps, ms"), *map(Column, ("Number", "Median", "P99", "Max")))
        yield Table("Time stamps", columns, tuple(cells), half=True)


def _agreement(rows: Sequence[Agreement]) -> Iterator[Table]:
    cells = tuple(
        Row(
            row.what.capitalize(),
            f"{row.here:,}",
            f"{row.there:,}",
            Cell("agrees", "good") if row.here == row.there else Cell("differs", "bad"),
        )
        for row in rows
    )
    columns = (Column("What must agree exactly"), Column("Here"), Column("Ledger"), Column("", left=True))
    yield Table("What must agree exactly", columns, cells, half=True, level=Level.DETAILS)


def _closed_form(rows: Sequence[Deviation]) -> Iterator[Table]:
    if not rows:
        return
    shown = _by_metric(rows)
    stats = _stats(shown.values())
    cells = tuple(
        Row(
            Cell(TITLES.get(metric, "Output tokens"), unit=next(iter(by_stat.values())).unit),
            *(_deviation(by_stat.get(stat)) for stat in stats),
        )
        for metric, by_stat in shown.items()
    )
    note = (
        "What the mock did less what its configuration promises, from the arrival of a request to its writes. The client's "
        "errors are not in it. By chance: two standard errors."
    )
    yield Table(
        "The mock against its closed form", _columns(stats), cells, ("expected", "done", "by chance ±"),
        notes=(note,), level=Level.DETAILS,
    )  # fmt: skip


def _deviation(row: Deviation | None) -> Cell:
    if row is None:
        return Cell(NOTHING, "quiet")
    noise = "" if row.noise is None else number(row.noise)
    return Cell(signed(row.difference), below=(number(row.expected), number(row.done), noise))


def _worst(rows: Sequence[RequestError]) -> Iterator[Table]:
    if not rows:
        return
    cells = tuple(
        Row(Cell(row.id, code=True), TITLES[row.metric], number(row.measured), number(row.true), signed(row.error))
        for row in rows
    )
    columns = tuple(map(Column, ("Request", "", "Measured", "True", "Error")))
    yield Table("The largest errors of single requests", columns, cells, half=True, level=Level.PAGE)


def _tiles(certificate: Certificate) -> Iterator[Tile]:
    for stat in ("p50", "p90", "p99"):
        rows = [row for row in certificate.metrics if row.stat == stat and row.unit == "ms"]
        if rows:
            worst = max(rows, key=lambda row: abs(row.error))
            title = f"Largest error, {STATS[stat]}"
            yield Tile(title, signed(worst.error), "ms", f"of {TITLES[worst.metric]}")
    lag = certificate.observation_lag_ms
    if lag.n:
        yield Tile("Observation lag", number(lag.p50), "ms", f"P99 {number(lag.p99)}")
    compared = {row.what: row.there for row in certificate.agreement}
    for name in ("requests", "chunks"):
        if name in compared:
            differing = certificate.counts.differing
            beside = "all agree" if not differing else f"{differing:,} differ"
            yield Tile(f"{name.capitalize()} compared", number(compared[name]), "", beside)


_LIMITS = {
    "calibration_p50_p90_ms": ("Median and p90", "ms"),
    "calibration_p50_p90_share": ("and their share", "share"),
    "calibration_p99_ms": ("P99", "ms"),
    "calibration_p99_share": ("and its share", "share"),
    "calibration_throughput_share": ("Rates per second", "share"),
}
_BANDS = ("suspect", "invalid", "failed")


def _about(certificate: Certificate) -> Iterator[Block]:
    shape, run = certificate.shape, certificate.run
    load = [Fact(name, number(getattr(shape, key))) for key, name in _SIZE]
    load += [Fact(name, str(getattr(shape, key))) for key, name in _KIND]
    load.append(Fact("Command", run.command if isinstance(run.command, str) else shlex.join(run.command)))
    yield Facts("The load", tuple(load), half=True)
    yield Facts("The machine", tuple(joined({**run.host, **run.versions})), half=True)
    limits = run.config.get("limits")
    if isinstance(limits, dict) and (limits := list(_limits(limits))):
        yield Facts("Limits of errors", tuple(limits), half=True)


def _limits(bands: Mapping[str, object]) -> Iterator[Fact]:
    """The errors above which the verdict is SUSPECT or INVALID."""
    for key, (name, unit) in _LIMITS.items():
        band = bands.get(key)
        if not isinstance(band, Mapping):
            continue
        words = [f"over {measured(over, unit)} {status}" for status in _BANDS if (over := band.get(status)) is not None]
        if words:
            yield Fact(name, ", ".join(words))
