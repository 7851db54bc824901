"""A folder for hard use of Trueload: a mark in the environment identifies its processes, TMPDIR its temporary files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.run_files.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
_MARK = "TRUELOAD_HARD_USE"
_MOCK_MARK = "TRUELOAD_HARD_USE_MOCK"
READY = "mockserver ready at "


@dataclass(frozen=True, slots=True)
class Asked:
    """The command-line settings of a part."""

    folder: Path
    minutes: float | None
    requests: int
    times: int
    seed: int
    at_once: int = 1
    again: bool = False
    """Judge again what an earlier call left in the folder."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was done, how often, and what was lost."""

    what: str
    often: str
    lost_words: str = "nothing"
    lost: bool = False


def row(what: str, often: str, problems: Sequence[str]) -> Row:
    """A row, with the first problems if there are any."""
    if not problems:
        return Row(what, often)
    return Row(what, often, f"{len(problems)}: {'; '.join(problems[:3])}", lost=True)


@dataclass(slots=True)
class Place:
    """A folder with runs, temporary files, and the processes started in it."""

    folder: Path
    more: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("tmp", "mock-tmp", "home"):
            (self.folder / name).mkdir(exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of everything started here."""
        home = str(self.folder / "home")
        return (
            os.environ
            | {
                _MARK: self.mark,
                "TMPDIR": str(self.folder / "tmp"),
                "HOME": home,
                "XDG_CACHE_HOME": f"{home}/.cache",
                "PYTHONPATH": f"{ROOT}:{ROOT / 'datasets'}",
            }
            | self.more
        )

    def start(self, module: str, *words: str, before: Sequence[str] = (), **options: Any) -> subprocess.Popen[bytes]:
        """Start `python -m MODULE WORDS`, with its output in files beside its runs."""
        log = (self.folder / f"{module}-{time.monotonic_ns()}.log").open("wb")
        with log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [*before, sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
                **options,
            )
        return process

    @contextmanager
    def mock(self, *words: str, host: str = "127.0.0.1", **options: Any) -> Iterator[tuple[str, Path]]:
        """A mock of ours: its URL, and its ledger file. `options` are passed to `Popen`."""
        ledger = self.folder / f"ledger-{time.monotonic_ns()}.jsonl"
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'datasets'}", _MOCK_MARK: self.mark}
        environment["TMPDIR"] = str(self.folder / "mock-tmp")
        command = [sys.executable, "-m", "mockserver", "--host", host, "--port", "0", "--ledger", str(ledger), *words]
        with (self.folder / "mock.log").open("ab") as log:
            process: subprocess.Popen[str] = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, **options
            )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(READY):
                    yield line.removeprefix(READY).strip(), ledger
                    return
            raise RuntimeError(f"the mock did not start: see {self.folder}/mock.log")
        finally:
            process.terminate()
            process.communicate()

    def processes(self, *, with_mock: bool = False) -> dict[int, str]:
        """The processes started here and their children: process id and role."""
        found = {}
        marks = (_MARK, _MOCK_MARK) if with_mock else (_MARK,)
        wanted = {f"{mark}={self.mark}".encode() for mark in marks}
        for path in Path("/proc").iterdir():
            if not path.name.isdecimal():
                continue
            try:
                if not wanted.isdisjoint((path / "environ").read_bytes().split(b"\0")):
                    # A forked copy keeps its parent's command line, and has a name of its own.
                    words = [(path / "comm").read_text(), *(path / "cmdline").read_bytes().decode().split("\0")]
                    if (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                        found[int(path.name)] = role_of(words)
            except OSError:
                continue
        return found

    def wait_for_all(self, within_s: float, *, with_mock: bool = False) -> dict[int, str]:
        """Wait until no process runs any more. Returns those that still do."""
        until = time.monotonic() + within_s
        while (left := self.processes(with_mock=with_mock)) and time.monotonic() < until:
            time.sleep(0.05)
        return left

    def end_all(self) -> None:
        """Kill the processes that still run."""
        for number in self.processes():
            with suppress_gone():
                os.kill(number, signal.SIGKILL)

    def left_behind(self, *, with_mock: bool = False) -> list[str]:
        """Temporary files, and unfinished drafts in run directories. `with_mock`: our mock has ended too."""
        folders = ("tmp", "mock-tmp") if with_mock else ("tmp",)
        paths = [path for name in folders for path in (self.folder / name).iterdir()]
        found = [f"{path.name} in the folder of temporary files" for path in paths]
        found += [f"{path.parent.name}/{path.name}" for path in self.folder.rglob(".*.new")]
        runs = [RunDirectory(run) for run in run_directories(self.folder)]
        return found + [f"{path.parent.name}/{path.name}" for run in runs for path in run.old_shards()]


@contextmanager
def suppress_gone() -> Iterator[None]:
    """Ignore that a process has ended."""
    with suppress(ProcessLookupError):
        yield


def role_of(words: Sequence[str]) -> str:
    """A process's role, from its command line."""
    line = " ".join(words)
    for part, role in (
        ("bench.scale.program", "worker"),
        ("feed_program", "feed"),
        ("scrape_program", "scrape"),
        ("precision_program", "precision"),
        ("mockserver", "mock"),
        ("bench console", "console"),
        ("bench search", "parent"),
        ("bench", "parent"),
    ):
        if part in line:
            return role
    return "other"


_STATE = re.compile(rb"(?m)^  state: (.*)$")


def state_of(run: Path) -> str:
    """The run's state in run.yaml; `starting` before the file exists."""
    try:
        found = _STATE.search((run / "run.yaml").read_bytes())
    except OSError:
        return "starting"
    return found[1].decode() if found else "starting"


def run_directories(folder: Path) -> list[Path]:
    """The run directories anywhere below the folder."""
    return sorted(path.parent for path in folder.rglob("run.yaml"))


def records_in(run: Path) -> dict[str, dict[str, object]]:
    """The complete lines of all records of a run, by id."""
    found = {}
    for path in run.glob("requests*.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                record = json.loads(line)
                found[record["id"]] = record
    return found


def report_problem(run: Path) -> str | None:
    """Why a run that should have a report cannot be reported."""
    from bench.errors import UsageError
    from bench.evaluate import evaluate

    try:
        evaluate(RunDirectory.open(run))
    except UsageError as e:
        return None if "before it sent any load" in str(e) else f"the report of {run.name} is refused: {e}"
    except Exception as e:
        return f"the report of {run.name} breaks: {type(e).__name__}: {e}"
    return None


def ended_before(ledger: Path, at_ns: int) -> set[str]:
    """The requests whose last byte the mock had written by then, without cut requests."""
    found = set()
    for line in ledger.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            entry = json.loads(line)
            ended = entry["end_ns"] < at_ns and "cut" not in entry["engine"]
            if entry["id"] and not entry["id"].startswith("probe-") and ended:
                found.add(entry["id"])
    return found
