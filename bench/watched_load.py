"""The load of a run, with what goes on around it: its manifest, its observer, changes, live.jsonl and the limit on errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench import manifest
from bench.clock import NS_PER_MS, NS_PER_S, Clock, utc_now
from bench.control import open_door
from bench.errors import UsageError
from bench.load.crew import Crew, CrewReport, Order, Progress
from bench.load.live import Live, LiveNumbers, LoadGoal
from bench.load.live_log import EVERY_S, LiveLog
from bench.load.load_control import LoadControl
from bench.load.precision_watch import PrecisionTask, PrecisionWatch
from bench.load.supervision import Defects, ErrorWatch, Interrupts
from bench.load.warmup_finder import WarmupFinder
from bench.machine import preflight
from bench.manifest import Warmup
from bench.metrics.precision import PRECISE_ENOUGH, Look
from bench.modes.interface import LoadPlan, inputs_of
from bench.run_files.run_directory import CHANGES, LIVE, MANIFEST, LineLog, RunDirectory
from bench.run_files.run_state import RunState
from bench.scale import shards

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.machine.worker_place import WorkerPlace
    from bench.manifest import Manifest
    from bench.observer import Observer
    from bench.target.scraper import Scraper


ABANDONED = "the load was abandoned after Ctrl-C: requests that were still in flight have no record"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a measurement leaves: its directory, and sentences that the user must read (a full disk, say)."""

    directory: RunDirectory
    problems: tuple[str, ...]


def write_manifest(directory: RunDirectory, config: RunConfig, begun: Manifest) -> bytes:
    """Put run.yaml in place before the load. Raises UsageError where the disk does not take it."""
    try:
        return manifest.write(directory, config, begun)
    except OSError as e:
        path = directory.path / MANIFEST
        raise UsageError(f"{path} cannot be written ({e.strerror}): make room, or name another --out") from e


def abandoned(directory: RunDirectory, config: RunConfig, observer: Observer) -> Measurement:
    """What is on disk of a load that was interrupted and did not end: it is measured too."""
    shards.merge(directory)
    stored = manifest.read(directory).manifest
    if stored.stop_reason is None:
        observer.say(ABANDONED)
        changes = {
            "stop_reason": "interrupted",
            "abandoned": True,
            "ended": utc_now().isoformat(timespec="seconds"),
            "state": RunState.EVALUATING,
            "notes": (*stored.notes, ABANDONED),
        }
        manifest.write(directory, config, stored.model_copy(update=changes))
    return Measurement(directory, ())


class WatchedLoad:
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
        self._warmup: WarmupFinder | None = None

    async def measure(self) -> Measurement:
        """Send the load and write the manifest."""
        with preflight.files_kept():
            begun, report, interrupted = await self._load()
        with self._observer.waiting("merging the records of the workers"):
            shards.merge(self._directory)
        return self._end(begun, report, interrupted=interrupted)

    async def _load(self) -> tuple[Manifest, CrewReport, bool]:
        """Send the load: the manifest as it was when it began, how the load ended, and whether the user ended it."""
        crew = self._crew
        reading = None if self._server is None else asyncio.create_task(self._server.begin())
        try:
            with self._observer.waiting(lambda: crew.preparing):
                await crew.prepare()
                notes = () if reading is None else await reading
                if self._precision is not None:
                    await self._precision.ready()
            start_ns = self._clock.now_ns() + crew.begin_lead_ns
            changes: dict[str, Any] = {"start_ns": start_ns}
            if places := crew.places:
                changes["places"] = places
            for warning in crew.warnings:
                self._observer.say(f"warning: {warning}")
            notes = (*notes, *_notes_of_places(places), *crew.warnings)
            if notes:
                changes["notes"] = (*self._first.notes, *notes)
            if segments := manifest.planned_segments(self._config, start_ns):
                changes["segments"] = segments
            begun = self._first.model_copy(update=changes)
            written = write_manifest(self._directory, self._config, begun)
            live = Live(self._clock, crew.counts, _goal(self._config, self._plan))
            with self._watched(live, written, start_ns) as (progress, interrupts):
                crew.begin(start_ns, progress)
                report = await crew.load()
            if self._server is not None:
                with self._observer.waiting("asking the server for its metrics"):
                    await self._server.finish()
        finally:
            if reading is not None:
                reading.cancel()
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
        live.workers = lambda: crew.health
        door = open_door(directory.path, control, clock, observer.say) if self._changeable else None
        observer.load_begins(control)
        live.start()
        if self._config.finds_warmup:
            self._warmup = WarmupFinder(
                clock,
                crew,
                start_ns=start_ns,
                least_ns=round(self._config.ramp_up * NS_PER_S),
                most_ns=self._config.length.warmup_ns,
                tell=live.warmup_ends,
            )
            self._warmup.start()

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
            if self._warmup is not None:
                self._warmup.stop()
            if (problem := log.close()) is not None:
                self._problems.append(problem)
            if watch is not None:
                watch.stop()
            observer.load_ended()

    def _end(self, begun: Manifest, report: CrewReport, *, interrupted: bool) -> Measurement:
        workers = report.workers
        stop_reason = "interrupted" if interrupted else self._stop_reason(report)
        warmup = None if self._warmup is None else self._warmup.found
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
            "notes": (*begun.notes, *_notes_of(report), *ends, *self._defects.notes()),
            "priority": tuple(worker.priority for worker in workers),
            **({} if warmup is None else {"warmup": Warmup(**asdict(warmup))}),
            "files": self._directory.sizes(),
            **({"died": report.died} if report.died else {}),
            **({"places": self._crew.places} if self._crew.places else {}),
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


def _notes_of_places(places: Sequence[WorkerPlace]) -> Iterator[str]:
    """What the report must say of the cluster that sent the load."""
    if places:
        nodes = {place.node for place in places}
        bound_ms = max(place.clock_bound_ns for place in places) / NS_PER_MS
        clocks = "share one clock" if bound_ms == 0 else f"have clocks that are known within {bound_ms:.2f} ms"
        yield f"{len(places)} workers on {len(nodes)} nodes of a cluster, which {clocks}"


def _notes_of(report: CrewReport) -> Iterator[str]:
    """What the report of the run must say of how the load was sent."""
    if late := sum(worker.late_requests for worker in report.workers):
        yield f"{late} requests were not made yet when they were due: making prompts could not keep up with the load"
    if repeated := sum(worker.repeated_rows for worker in report.workers):
        yield f"{repeated} requests repeat a row of the data set, which has fewer rows than that"


def _goal(config: RunConfig, plan: LoadPlan) -> LoadGoal:
    """What the live view counts towards."""
    return LoadGoal(
        requests=plan.requests,
        duration_s=config.lasts_s,
        warmup_requests=config.warmup_requests,
        warmup_s=config.length.warmup_ns / NS_PER_S,
        objectives=tuple(one for one in config.objectives if one.part is None),
        inputs_are=inputs_of(config),
        load_unit=config.load.load_unit or "",
    )
