"""The directory of a series: its runs are ordinary run directories, so `report` and everything else can read them.

A series that ended early resumes where it stopped: finished runs are read again from their files, and a run that was
cut off is renamed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from bench import clock, load_test
from bench.clock import NS_PER_S
from bench.config import RunConfig
from bench.errors import Interrupted, UsageError
from bench.evaluate import Result, evaluate
from bench.manifest import Manifest, digest_of, read
from bench.observer import SILENT, LoadOnly, Observer
from bench.readiness import wait_until_ready
from bench.run_files.run_directory import MANIFEST, RunDirectory, series_held
from bench.run_files.writable import make_directory, not_removed, refuse_directory
from bench.series.files import other_settings

_CUT_OFF = (None, "interrupted")
"""The stop reasons of runs that did not end by themselves."""


class Time(Protocol):
    """CLOCK_MONOTONIC in ns, and a wait that Ctrl-C ends."""

    def now_ns(self) -> int:
        """The instant now."""

    def wait(self, seconds: float) -> None:
        """Wait; returns at once for 0 and less."""


class RealTime:
    """The clock of a series that measures a real server."""

    def now_ns(self) -> int:
        return clock.now_ns()

    def wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)


REAL_TIME = RealTime()


@dataclass(frozen=True, slots=True)
class Made:
    """A run of a series. `began_ns` is its start on CLOCK_MONOTONIC; None for a finished run that was read again."""

    result: Result
    began_ns: int | None
    took_ns: int = 0


class RunSeries:
    """The runs of one directory, by name. `progress`: whether the observer follows the load of each run."""

    def __init__(
        self,
        path: Path,
        *,
        command: Sequence[str] = (),
        observer: Observer = SILENT,
        progress: bool = True,
        time: Time = REAL_TIME,
    ) -> None:
        refuse_directory("--out", path)
        self.path = path
        self.command = tuple(command)
        self.say = observer.say
        self.time = time
        self._told = observer
        self._observer = LoadOnly(observer, progress=progress)
        self._awaited = False
        self._digests: dict[str, str | None] = {}
        """Of the data files as they are now, by the value of the setting."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Create the directory and keep it locked, between the runs too. Raises UsageError if it cannot be created, or if
        a data file has changed since the runs in it were made."""
        make_directory("--out", self.path)
        with not_removed(self.path), series_held(self.path):
            self._refuse_changed_data()
            yield

    def make(self, name: str, config: RunConfig, *, before: str | None = None, again: str | None = None) -> Made:
        """Make a run, or read it from its files if it is finished.

        Prints `before` if the run is made, `again` if it is read. Raises Interrupted if Ctrl-C ended the run,
        UsageError or TargetError before any load is sent.
        """
        finished = self.finished(name)
        line = before if finished is None else again
        if line is not None:
            self.say(line)
        if finished is not None:
            return Made(finished, None)
        self.wait_until_ready(config)  # Not counted in the run's time.
        began_ns = self.time.now_ns()
        result = unless_interrupted(self.run(name, config))
        return Made(result, began_ns, self.time.now_ns() - began_ns)

    def rest(self, since_ns: int, seconds: float) -> None:
        """Let the server rest until `seconds` after an instant. Ctrl-C ends the wait."""
        self.time.wait(max(0.0, seconds - (self.time.now_ns() - since_ns) / NS_PER_S))

    def finished(self, name: str) -> Result | None:
        """A run that ended by itself, evaluated from its files. Returns None if there is no such run."""
        path = self.path / name
        if not (path / MANIFEST).is_file():
            return None
        directory = RunDirectory.open(path)
        return None if read(directory).manifest.stop_reason in _CUT_OFF else evaluate(directory)

    def other_run(self, name: str, config: RunConfig) -> list[str]:
        """A sentence if a run of this name exists with other settings or data: it would be mistaken for this one."""
        path = self.path / name
        if not (path / MANIFEST).is_file():
            return []
        stored = read(RunDirectory.open(path))
        if others := other_settings(stored.config.public(), config.public()):
            advice = "give the same settings, or name another --out"
            return [f"{path} was made with other settings ({', '.join(others)}): {advice}"]
        changed = self._changed_data(stored.manifest)
        return [_other_content(f"{path} was", changed)] if changed else []

    def _refuse_changed_data(self) -> None:
        manifests = [*self.path.glob(f"*/{MANIFEST}"), *self.path.glob(f"*/*/{MANIFEST}")]  # A race contains searches.
        stored = {path: read(RunDirectory.open(path)).manifest for path in sorted(file.parent for file in manifests)}
        changed = {path: values for path, manifest in stored.items() if (values := self._changed_data(manifest))}
        if changed:
            first, more = next(iter(changed)), len(changed) - 1
            others = {value for values in changed.values() for value in values}
            raise UsageError([_other_content(f"{first} and {more} more were" if more else f"{first} was", others)])

    def _changed_data(self, manifest: Manifest) -> list[str]:
        """The settings whose data file has other content now. Empty for a run that did not end by itself."""
        if manifest.stop_reason in _CUT_OFF:
            return []
        for value in manifest.data_sha256.keys() - self._digests.keys():
            self._digests[value] = digest_of(Path(value.removeprefix("@")))
        return [value for value, digest in manifest.data_sha256.items() if self._digests[value] not in (None, digest)]

    def wait_until_ready(self, config: RunConfig) -> None:
        """Before the first run, wait for a starting server, if the configuration asks for it. Raises TargetError."""
        if not self._awaited:
            wait_until_ready(config, self._told)
            self._awaited = True

    def run(self, name: str, config: RunConfig) -> Result:
        """Measure into the directory of this name. If a run was cut off there, its directory is renamed first.

        Raises UsageError if a finished run of this name exists, UsageError or TargetError before any load is sent.
        """
        path = self.path / name
        if self.finished(name) is not None:
            raise UsageError(f"{path} already holds a finished run: name another directory")
        if path.exists():
            path.rename(aside(path))
        self.wait_until_ready(config)
        return load_test.run(config.at(path), command=self.command, observer=self._observer, wait=False)


def _other_content(runs_were: str, values: Iterable[str]) -> str:
    advice = "give the same data, or name another --out"
    return f"{runs_were} made with another content of {', '.join(sorted(values))}: {advice}"


def unless_interrupted(result: Result) -> Result:
    """The result of a run. Raises Interrupted if Ctrl-C ended it, because the run is then shorter than requested."""
    if result.interrupted:
        raise Interrupted(f"interrupted: {result.directory.path} is not complete")
    return result


def aside(path: Path) -> Path:
    """A free name beside a directory, for a run that was cut off there."""
    numbered = (path.with_name(f"{path.name}-cut-off-{number}") for number in count(1))
    return next(place for place in numbered if not place.exists())
