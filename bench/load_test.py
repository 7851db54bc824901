"""One load test, from a configuration to a run directory with its report: the one place that knows every stage.

    config -> workload + schedule -> dispatch -> transport -> records and samples (files) -> evaluate -> report

A run writes down what was seen; every number is made afterwards, from those files, by `evaluate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import orjson

from bench import ceiling, machine, machine_cache, manifest, preflight, priority
from bench.accuracy import coverage
from bench.clock import NS_PER_MS, Clock, process_clock, utc_now
from bench.config import RunConfig
from bench.control import open_door
from bench.endpoints.interface import BodyOptions
from bench.errors import UsageError
from bench.evaluate import Result, evaluate, kind_of
from bench.event_loop import loop_factory
from bench.load.assignment import Assignment
from bench.load.components import source_of, target_of, tokenizer_of, transport_of
from bench.load.crew import Crew, CrewReport, Order, Progress
from bench.load.live import Live, LiveNumbers, LoadGoal
from bench.load.live_log import EVERY_S, LiveLog
from bench.load.load_control import LoadControl
from bench.load.precision_watch import PrecisionTask, PrecisionWatch
from bench.load.supervision import Defects, ErrorWatch, Interrupts
from bench.load.this_process import ThisProcess
from bench.load.worker import Worker
from bench.manifest import Manifest, PromptTexts, TokenizerName
from bench.metrics import objectives
from bench.metrics.precision import PRECISE_ENOUGH, Look
from bench.modes.interface import LoadPlan, inputs_of
from bench.observer import SILENT, Observer
from bench.rng import fresh_salt, unique_id
from bench.run_directory import CERTIFICATES, CHANGES, GPU, LIVE, MANIFEST, SERVER, LineLog, RunDirectory
from bench.run_state import RunState
from bench.scale import shards
from bench.scale.plan import workers_of
from bench.scale.processes import WorkerProcesses
from bench.secrets import public_command, public_url
from bench.sources.interface import Source
from bench.target import prefix_cache, scraper
from bench.target.prefix_cache import PrefixCacheUse
from bench.target.probe import ProbeResult, choose_model, list_models, probe, samples_to_ask
from bench.target.scrape_task import ScrapeTask
from bench.target.scraper import Scraper
from bench.transport.interface import Transport
from promptset.samples import Sample

LEAD_NS = 150 * NS_PER_MS
"""From the last preparation to the first send, so that the first arrivals of a schedule are not late already."""


SHARING_PLANNED_OVER = 10_000
"""Requests at most that the planned sharing of a run is computed of: it hardly changes after them."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a measurement leaves: its directory, and sentences that the user must read (a full disk, say)."""

    directory: RunDirectory
    problems: tuple[str, ...]


def run(
    config: RunConfig,
    *,
    command: Sequence[str] = (),
    observer: Observer = SILENT,
    before_evaluation: Callable[[RunDirectory], None] = lambda directory: None,
    changeable: bool = False,
) -> Result:
    """Measure a target and evaluate the measurement. Raises UsageError or TargetError before any load is sent.

    `before_evaluation` may add to the run directory what only the caller has: calibration puts the mock's ledger there.
    `changeable`: others may set the load while it runs, in the modes that have one.
    """
    path = Path(config.out) if config.out is not None else default_directory(config.name)
    RunDirectory.refuse_used(path)
    preflight.least_files()
    directory = RunDirectory.create(path)
    with directory.held():
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                measured = runner.run(_measure(config, directory, command, observer, changeable))
        except BaseException:
            if not manifest.load_began(directory):
                directory.discard()
            raise
        try:
            before_evaluation(directory)
            with observer.waiting("making the report"):
                result = evaluate(directory)
            manifest.mark(directory, RunState.ENDED)
        except OSError as e:
            raise _unwritten(measured, e) from e
    return replace(result, problems=measured.problems)


def _unwritten(measured: Measurement, error: OSError) -> UsageError:
    """The load was measured and its report cannot be written: where everything is, and how to go on."""
    path = measured.directory.path
    again = f"make room, then render it: python -m bench report {path}"
    return UsageError([*measured.problems, f"the report cannot be written to {path} ({error.strerror}): {again}"])


