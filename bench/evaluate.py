"""Computes every number from the files of a run directory, with the same code for new and old runs.

Nothing here reads a clock or the network, so that rendering a report again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import Any

from msgspec.structs import replace

from bench import manifest
from bench.accuracy import coverage
from bench.accuracy import jobs as accuracy_of_jobs
from bench.clock import NS_PER_MS
from bench.config import RunConfig
from bench.damage import explained
from bench.errors import PRECEDENCE, Exit, RecordError, UsageError
from bench.manifest import StoredRun
from bench.metrics.catalog import request_values
from bench.metrics.page_data import NamedSeries, PageData
from bench.metrics.scaling import ScalingTally
from bench.metrics.summary import Summary
from bench.process import priority
from bench.records import RequestRecord
from bench.records.record_table import RecordTable
from bench.results.base import rounded, to_bytes
from bench.results.certificate import (
    SCHEMA,
    Certificate,
    CertifiedVerdict,
    KnownCalibration,
    LedgerCalibration,
    LoadShape,
    Plots,
)
from bench.results.run import FoundWarmup, RunOrigin, SentTexts
from bench.results.server import PrefixCache, Server
from bench.results.summary import Counts, JudgedClass, PartVerdict, RunSummary, SummaryNumbers
from bench.results.summary import Verdict as JudgedRun
from bench.run_facts import facts_of, rate_changes
from bench.run_files.run_directory import (
    CERTIFICATE,
    CERTIFICATE_PAGE,
    GPU,
    REPORT,
    REQUESTS,
    SERVER,
    SUMMARY,
    RunDirectory,
)
from bench.run_files.run_state import RunState
from bench.run_files.span import Span
from bench.server_metrics import block, gpu_block, prefix_cache
from bench.server_metrics.by_name import UnknownName, named_series
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.gpus import GPUS
from bench.server_metrics.prefix_cache import ComparedCache
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape, read_scrapes, urls_in
from bench.server_metrics.servers import SERVERS
from bench.verdict import headline, judge
from bench.verdict.classes import of_class
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Status, Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """A run after evaluation: its directory, its summary (the content of summary.json), its verdict and its exit
    status."""

    directory: RunDirectory
    summary: RunSummary
    verdict: Verdict
    exit: Exit
    problems: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it, with Ctrl-C."""
        return self.summary.run.stop_reason == "interrupted"


@explained
def evaluate(directory: RunDirectory, *, server_charts: Sequence[str] = ()) -> Result:
    """Evaluate a run from the files in its directory; writes summary.json and report.html (certificate.* too).

    The page also charts the server's metrics named in `server_charts`. Raises UsageError if the scrapes lack one.
    """
    # Imported late: a run imports this module before its first request.
    from bench.documents.run_document import run_document
    from bench.report import html

    directory.clear_drafts()
    measured = _read(directory)
    run = measured.run
    certificate, verdict, whole = _judged(measured)
    if certificate is not None:
        _write_certificate(measured, *certificate, whole, verdict)
    page = _page_data(measured, server_charts)
    directory.write(SUMMARY, to_bytes(whole))
    directory.write(REPORT, html.render(run_document(whole, page)).encode())
    status = exit_status(whole, stop_reason=run.manifest.stop_reason, max_errors=run.config.max_errors)
    return Result(directory, whole, verdict, status)


@explained
def summary_of(directory: RunDirectory) -> RunSummary:
    """The summary that `evaluate` would write. Writes nothing."""
    return _judged(_read(directory))[2]


def _judged(measured: _Measured) -> tuple[tuple[LedgerCalibration, Plots] | None, Verdict, RunSummary]:
    """The certificate of a run if it has one, its verdict and its summary."""
    run, numbers = measured.run, measured.numbers
    certificate = _certificate(measured)
    calibration = _calibrated_earlier(measured) if certificate is None else certificate[0]
    cached_share = numbers.tokens.cached.share
    cache = prefix_cache.use(run.manifest.prefix_cache, measured.server, measured.summary.cache_plan, cached_share)
    evidence = _evidence(measured, calibration, cache)
    verdict = judge(evidence, run.config.limits)
    return certificate, verdict, _whole(measured, evidence, verdict, cache)


