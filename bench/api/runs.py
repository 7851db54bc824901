"""Runs from Python: `python -m bench run` as a function with a typed result."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import evaluate, load_test
from bench.config import RunConfig, Settings, read_yaml, resolve
from bench.errors import Exit, UsageError
from bench.metrics import objectives
from bench.metrics.run_numbers import number_of
from bench.observer import Control, Observer, PassingOn
from bench.records import RequestRecord
from bench.results.answers import ANSWER_SHARES
from bench.results.base import to_plain
from bench.results.summary import RunSummary
from bench.run_files.run_directory import RunDirectory
from bench.terminal import Terminal
from bench.verdict import headline
from bench.verdict.finding import Status

T = TypeVar("T")

Configuration = RunConfig | Settings | Mapping[str, object] | str | Path
"""A configuration, the settings by name, or a YAML file of them (a run.yaml of an earlier run too)."""


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """An objective of `slo`, its value in its unit, and whether it held."""

    objective: str
    value: float | None
    interval: tuple[float, float] | None
    held: bool
    shown: str
    """What the whole interval says: "held", "failed", or "not shown" where it has both, or is none."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run."""

    path: Path
    """The run directory."""
    verdict: Status
    """VALID, SUSPECT, INVALID or FAILED."""
    reasons: tuple[str, ...]
    """Why it is not VALID."""
    exit: Exit
    """The exit status that the command would have."""
    interrupted: bool
    problems: tuple[str, ...]
    """What could not be written, for example on a full disk."""
    numbers: RunSummary
    """The content of summary.json as typed values: `result.numbers.counts.sent`."""

    @property
    def summary(self) -> dict[str, object]:
        """The content of summary.json, which bench/report/summary.schema.json describes."""
        return to_plain(self.numbers)

    @property
    def headline(self) -> str:
        """The verdict and the percentiles that the run can give: "VALID, 240 requests: median and P90 of TTFT can be given,
        no P99"."""
        return str(headline.of(self.numbers, self.verdict, proxy=self.numbers.run.config.get("proxy")))

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def succeeded(self) -> int:
        return int(self.numbers.counts.succeeded)

    @property
    def failed(self) -> int:
        return int(self.numbers.counts.failed)

    @property
    def objectives(self) -> tuple[ObjectiveResult, ...]:
        return tuple(
            ObjectiveResult(row.objective, row.value, _interval(row.ci95), row.held, row.shown)
            for row in self.numbers.slo.objectives
        )

    @property
    def held(self) -> bool | None:
        """Whether every objective held; None if `slo` is empty."""
        held: bool | None = self.numbers.slo.held
        return held

    def value(self, name: str) -> float | None:
        """A number of the run, by its name in objectives: "ttft:p99", "job:p90", "requests_per_s", "error_rate".

        Times in ms, job seconds in s, error_rate as a share. None if the run has no such number. Raises UsageError for an
        unknown name.
        """
        metric, stat = _named(name)
        return number_of(self.numbers, metric, stat).value

    def interval(self, name: str) -> tuple[float, float] | None:
        """The 95% interval of a latency's statistic or of a rate, in its unit. Returns None if none was computed."""
        metric, stat = _named(name)
        ends = number_of(self.numbers, metric, stat).ci95
        return None if ends is None else (ends[0], ends[1])

    def records(self) -> Iterator[RequestRecord]:
        """The record of every request, warm-up included."""
        return RunDirectory.open(self.path).records()


def run(
    config: Configuration | None = None,
    *,
    observer: Observer | None = None,
    **settings: object,
) -> RunResult:
    """Run one load test: `python -m bench run` without a terminal.

    `settings` are the flags by name (`output_tokens="128"`, `max_concurrency=64`), and override `config`. The observer
    follows the run; without one, nothing is printed. After Ctrl-C, the result covers the requests measured so far.
    Raises UsageError with every problem at once, TargetError if the target cannot be measured.
    """
    whole = configuration(config, **settings)

    def measure(watched: Observer) -> evaluate.Result:
        return load_test.run(whole, command=("bench.run",), observer=watched, changeable=True)

    result = run_outside_event_loop(measure, observer)
    return result_of(result)


