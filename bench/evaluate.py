"""From the files of a run directory to every number: the same code for a run that has just ended and for an old one.

Nothing here looks at a clock or at the network, so that a report which is rendered again has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import TYPE_CHECKING, Any, cast

import orjson

from bench import accuracy, manifest
from bench.accuracy import coverage
from bench.accuracy import jobs as accuracy_of_jobs
from bench.accuracy.load_shape import LoadShape
from bench.clock import NS_PER_MS, NS_PER_S
from bench.config import RunConfig
from bench.damage import explained
from bench.errors import PRECEDENCE, Exit, RecordError, UsageError
from bench.load_kind import kind_of
from bench.manifest import StoredRun
from bench.metrics.catalog import request_values
from bench.metrics.facts import RunFacts
from bench.metrics.kept_plan import KeptPlan
from bench.metrics.planned_load import ChangedLoad, PlannedLoad, parts_between
from bench.metrics.precision import PRECISE_ENOUGH
from bench.metrics.summary import Summary, rounded
from bench.modes.interface import inputs_of
from bench.process import priority
from bench.records import RequestRecord
from bench.records.record_table import RecordTable
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
from bench.schedule.changing import RateChange
from bench.server_metrics import block, gpu_block, prefix_cache
from bench.server_metrics.by_name import UnknownName, named_series
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.gpus import GPUS
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import read_scrapes, urls_in
from bench.server_metrics.servers import SERVERS
from bench.verdict import headline, judge
from bench.verdict.classes import of_class
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Status, Verdict

if TYPE_CHECKING:
    from bench.documents.summary import Counts, NumbersDocument, SummaryDocument

OPEN_END_NS = 2**62
"""Where a number of requests ends the load: its last part ends with the last of them."""
PLANNED_ENDS = ("requests", "duration", PRECISE_ENOUGH)
"""Reasons to stop that are no surprise."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run: where it is, its summary (the content of summary.json), and the exit status it stands for."""

    directory: RunDirectory
    summary: SummaryDocument
    verdict: Verdict
    exit: Exit
    problems: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether the user ended it, with Ctrl-C."""
        return bool(self.summary["run"]["stop_reason"] == "interrupted")


@explained
def evaluate(directory: RunDirectory, *, server_charts: Sequence[str] = ()) -> Result:
    """Every number of a run directory, from its files alone; writes summary.json and report.html (certificate.* too).

    The page also shows the samples of the server's metrics with these names. Raises UsageError where they have none.
    """
    from bench.report import html  # Only now: a run imports this module before its first request.

    directory.clear_drafts()
    run = manifest.read(directory)
    if run.manifest.state in (RunState.PREPARING, RunState.PROBING):
        raise UsageError(f"{directory.path}: the run was ended while {run.manifest.state}, before it sent any load")
    facts = _facts(run, directory)
    summary = Summary(facts)
    server = ServerSeries(SERVERS).add_all(read_scrapes(directory.scraped_lines(SERVER)))
    gpus = ServerSeries(GPUS).add_all(read_scrapes(directory.scraped_lines(GPU)))
    scraped = bool(server.scrapes or server.failed)
    totals, span = ClientTotals(incomplete=run.manifest.may_lack_records), Span()
    for table in directory.record_tables():
        span.add(table)
        summary.add(table)
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
    ended = run.manifest.started if run.manifest.ended is None else run.manifest.ended
    shape = LoadShape.measured(numbers, kind_of(run.config, run.manifest.workers))
    found = _calibration(directory, numbers, facts.start_ns, run)
    version = run.manifest.versions.get("trueload", "")
    if found is None:
        earlier = coverage.closest(coverage.read_briefs(directory.certificates()), shape, version)
        if earlier is not None:
            found = earlier.on_run(_certifiable(numbers), ended)
    said_share = numbers["tokens"]["cached"]["share"]
    cache = prefix_cache.use(run.manifest.prefix_cache, server, summary.cache_plan, said_share)
    urls = urls_in(directory.scraped_lines(SERVER))
    # A run that was ended in its warm-up has no time of which the server could have said anything.
    began = numbers["throughput"]["duration_s"] is not None
    said = block.describe(server, urls, totals, numbers, facts.start_ns) if scraped and began else None
    evidence = RunEvidence(
        summary=numbers,
        open_loop=run.config.load.open_loop,
        exact_lengths=run.manifest.exact_lengths,
        calibration=found,
        planned_share=None if cache is None else cache.planned_share,
        cached_share=None if cache is None else cache.measured_share,
        sharing_known=_sharing_known(run),
        cache=cache,
        lost=directory.lost(run.manifest.files),
        died=run.manifest.died,
        clock_drift=_clock_drift(run),
        priority_remedy=priority.remedy(run.manifest.priority),
        server=said,
    )
    verdict = judge(evidence, run.config.limits)
    gpu = _gpu(gpus, numbers, facts.start_ns, run.config)
    added = {
        **_classes(run.config, numbers, verdict, evidence),
        "run": _run_block(run),
        "verdict": {**verdict.to_json(), **headline.of(numbers, verdict.status).to_json()},
        "calibration": _without_plots(found),
        "prefix_cache": None if cache is None else rounded(cache.to_json()),
        "server": None if said is None else rounded(said),
        "gpu": None if gpu is None else rounded(gpu),
    }
    whole = cast("SummaryDocument", {**numbers, **added})  # tests hold it to the schema, of which the type is made
    if found is not None and found["from"] == "ledger":
        certificate = {
            "schema": accuracy.SCHEMA,
            "date": ended,
            "version": version,
            "shape": shape.to_json(),
            "verdict": verdict.to_json(),
            "accuracy": str(verdict.of("calibration")),
            "run": whole["run"],
            **found,
        }
        from bench.report import certificate_page

        directory.write(CERTIFICATE, orjson.dumps(certificate, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        directory.write(CERTIFICATE_PAGE, certificate_page.render(certificate).encode())
    page = summary.page_data()
    if server.scrapes:
        series = page["series"]
        page["server"] = rounded(block.over_steps(server, series["t_s"], series["step_s"], facts.start_ns))
    if gpus.scrapes:
        series = page["series"]
        page["gpu"] = rounded(gpu_block.over_steps(gpus, series["t_s"], series["step_s"], facts.start_ns))
    if server_charts:
        page["server_named"] = _named(directory, server_charts, page["series"], facts.start_ns)
    directory.write(SUMMARY, orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    directory.write(REPORT, html.render(whole, page).encode())
    status = exit_status(whole, stop_reason=run.manifest.stop_reason, max_errors=run.config.max_errors)
    return Result(directory, whole, verdict, status)


def _classes(
    config: RunConfig, numbers: NumbersDocument, verdict: Verdict, evidence: RunEvidence
) -> dict[str, list[dict[str, Any]]]:
    """The classes of the summary with what was planned of each, its verdict, and whether its objectives held."""
    if not config.classes:
        return {}
    weights = [one.traffic.weight for one in config.classes]
    planned = {one.name: weight / fsum(weights) for one, weight in zip(config.classes, weights, strict=True)}
    judged = list(zip(config.objectives, numbers["slo"]["objectives"], strict=True))
    found = []
    for part in numbers["classes"]:
        own = [row["held"] for objective, row in judged if objective.part == ("class", part["class"])]
        found.append(
            {
                **part,
                "planned_share": planned.get(part["class"]),
                "slo_held": all(own) if own else None,
                "verdict": of_class(part, verdict, evidence, config.limits).to_json(),
            }
        )
    return {"classes": found}


def _gpu(gpus: ServerSeries, numbers: NumbersDocument, start_ns: int, config: RunConfig) -> dict[str, Any] | None:
    return gpu_block.describe(gpus, numbers, start_ns, gpus=config.gpus, hour_cost=config.gpu_hour_cost)


def _named(
    directory: RunDirectory, names: Sequence[str], series: Mapping[str, Any], start_ns: int
) -> list[dict[str, Any]]:
    try:
        found = named_series(
            read_scrapes(directory.scraped_lines(SERVER)), names, series["t_s"], series["step_s"], start_ns
        )
    except UnknownName as e:
        near = f": did you mean {' or '.join(e.near)}?" if e.near else ""
        raise UsageError(f"{directory.path}: the server's metrics have no {e.name!r}{near}") from e
    return [asdict(one) for one in found]


def _sharing_known(run: StoredRun) -> bool:
    """Whether it is known what prompts share on purpose: of turns of a session, and of rows that do not say it, it is not."""
    cache = run.manifest.prefix_cache
    return (cache is not None and cache.planned_share is not None) or run.config.plans_sharing


def _calibration(
    directory: RunDirectory, numbers: NumbersDocument, start_ns: int, run: StoredRun
) -> dict[str, Any] | None:
    """What the ledger says of the numbers; None where there is none."""
    mock = directory.mock()
    certificate = accuracy.certify(
        directory,
        numbers,
        _measured,
        start_ns=start_ns,
        shared_clock=mock.get("clock") != "other",
        truth=mock.get("truth"),
        planned=run.config.load.planned_arrivals(_rate_changes(run, directory)),
        begun_ns=run.manifest.start_ns,
        endpoint=run.config.endpoint,
    )
    return None if certificate is None else certificate.to_json()


def _measured(records: Sequence[RequestRecord]) -> dict[str, list[float]]:
    return {key: values.tolist() for key, values in request_values(RecordTable(records)).items()}


def _certifiable(numbers: NumbersDocument) -> dict[str, Any]:
    """The numbers of which certificates know the error: latencies, and job seconds as one."""
    found: dict[str, Any] = dict(numbers["latency"])
    return (
        found if "jobs" not in numbers else found | {accuracy_of_jobs.METRIC: accuracy_of_jobs.in_ms(numbers["jobs"])}
    )


def _clock_drift(run: StoredRun) -> tuple[float, str] | None:
    """Of the node whose clock went astray most, in ms, and its name."""
    drifts = [(place.clock_drift_ns, place.node) for place in run.manifest.places if place.clock_drift_ns is not None]
    return max(((drift_ns / NS_PER_MS, node) for drift_ns, node in drifts), default=None)


def _without_plots(calibration: dict[str, Any] | None) -> dict[str, Any] | None:
    """The plots of a certificate stand in certificate.json alone."""
    return None if calibration is None else {key: value for key, value in calibration.items() if key != "plots"}


def exit_status(summary: SummaryDocument, *, stop_reason: str | None = None, max_errors: str | None = None) -> Exit:
    """The exit status that a run stands for: of all that hold, the first in PRECEDENCE."""
    counts = summary["counts"]
    found = {Exit.GOOD}
    if stop_reason == "interrupted":
        found.add(Exit.INTERRUPTED)
    if summary["verdict"]["status"] == Status.FAILED or (not counts["succeeded"] and counts["failed"]):
        found.add(Exit.TARGET)
    if summary["verdict"]["status"] == Status.INVALID:
        found.add(Exit.INVALID)
    if summary["slo"]["held"] is False or too_many_errors(counts, max_errors):
        found.add(Exit.OBJECTIVE_FAILED)
    return next(status for status in PRECEDENCE if status in found)


def too_many_errors(counts: Counts, limit: str | None) -> bool:
    """Whether more requests failed than --max-errors allows."""
    if limit is None:
        return False
    failed = counts["failed"]
    if limit.endswith("%"):
        tried = failed + counts["succeeded"]
        return bool(tried) and failed / tried > float(limit[:-1]) / 100
    return bool(failed > int(limit))


def run_start_ns(run: StoredRun, directory: RunDirectory) -> int:
    """Zero of all times of a run: when its warm-up was over."""
    stored = run.manifest
    # The segments of a load have their own clock, which no request starts.
    start_ns = stored.segments[0].start_ns if stored.segments else stored.run_start_ns
    if start_ns is not None:
        return start_ns
    # The run was killed before it could say: its first request will do.
    return min((r.intended_ns for r in directory.records() if r.phase == "run"), default=stored.start_ns)


def _facts(run: StoredRun, directory: RunDirectory) -> RunFacts:
    config, stored = run.config, run.manifest
    start_ns = run_start_ns(run, directory)
    changes = _changes(directory, start_ns)
    planned = tuple(PlannedLoad(s.first, s.last, s.start_ns - start_ns, s.end_ns - start_ns) for s in stored.segments)
    plan = None if changes is None or stored.died else _kept_plan(run, directory, changes, start_ns)
    return RunFacts(
        mode=config.mode,
        open_loop=config.load.open_loop,
        endpoint=config.endpoint,
        start_ns=start_ns,
        seed=config.seed,
        planned=config.requests if stored.planned is None else stored.planned,
        offered_rps=None if config.mode == "sessions" else config.rate,
        sessions_per_s=config.rate if config.mode == "sessions" else None,
        concurrency=config.concurrency,
        max_concurrency=config.max_concurrency,
        ramp_s=config.ramp_up,
        ended_early=stored.stop_reason not in PLANNED_ENDS,
        segments=_parts(config, changes) if changes else planned,
        open_end=bool(changes) and config.requests is not None,
        changes=changes or (),
        kept_plan=plan,
        objectives=config.objectives,
        classes=tuple(one.name for one in config.classes),
        model=stored.model,
        models=stored.models,
        gpus=config.gpus,
        inputs_are=inputs_of(config),
    )


def _changes(directory: RunDirectory, start_ns: int) -> tuple[ChangedLoad, ...] | None:
    """The changes of the load while it went on; None where it could not be changed."""
    found = directory.changes()
    if found is None:
        return None
    return tuple(ChangedLoad(change.t_ns - start_ns, change.before, change.after, change.by) for change in found)


def _rate_changes(run: StoredRun, directory: RunDirectory) -> list[RateChange]:
    """The changes, in ns from the start of the load."""
    return [RateChange(c.t_ns - run.manifest.start_ns, c.after) for c in directory.changes() or ()]


def _parts(config: RunConfig, changes: tuple[ChangedLoad, ...]) -> tuple[PlannedLoad, ...]:
    """The load between the changes, from the start of the run on."""
    first = changes[0].before if changes else float(config.load.load_at(0) or 0)
    return parts_between(first, changes, OPEN_END_NS if config.duration is None else round(config.duration * NS_PER_S))


def _kept_plan(run: StoredRun, directory: RunDirectory, changes: tuple[ChangedLoad, ...], start_ns: int) -> KeptPlan:
    """What every request must keep to, made again of the settings and the changes."""
    config, begun_ns = run.config, run.manifest.start_ns
    made = _rate_changes(run, directory)

    def arrivals() -> Iterator[int]:
        of_sessions = config.load.planned_sessions(made)
        offsets = (config.load.planned_arrivals(made) if of_sessions is None else of_sessions) or iter(())
        return (begun_ns + offset - start_ns for offset in offsets)

    return KeptPlan(
        parts=_parts(config, changes),
        arrivals=arrivals if config.load.open_loop else None,
        whole=run.manifest.stop_reason in PLANNED_ENDS,
        of_sessions=config.mode == "sessions",
    )


def _run_block(run: StoredRun) -> dict[str, Any]:
    """The `run` block of summary.json."""
    config, stored = run.config, run.manifest
    return {
        "name": config.name,
        "id": stored.run_id,
        "url": config.url,
        "endpoint": config.endpoint,
        "model": ", ".join(stored.models) if stored.models else stored.model,
        "mode": config.mode,
        "started": stored.started,
        "seed": config.seed,
        "prompts": None if stored.prompts is None else stored.prompts.model_dump(),
        "priority": priority.described(stored.priority),
        "stop_reason": "killed" if stored.stop_reason is None else stored.stop_reason,
        "notes": list(stored.notes),
        **({} if stored.warmup is None else {"warmup": stored.warmup.model_dump()}),
        "command": list(stored.command),
        "versions": stored.versions,
        "host": stored.host,
        "config": run.written_config,
        "changed": config.changed(),
    }