@dataclass(frozen=True, slots=True)
class _Measured:
    """The files of a run, read once. `summary` is closed; `numbers` is its result."""

    directory: RunDirectory
    run: StoredRun
    start_ns: int
    summary: Summary
    numbers: SummaryNumbers
    server: ServerSeries
    gpus: ServerSeries
    totals: ClientTotals

    @property
    def ended(self) -> str:
        stored = self.run.manifest
        return stored.started if stored.ended is None else stored.ended

    @property
    def shape(self) -> LoadShape:
        return self.run.config.kind_for(self.run.manifest.workers).measured(self.numbers)

    @property
    def version(self) -> str:
        return self.run.manifest.versions.get("trueload", "")


def _read(directory: RunDirectory) -> _Measured:
    """Read every file of a run. Raises UsageError if it sent no load, RecordError if its times contradict each other."""
    run = manifest.read(directory)
    if run.manifest.state in (RunState.PREPARING, RunState.PROBING):
        raise UsageError(f"{directory.path}: the run was ended while {run.manifest.state}, before it sent any load")
    facts = facts_of(run, directory)
    server = ServerSeries(SERVERS).add_all(read_scrapes(directory.scraped_lines(SERVER)))
    gpus = ServerSeries(GPUS).add_all(read_scrapes(directory.scraped_lines(GPU)))
    scraped = bool(server.scrapes or server.failed)
    by_target = facts.replicas == "address"
    scaling = ScalingTally(facts.objectives, facts.start_ns, by_target=by_target) if run.config.watch_scale else None
    summary, totals, span = Summary(facts), ClientTotals(incomplete=run.manifest.may_lack_records), Span()
    for table in directory.record_tables():
        span.add(table)
        summary.add(table)
        if scaling is not None:
            scaling.add(table)
        if scraped:
            totals.add(table)
    last_ns: int | None = None
    for row in directory.samples():
        summary.add_sample(row)
        last_ns = row["t_ns"] if last_ns is None else max(last_ns, row["t_ns"])
    is_over = run.manifest.state in (RunState.EVALUATING, RunState.ENDED)
    if (problem := span.outside(run.manifest.start_ns or None, last_ns if is_over else None)) is not None:
        raise RecordError(f"{directory.path / REQUESTS}: {problem}")
    numbers = summary.close()
    if scaling is not None:
        numbers = replace(numbers, scaling=rounded(scaling.close()))
    return _Measured(directory, run, facts.start_ns, summary, numbers, server, gpus, totals)


def _calibrated_earlier(measured: _Measured) -> KnownCalibration | None:
    """The calibration from the certificate that best fits this load. Returns None if no certificate covers it."""
    briefs = coverage.read_briefs(measured.directory.certificates())
    earlier = coverage.closest(briefs, measured.shape, measured.version)
    return None if earlier is None else earlier.on_run(_certifiable(measured.numbers), measured.ended)


def _evidence(
    measured: _Measured, calibration: LedgerCalibration | KnownCalibration | None, cache: ComparedCache | None
) -> RunEvidence:
    run = measured.run
    return RunEvidence(
        summary=measured.numbers,
        open_loop=run.config.load.open_loop,
        exact_lengths=run.manifest.exact_lengths,
        calibration=calibration,
        planned_share=None if cache is None else cache.planned_share,
        cached_share=None if cache is None else cache.measured_share,
        sharing_known=_sharing_known(run, measured.numbers),
        cache=cache,
        lost=measured.directory.lost(run.manifest.files),
        died=run.manifest.died,
        clock_drift=_clock_drift(run),
        imported_from=_imported_from(run),
        not_in_file=() if run.manifest.imported is None else run.manifest.imported.lacks,
        priority_remedy=priority.remedy(run.manifest.priority),
        cpu_limit=None if (limit := run.manifest.host.get("cpu_limit")) is None else str(limit),
        server=_server_block(measured),
    )


def _imported_from(run: StoredRun) -> str | None:
    imported = run.manifest.imported
    if imported is None:
        return None
    return imported.tool if imported.version is None else f"{imported.tool} {imported.version}"


def _server_block(measured: _Measured) -> Server | None:
    """The `server` block of the summary; None if no metrics were read, or if the run ended in its warm-up."""
    server, numbers = measured.server, measured.numbers
    if not (server.scrapes or server.failed) or numbers.throughput.duration_s is None:
        return None
    urls = urls_in(measured.directory.scraped_lines(SERVER))

    def again() -> Iterator[Scrape]:
        return read_scrapes(measured.directory.scraped_lines(SERVER))

    return block.describe(server, urls, measured.totals, numbers, measured.start_ns, again)


