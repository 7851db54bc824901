"""Trying a mutant: a fork imports the changed module in place of the file and runs tests. No file is written."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from mutated.changes import Mutant, mutated
from mutated.covered import ONLY, ROOT

KILLED, TIMED_OUT, SURVIVED, NOT_RUN = "killed", "timed out", "survived", "not run"
WALL_FACTOR = 20
"""Of the processor time that a trial may take: the machine may be busy."""


def warm() -> None:
    """Import what the tests import besides the code itself, once for all trials."""
    for name in ("hypothesis", "httpx", "jinja2", "jsonschema", "numpy", "orjson", "pydantic", "rich.table", "scipy.stats",
                 "tokenizers", "uvloop", "xdist.remote", "yaml"):  # fmt: skip
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.partition(".")[0] in ("bench", "mockserver", "promptset", "tests")]
    assert not ours, f"a fork would find these unchanged: {ours}"


def module_of(path: str) -> str:
    """The name under which a file is imported."""
    parts = Path(path).with_suffix("").parts
    parts = parts[1:] if parts[0] == "datasets" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _Changed(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, index: int) -> None:
        super().__init__(name, path)
        self._index = index

    def get_code(self, fullname: str) -> CodeType:
        tree = mutated(Path(self.path).read_text(encoding="utf-8"), self._index)
        return compile(tree, self.path, "exec")


class _InFront:
    """Finds the changed module, in front of pytest's own finder too: that reads packages with plugins itself."""

    def __init__(self, mutant: Mutant) -> None:
        self._name, self._mutant = module_of(mutant.path), mutant

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        file = str(ROOT / self._mutant.path)
        return importlib.util.spec_from_file_location(name, file, loader=_Changed(name, file, self._mutant.index))


@dataclass(frozen=True)
class Trial:
    """A fork that tries a mutant."""

    mutant: Mutant
    pid: int
    deadline: float
    log: Path

    def outcome(self, wait: bool = False) -> str | None:
        """What became of the mutant; None while its tests run."""
        ended, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
        if not ended:
            if time.monotonic() < self.deadline:
                return None
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return TIMED_OUT
        if os.WIFSIGNALED(status):
            return TIMED_OUT if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else KILLED
        return SURVIVED if os.WEXITSTATUS(status) == 0 else KILLED


def begin(mutant: Mutant | None, tests: Sequence[str], seconds: float, log: Path) -> Trial:
    """Fork, and run the tests there until one fails. Without a mutant the code is as it is."""
    limit_s = round(10 + 5 * seconds)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Trial(mutant or Mutant("", 0, 0, 0, "", "", ""), pid, time.monotonic() + WALL_FACTOR * limit_s, log)
    try:
        os.setsid()
        output = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        changed = [] if mutant is None else [_InFront(mutant)]
        sys.meta_path[:0] = changed
        flags = ["-n", "0", "-x", "-q", "-m", ONLY, "-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=line"]
        flags += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # xdist is imported already.
        status = int(pytest.main([*flags, "--timeout=0", *tests], changed))
        sys.stdout.flush()
        os._exit(status)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