def default_directory(name: str) -> Path:
    """A directory that is not there yet: of several runs that begin in one second, the later ones are numbered."""
    path = Path("runs") / f"{utc_now():%Y%m%dT%H%M%S}-{name}"
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(place for place in chain([path], numbered) if not place.exists())


def _write_manifest(directory: RunDirectory, config: RunConfig, begun: Manifest) -> bytes:
    """Put run.yaml in place before the load. Raises UsageError where the disk does not take it."""
    try:
        return manifest.write(directory, config, begun)
    except OSError as e:
        path = directory.path / MANIFEST
        raise UsageError(f"{path} cannot be written ({e.strerror}): make room, or name another --out") from e


async def _measure(
    config: RunConfig, directory: RunDirectory, command: Sequence[str], observer: Observer, changeable: bool
) -> Measurement:
    clock = process_clock()
    defects = Defects()
    url = public_url(target_of(config).url)
    preparing = Manifest(
        run_id=f"{config.name}-{unique_id()}",
        started=utc_now().isoformat(timespec="seconds"),
        command=tuple(public_command(command)),
        model=None,
        exact_lengths=False,
        start_ns=0,
        state=RunState.PREPARING,
    )
    _write_manifest(directory, config, preparing)
    with observer.waiting("loading the tokenizer"):
        tokenizer = tokenizer_of(config)
    transport = transport_of(config, tokenizer, clock)
    server: Scraper | None = None
    with observer.waiting(f"looking up the address of {url}"):
        await transport.open()
    try:
        run_id = preparing.run_id
        salt = None if config.same_prompts else fresh_salt()
        with observer.waiting("getting the data ready" if config.dataset is None else f"reading {config.dataset}"):
            source = source_of(config, tokenizer, salt=salt)
            plan = config.load.plan(config.length, source)
        # How many an open loop without a cap will have in flight is up to the server: then nothing is refused.
        doubt = preflight.check(plan.at_once, certain=plan.bounded)
        priority.ensure_allowed(config.priority, priority.scheduler())
        observer.say(f"probing {url}")
        manifest.mark(directory, RunState.PROBING)
        with observer.waiting(f"waiting for {url} to answer the probe"):
            probed = await _probe(config, transport, clock, run_id, source)
        server = _scraper(config, directory)
        notes = [*source.notes, *_same_prompts_note(config, source), *probed.notes]
        for note in notes:
            observer.say(f"note: {note}")
        workers = workers_of(plan, config.workers, machine.processors())
        shares = plan.shares(workers)
        host = machine.host()
        held = ceiling.read(ceiling.default_path(), host)
        warnings = (*ceiling.warnings(config, held, workers=workers, probe=probed.record), *filter(None, [doubt]))
        for warning in warnings:
            observer.say(f"warning: {warning}")
        _copy_certificates(config, workers, host, directory)
        made_by = tokenizer if tokenizer is not None else source.tokenizer
        first = Manifest(
            run_id=run_id,
            started=utc_now().isoformat(timespec="seconds"),
            command=preparing.command,
            model=probed.options.model,
            models=_several_models(source, config, probed.options.model),
            notes=(*notes, *warnings),
            exact_lengths=probed.options.ignore_eos,
            tokenizer=None if made_by is None else TokenizerName(name=made_by.name, fingerprint=made_by.fingerprint),
            prompts=_prompt_texts(source, salt),
            clock=clock.name,
            event_loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
            workers=workers,
            versions=machine.versions(),
            host=host,
            planned=plan.requests,
            start_ns=0,
            state=RunState.WARMING_UP if config.warmup_requests or config.warmup_s else RunState.RUNNING,
        )
        with observer.waiting("planning what prompts share"):
            planned_sharing = source.planned_sharing(_sharing_planned_over(plan))
        with observer.waiting("asking the server for its counters"):
            before = await prefix_cache.read(config.url, target_of(config))

        async def prefix_cache_use() -> PrefixCacheUse | None:
            with observer.waiting("asking the server for its counters"):
                after = None if before is None else await prefix_cache.read(config.url, target_of(config))
            return prefix_cache.use(planned_sharing, before, after)

        assignments = [
            Assignment(
                config=config,
                share=share,
                run_id=run_id,
                options=probed.options,
                directory=directory.path,
                salt=salt,
            )
            for share in shares
        ]
        crew: Crew
        if workers == 1:
            crew = ThisProcess(Worker(assignments[0], source, transport, clock))
        else:
            observer.say(f"starting {workers} workers")
            crew = WorkerProcesses(assignments)
        may_change = changeable and config.fixed_load is None
        load = _Load(config, plan, directory, first, crew, clock, defects, observer, server, changeable=may_change)
        return await load.measure(prefix_cache_use)
    finally:
        if server is not None:
            server.close()
        await transport.close()
        clock.close()


