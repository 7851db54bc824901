"""One load test, from a configuration to a run directory with its report: the one place that knows every stage.

    config -> workload + schedule -> dispatch -> transport -> records and samples (files) -> evaluate -> report

A run only records what it observes; `evaluate` computes every number from those files afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson

from bench import ceiling, manifest
from bench.clock import process_clock, utc_now
from bench.companions import Companions, companions
from bench.config.addresses import places_of, resolved
from bench.control import open_door
from bench.errors import UsageError
from bench.load.assignment import Assignment
from bench.load.components import run_secrets, target_of, tokenizer_of, transport_of
from bench.load.run_notes import notes_of
from bench.load.supervision import Defects
from bench.load.this_process import ThisProcess
from bench.load.worker import Worker
from bench.machine import identity, machine_cache, preflight
from bench.manifest import Manifest, TokenizerName, data_digests
from bench.observer import SILENT, Observer
from bench.process import priority
from bench.process.event_loop import loop_factory
from bench.readiness import models_of_run, probe_servers, wait_for_server, wait_until_ready
from bench.rng import unique_id
from bench.run_files.run_directory import CERTIFICATES, RunDirectory
from bench.run_files.run_state import RunState
from bench.run_files.writable import not_removed
from bench.scale.plan import workers_of
from bench.secrets import public_command, public_url
from bench.server_metrics.prefix_cache import PrefixCacheUse
from bench.supply import Supply
from bench.watched_load import Measurement, RunContext, WatchedLoad, abandoned, write_manifest

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.evaluate import Result
    from bench.load.crew import Crew
    from bench.modes.interface import LoadPlan
    from bench.modes.share import WorkerShare
    from bench.scale.cluster.ray_cluster import RayCluster
    from bench.sources.interface import Source
    from bench.target.probe import ProbeResult
    from bench.transport.interface import Transport
    from promptset.tokens import Tokenizer


_NOTHING_MEASURED = "interrupted before a request had ended: nothing was measured"


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

    `before_evaluation` may add files to the run directory that only the caller has: calibration adds the mock's ledger.
    `changeable`: others may set the load while it runs, in the modes that allow it. `wait`: wait for a server that is
    starting, if the configuration says so.
    """
    if config.resolve_all:
        config = _resolved(config, observer, wait=wait)
    path = Path(config.out) if config.out is not None else default_directory(config.name)
    RunDirectory.refuse_used(path)
    preflight.least_files()
    preflight.least_memory()
    preflight.kernel_time()
    directory = RunDirectory.create(path)
    wait_s = config.wait_for_server if wait else None
    with (
        _discarded_unless_begun(directory),
        not_removed(path),
        directory.held(),
        companions(config, directory) as beside,
    ):
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                measuring = _measure(config, directory, command, observer, beside, changeable=changeable, wait_s=wait_s)
                measured = runner.run(measuring)
        except BaseException as e:
            if not isinstance(e, KeyboardInterrupt) or not directory.has_records:
                observer.run_ended()
                if isinstance(e, KeyboardInterrupt):
                    raise KeyboardInterrupt(_NOTHING_MEASURED) from None
                raise
            measured = abandoned(directory, config, observer)
        finally:
            beside.load_ended()
        try:
            before_evaluation(directory)
            with observer.waiting("making the report"):
                from bench.evaluate import evaluate  # Imported late, so as not to delay the first request.

                result = evaluate(directory)
            manifest.mark(directory, RunState.ENDED)
            beside.linger(observer)
        except OSError as e:
            raise _unwritten(measured, e) from e
        except KeyboardInterrupt:
            again = f"what was measured is kept: python -m bench report {path}"
            raise KeyboardInterrupt(f"interrupted while the report was made: {again}") from None
        finally:
            observer.run_ended()
    return replace(result, problems=measured.problems)


@contextmanager
def _discarded_unless_begun(directory: RunDirectory) -> Iterator[None]:
    """Remove the directory if the run ends before its load has begun."""
    try:
        yield
    except BaseException as e:
        if manifest.load_began(directory):
            raise
        directory.discard()
        if isinstance(e, KeyboardInterrupt):
            raise KeyboardInterrupt(_NOTHING_MEASURED) from None
        raise


def _resolved(config: RunConfig, observer: Observer, *, wait: bool) -> RunConfig:
    """The configuration with every address that its host names resolve to now. Raises TargetError."""
    if wait:
        wait_until_ready(config.model_copy(update={"targets": ()}), observer)  # Its host name may not resolve before.
    addresses = resolved(config.addresses)
    observer.say(f"--resolve-all: {', '.join(address.name for address in addresses)}")
    return config.model_copy(update={"targets": addresses})


def _unwritten(measured: Measurement, error: OSError) -> UsageError:
    """The load was measured but its report cannot be written: where the data is, and how to continue."""
    path = measured.directory.path
    again = f"make room, then render it: python -m bench report {path}"
    return UsageError([*measured.problems, f"the report cannot be written to {path} ({error.strerror}): {again}"])


def default_directory(name: str) -> Path:
    """A directory that does not exist yet. If several runs begin in the same second, the later ones are numbered."""
    path = Path("runs") / f"{utc_now():%Y%m%dT%H%M%S}-{name}"
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(place for place in chain([path], numbered) if not place.exists())


