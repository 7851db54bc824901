"""A series of made-up runs: nothing is sent, and each run has the numbers of the golden one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.errors import Exit
from bench.evaluate import Result
from bench.observer import Observer
from bench.results.summary import RunSummary
from bench.run_files.run_directory import RunDirectory
from bench.series.runs import REAL_TIME, RunSeries, Time
from bench.verdict.finding import Status, Verdict
from tests.support.golden_run import golden_summary
from tests.support.results import filled


class Noting(Observer):
    """Records messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class MadeSeries(RunSeries):
    """`before`: names of runs that were finished before. `at`: what a run raises instead of running, by name, or
    "interrupted" for a run that Ctrl-C ends. `made` has the configuration of each run made, in order. `e2el_p90_ms`:
    values that replace the golden one, by name."""

    def __init__(
        self,
        path: Path,
        *,
        before: Collection[str] = (),
        at: Mapping[str, BaseException | str] | None = None,
        observer: Observer | None = None,
        made: list[RunConfig] | None = None,
        e2el_p90_ms: Mapping[str, float | None] | None = None,
        time: Time = REAL_TIME,
    ) -> None:
        super().__init__(path, observer=Noting() if observer is None else observer, time=time)
        path.mkdir(parents=True, exist_ok=True)
        self._before = before
        self._at = at or {}
        self._e2el_p90_ms = e2el_p90_ms or {}
        self.made: list[RunConfig] = [] if made is None else made

    def finished(self, name: str) -> Result | None:
        return made_result(self.path / name) if name in self._before else None

    def run(self, name: str, config: RunConfig) -> Result:
        happens = self._at.get(name)
        if isinstance(happens, BaseException):
            raise happens
        self.made.append(config.at(self.path / name))
        latency = {"p90": self._e2el_p90_ms[name]} if name in self._e2el_p90_ms else {}
        return made_result(self.path / name, interrupted=happens is not None, **latency)


def made_result(path: Path, *, interrupted: bool = False, **e2el_ms: float | None) -> Result:
    """A run result with the golden numbers, except for these of E2EL."""
    summary: Any = golden_summary()
    summary["latency"]["e2el_ms"] |= e2el_ms
    summary["verdict"] |= {"status": "VALID", "reasons": []}
    summary["run"]["stop_reason"] = "interrupted" if interrupted else "requests"
    exit_status = Exit.INTERRUPTED if interrupted else Exit.GOOD
    return Result(RunDirectory(path), filled(RunSummary, summary), Verdict(Status.VALID, ()), exit_status)
