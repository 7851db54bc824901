"""Sends the load of a run and follows it: manifest, observer, changes from outside, live.jsonl, the limit on errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench import manifest
from bench.clock import NS_PER_MS, NS_PER_S, Clock, utc_now
from bench.config import RunConfig
from bench.dispatch.interface import NeverSent
from bench.errors import UsageError
from bench.load.crew import Crew, CrewReport, Order, Progress
from bench.load.live import Live, LiveNumbers, LoadGoal
from bench.load.live_log import EVERY_S, LiveLog
from bench.load.load_control import BegunLoad, LoadControl
from bench.load.precision_watch import PrecisionTask, PrecisionWatch
from bench.load.supervision import Defects, ErrorWatch, Interrupts
from bench.load.warmup_finder import WarmupFinder
from bench.machine import preflight
from bench.machine.worker_place import WorkerPlace
from bench.manifest import Manifest, Warmup
from bench.metrics.precision import PRECISE_ENOUGH, Look
from bench.modes.interface import LoadPlan, inputs_of
from bench.observer import Observer
from bench.run_files import shards
from bench.run_files.run_directory import CHANGES, LIVE, MANIFEST, LineLog, RunDirectory
from bench.run_files.run_state import RunState

if TYPE_CHECKING:
    from bench.target.scraper import Scraper
    from bench.telemetry.exporting import Telemetry


class Door(Protocol):
    """Lets other processes set the load until it is closed."""

    def close(self) -> None: ...


OpenDoor = Callable[["Path", LoadControl, Clock, Callable[[str], None]], Door | None]
"""Opens the door for a run directory. None: this system has no such sockets."""

ABANDONED = "the load was abandoned after Ctrl-C: requests that were still in flight have no record"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured load: its directory, and messages that the user must read (a full disk, for example)."""

    directory: RunDirectory
    problems: tuple[str, ...]


def write_manifest(directory: RunDirectory, config: RunConfig, begun: Manifest) -> bytes:
    """Write run.yaml before the load. Raises UsageError if the disk refuses it."""
    try:
        return manifest.write(directory, config, begun)
    except OSError as e:
        path = directory.path / MANIFEST
        raise UsageError(f"{path} cannot be written ({e.strerror}): make room, or name another --out") from e