async def _measure(
    config: RunConfig,
    directory: RunDirectory,
    command: Sequence[str],
    observer: Observer,
    beside: Companions,
    *,
    changeable: bool,
    wait_s: float | None,
) -> Measurement:
    """Prepare a run and send its load, step by step. Everything that a step opens is closed at the end."""
    async with AsyncExitStack() as opened:
        scraper, feed = beside.scraper, beside.feed
        run = RunContext(config, directory, observer, process_clock(), Defects(), scraper, beside.telemetry)
        opened.callback(run.clock.close)
        preparing, wrote_ns = _begin(run, command)
        tokenizer, transport = await _connect(run, opened)
        if scraper is not None:
            opened.callback(scraper.close)  # In the event loop that reads its messages.
        supply = Supply.of(run, tokenizer)
        environment = _environment(config)
        doubts = _check_machine(config, supply.plan)
        export_notes = await _ready_to_export(run)
        manifest.mark(directory, RunState.PROBING)
        await wait_for_server(config, wait_s, run.clock, observer)
        probed = await _probe(run, transport, preparing.run_id, supply.source)
        notes = _notes(run, supply.source, probed)
        workers = await _workers(run, supply.plan, environment, opened)
        warnings = _warnings(run, workers, probed, doubts)
        first = _manifest(run, preparing, supply, probed, workers.count, (*export_notes, *notes, *warnings))
        if beside.telemetry is not None:
            beside.telemetry.begin(config, first.run_id, first.model)
        assignments = _assignments(run, supply, probed, workers, preparing.run_id)
        if workers.count == 1 and workers.cluster is None:
            worker = Worker(assignments[0], supply.source, transport, run.clock, feed)
            crew: Crew = ThisProcess(worker, wrote_ns=wrote_ns)
        else:
            if feed is not None:
                feed.end()  # Each worker has its own.
            crew = await _several(run, supply.plan, workers, assignments)
        door = open_door if changeable and config.fixed_load is None else None
        return await WatchedLoad(run, supply.plan, first, crew, door).measure()


@dataclass(frozen=True, slots=True)
class _Workers:
    """The number of workers, the share of each, and the cluster that they run on, if any."""

    count: int
    shares: Sequence[WorkerShare]
    cluster: RayCluster | None


def _begin(run: RunContext, command: Sequence[str]) -> tuple[Manifest, int]:
    """Write the first manifest. Returns it and the time that writing took, in ns."""
    preparing = Manifest(
        run_id=f"{run.config.name}-{unique_id()}",
        started=utc_now().isoformat(timespec="seconds"),
        command=tuple(public_command(command)),
        model=None,
        exact_lengths=False,
        start_ns=0,
        state=RunState.PREPARING,
    )
    before_ns = run.clock.now_ns()
    write_manifest(run.directory, run.config, preparing)
    return preparing, run.clock.now_ns() - before_ns


async def _connect(run: RunContext, opened: AsyncExitStack) -> tuple[Tokenizer | None, Transport]:
    with run.observer.waiting("loading the tokenizer"):
        tokenizer = tokenizer_of(run.config)
    transport = transport_of(run.config, tokenizer, run.clock)
    with run.observer.waiting(f"looking up the address of {places_of(run.config.addresses)}"):
        await transport.open()
    opened.push_async_callback(transport.close)
    return tokenizer, transport


def _environment(config: RunConfig) -> dict[str, object] | None:
    if config.cluster is None:
        return None
    from bench.scale.cluster.environment import environment_of

    return environment_of(config.runtime_env, run_secrets(config, target_of(config).headers))


def _check_machine(config: RunConfig, plan: LoadPlan) -> list[str]:
    """Doubts about the limits of this machine. Raises UsageError if the load cannot fit. Cluster nodes check their own
    limits."""
    if config.cluster is not None:
        return []
    # An open loop without a cap may have any number in flight, depending on the server: then nothing is refused.
    doubt = preflight.check(plan.at_once, certain=plan.bounded)
    priority.ensure_allowed(config.cpu_priority, priority.scheduler())
    return [] if doubt is None else [doubt]


async def _ready_to_export(run: RunContext) -> tuple[str, ...]:
    """Wait until the export process is ready. Raises UsageError if it cannot export."""
    if run.telemetry is None:
        return ()
    notes = await run.telemetry.ready()
    if run.telemetry.page is not None:
        run.observer.say(f"metrics at {run.telemetry.page}")
    for note in notes:
        run.observer.say(f"note: {note}")
    return notes


async def _probe(run: RunContext, transport: Transport, run_id: str, source: Source[object]) -> ProbeResult:
    several = len(run.config.addresses) > 1
    url = places_of(run.config.addresses) if several else public_url(target_of(run.config).url)
    run.observer.say(f"probing {url}")
    with run.observer.waiting(f"waiting for {url} to answer the probe"):
        try:
            return await probe_servers(run.config, transport, run.clock, run_id, source)
        finally:
            run.defects.raise_first()


