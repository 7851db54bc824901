"""One load test, from a configuration to a run directory with its report: the one place that knows every stage.

    config -> workload + schedule -> dispatch -> transport -> records and samples (files) -> evaluate -> report

A run writes down what was seen; every number is made afterwards, from those files, by `evaluate`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import orjson

from bench import ceiling, machine, machine_cache, preflight
from bench.accuracy import coverage
from bench.accuracy.load_shape import LoadKind
from bench.clock import NS_PER_MS, Clock, process_clock, utc_now
from bench.config import RunConfig
from bench.conversations import Talks
from bench.endpoints import openai
from bench.errors import UsageError
from bench.evaluate import Result, evaluate
from bench.load.components import samples_of, target_of, tokenizer_of, transport_of
from bench.load.live import Goal, Live
from bench.load.supervision import Defects, ErrorWatch, Interrupts, Loader
from bench.load.worker import Assignment, Ended, Worker, loop_factory
from bench.metrics import objectives
from bench.progress import SILENT, Progress
from bench.records import RequestRecord
from bench.rng import unique_id
from bench.run_directory import CERTIFICATES, MANIFEST, RunDirectory
from bench.scale import shards
from bench.scale.plan import Recording, most_in_flight, recording_of, shares_of, workers_of
from bench.scale.processes import Pool
from bench.secrets import public_command, public_url
from bench.target import prefix_cache
from bench.target.probe import ProbeResult, choose_model, list_models, probe
from bench.transport.interface import Transport
from bench.workload import Rows
from promptset.samples import Sample

LEAD_NS = 50 * NS_PER_MS
"""From the last preparation to the first send, so that the first arrivals of a schedule are not late already."""


SHARING_PLANNED_OVER = 10_000
"""Requests at most that the planned sharing of a run is computed of: it hardly changes after them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a measurement leaves: its directory, and sentences that the user must read (a full disk, say)."""

    directory: RunDirectory
    problems: tuple[str, ...]


def run(
    config: RunConfig,
    *,
    command: Sequence[str] = (),
    progress: Progress = SILENT,
    before_evaluation: Callable[[RunDirectory], None] = lambda directory: None,
) -> Result:
    """Measure a target and evaluate what was seen. Raises UsageError or TargetError before any load is sent.

    `before_evaluation` may add to the run directory what only the caller has: calibration puts the mock's ledger there.
    """
    path = Path(config.out) if config.out is not None else default_directory(config.name)
    RunDirectory.refuse_used(path)
    preflight.least_files()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        seen = runner.run(_measure(config, path, command, progress))
    try:
        before_evaluation(seen.directory)
        with progress.waiting("making the report"):
            return replace(evaluate(seen.directory), problems=seen.problems)
    except OSError as e:
        raise _unwritten(seen, e) from e


def _unwritten(seen: Seen, error: OSError) -> UsageError:
    """The load was measured and its report cannot be written: where everything is, and how to go on."""
    path = seen.directory.path
    again = f"make room, then render it: python -m bench report {path}"
    return UsageError([*seen.problems, f"the report cannot be written to {path} ({error.strerror}): {again}"])


def default_directory(name: str) -> Path:
    """A directory that is not there yet: of several runs that begin in one second, the later ones are numbered."""
    path = Path("runs") / f"{utc_now():%Y%m%dT%H%M%S}-{name}"
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(place for place in chain([path], numbered) if not place.exists())


async def _measure(config: RunConfig, path: Path, command: Sequence[str], progress: Progress) -> Seen:
    clock = process_clock()
    defects = Defects()
    url = public_url(target_of(config).url)
    with progress.waiting("loading the tokenizer"):
        tokenizer = tokenizer_of(config)
    transport = transport_of(config, tokenizer, clock)
    with progress.waiting(f"looking up the address of {url}"):
        await transport.open()
    try:
        run_id = f"{config.name}-{unique_id()}"
        with progress.waiting("getting the data ready" if config.dataset is None else f"reading {config.dataset}"):
            samples = samples_of(config, tokenizer)
        recording = None if config.mode != "trace" or isinstance(samples, Talks) else recording_of(config, samples)
        # How many an open loop without a cap will have in flight is the server's affair: then nothing is refused.
        certain = not config.open_loop or config.max_concurrency is not None
        doubt = preflight.check(most_in_flight(config, recording), certain=certain)
        progress(f"probing {url}")
        with progress.waiting(f"waiting for {url} to answer the probe"):
            probed = await _probe(config, transport, clock, run_id, samples)
        notes = samples.notes
        for note in (*notes, *probed.notes):
            progress(f"note: {note}")
        workers = workers_of(config, machine.processors(), recording)
        shares = shares_of(config, workers, recording)
        host = machine.host()
        held = ceiling.read(ceiling.default_path(), host)
        warnings = (*ceiling.warnings(config, held, workers=workers, probe=probed.record), *filter(None, [doubt]))
        for warning in warnings:
            progress(f"warning: {warning}")
        directory = RunDirectory.create(path)
        entry = machine_cache.read_entry(machine_cache.default_path("certificates.json"), host)
        kind = LoadKind.of(config.public(), workers)
        if earlier := coverage.for_run(coverage.in_entry(entry), kind, machine.versions().get("trueload", "")):
            rows = [certificate.to_json() for certificate in earlier]
            directory.write(CERTIFICATES, orjson.dumps(rows, option=orjson.OPT_APPEND_NEWLINE))
        manifest = {
            "run_id": run_id,
            "started": utc_now().isoformat(timespec="seconds"),
            "command": public_command(command),
            "model": probed.options.model,
            "notes": [*notes, *probed.notes, *warnings],
            "exact_lengths": probed.options.ignore_eos,
            "tokenizer": None if tokenizer is None else {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
            "clock": clock.name,
            "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "workers": workers,
            "versions": machine.versions(),
            "host": host,
        }
        with progress.waiting("planning what prompts share"):
            planned_sharing = samples.planned_sharing(_sharing_planned_over(config, recording))
        with progress.waiting("asking the server for its counters"):
            before = await prefix_cache.read(config.url, target_of(config))

        async def count_hits() -> None:
            with progress.waiting("asking the server for its counters"):
                after = None if before is None else await prefix_cache.read(config.url, target_of(config))
            manifest["prefix_cache"] = prefix_cache.told(planned_sharing, before, after)

        if tokenizer is None and isinstance(samples, Rows) and (made_by := samples.tokenizer) is not None:
            manifest["tokenizer"] = {"name": made_by.name, "fingerprint": made_by.fingerprint}
        load = _Load(config, directory, manifest, clock, progress, defects, count_hits)
        if recording is not None:
            manifest["planned"] = recording.requests
        assignments = [
            Assignment(config=config, share=share, run_id=run_id, options=probed.options, directory=directory.path)
            for share in shares
        ]
        if workers == 1:
            return await load.alone(Worker(assignments[0], samples, transport, clock))
        return await load.together(assignments)
    finally:
        await transport.close()
        clock.close()


async def _probe(
    config: RunConfig, transport: Transport, clock: Clock, run_id: str, samples: Iterator[Sample] | Talks
) -> ProbeResult:
    own_body = samples.first if isinstance(samples, Rows) and samples.first.body is not None else None
    names_model = own_body is not None and own_body.body is not None and "model" in own_body.body
    target = target_of(config)
    listed = await list_models(config.url, target, config.probe_timeout)
    assert config.endpoint is not None
    options = openai.BodyOptions(
        endpoint=config.endpoint,
        model=choose_model(config.model, listed, bodies_name_one=names_model),
        stream=config.stream,
        ignore_eos=config.ignore_eos,
        extra=config.extra_body,
    )
    return await probe(
        transport,
        clock,
        options,
        run_id=run_id,
        url=public_url(target.url),
        own_body=own_body,
        listed=listed,
        authorized=any(name.lower() == "authorization" for name, _ in target.headers),
        timeout_s=config.probe_timeout,
    )


class _Load:
    """The load itself, with what goes on around it: the manifest, the live view, Ctrl-C, the limit on errors."""

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        manifest: dict[str, Any],
        clock: Clock,
        progress: Progress,
        defects: Defects,
        after: Callable[[], Awaitable[None]],
    ) -> None:
        """`after` is called when the load is over, before the manifest is written for the last time."""
        self._after = after
        self._defects = defects
        self._config = config
        self._directory = directory
        self._manifest = manifest
        self._stored = {"config": config.public(), "manifest": manifest}
        self._clock = clock
        self._progress = progress

    @property
    def _error_limit(self) -> int | None:
        limit = self._config.max_errors
        return int(limit) if limit is not None and limit.isdecimal() else None

    async def alone(self, worker: Worker) -> Seen:
        """One worker: this process."""
        with preflight.files_kept():
            ended = await self._alone(worker)
        await self._after()
        return self._end([ended])

    async def _alone(self, worker: Worker) -> Ended:
        try:
            with self._progress.waiting(lambda: worker.preparing):
                await worker.prepare()
            start_ns = self._begin()
            worker.begin(start_ns)
            live = self._live(worker)
            limit = self._error_limit

            def on_record(record: RequestRecord) -> None:
                live.add(record)
                if limit is not None and worker.failures > limit:
                    worker.tell("stop", "errors")

            with self._watched(worker, live):
                return await worker.load(start_ns, on_record)
        finally:
            worker.close()

    async def together(self, assignments: Sequence[Assignment]) -> Seen:
        """Several workers: processes."""
        self._progress(f"starting {len(assignments)} workers")
        pool = Pool(assignments)
        try:
            with self._progress.waiting(
                lambda: f"waiting for workers to get ready: {pool.ready} of {len(assignments)} are"
            ):
                pool.wait_ready()
            start_ns = self._begin()
            live = self._live(pool)
            with self._watched(pool, live):
                await pool.load(start_ns, self._clock, live.merge)
        finally:
            pool.close()
        await self._after()
        with self._progress.waiting("merging the records of the workers"):
            shards.merge(self._directory)
        if died := [f"worker {w.number} {w.died}" for w in pool.workers if w.died is not None]:
            self._manifest["died"] = died
        return self._end([w.ended for w in pool.workers if w.ended is not None])

    def _begin(self) -> int:
        start_ns = self._clock.now_ns() + LEAD_NS
        self._manifest["start_ns"] = start_ns
        try:
            self._directory.write_manifest(self._stored)
        except OSError as e:
            path = self._directory.path / MANIFEST
            raise UsageError(f"{path} cannot be written ({e.strerror}): make room, or name another --out") from e
        return start_ns

    def _live(self, loader: Loader) -> Live:
        return Live(
            self._clock,
            loader.counts,
            _goal(self._config, self._manifest.get("planned")),
            sys.stderr,
            quiet=self._config.quiet,
        )

    @contextmanager
    def _watched(self, loader: Loader, live: Live) -> Iterator[None]:
        """Progress, interrupts and the limit on errors, for as long as the load goes on."""
        interrupts = Interrupts(loader, live)
        limit = self._error_limit
        watch = None if limit is None else ErrorWatch(loader, self._clock, limit)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, interrupts.interrupt)
        loop.add_signal_handler(signal.SIGTERM, interrupts.terminate)
        self._defects.on_first = lambda: loader.tell("cut")
        live.start()
        try:
            yield
        finally:
            live.stop()
            if watch is not None:
                watch.stop()
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_signal_handler(signal.SIGTERM)
        self._interrupted = interrupts.seen

    def _end(self, ended: Sequence[Ended]) -> Seen:
        manifest = self._manifest
        manifest["run_start_ns"] = min((e.run_start_ns for e in ended if e.run_start_ns is not None), default=None)
        reasons = {e.reason for e in ended if e.reason is not None}
        # Each worker has its own share of the requests: the first reason that is another one is that of the run.
        others = sorted(reasons - {"requests"})
        ends_by_itself = self._config.requests is not None or self._config.mode == "trace"
        limit = "requests" if ends_by_itself else "duration"
        manifest["stop_reason"] = "interrupted" if self._interrupted else (others[0] if others else limit)
        manifest["ended"] = utc_now().isoformat(timespec="seconds")
        if late := sum(e.late_requests for e in ended):
            manifest["notes"].append(
                f"{late} requests were not made yet when they were due: making prompts could not keep up with the load"
            )
        if repeated := sum(e.repeated_rows for e in ended):
            manifest["notes"].append(
                f"{repeated} requests repeat a row of the data set, which has fewer rows than that"
            )
        problems = [problem for e in ended for problem in e.problems]
        try:
            self._directory.write_manifest(self._stored)
        except OSError as e:
            problems.append(f"{self._directory.path / MANIFEST}: {e.strerror}; it stays as when the load began")
        self._defects.raise_first()
        return Seen(self._directory, tuple(problems))


def _sharing_planned_over(config: RunConfig, recording: Recording | None) -> int:
    """How many requests the planned sharing is computed of: all, or as many as stand for them."""
    if recording is not None:
        planned = len(recording.offsets_ns)
    elif config.requests is not None:
        planned = config.requests + config.warmup_requests
    else:
        planned = SHARING_PLANNED_OVER
    return min(planned, SHARING_PLANNED_OVER)


def _goal(config: RunConfig, planned: int | None) -> Goal:
    """What the live view counts towards."""
    return Goal(
        requests=planned if planned is not None else config.requests,
        duration_s=config.duration if planned is None else None,
        warmup_requests=config.warmup_requests,
        warmup_s=config.warmup_s,
        objectives=objectives.parse(config.slo),
    )