def read(path: str | Path) -> RunResult:
    """Evaluate a run directory again from its files. Raises UsageError if it does not exist."""
    return result_of(evaluate.evaluate(RunDirectory.open(Path(path))))


def result_of(result: evaluate.Result) -> RunResult:
    """The typed result of an evaluated run."""
    return RunResult(
        path=result.directory.path,
        verdict=result.verdict.status,
        reasons=tuple(result.summary.verdict.reasons),
        exit=result.exit,
        interrupted=result.interrupted,
        problems=result.problems,
        numbers=result.summary,
    )


def configuration(config: Configuration | None = None, **settings: object) -> RunConfig:
    """The complete configuration of settings, which override those of `config`. Raises UsageError with every problem."""
    if isinstance(config, RunConfig):
        return resolve(settings, given_settings(config, {})) if settings else config
    if isinstance(config, str | Path):
        return resolve(settings, read_yaml(Path(config)), str(config))
    return resolve(given_settings(config, settings))


def given_settings(config: Configuration | None, settings: Mapping[str, object]) -> dict[str, object]:
    """Settings by name: those of a configuration, overridden by `settings`."""
    base: dict[str, object]
    if isinstance(config, RunConfig):
        base = config.asked_for()
    elif isinstance(config, Settings):
        base = {name: getattr(config, name) for name in config.model_fields_set if name in Settings.model_fields}
    elif isinstance(config, str | Path):
        base = read_yaml(Path(config))
    else:
        base = dict(config or {})
    return {**base, **settings}


def _named(name: str) -> tuple[str, str | None]:
    """The metric and the statistic of a number's name. Raises UsageError, which suggests the nearest name."""
    metric = name.partition(":")[0]
    shares = (*objectives.SHARES, *ANSWER_SHARES)
    unit = "%" if metric in shares else "" if metric in (*objectives.RUN_NUMBERS, "tps") else "ms"
    whole = f"{name}<1{unit}"
    try:
        objective = objectives.parse_one(whole)
    except UsageError as e:
        raise UsageError([problem.replace(f'--slo "{whole}"', f'"{name}"') for problem in e.problems]) from None
    return objective.metric, objective.stat


def _interval(bounds: Sequence[float] | None) -> tuple[float, float] | None:
    return None if bounds is None else (bounds[0], bounds[1])


def run_outside_event_loop(work: Callable[[Observer], T], given: Observer | None) -> T:
    """Do work that runs its own event loop, even if this thread already runs one, as in a notebook: then in another
    thread. Ctrl-C ends the load there as it does elsewhere. Without an observer, only errors are printed."""
    observer = Terminal(sys.stderr, quiet=True) if given is None else given
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work(observer)
    watched = _FromAnotherThread(observer)
    over = threading.Event()
    done: list[T] = []
    failed: list[BaseException] = []

    def body() -> None:
        try:
            done.append(work(watched))
        except BaseException as e:
            failed.append(e)
        finally:
            over.set()

    threading.Thread(target=body, name="bench", daemon=True).start()
    while not over.is_set():  # In Python 3.11, Thread.join after an interruption considers a running thread ended.
        try:
            over.wait()
        except KeyboardInterrupt:
            watched.interrupt()
    if failed:
        raise failed[0]
    return done[0]


class _FromAnotherThread(PassingOn):
    """Lets another thread interrupt the load."""

    def __init__(self, observer: Observer) -> None:
        super().__init__(observer)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._control: Control | None = None
        self._interrupts = 0
        self._spares_report = False

    def load_begins(self, control: Control) -> None:
        self._loop, self._control = asyncio.get_running_loop(), control
        super().load_begins(control)

    def load_ended(self) -> None:
        self._loop = self._control = None
        self._spares_report = True
        super().load_ended()

    def run_ended(self) -> None:
        self._spares_report = False
        super().run_ended()

    def interrupt(self) -> None:
        """Ctrl-C in the waiting thread. As in a terminal, the first two affect the load, and one spares its report.
        Every other one raises KeyboardInterrupt."""
        self._interrupts += 1
        if self._interrupts > 2:
            raise KeyboardInterrupt
        if self._loop is not None and self._control is not None:
            self._loop.call_soon_threadsafe(self._control.interrupt)
        elif self._spares_report:
            self._spares_report = False
        else:
            raise KeyboardInterrupt
