"""A sweep as a series: every load in turn, and the results so far are written after each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.clock import NS_PER_S
from bench.config import RunConfig
from bench.documents import sweep_words
from bench.documents.formatting import duration
from bench.documents.sweep_document import sweep_document
from bench.errors import Exit, TargetError, UsageError
from bench.load_sweep.points import run_of
from bench.load_sweep.stored import read
from bench.load_sweep.sweep_file import SweepFacts, content_of
from bench.load_sweep.visits import Loads, Visit
from bench.loads import steady_from_the_start
from bench.report import html
from bench.results.summary import RunSummary
from bench.results.sweep import FittedKnee, SweepContent, SweepPoint, SweepRun
from bench.run_files.run_directory import RunDirectory
from bench.secrets import public_command
from bench.series import files
from bench.series.drive import INTERRUPTED, End, drive
from bench.series.lengths import settle_and_measure_s
from bench.series.runs import RunSeries

SWEEP, PAGE = "sweep.json", "sweep.html"
LENGTH = ("requests", "duration", "warmup")
"""Settings of a run's length: if given, every run has this length."""


_ELSEWHERE = frozenset(
    [
        "out",
        "name",
        "format",
        "quiet",
        "details",
        "concurrency",
        "rate",
        "mode",
        "requests",
        "duration",
        "warmup",
        "seed",
        "slo",
        "wait_for_server",
    ]
)
ConfigAt = Callable[[Mapping[str, Any]], RunConfig]
"""Makes the configuration of one run, from the settings that differ between runs. Raises UsageError."""