def _whole(measured: _Measured, evidence: RunEvidence, verdict: Verdict, cache: ComparedCache | None) -> RunSummary:
    """The content of summary.json."""
    numbers, config = measured.numbers, measured.run.config
    gpu = gpu_block.describe(
        measured.gpus, numbers, measured.start_ns, gpus=config.gpus, hour_cost=config.gpu_hour_cost
    )
    line = headline.of(numbers, verdict.status, proxy=config.proxy)
    return RunSummary(
        **_fields(numbers),
        classes=_classes(config, numbers, verdict),
        run=_origin(measured.run),
        verdict=JudgedRun(
            status=verdict.status,
            reasons=verdict.reasons,
            signs=verdict.signs,
            headline=str(line),
            reach=line.reach.result(),
        ),
        calibration=evidence.calibration,
        prefix_cache=None if cache is None else rounded(PrefixCache(**asdict(cache))),
        server=rounded(evidence.server),
        gpu=rounded(gpu),
    )


def _write_certificate(
    measured: _Measured, calibration: LedgerCalibration, plots: Plots, whole: RunSummary, verdict: Verdict
) -> None:
    from bench.documents.certificate_document import certificate_document
    from bench.report import html

    certificate = Certificate(
        schema=SCHEMA,
        date=measured.ended,
        version=measured.version,
        shape=measured.shape,
        verdict=CertifiedVerdict(status=verdict.status, reasons=verdict.reasons),
        accuracy=verdict.of("calibration"),
        run=whole.run,
        from_="ledger",
        **{name: getattr(calibration, name) for name in calibration.__struct_fields__},
        plots=plots,
    )
    directory = measured.directory
    directory.write(CERTIFICATE, to_bytes(certificate))
    directory.write(CERTIFICATE_PAGE, html.render(certificate_document(certificate)).encode())


def _page_data(measured: _Measured, server_charts: Sequence[str]) -> PageData:
    """The data for report.html that is not in summary.json."""
    page = measured.summary.page_data()
    times = (page.series.t_s, page.series.step_s, measured.start_ns)
    return replace(
        page,
        server=rounded(block.over_steps(measured.server, *times)) if measured.server.scrapes else {},
        gpu=rounded(gpu_block.over_steps(measured.gpus, *times)) if measured.gpus.scrapes else {},
        server_named=_named(measured.directory, server_charts, *times) if server_charts else (),
    )


def _fields(numbers: SummaryNumbers) -> dict[str, Any]:
    """The fields of a summary, except its classes, which are extended."""
    return {name: getattr(numbers, name) for name in numbers.__struct_fields__ if name != "classes"}


def _classes(config: RunConfig, numbers: SummaryNumbers, verdict: Verdict) -> list[JudgedClass] | None:
    """The classes of the summary, each with its planned share, its verdict, and whether its objectives held."""
    if not config.classes:
        return None
    weights = [traffic_class.traffic.weight for traffic_class in config.classes]
    names = [traffic_class.name for traffic_class in config.classes]
    planned = {name: weight / fsum(weights) for name, weight in zip(names, weights, strict=True)}
    judged = list(zip(config.objectives, numbers.slo.objectives, strict=True))
    rows = []
    for part in numbers.classes or ():
        outcomes = [row.held for objective, row in judged if objective.part == ("class", part.name)]
        of_part = of_class(part, verdict, config.limits)
        rows.append(
            JudgedClass(
                **{name: getattr(part, name) for name in part.__struct_fields__},
                planned_share=planned.get(part.name),
                slo_held=all(outcomes) if outcomes and numbers.slo.held is not None else None,
                verdict=PartVerdict(status=of_part.status, reasons=of_part.reasons),
            )
        )
    return rows


def _named(
    directory: RunDirectory, names: Sequence[str], times_s: Sequence[float], step_s: float, start_ns: int
) -> list[NamedSeries]:
    try:
        return named_series(read_scrapes(directory.scraped_lines(SERVER)), names, times_s, step_s, start_ns)
    except UnknownName as e:
        near = f": did you mean {' or '.join(e.near)}?" if e.near else ""
        raise UsageError(f"{directory.path}: the server's metrics have no {e.name!r}{near}") from e