def _scraper(config: RunConfig, directory: RunDirectory) -> Scraper | None:
    """What reads the server's metrics beside the load; it gets ready beside whatever is done meanwhile."""
    target = target_of(config)
    pages = scraper.pages_of(config.server_metrics, config.gpu_metrics, target)
    if not pages:
        return None
    path, gpu_path = (str(directory.path / name) for name in (SERVER, GPU))
    return Scraper(ScrapeTask(pages, path, gpu_path, ca_file=target.ca_file, insecure=target.insecure))


def _prompt_texts(source: Source[Any], salt: str | None) -> PromptTexts:
    if source.tokenizer is None:
        return PromptTexts(texts="own", salt=None)
    return PromptTexts(texts="same" if salt is None else "fresh", salt=salt)


def _same_prompts_note(config: RunConfig, source: Source[Any]) -> tuple[str, ...]:
    if not config.same_prompts or source.tokenizer is None:
        return ()
    return (
        f"--same-prompts: every run of seed {config.seed} sends these prompts; "
        "a server that has seen them may answer from its prefix cache",
    )


def _copy_certificates(config: RunConfig, workers: int, host: dict[str, str | int], directory: RunDirectory) -> None:
    """Put the certificates that may cover the run beside its records: its report is made of its files alone."""
    entry = machine_cache.read_entry(machine_cache.default_path("certificates.json"), host)
    kind = kind_of(config, workers)
    if earlier := coverage.for_run(coverage.in_entry(entry), kind, machine.versions().get("trueload", "")):
        rows = [certificate.to_json() for certificate in earlier]
        directory.write(CERTIFICATES, orjson.dumps(rows, option=orjson.OPT_APPEND_NEWLINE))


async def _probe(
    config: RunConfig, transport: Transport, clock: Clock, run_id: str, source: Source[Any]
) -> ProbeResult:
    target = target_of(config)
    listed = await list_models(config.url, target, config.probe_timeout)
    options = BodyOptions(
        endpoint=config.endpoint,
        model=choose_model(
            None if config.models is None else config.models.names[0], listed, all_named=source.names_models
        ),
        keep_models=config.model is None,
        stream=config.stream,
        ignore_eos=config.ignore_eos,
        tool_choice=config.tool_choice,
        extra=config.extra_body,
    )
    return await probe(
        transport,
        clock,
        options,
        run_id=run_id,
        url=public_url(target.url),
        samples=samples_to_ask(
            config.endpoint,
            _apart(source, config),
            source.own_body,
            models=_drawn(config),
            all_named=source.names_models,
        ),
        listed=listed,
        authorized=any(name.lower() in ("authorization", "x-api-key") for name, _ in target.headers),
        timeout_s=config.probe_timeout,
    )


def _apart(source: Source[Any], config: RunConfig) -> list[Sample]:
    """Samples that go elsewhere than the run. --model replaces the models of whole bodies: then these are all alike."""
    replaced = config.model is not None
    return [way for way in source.ways if not (replaced and way.body is not None and way.endpoint is None)]


def _drawn(config: RunConfig) -> tuple[str, ...]:
    """The models among which the run draws; none where there are not several."""
    mix = config.models
    return () if mix is None or len(mix.names) == 1 else mix.names


