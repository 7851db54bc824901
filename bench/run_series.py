"""A directory that holds run directories: what a search, a sweep, repeats and pairs have in common.

Each run of the series is an ordinary run directory, so that `report` and everything else reads it. A series that was ended
goes on where it stopped: runs that are finished are read again from their files, and one that was cut off is moved aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from bench.config import RunConfig
from bench.errors import UsageError
from bench.evaluate import Result, evaluate
from bench.load_test import run
from bench.manifest import read
from bench.observer import SILENT, LoadOnly, Observer
from bench.readiness import wait_until_ready
from bench.run_files.run_directory import MANIFEST, RunDirectory
from bench.run_files.writable import refuse_directory


class RunSeries:
    """The runs of one directory, by name. `progress`: whether the observer follows the load of each run."""

    def __init__(
        self,
        path: Path,
        *,
        command: Sequence[str] = (),
        observer: Observer = SILENT,
        progress: bool = True,
    ) -> None:
        refuse_directory("--out", path)
        self.path = path
        self._command = command
        self._told = observer
        self._observer = LoadOnly(observer, progress=progress)
        self._awaited = False

    def finished(self, name: str) -> Result | None:
        """A run that ended by itself, evaluated from its files; None where there is none."""
        path = self.path / name
        if not (path / MANIFEST).is_file():
            return None
        directory = RunDirectory.open(path)
        stopped = read(directory).manifest.stop_reason
        return None if stopped in (None, "interrupted") else evaluate(directory)

    def wait_until_ready(self, config: RunConfig) -> None:
        """Before the first run, wait for a server that is starting, where the configuration says so. Raises TargetError."""
        if not self._awaited:
            wait_until_ready(config, self._told)
            self._awaited = True

    def run(self, name: str, config: RunConfig) -> Result:
        """Measure into the directory of this name. What is left there of a run that was cut off is moved aside.

        Raises UsageError where a finished run of this name is there, UsageError or TargetError before any load is sent.
        """
        path = self.path / name
        if self.finished(name) is not None:
            raise UsageError(f"{path} already holds a finished run: name another directory")
        if path.exists():
            path.rename(_aside(path))
        self.wait_until_ready(config)
        return run(config.at(path), command=self._command, observer=self._observer, wait=False)


def _aside(path: Path) -> Path:
    """A free name beside a directory, for what was cut off there."""
    numbered = (path.with_name(f"{path.name}-cut-off-{number}") for number in count(1))
    return next(place for place in numbered if not place.exists())