def _notes(run: RunContext, source: Source[object], probed: ProbeResult) -> tuple[str, ...]:
    notes = (*notes_of(run.config, source), *probed.notes)
    for note in notes:
        run.observer.say(f"note: {note}")
    return notes


async def _workers(
    run: RunContext, plan: LoadPlan, environment: dict[str, object] | None, opened: AsyncExitStack
) -> _Workers:
    """Divide the load among workers, on this machine or on the nodes of a cluster."""
    config = run.config
    if config.cluster is None:
        count = workers_of(plan, config.workers, identity.processors())
        return _Workers(count, plan.shares(count), None)
    from bench.scale.cluster.ray_cluster import RayCluster

    with run.observer.waiting(f"joining the cluster ({config.cluster})"):
        cluster = await RayCluster.join(config.cluster, config.workers_per_node, environment)
    opened.callback(cluster.release)
    count = workers_of(plan, cluster.workers(config.workers), cluster.processors)
    return _Workers(count, plan.shares(count), cluster)


def _warnings(run: RunContext, workers: _Workers, probed: ProbeResult, doubts: Sequence[str]) -> tuple[str, ...]:
    """Warn about a load near the limits of this machine, and copy the machine's certificates into the run directory."""
    host = identity.host()
    # The limits of this machine do not apply to the nodes of a cluster.
    limits = None if workers.cluster is not None else ceiling.read(ceiling.default_path(), host)
    warnings = (*ceiling.warnings(run.config, limits, workers=workers.count, probe=probed.record), *doubts)
    for warning in warnings:
        run.observer.say(f"warning: {warning}")
    if workers.cluster is None:
        _copy_certificates(run.config, workers.count, host, run.directory)
    return warnings


def _manifest(
    run: RunContext, preparing: Manifest, supply: Supply, probed: ProbeResult, workers: int, notes: tuple[str, ...]
) -> Manifest:
    """The manifest of a run that is about to send its load."""
    config, source = run.config, supply.source
    tokenizer = supply.tokenizer if supply.tokenizer is not None else source.tokenizer
    with run.observer.waiting("planning what prompts share"):
        sharing = supply.planned_sharing()
    return Manifest(
        run_id=preparing.run_id,
        started=utc_now().isoformat(timespec="seconds"),
        command=preparing.command,
        model=probed.options.model,
        models=models_of_run(source, config, probed.options.model),
        replicas=_replicas(config, probed),
        notes=notes,
        exact_lengths=probed.options.exact_lengths,
        tokenizer=None if tokenizer is None else TokenizerName(name=tokenizer.name, fingerprint=tokenizer.fingerprint),
        prompts=supply.texts,
        data_sha256=data_digests(config),
        clock=run.clock.name,
        event_loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
        workers=workers,
        versions=identity.versions(),
        host=identity.host(),
        planned=supply.plan.requests,
        server_limits=dict(probed.limits),
        prefix_cache=None if sharing is None else PrefixCacheUse(planned_share=sharing.share),
        start_ns=0,
        state=RunState.WARMING_UP if config.warmup_requests or config.length.warmup_ns else RunState.RUNNING,
    )


def _assignments(
    run: RunContext, supply: Supply, probed: ProbeResult, workers: _Workers, run_id: str
) -> list[Assignment]:
    return [
        Assignment(
            config=run.config,
            share=share,
            run_id=run_id,
            options=probed.options,
            directory=run.directory.path,
            salt=supply.salt,
        )
        for share in workers.shares
    ]


async def _several(run: RunContext, plan: LoadPlan, workers: _Workers, assignments: Sequence[Assignment]) -> Crew:
    """A crew of worker processes, on this machine or on the cluster."""
    if workers.cluster is None:
        from bench.scale.processes import WorkerProcesses

        run.observer.say(f"starting {workers.count} workers")
        return WorkerProcesses(assignments)
    from bench.scale.cluster.crew import ClusterCrew

    cluster, count = workers.cluster, workers.count
    run.observer.say(f"starting {count} {'worker' if count == 1 else 'workers'} on the cluster")
    with run.observer.waiting("waiting for room on the cluster"):
        handles = await cluster.place(count)
    return ClusterCrew(handles, assignments, run.clock, cluster.release, at_once=plan.at_once, certain=plan.bounded)


def _replicas(config: RunConfig, probed: ProbeResult) -> Literal["address", "reply"] | None:
    """How records name the replica that served a request."""
    if len(config.addresses) > 1:
        return "address"
    return None if probed.record.target is None else "reply"


def _copy_certificates(config: RunConfig, workers: int, host: dict[str, str | int], directory: RunDirectory) -> None:
    """Copy the certificates that may cover the run into its directory: the report uses only files from there."""
    entry = machine_cache.read_entry(machine_cache.default_path("certificates.json"), host)
    if entry is None:
        return
    from bench.accuracy import coverage

    kind = config.kind_for(workers)
    if earlier := coverage.for_run(coverage.in_entry(entry), kind, identity.versions().get("trueload", "")):
        rows = [certificate.to_json() for certificate in earlier]
        directory.write(CERTIFICATES, orjson.dumps(rows, option=orjson.OPT_APPEND_NEWLINE))