def _sharing_known(run: StoredRun, numbers: SummaryNumbers) -> bool:
    """Whether the planned sharing of prompts is known. It is unknown for turns of sessions, for rows that do not plan
    it, and if there are probes whose tokens are not counted."""
    if run.config.check_answers is not None and numbers.tokens.cached.share_of_probes is None:
        return False
    cache = run.manifest.prefix_cache
    return (cache is not None and cache.planned_share is not None) or run.config.plans_sharing


def _certificate(measured: _Measured) -> tuple[LedgerCalibration, Plots] | None:
    """The errors of the results against the mock's ledger. Returns None without a ledger."""
    directory, run = measured.directory, measured.run
    mock = directory.mock()
    offsets = run.config.load.planned_arrivals(rate_changes(run, directory))
    from bench.accuracy.compare import certify  # Imported late: most runs have no ledger.

    return certify(
        directory,
        measured.numbers,
        _request_values,
        start_ns=measured.start_ns,
        shared_clock=mock.get("clock") != "other",
        truth=mock.get("truth"),
        planned=None if offsets is None else (run.manifest.start_ns + offset_ns for offset_ns in offsets),
        endpoint=run.config.endpoint,
    )


def _request_values(records: Sequence[RequestRecord]) -> dict[str, list[float]]:
    return {key: values.tolist() for key, values in request_values(RecordTable(records)).items()}


def _certifiable(numbers: SummaryNumbers) -> Callable[[str, str], float | None]:
    """Looks up the numbers that certificates give an error for: statistics of latencies, and of job times in ms."""
    jobs = {} if numbers.jobs is None else accuracy_of_jobs.in_ms(numbers.jobs)

    def of(metric: str, stat: str) -> float | None:
        if metric == accuracy_of_jobs.METRIC:
            return jobs.get(stat)
        row = numbers.latency.get(metric)
        return None if row is None else row.of(stat)

    return of


def _clock_drift(run: StoredRun) -> tuple[float, str] | None:
    """The largest clock drift of a node, in ms, and the node's name."""
    drifts = [(place.clock_drift_ns, place.node) for place in run.manifest.places if place.clock_drift_ns is not None]
    return max(((drift_ns / NS_PER_MS, node) for drift_ns, node in drifts), default=None)


def exit_status(summary: RunSummary, *, stop_reason: str | None = None, max_errors: str | None = None) -> Exit:
    """The exit status of a run: the first in PRECEDENCE that applies."""
    counts = summary.counts
    statuses = {Exit.GOOD}
    if stop_reason == "interrupted":
        statuses.add(Exit.INTERRUPTED)
    if summary.verdict.status == Status.FAILED or (not counts.succeeded and counts.failed):
        statuses.add(Exit.TARGET)
    if summary.verdict.status == Status.INVALID:
        statuses.add(Exit.INVALID)
    if summary.slo.held is False or too_many_errors(counts, max_errors):
        statuses.add(Exit.OBJECTIVE_FAILED)
    return next(status for status in PRECEDENCE if status in statuses)


def too_many_errors(counts: Counts, limit: str | None) -> bool:
    """Whether more requests failed than --max-errors allows."""
    if limit is None:
        return False
    failed = counts.failed
    if limit.endswith("%"):
        tried = failed + counts.succeeded
        return bool(tried) and failed / tried > float(limit[:-1]) / 100
    return bool(failed > int(limit))


def _origin(run: StoredRun) -> RunOrigin:
    """The `run` block of summary.json."""
    config, stored = run.config, run.manifest
    prompts, warmup = stored.prompts, stored.warmup
    return RunOrigin(
        name=config.name,
        id=stored.run_id,
        url=config.url,
        endpoint=config.endpoint_names,
        model=", ".join(stored.models) if stored.models else stored.model,
        mode=config.mode,
        started=stored.started,
        seed=config.seed,
        prompts=None if prompts is None else SentTexts(texts=prompts.texts, salt=prompts.salt),
        priority=priority.described(stored.priority),
        stop_reason="killed" if stored.stop_reason is None else stored.stop_reason,
        notes=list(stored.notes),
        warmup=None if warmup is None else FoundWarmup(**warmup.model_dump()),
        command=list(stored.command),
        versions=stored.versions,
        host=stored.host,
        config=run.written_config,
        changed=config.changed(),
    )
