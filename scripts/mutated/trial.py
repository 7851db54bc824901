"""Trials: forks in which tests are run, with the code as it is or with a change. No file of the tree is written."""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from mutated.changes import Mutant, mutated, source_of

KILLED, TIMED_OUT, SURVIVED, NOT_RUN, COLD = "killed", "timed out", "survived", "not run", "cold"
STATUS_COLD = 77
"""A trial's exit status if its change must be made before the code is imported."""
WALL_FACTOR = 3
"""A trial may take this multiple of its limit on processor time, not counting time spent waiting for a processor."""
TICK_S = 0.5
NS_PER_S = 10**9
MOST_BYTES = 6 << 30
FLAGS = [
    "-n", "0", "-x", "-q", "-m", "not processes and not slow", "-p", "no:cacheprovider", "--hypothesis-seed=0",
    "--timeout=0", "--capture=sys", "--assert=plain", "--tb=short",
]  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """A trial of a mutant or a test file. `run` returns the status of the fork; without `seconds` it has no limits."""

    of: Any
    run: Callable[[], int]
    seconds: float | None = None


@dataclass(frozen=True)
class Ended:
    """The result of a trial: `failed` is the first failed test, `output` the end of the output."""

    of: Any
    outcome: str
    failed: str | None = None
    output: str = ""


def warm() -> None:
    """Import what the tests import besides the code itself, once for all trials."""
    for name in ("hypothesis", "httpx", "jinja2", "jsonschema", "numpy", "orjson", "pydantic", "rich.table", "scipy.stats",
                 "tokenizers", "uvloop", "xdist.remote", "yaml"):  # fmt: skip
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.partition(".")[0] in ("bench", "mockserver", "promptset", "tests")]
    assert not ours, f"a fork would find these unchanged: {ours}"


def ended(trials: Iterable[Trial], processes: int, folder: Path) -> Iterator[Ended]:
    """Run the trials, `processes` at a time. Yields them in the order in which they end."""
    waiting, running, left = iter(trials), dict[int, Trial](), TimeLeft()
    while True:
        for trial in islice(waiting, processes - len(running)):
            running[pid := _forked(trial, folder)] = trial
            if trial.seconds is not None:
                left.of[pid] = WALL_FACTOR * _limit_s(trial.seconds)
        if not running:
            return
        while not (pid := (end := os.waitpid(-1, os.WNOHANG))[0]):
            time.sleep(0.01)
            for late in left.spend(time.monotonic(), waited_s):
                os.killpg(late, signal.SIGKILL)
        status = end[1]
        left.of.pop(pid, None)
        with suppress(ProcessLookupError):  # Processes that the tests left behind.
            os.killpg(pid, signal.SIGKILL)
        own = folder / str(pid)
        failed = (own / "failed").read_text() if (own / "failed").exists() else None
        output = (own / "output").read_text(errors="replace")[-4000:]
        shutil.rmtree(own, ignore_errors=True)
        yield Ended(running.pop(pid).of, _outcome(status), failed, output)


class TimeLeft:
    """How much longer each fork may take: the time in which it waits for a processor does not count."""

    def __init__(self) -> None:
        self.of: dict[int, float] = {}
        self._waited: dict[int, float] = {}
        self._then_s: float | None = None

    def spend(self, now_s: float, waited: Callable[[Iterable[int]], dict[int, float]]) -> list[int]:
        """The forks whose time is up. Does nothing before a tick has passed; a fork's first tick does not count."""
        if self._then_s is not None and now_s - self._then_s < TICK_S:
            return []
        tick_s = 0.0 if self._then_s is None else min(now_s - self._then_s, 2 * TICK_S)  # All may have been suspended.
        self._then_s = now_s
        before, self._waited = self._waited, waited(self.of)
        for pid in self.of.keys() & before.keys():
            self.of[pid] -= max(0.0, tick_s - max(0.0, self._waited[pid] - before[pid]))
        return [pid for pid, left in self.of.items() if left <= 0]


def waited_s(sessions: Iterable[int]) -> dict[int, float]:
    """How many seconds the threads of each session have waited for a processor."""
    waited = dict.fromkeys(sessions, 0.0)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It has ended.
            session = int((process / "stat").read_text().rpartition(")")[2].split()[3])
            if session in waited:
                tasks = process.glob("task/*/schedstat")
                waited[session] += sum(int(task.read_text().split()[1]) for task in tasks) / NS_PER_S
    return waited


def _limit_s(seconds: float) -> int:
    """The limit on processor time with a change, for tests that take `seconds` without it."""
    return round(10 + 5 * seconds)


def _outcome(status: int) -> str:
    if os.WIFSIGNALED(status):
        late = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        return TIMED_OUT if late else KILLED
    return {0: SURVIVED, STATUS_COLD: COLD}.get(os.WEXITSTATUS(status), KILLED)


def _forked(trial: Trial, folder: Path) -> int:
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        own = folder / str(os.getpid())
        own.mkdir()
        os.environ |= {"PYTEST_DEBUG_TEMPROOT": str(own), "TOKENIZERS_PARALLELISM": "false"}
        output = os.open(own / "output", os.O_CREAT | os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        if trial.seconds is not None:
            limit_s = _limit_s(trial.seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
            resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        status = trial.run()
        sys.stdout.flush()
        os._exit(status)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)


class Noticed:
    """A pytest plugin that records which test failed first."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that will be retried has not failed yet."""
        if report.failed:
            print(report.nodeid, report.longreprtext, flush=True)
            Path(os.environ["PYTEST_DEBUG_TEMPROOT"], "failed").write_text(report.nodeid)


def run_anew(mutant: Mutant | None, tests: Sequence[str]) -> int:
    """Run tests in a process that has not imported the code yet, and imports the mutant instead."""
    if mutant is not None:
        import_changed(mutant)
    return int(pytest.main([*FLAGS, *tests], [Noticed()]))


def module_of(path: str) -> str:
    """The module name of a file."""
    return path.removeprefix("datasets/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def import_changed(mutant: Mutant) -> None:
    """Make imports of the changed module use the mutant."""
    of_file, changed = SourceFileLoader.get_code, module_of(mutant.path)

    def get_code(self: SourceFileLoader, name: str) -> CodeType | None:
        return compiled(mutant) if name == changed else of_file(self, name)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]


def compiled(mutant: Mutant, changed: bool = True) -> CodeType:
    """The code of its module, with its change or without."""
    source = source_of(mutant.path)
    tree = mutated(source, mutant.index) if changed else source
    return compile(tree, str(Path(mutant.path).resolve()), "exec", dont_inherit=True)
