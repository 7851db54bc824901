"""Drives a sweep: one run after the other, in a directory of its own, with what is known so far written after each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from bench.clock import NS_PER_S, now_ns, utc_now
from bench.config import RunConfig
from bench.errors import Exit, TargetError, UsageError
from bench.evaluate import Result
from bench.load_search.visits import FULL_BUDGET_S, times
from bench.load_sweep.points import RunNumbers, kept_up, numbers_of
from bench.load_sweep.stored import read
from bench.load_sweep.sweep_file import SweepFacts, config_sha256, to_json
from bench.load_sweep.visits import Loads, Visit
from bench.loads import StepsEnded, steady_from_the_start, step_through
from bench.machine import identity
from bench.report import load_sweep_page, load_sweep_text
from bench.run_files.run_directory import RunDirectory, series_held
from bench.run_files.writable import make_directory
from bench.run_series import RunSeries
from bench.secrets import public_command

if TYPE_CHECKING:
    from bench.documents.summary import SummaryDocument

SWEEP, PAGE = "sweep.json", "sweep.html"
INTERRUPTED = "interrupted"
LENGTH = ("requests", "duration", "warmup")
"""What says how long a run takes: where it is given, every run is as long."""


ConfigAt = Callable[[Mapping[str, Any]], RunConfig]
"""The configuration of one run, from the settings that it has beside those of all. Raises UsageError."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """A sweep as it stands in its file, where that is, and the exit status."""

    path: Path
    content: Mapping[str, Any]
    exit: Exit

    @property
    def page(self) -> Path:
        """The page of the sweep."""
        return self.path / PAGE

    @property
    def points(self) -> Sequence[Mapping[str, Any]]:
        """One a load, rising: `load`, `status`, and `numbers` by name, each with `value` and its 95% interval."""
        points: Sequence[Mapping[str, Any]] = self.content["points"]
        return points

    @property
    def knee(self) -> Mapping[str, Any] | None:
        """Where the throughput stops growing; None where that cannot be told."""
        knee: Mapping[str, Any] | None = self.content["knee"]
        return knee


def sweep(
    config_at: ConfigAt,
    loads: Loads,
    series: RunSeries,
    *,
    given: Mapping[str, Any],
    gpus: int | None,
    command: Sequence[str],
    resume: bool,
    say: Callable[[str], None],
) -> SweepResult:
    """Visit every load. Raises UsageError for a wrong configuration before anything is sent, and TargetError where the
    first run cannot be made."""
    driver = _Driver(config_at, loads, series, given, gpus, command, say)
    driver.check(resume=resume)
    make_directory("--out", series.path)
    with series_held(series.path):
        return driver.drive()


class _Driver:
    def __init__(
        self,
        config_at: ConfigAt,
        loads: Loads,
        series: RunSeries,
        given: Mapping[str, Any],
        gpus: int | None,
        command: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._config_at = config_at
        self._loads = loads
        self._series = series
        self._given = given
        self._gpus = gpus
        self._command = command
        self._say = say
        self._visits = list(loads.visits())
        self._runs: list[RunNumbers] = []
        self._e2el_p90_s: dict[float, float] = {}
        self._measured_ns: list[int] = []
        self._model: str | None = None
        self._first = self._config_of(self._visits[-1])  # Of the greatest load, or an equal one.

    def check(self, *, resume: bool) -> None:
        """All problems before anything is sent. Raises UsageError."""
        for visit in self._visits[: len(self._loads.values)]:
            self._config_of(visit)
        given = {key: self._given[key] for key in (*LENGTH, "seed") if key in self._given}
        self._sha256 = config_sha256(self._first.public(), given)
        path = self._series.path / SWEEP
        if not path.exists():
            if resume:
                raise UsageError(f"--resume {self._series.path}: there is no sweep (no {SWEEP})")
            return
        if not resume:
            raise UsageError(f"{self._series.path} already holds a sweep: go on with --resume, or name another --out")
        kept = read(path)
        if kept["config_sha256"] != self._sha256:
            raise UsageError(
                f"--resume {self._series.path}: that sweep has another configuration: give the same flags (more loads and "
                "repeats may be asked for)"
            )

    def drive(self) -> SweepResult:
        """Every visit in turn; what is done is written, however it ends."""
        content = self._write(INTERRUPTED)
        try:
            _, ended = step_through(self._visits, self._visit, lambda results: _ended(results[-1]))
        except KeyboardInterrupt:
            ended = INTERRUPTED
        content = self._write(ended)
        return SweepResult(self._series.path, content, exit_of(content))

    def _visit(self, visit: Visit) -> Result:
        """One run, made now or read from its files."""
        result = self._series.finished(visit.name)
        where = f"{visit.n + 1} of {len(self._visits)}: {self._loads.named(visit.load)}"
        where += f", repeat {visit.repeat} of {self._loads.repeats}" if self._loads.repeats > 1 else ""
        if result is None:
            self._say(f"{where}{self._time_left(visit)}")
            try:
                self._series.wait_until_ready(self._first)
                begun_ns = now_ns()
                result = self._series.run(visit.name, self._config_of(visit))
            except TargetError as e:
                if not self._runs:
                    raise
                raise StepsEnded(f"{self._loads.named(visit.load)} could not be measured: {e}") from e
            self._measured_ns.append(now_ns() - begun_ns)
        else:
            self._say(f"{where}: measured already")
        if not result.interrupted:
            run = self._numbers(visit, result)
            self._runs.append(run)
            self._say(load_sweep_text.progress_line(run.status, run.numbers))
            self._write(INTERRUPTED)
        return result

    def _numbers(self, visit: Visit, result: Result) -> RunNumbers:
        summary = result.summary
        self._model = summary["run"]["model"]
        if (p90_s := _p90_s(summary)) is not None:
            self._e2el_p90_s[visit.load] = p90_s
        return RunNumbers(
            name=visit.name,
            load=visit.load,
            repeat=visit.repeat,
            status=str(result.verdict.status),
            reasons=tuple(result.verdict.reasons),
            numbers=numbers_of(summary),
            kept_up=kept_up(summary) if self._loads.kind == "rate" else None,
        )

    def _config_of(self, visit: Visit) -> RunConfig:
        """As long as a visit of a search: the server settles, then the run is measured."""
        seed = int(self._given.get("seed", 0)) + visit.n
        flags = {**self._loads.settings(visit.load), "seed": seed, "out": str(self._series.path / visit.name)}
        if not self._given.keys() & set(LENGTH[:2]):
            settle_s, measure_s = self._times(visit)
            flags["duration"] = measure_s
            if "warmup" not in self._given:
                flags["warmup"] = f"{settle_s:g}s"
        config = self._config_at(flags)
        if self._loads.whole and "ramp" not in self._given and config.warmup_s:
            # Users who start together stay in step, and a window that cuts their waves misses or doubles one.
            config = self._config_at({**flags, "ramp": f"{config.warmup_s / 2:g}s"})
        steady = steady_from_the_start(self._loads.kind, rows=config.dataset is not None and config.recipe is None)
        return config.with_values(**{name: value for name, value in steady.items() if name not in self._given})

    def _times(self, visit: Visit) -> tuple[float, float]:
        """By the latency of the nearest load that is known: a load above it will be slower, and gets its time by then."""
        known = min(self._e2el_p90_s, key=lambda load: abs(load - visit.load), default=None)
        rate = visit.load if self._loads.kind == "rate" else None
        settle_s, measure_s = times("visit", rate, None if known is None else self._e2el_p90_s[known], FULL_BUDGET_S)
        return round(settle_s, 3), round(measure_s, 3)

    def _time_left(self, visit: Visit) -> str:
        left = len(self._visits) - visit.n
        if self._measured_ns:
            each_s = sum(self._measured_ns) / len(self._measured_ns) / NS_PER_S
        elif self._first.lasts_s is not None:
            each_s = self._first.lasts_s + self._first.warmup_s
        else:
            return ""
        left_s = left * each_s
        return f"; about {left_s:.0f} s left" if left_s < 100 else f"; about {left_s / 60:.0f} min left"

    def _write(self, ended: str | None) -> dict[str, Any]:
        facts = SweepFacts(
            date=utc_now().isoformat(timespec="seconds"),
            version=identity.versions().get("trueload", ""),
            host=identity.host(),
            command=public_command(self._command),
            config=self._first.public(),
            model=self._model,
            loads=self._loads,
            gpus=self._gpus,
        )
        content = to_json(facts, self._runs, self._sha256, ended=ended)
        write(self._series.path, content)
        return content


def _p90_s(summary: SummaryDocument) -> float | None:
    """How long nine of ten of what users wait for take: their requests, or jobs where there are some."""
    p90_ms = summary["latency"]["e2el_ms"]["p90"]
    p90_s: float | None = None if "jobs" not in summary else summary["jobs"]["job_s"]["p90"]
    return p90_s if p90_s is not None else None if p90_ms is None else float(p90_ms) / 1000


def _ended(result: Result) -> str | None:
    return INTERRUPTED if result.interrupted else None


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Put sweep.json and its page in place."""
    folder.mkdir(parents=True, exist_ok=True)
    directory = RunDirectory(folder)
    directory.write(SWEEP, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    directory.write(PAGE, load_sweep_page.render([content]).encode())


def exit_of(content: Mapping[str, Any]) -> Exit:
    """The exit status of a sweep: a load that is INVALID or FAILED belongs to what a sweep finds, unless all are."""
    if content["ended"] == INTERRUPTED:
        return Exit.INTERRUPTED
    if any(point["usable"] for point in content["points"]):
        return Exit.GOOD
    return Exit.TARGET if any(point["status"] == "FAILED" for point in content["points"]) else Exit.INVALID