def _several_models(source: Source[Any], config: RunConfig, usual: str | None) -> tuple[str, ...]:
    """The models that the run sends to, where they are several: those among which it draws, and those that its data names."""
    named = [way.model if way.body is None else way.body.get("model") for way in _apart(source, config)]
    found = dict.fromkeys(str(name) for name in [*_drawn(config), *named] if name is not None)
    if usual is not None and not source.names_models:
        found.setdefault(usual)
    return tuple(found) if len(found) > 1 else ()


class _Load:
    """The load itself, with what goes on around it: the manifest, its observer, the limit on errors."""

    def __init__(
        self,
        config: RunConfig,
        plan: LoadPlan,
        directory: RunDirectory,
        first: Manifest,
        crew: Crew,
        clock: Clock,
        defects: Defects,
        observer: Observer,
        server: Scraper | None,
        *,
        changeable: bool,
    ) -> None:
        """`first` is the manifest, but for what only the load tells."""
        self._changeable = changeable
        self._problems: list[str] = []
        self._config = config
        self._plan = plan
        self._directory = directory
        self._first = first
        self._crew = crew
        self._clock = clock
        self._defects = defects
        self._observer = observer
        self._server = server
        task = PrecisionTask(config.until, str(directory.path), first.workers, config.lasts_s)
        self._precision = PrecisionWatch(task) if config.until else None

    async def measure(self, after: Callable[[], Awaitable[PrefixCacheUse | None]]) -> Measurement:
        """Send the load and write the manifest. `after` tells, when the load is over, what the prefix cache served."""
        with preflight.files_kept():
            begun, report, interrupted = await self._load()
        hits = await after()
        with self._observer.waiting("merging the records of the workers"):
            shards.merge(self._directory)
        return self._end(begun, report, interrupted=interrupted, prefix_cache_use=hits)

    async def _load(self) -> tuple[Manifest, CrewReport, bool]:
        """Send the load: the manifest as it was when it began, how the load ended, and whether the user ended it."""
        crew = self._crew
        try:
            with self._observer.waiting(lambda: crew.preparing):
                reading = None if self._server is None else asyncio.create_task(self._server.begin())
                await crew.prepare()
                notes = () if reading is None else await reading
                if self._precision is not None:
                    await self._precision.ready()
            start_ns = self._clock.now_ns() + LEAD_NS
            changes: dict[str, Any] = {"start_ns": start_ns}
            if notes:
                changes["notes"] = (*self._first.notes, *notes)
            if segments := manifest.planned_segments(self._config, start_ns):
                changes["segments"] = segments
            begun = self._first.model_copy(update=changes)
            written = _write_manifest(self._directory, self._config, begun)
            live = Live(self._clock, crew.counts, _goal(self._config, self._plan))
            with self._watched(live, written, start_ns) as (progress, interrupts):
                crew.begin(start_ns, progress)
                report = await crew.load()
            if self._server is not None:
                with self._observer.waiting("asking the server for its metrics"):
                    await self._server.finish()
        finally:
            crew.close()
            if self._precision is not None:
                self._precision.close()
        return begun, report, interrupts.seen

    @contextmanager
    def _watched(self, live: Live, written: bytes, start_ns: int) -> Iterator[tuple[Progress, Interrupts]]:
        """Progress, interrupts, changes and the limit on errors, for as long as the load goes on."""
        crew, observer = self._crew, self._observer
        interrupts = Interrupts(crew, observer.say)
        limit = self._config.max_errors
        counted = limit is not None and limit.isdecimal()
        watch = ErrorWatch(crew, self._clock, int(limit), live) if limit is not None and counted else None
        self._defects.on_first = lambda: crew.tell(Order.CUT)
        directory, clock = self._directory, self._clock
        changes = LineLog(directory.path / CHANGES) if self._changeable else None
        log = LiveLog(
            directory.path / LIVE,
            write_state=lambda state: manifest.mark(directory, state, written),
            changes=changes,
        )
        control = LoadControl(
            self._config,
            crew,
            clock,
            interrupts,
            start_ns=start_ns,
            workers=self._first.workers,
            changeable=self._changeable,
            numbers=live.numbers,
            note=log.note,
        )
        live.load_at = control.load_at
        door = open_door(directory.path, control, clock, observer.say) if self._changeable else None
        observer.load_begins(control)
        live.start()

        def looked(look: Look) -> None:
            live.precision = str(look)
            if look.enough:
                crew.tell(Order.STOP, PRECISE_ENOUGH)

        def note(numbers: LiveNumbers) -> None:
            state = RunState.DRAINING if interrupts.seen else numbers.state
            server = None if self._server is None else self._server.now
            log.tell(
                clock.now_ns(), state, numbers, live.second(), crew.client, None if server is None else server.levels
            )

        live.follow(note, EVERY_S, EVERY_S)
        if self._precision is not None:
            self._precision.begin(looked)
        if observer.cadence is not None:
            live.follow(observer.progress, *observer.cadence)
        try:
            yield (live if watch is None else watch), interrupts
        finally:
            if door is not None:
                door.close()
            live.stop()
            if (problem := log.close()) is not None:
                self._problems.append(problem)
            if watch is not None:
                watch.stop()
            observer.load_ended()

    def _end(
        self, begun: Manifest, report: CrewReport, *, interrupted: bool, prefix_cache_use: PrefixCacheUse | None
    ) -> Measurement:
        workers = report.workers
        stop_reason = "interrupted" if interrupted else self._stop_reason(report)
        ends = [] if self._precision is None else [self._precision.why(stop_reason)]
        if self._server is not None and self._server.died:
            ends.append("the process that reads the server's metrics died: they end before the load does")
        for end in ends:
            self._observer.say(end)
        changes = {
            "run_start_ns": min((w.run_start_ns for w in workers if w.run_start_ns is not None), default=None),
            "stop_reason": stop_reason,
            "ended": utc_now().isoformat(timespec="seconds"),
            "state": RunState.EVALUATING,
            "notes": (*begun.notes, *_notes_of(report), *ends),
            "prefix_cache": prefix_cache_use,
            "priority": tuple(worker.priority for worker in workers),
            **({"died": report.died} if report.died else {}),
        }
        problems = [*self._problems, *(problem for worker in workers for problem in worker.problems)]
        try:
            manifest.write(self._directory, self._config, begun.model_copy(update=changes))
        except OSError as e:
            problems.append(f"{self._directory.path / MANIFEST}: {e.strerror}; it stays as when the load began")
        self._defects.raise_first()
        return Measurement(self._directory, tuple(problems))

    def _stop_reason(self, report: CrewReport) -> str:
        """Each worker has its own share of the requests: the first reason that is another one is that of the run."""
        others = sorted({w.reason for w in report.workers if w.reason is not None} - {"requests"})
        limit = "duration" if self._plan.requests is None else "requests"
        return others[0] if others else limit


def _notes_of(report: CrewReport) -> Iterator[str]:
    """What the report of the run must say of how the load was sent."""
    if late := sum(worker.late_requests for worker in report.workers):
        yield f"{late} requests were not made yet when they were due: making prompts could not keep up with the load"
    if repeated := sum(worker.repeated_rows for worker in report.workers):
        yield f"{repeated} requests repeat a row of the data set, which has fewer rows than that"


def _sharing_planned_over(plan: LoadPlan) -> int:
    """How many requests the planned sharing is computed of: all, or as many as stand for them."""
    return SHARING_PLANNED_OVER if plan.total is None else min(plan.total, SHARING_PLANNED_OVER)


def _goal(config: RunConfig, plan: LoadPlan) -> LoadGoal:
    """What the live view counts towards."""
    return LoadGoal(
        requests=plan.requests,
        duration_s=config.lasts_s,
        warmup_requests=config.warmup_requests,
        warmup_s=config.warmup_s,
        objectives=tuple(one for one in objectives.parse(config.slo) if one.model is None),
        inputs_are=inputs_of(config),
        load_unit=config.load.load_unit or "",
    )