def abandoned(directory: RunDirectory, config: RunConfig, observer: Observer) -> Measurement:
    """Treat an abandoned load as measured, with the records on disk."""
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


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every step of a run receives. `scraper` reads the server's metrics, and `telemetry` exports the run's, if
    requested."""

    config: RunConfig
    directory: RunDirectory
    observer: Observer
    clock: Clock
    defects: Defects
    scraper: Scraper | None
    telemetry: Telemetry | None = None


class WatchedLoad:
    """The load itself, with the manifest, live.jsonl, changes from outside and the limit on errors around it."""

    def __init__(
        self, run: RunContext, plan: LoadPlan, first: Manifest, crew: Crew, open_door: OpenDoor | None = None
    ) -> None:
        """`first` is the manifest without the fields that only the load can fill. `open_door` lets other processes set
        the load; if it is None, the load cannot be changed."""
        self._run = run
        self._plan = plan
        self._first = first
        self._crew = crew
        self._open_door = open_door
        self._problems: list[str] = []
        self._export_notes: tuple[str, ...] = ()
        config = run.config
        task = PrecisionTask(config.until, str(run.directory.path), first.workers, config.lasts_s)
        self._precision = PrecisionWatch(task) if config.until else None
        self._warmup: WarmupFinder | None = None

    async def measure(self) -> Measurement:
        """Send the load and write the manifest."""
        with preflight.files_kept():
            begun, report, interrupted = await self._load()
        with self._run.observer.waiting("merging the records of the workers"):
            shards.merge(self._run.directory)
        return self._end(begun, report, interrupted=interrupted)

    async def _load(self) -> tuple[Manifest, CrewReport, bool]:
        """Send the load. Returns the manifest from the start of the load, the crew's report, and whether the user ended
        the load."""
        run, crew = self._run, self._crew
        reading = None if run.scraper is None else asyncio.create_task(run.scraper.begin())
        try:
            with run.observer.waiting(lambda: crew.preparing):
                await crew.prepare()
                notes = () if reading is None else await reading
                for note in notes:
                    run.observer.say(f"note: {note}")
                if self._precision is not None:
                    await self._precision.ready()
            start_ns = run.clock.now_ns() + crew.begin_lead_ns
            begun = self._begun(start_ns, notes)
            written = write_manifest(run.directory, run.config, begun)
            live = Live(run.clock, crew.counts, _goal(run.config, self._plan))
            with self._watched(live, written, start_ns) as (progress, interrupts):
                crew.begin(start_ns, progress)
                report = await crew.load()
            if run.scraper is not None:
                with run.observer.waiting("asking the server for its metrics"):
                    await run.scraper.finish()
            if run.telemetry is not None:
                with run.observer.waiting("exporting the last metrics"):
                    self._export_notes = await run.telemetry.finish()
        finally:
            if reading is not None:
                reading.cancel()
            crew.close()
            if self._precision is not None:
                self._precision.close()
        return begun, report, interrupts.seen

    def _begun(self, start_ns: int, notes: Sequence[str]) -> Manifest:
        """The manifest when the crew is ready."""
        changes: dict[str, object] = {"start_ns": start_ns}
        if places := self._crew.places:
            changes["places"] = places
        for warning in self._crew.warnings:
            self._run.observer.say(f"warning: {warning}")
        if more_notes := (*notes, *_notes_of_places(places), *self._crew.warnings):
            changes["notes"] = (*self._first.notes, *more_notes)
        if segments := manifest.planned_segments(self._run.config, start_ns):
            changes["segments"] = segments
        return self._first.model_copy(update=changes)

    @contextmanager
    def _watched(self, live: Live, written: bytes, start_ns: int) -> Iterator[tuple[Progress, Interrupts]]:
        """Follow the load while it runs: errors, live.jsonl, changes from outside, warm-up, precision, the observer."""
        run, crew = self._run, self._crew
        interrupts = Interrupts(crew, run.observer.say)
        run.defects.on_first = lambda: crew.tell(Order.CUT)
        with ExitStack() as watching:
            error_watch = self._error_watch(live)
            if error_watch is not None:
                watching.callback(error_watch.stop)
            log = self._live_log(written)
            watching.callback(self._close_log, log)
            control = self._control(live, log, interrupts, start_ns)
            door = None
            if self._open_door is not None:
                door = self._open_door(run.directory.path, control, run.clock, run.observer.say)
            if door is not None:
                watching.callback(door.close)
            run.observer.load_begins(control)
            watching.callback(run.observer.load_ended)
            live.start()
            watching.callback(live.stop)
            if run.config.finds_warmup:
                self._warmup = self._find_warmup(live, start_ns)
                watching.callback(self._warmup.stop)
            self._follow(live, log, interrupts)
            yield (live if error_watch is None else error_watch), interrupts

    def _error_watch(self, live: Live) -> ErrorWatch | None:
        limit = self._run.config.max_errors
        if limit is None or not limit.isdecimal():  # A limit as a share of the requests is checked at the end.
            return None
        return ErrorWatch(self._crew, self._run.clock, int(limit), live)

    def _live_log(self, written: bytes) -> LiveLog:
        directory = self._run.directory
        return LiveLog(
            directory.path / LIVE,
            write_state=lambda state: manifest.mark(directory, state, written),
            changes=None if self._open_door is None else LineLog(directory.path / CHANGES),
        )

    def _close_log(self, log: LiveLog) -> None:
        if (problem := log.close()) is not None:
            self._problems.append(problem)

    def _control(self, live: Live, log: LiveLog, interrupts: Interrupts, start_ns: int) -> LoadControl:
        run, crew = self._run, self._crew
        begun = BegunLoad(run.config, start_ns, self._first.workers, self._open_door is not None)
        control = LoadControl(begun, crew, run.clock, interrupts, numbers=live.numbers, note=log.note)
        live.load_at = control.load_at
        live.workers = lambda: crew.health
        return control

    def _find_warmup(self, live: Live, start_ns: int) -> WarmupFinder:
        config = self._run.config
        finder = WarmupFinder(
            self._run.clock,
            self._crew,
            start_ns=start_ns,
            least_ns=round(config.ramp_up * NS_PER_S),
            most_ns=config.length.warmup_ns,
            tell=live.warmup_ends,
        )
        finder.start()
        return finder

    def _follow(self, live: Live, log: LiveLog, interrupts: Interrupts) -> None:
        """Write live.jsonl, stop the load when its numbers are precise enough, and tell the observer."""
        run, crew = self._run, self._crew

        def write(numbers: LiveNumbers) -> None:
            state = RunState.DRAINING if interrupts.seen else numbers.state
            server = None if run.scraper is None else run.scraper.now
            levels = None if server is None else server.levels
            log.tell(run.clock.now_ns(), state, numbers, live.second(), crew.client, levels)

        def look(precision: Look) -> None:
            live.precision = str(precision)
            if precision.enough:
                crew.tell(Order.STOP, PRECISE_ENOUGH)

        live.follow(write, EVERY_S, EVERY_S)
        if self._precision is not None:
            self._precision.begin(look)
        if run.observer.cadence is not None:
            live.follow(run.observer.progress, *run.observer.cadence)

    def _end(self, begun: Manifest, report: CrewReport, *, interrupted: bool) -> Measurement:
        workers = report.workers
        stop_reason = "interrupted" if interrupted else self._stop_reason(report)
        warmup = None if self._warmup is None else self._warmup.found
        ends = [] if self._precision is None else [self._precision.why(stop_reason)]
        if self._run.scraper is not None and self._run.scraper.died:
            ends.append("the process that reads the server's metrics died: they end before the load does")
        ends += self._export_notes
        for end in ends:
            self._run.observer.say(end)
        changes = {
            "run_start_ns": min((w.run_start_ns for w in workers if w.run_start_ns is not None), default=None),
            "stop_reason": stop_reason,
            "ended": utc_now().isoformat(timespec="seconds"),
            "state": RunState.EVALUATING,
            "notes": (*begun.notes, *_notes_of(report), *ends, *self._run.defects.notes()),
            "never_sent": NeverSent(
                n=sum(w.never_sent.n for w in workers), waited_ns=sum(w.never_sent.waited_ns for w in workers)
            ),
            "priority": tuple(worker.priority for worker in workers),
            **({} if warmup is None else {"warmup": Warmup(**asdict(warmup))}),
            "files": self._run.directory.sizes(),
            **({"died": report.died} if report.died else {}),
            **({"places": self._crew.places} if self._crew.places else {}),
        }
        problems = [*self._problems, *(problem for worker in workers for problem in worker.problems)]
        try:
            manifest.write(self._run.directory, self._run.config, begun.model_copy(update=changes))
        except OSError as e:
            problems.append(f"{self._run.directory.path / MANIFEST}: {e.strerror}; it stays as when the load began")
        self._run.defects.raise_first()
        return Measurement(self._run.directory, tuple(problems))

    def _stop_reason(self, report: CrewReport) -> str:
        """Why the run stopped. Each worker has its own share of the requests, so any other reason comes first."""
        others = sorted({w.reason for w in report.workers if w.reason is not None} - {"requests"})
        limit = "duration" if self._plan.requests is None else "requests"
        return others[0] if others else limit


def _notes_of_places(places: Sequence[WorkerPlace]) -> Iterator[str]:
    """Notes for the report about the cluster that sent the load."""
    if places:
        nodes = len({place.node for place in places})
        bound_ms = max(place.clock_bound_ns for place in places) / NS_PER_MS
        clocks = "share one clock" if bound_ms == 0 else f"have clocks that are known within {bound_ms:.2f} ms"
        where = "one node" if nodes == 1 else f"{nodes} nodes"
        yield f"{len(places)} workers on {where} of a cluster, which {clocks}"


def _notes_of(report: CrewReport) -> Iterator[str]:
    """Notes for the report about how the load was sent."""
    if late := sum(worker.late_requests for worker in report.workers):
        yield f"{late} requests were not made yet when they were due: making prompts could not keep up with the load"
    if repeated := sum(worker.repeated_rows for worker in report.workers):
        yield f"{repeated} requests repeat a row of the data set, which has fewer rows than that"


def _goal(config: RunConfig, plan: LoadPlan) -> LoadGoal:
    return LoadGoal(
        requests=plan.requests,
        duration_s=config.lasts_s,
        warmup_requests=config.warmup_requests,
        warmup_s=config.length.warmup_ns / NS_PER_S,
        objectives=tuple(objective for objective in config.objectives if objective.part is None),
        inputs_are=inputs_of(config),
        load_unit=config.load.load_unit or "",
    )