def config_sha256(config: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """A hash of what all runs of a sweep must share: the configuration except load, place and output, and the given
    settings of length and seed."""
    same = {key: value for key, value in config.items() if key not in _ELSEWHERE}
    return files.sha256_of([same, given])


@dataclass(frozen=True, slots=True)
class SweepResult:
    """A sweep as stored in its file, its directory, and the exit status."""

    path: Path
    content: SweepContent
    exit: Exit

    @property
    def page(self) -> Path:
        return self.path / PAGE

    @property
    def points(self) -> Sequence[SweepPoint]:
        """One for each load, rising: `load`, `status`, and `numbers` by name, each with `value` and its 95% interval."""
        return self.content.points

    @property
    def knee(self) -> FittedKnee | None:
        """Where the throughput stops growing; None if the data cannot show it."""
        return self.content.knee


def sweep(
    config_at: ConfigAt,
    loads: Loads,
    series: RunSeries,
    *,
    given: Mapping[str, Any],
    gpus: int | None,
    resume: bool,
) -> SweepResult:
    """Visit every load. Raises UsageError for a wrong configuration before anything is sent, and TargetError if the
    first run fails."""
    plan = _Plan(config_at, loads, series.path, given)
    sha256 = plan.check(resume=resume)

    def measure(step: _Step) -> _Measured:
        visit = step.visit
        where = f"{visit.n + 1} of {len(plan.visits)}: {loads.named(visit.load)}"
        where += f", repeat {visit.repeat} of {loads.repeats}" if loads.repeats > 1 else ""
        before, again = f"{where}{step.time_left}", f"{where}: measured already"
        made = series.make(visit.name, step.config, before=before, again=again)
        summary = made.result.summary
        run = run_of(visit.name, visit.load, visit.repeat, summary, open_loop=loads.kind == "rate")
        return _Measured(run, summary.run.model, _p90_s(summary), made.took_ns)

    def write_file(measured: Sequence[_Measured], end: End | None) -> None:
        facts = SweepFacts(
            **files.stamp(),
            command=public_command(series.command),
            config=plan.first.public(),
            model=measured[-1].model if measured else None,
            loads=loads,
            gpus=gpus,
        )
        runs = [row.run for row in measured]
        write(series.path, content_of(facts, runs, sha256, ended=INTERRUPTED if end is None else end.why))

    def why_error_ends(step: _Step, error: TargetError | UsageError) -> str | None:
        unmeasurable = isinstance(error, TargetError) and step.visit.n > 0
        return f"{loads.named(step.visit.load)} could not be measured: {error}" if unmeasurable else None

    with series.held():
        drive(
            plan.next,
            measure,
            write=write_file,
            tell=lambda _, row: series.say(
                sweep_words.progress_line(row.run.status, row.run.numbers, row.run.inputs_are)
            ),
            why_error_ends=why_error_ends,
        )
    content = read(series.path / SWEEP)
    return SweepResult(series.path, content, exit_of(content))


@dataclass(frozen=True, slots=True)
class _Step:
    """The next run of a sweep. `time_left`: text on how long the rest will take."""

    visit: Visit
    config: RunConfig
    time_left: str


@dataclass(frozen=True, slots=True)
class _Measured:
    """The numbers of a run, and the data for planning the next. `took_ns` is 0 for a run that was read again."""

    run: SweepRun
    model: str | None
    e2el_p90_s: float | None
    took_ns: int


class _Plan:
    """The decisions of a sweep: every visit in turn, each as long as a visit of a search, given the latencies known so
    far."""

    def __init__(self, config_at: ConfigAt, loads: Loads, folder: Path, given: Mapping[str, Any]) -> None:
        self._config_at = config_at
        self._loads = loads
        self._folder = folder
        self._given = given
        self.visits = tuple(loads.visits())
        self.first = self._config_of(self.visits[-1], {})
        """The configuration of the highest load, or an equal one."""

    def check(self, *, resume: bool) -> str:
        """The hash of what all runs share. Raises UsageError with all problems before anything is sent."""
        for visit in self.visits[: len(self._loads.values)]:
            self._config_of(visit, {})
        given = {key: self._given[key] for key in (*LENGTH, "seed") if key in self._given}
        sha256 = config_sha256(self.first.public(), given)
        path = self._folder / SWEEP
        if path.exists() and not resume:
            raise UsageError(f"{self._folder} already holds a sweep: go on with --resume, or name another --out")
        if resume and not path.exists():
            raise UsageError(f"--resume {self._folder}: there is no sweep (no {SWEEP})")
        if resume:
            # The runs that are done were judged by their own objectives.
            stored, slo = read(path), [*self.first.slo]
            if (stored.config_sha256, stored.kind, stored.config.get("slo")) != (sha256, self._loads.kind, slo):
                raise UsageError(
                    f"--resume {self._folder}: that sweep has another configuration: give the same flags (more loads and "
                    "repeats may be asked for)"
                )
            asked = {visit.name for visit in self.visits}
            if dropped := [run for run in stored.runs if run.name not in asked]:
                named = ", ".join(dict.fromkeys(self._loads.named(run.load) for run in dropped))
                raise UsageError(
                    f"--resume {self._folder}: that sweep has runs of {named} that are not asked for: name its loads and "
                    "repeats too"
                )
        return sha256

    def next(self, measured: Sequence[_Measured]) -> _Step | End:
        if len(measured) == len(self.visits):
            return End()
        visit = self.visits[len(measured)]
        e2el_p90_s = {row.run.load: row.e2el_p90_s for row in measured if row.e2el_p90_s is not None}
        return _Step(visit, self._config_of(visit, e2el_p90_s), self._time_left(visit, measured))

    def _config_of(self, visit: Visit, e2el_p90_s: Mapping[float, float]) -> RunConfig:
        """The configuration of a visit, as long as a visit of a search: the server settles, then the run measures."""
        seed = int(self._given.get("seed", 0)) + visit.n
        flags = {**self._loads.settings(visit.load), "seed": seed, "out": str(self._folder / visit.name)}
        if not self._given.keys() & set(LENGTH[:2]):
            settle_s, measure_s = self._times(visit, e2el_p90_s)
            flags["duration"] = measure_s
            if "warmup" not in self._given:
                flags["warmup"] = f"{settle_s:g}s"
        config = self._config_at(flags)
        if self._loads.whole and "ramp_up" not in self._given and config.warmup_s:
            # Users who start together stay in step, and a window that cuts their waves misses one or counts it twice.
            config = self._config_at({**flags, "ramp_up": config.warmup_s / 2})
        steady = steady_from_the_start(self._loads.kind, rows=config.dataset is not None and config.recipe is None)
        return config.with_values(**{name: value for name, value in steady.items() if name not in self._given})

    def _times(self, visit: Visit, e2el_p90_s: Mapping[float, float]) -> tuple[float, float]:
        """Settle and measure times, from the latency of the nearest known load. A higher load will be slower; the time
        is updated as latencies become known."""
        nearest = min(e2el_p90_s, key=lambda load: abs(load - visit.load), default=None)
        rate = visit.load if self._loads.kind == "rate" else None
        settle_s, measure_s = settle_and_measure_s(rate, None if nearest is None else e2el_p90_s[nearest])
        return round(settle_s, 3), round(measure_s, 3)

    def _time_left(self, visit: Visit, measured: Sequence[_Measured]) -> str:
        left = len(self.visits) - visit.n
        took_ns = [row.took_ns for row in measured if row.took_ns]
        if took_ns:
            each_s = sum(took_ns) / len(took_ns) / NS_PER_S
        elif self.first.lasts_s is not None:
            each_s = self.first.lasts_s + self.first.warmup_s
        else:
            return ""
        return f"; about {duration(left * each_s)} left"


def _p90_s(summary: RunSummary) -> float | None:
    """The p90 of what users wait for: requests, or jobs if there are any."""
    p90_ms = summary.latency["e2el_ms"].p90
    p90_s: float | None = None if summary.jobs is None else summary.jobs.job_s.p90
    return p90_s if p90_s is not None else None if p90_ms is None else float(p90_ms) / 1000


def write(folder: Path, content: SweepContent) -> None:
    """Write sweep.json and its page."""
    files.write(folder, SWEEP, content)
    RunDirectory(folder).write(PAGE, html.render(sweep_document([content])).encode())


def exit_of(content: SweepContent) -> Exit:
    """The exit status of a sweep: an INVALID or FAILED load is a normal result, unless all loads are."""
    if content.ended == INTERRUPTED:
        return Exit.INTERRUPTED
    if any(point.usable for point in content.points):
        return Exit.GOOD
    return Exit.TARGET if any(point.status == "FAILED" for point in content.points) else Exit.INVALID
