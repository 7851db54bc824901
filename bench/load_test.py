"""One load test, from a configuration to a run directory with its report: the one place that knows every stage.

    config -> workload + schedule -> dispatch -> transport -> records and samples (files) -> evaluate -> report

A run writes down what was seen; every number is made afterwards, from those files, by `evaluate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from bench import ceiling, manifest
from bench.clock import Clock, process_clock, utc_now
from bench.endpoints.interface import BodyOptions
from bench.errors import UsageError
from bench.load.assignment import Assignment
from bench.load.components import run_secrets, source_of, target_of, tokenizer_of, transport_of
from bench.load.supervision import Defects
from bench.load.this_process import ThisProcess
from bench.load.worker import Worker
from bench.machine import identity, machine_cache, preflight
from bench.manifest import Manifest, PromptTexts, TokenizerName
from bench.observer import SILENT, Observer
from bench.process import child_process, priority
from bench.process.event_loop import loop_factory
from bench.readiness import wait_for_server
from bench.rng import fresh_salt, unique_id
from bench.run_files.run_directory import CERTIFICATES, GPU, SERVER, RunDirectory
from bench.run_files.run_state import RunState
from bench.scale.plan import workers_of
from bench.secrets import public_command, public_url
from bench.server_metrics.prefix_cache import PrefixCacheUse
from bench.target import scraper
from bench.target.probe import ProbeResult, choose_model, list_models, probe, samples_to_ask
from bench.target.scrape_task import ScrapeTask
from bench.target.scraper import Scraper
from bench.watched_load import Measurement, WatchedLoad, abandoned, write_manifest
from promptset.errors import SpecError

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.evaluate import Result
    from bench.load.crew import Crew
    from bench.modes.interface import LoadPlan
    from bench.scale.cluster.ray_cluster import RayCluster
    from bench.sources.interface import Source
    from bench.transport.interface import Transport
    from promptset.samples import Sample
    from promptset.sharing import SharingTally

SHARING_PLANNED_OVER = 10_000
"""Requests at most that the planned sharing of a run is computed of: it hardly changes after them."""


def run(
    config: RunConfig,
    *,
    command: Sequence[str] = (),
    observer: Observer = SILENT,
    before_evaluation: Callable[[RunDirectory], None] = lambda directory: None,
    changeable: bool = False,
    wait: bool = True,
) -> Result:
    """Measure a target and evaluate the measurement. Raises UsageError or TargetError before any load is sent.

    `before_evaluation` may add to the run directory what only the caller has: calibration puts the mock's ledger there.
    `changeable`: others may set the load while it runs, in the modes that have one. `wait`: for a server that is starting,
    where the configuration says so.
    """
    path = Path(config.out) if config.out is not None else default_directory(config.name)
    RunDirectory.refuse_used(path)
    preflight.least_files()
    preflight.least_memory()
    directory = RunDirectory.create(path)
    wait_s = config.wait_for_server if wait else None
    with directory.held():
        # Where it can be a copy of this process, before anything starts a thread; else when the server has answered.
        server = _scraper(config, directory) if child_process.may_copy() else None
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                measured = runner.run(_measure(config, directory, command, observer, server, changeable, wait_s))
        except BaseException as e:
            if not manifest.load_began(directory):
                directory.discard()
            if not isinstance(e, KeyboardInterrupt) or not directory.has_records:
                observer.run_ended()
                raise
            measured = abandoned(directory, config, observer)
        finally:
            if server is not None:
                server.close()
        try:
            before_evaluation(directory)
            with observer.waiting("making the report"):
                from bench.evaluate import evaluate  # Only now: the first request need not wait for it.

                result = evaluate(directory)
            manifest.mark(directory, RunState.ENDED)
        except OSError as e:
            raise _unwritten(measured, e) from e
        except KeyboardInterrupt:
            again = f"what was measured is kept: python -m bench report {path}"
            raise KeyboardInterrupt(f"interrupted while the report was made: {again}") from None
        finally:
            observer.run_ended()
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


async def _measure(
    config: RunConfig,
    directory: RunDirectory,
    command: Sequence[str],
    observer: Observer,
    server: Scraper | None,
    changeable: bool,
    wait_s: float | None,
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
    before_ns = clock.now_ns()
    write_manifest(directory, config, preparing)
    wrote_ns = clock.now_ns() - before_ns
    with observer.waiting("loading the tokenizer"):
        tokenizer = tokenizer_of(config)
    transport = transport_of(config, tokenizer, clock)
    cluster: RayCluster | None = None
    with observer.waiting(f"looking up the address of {url}"):
        await transport.open()
    try:
        run_id = preparing.run_id
        salt = None if config.same_prompts else fresh_salt()
        with observer.waiting("getting the data ready" if config.dataset is None else f"reading {config.dataset}"):
            source = source_of(config, tokenizer, salt=salt)
            plan = config.load.plan(config.length, source)
        # How many an open loop without a cap will have in flight is up to the server: then nothing is refused.
        doubt = None
        environment = None
        if config.runtime_env is not None:
            from bench.scale.cluster.environment import environment_of

            environment = environment_of(config.runtime_env, run_secrets(config, target_of(config).headers))
        if config.cluster is None:  # Else each node looks at its own limits.
            doubt = preflight.check(plan.at_once, certain=plan.bounded)
            priority.ensure_allowed(config.cpu_priority, priority.scheduler())
        manifest.mark(directory, RunState.PROBING)
        await wait_for_server(config, wait_s, clock, observer)
        observer.say(f"probing {url}")
        with observer.waiting(f"waiting for {url} to answer the probe"):
            try:
                probed = await _probe(config, transport, clock, run_id, source)
            finally:
                defects.raise_first()
        if server is None:
            server = _scraper(config, directory)
        notes = [*source.notes, *_same_prompts_note(config, source), *_choices_note(config), *probed.notes]
        for note in notes:
            observer.say(f"note: {note}")
        if config.cluster is not None:
            from bench.scale.cluster.ray_cluster import RayCluster

            with observer.waiting(f"joining the cluster ({config.cluster})"):
                cluster = await RayCluster.join(config.cluster, config.workers_per_node, environment)
        workers = workers_of(
            plan,
            config.workers if cluster is None else cluster.workers(config.workers),
            identity.processors() if cluster is None else cluster.processors,
        )
        shares = plan.shares(workers)
        host = identity.host()
        # What is known of this machine says nothing of the nodes of a cluster.
        held = None if cluster is not None else ceiling.read(ceiling.default_path(), host)
        warnings = (*ceiling.warnings(config, held, workers=workers, probe=probed.record), *filter(None, [doubt]))
        for warning in warnings:
            observer.say(f"warning: {warning}")
        if cluster is None:
            _copy_certificates(config, workers, host, directory)
        made_by = tokenizer if tokenizer is not None else source.tokenizer
        with observer.waiting("planning what prompts share"):
            sharing = _planned_sharing(source, plan)
        first = Manifest(
            run_id=run_id,
            started=utc_now().isoformat(timespec="seconds"),
            command=preparing.command,
            model=probed.options.model,
            models=_several_models(source, config, probed.options.model),
            notes=(*notes, *warnings),
            exact_lengths=probed.options.exact_lengths,
            tokenizer=None if made_by is None else TokenizerName(name=made_by.name, fingerprint=made_by.fingerprint),
            prompts=_prompt_texts(source, salt),
            clock=clock.name,
            event_loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
            workers=workers,
            versions=identity.versions(),
            host=host,
            planned=plan.requests,
            prefix_cache=None if sharing is None else PrefixCacheUse(planned_share=sharing.share),
            start_ns=0,
            state=RunState.WARMING_UP if config.warmup_requests or config.length.warmup_ns else RunState.RUNNING,
        )
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
        if cluster is not None:
            from bench.scale.cluster.crew import ClusterCrew

            observer.say(f"starting {workers} {'worker' if workers == 1 else 'workers'} on the cluster")
            with observer.waiting("waiting for room on the cluster"):
                handles = await cluster.place(workers)
            crew = ClusterCrew(handles, assignments, clock, cluster.release, at_once=plan.at_once, certain=plan.bounded)
        elif workers == 1:
            crew = ThisProcess(Worker(assignments[0], source, transport, clock), wrote_ns=wrote_ns)
        else:
            from bench.scale.processes import WorkerProcesses

            observer.say(f"starting {workers} workers")
            crew = WorkerProcesses(assignments)
        may_change = changeable and config.fixed_load is None
        load = WatchedLoad(
            config, plan, directory, first, crew, clock, defects, observer, server, changeable=may_change
        )
        return await load.measure()
    finally:
        if server is not None:
            server.close()  # In the event loop that reads what it says.
        if cluster is not None:
            cluster.release()
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


def _choices_note(config: RunConfig) -> tuple[str, ...]:
    n = (config.extra_body or {}).get("n")
    if type(n) is not int or n < 2:
        return ()
    return (
        f"each request asks for {n} choices: TTFT ends at the first token of any, and TPOT and ITL are of all together",
    )


def _copy_certificates(config: RunConfig, workers: int, host: dict[str, str | int], directory: RunDirectory) -> None:
    """Put the certificates that may cover the run beside its records: its report is made of its files alone."""
    entry = machine_cache.read_entry(machine_cache.default_path("certificates.json"), host)
    if entry is None:
        return
    from bench.accuracy import coverage
    from bench.load_kind import kind_of

    kind = kind_of(config, workers)
    if earlier := coverage.for_run(coverage.in_entry(entry), kind, identity.versions().get("trueload", "")):
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
        websocket=config.websocket,
    )
    return await probe(
        transport,
        clock,
        options,
        run_id=run_id,
        url=public_url(target.url),
        samples=samples_to_ask(
            config.endpoint,
            source.ways if config.classes else _apart(source, config),
            source.own_body,
            models=_drawn(config),
            all_named=source.names_models or bool(config.classes),
        ),
        listed=listed,
        classes=_classes_of_ways(config, source),
        authorized=any(name.lower() in ("authorization", "x-api-key") for name, _ in target.headers),
        timeout_s=config.probe_timeout,
    )


def _classes_of_ways(config: RunConfig, source: Source[Any]) -> Sequence[str]:
    """Of each way that the source has, the class of its requests; none where there are no classes."""
    if not config.classes:
        return ()
    from bench.sources.mixed import Mixed

    return source.classes_of_ways if isinstance(source, Mixed) else ()


def _apart(source: Source[Any], config: RunConfig) -> list[Sample]:
    """Samples that go elsewhere than the run. --model replaces the models of whole bodies: then these are all alike."""
    replaced = config.model is not None
    return [
        way
        for way in source.ways
        if not (replaced and way.body is not None and way.endpoint is None and way.model is None)
    ]


def _drawn(config: RunConfig) -> tuple[str, ...]:
    """The models among which the run draws; none where there are not several."""
    mix = config.models
    return () if mix is None or len(mix.names) == 1 or config.classes else mix.names


def _several_models(source: Source[Any], config: RunConfig, usual: str | None) -> tuple[str, ...]:
    """The models that the run sends to, where they are several: those among which it draws, and those that its data names."""
    named = [
        way.model if way.model is not None or way.body is None else way.body.get("model")
        for way in _apart(source, config)
    ]
    found = dict.fromkeys(str(name) for name in [*_drawn(config), *named] if name is not None)
    if usual is not None and not source.names_models:
        found.setdefault(usual)
    return tuple(found) if len(found) > 1 else ()


def _planned_sharing(source: Source[Any], plan: LoadPlan) -> SharingTally | None:
    """What the prompts share: all of them, or as many as stand for them. Raises UsageError where that cannot be told."""
    try:
        return source.planned_sharing(
            min(SHARING_PLANNED_OVER if plan.total is None else plan.total, SHARING_PLANNED_OVER)
        )
    except SpecError as e:
        raise UsageError(e.problems) from e
