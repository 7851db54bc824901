"""The system calls of a command's guard, one by one. test_guarded.py tests the same with real processes."""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.process import guarded


class System:
    """Records each call. `status`: how the command ends. `children`: the guard's children each time it looks."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.status, self.refuses = 0, False
        self.children: list[Sequence[str]] = [[]]
        self.stdin = iter([b"words", b"more", b""])
        self.threads: list[Callable[[], None]] = []

    def note(self, *what: object) -> None:
        self.calls.append(what)

    def popen(self, words: Sequence[str], *, preexec_fn: Callable[[], None], **how: Any) -> SimpleNamespace:
        if self.refuses:
            raise FileNotFoundError(2, "No such file or directory")
        self.note("start", tuple(words), how["stdin"], how["start_new_session"])
        preexec_fn()
        return SimpleNamespace(pid=70, wait=self.wait)

    def wait(self, timeout: float | None = None) -> int:
        self.note("wait", timeout)
        return self.status

    def read(self, descriptor: int, most: int) -> bytes:
        self.note("read", descriptor)
        return next(self.stdin)

    def thread(self, *, target: Callable[..., None], args: tuple[object, ...], daemon: bool) -> SimpleNamespace:
        assert daemon  # The thread waits for the end of stdin, which may never come.
        return SimpleNamespace(start=lambda: self.threads.append(lambda: target(*args)))

    def glob(self, folder: Path, pattern: str) -> list[SimpleNamespace]:
        assert (str(folder), pattern) == ("/proc/self/task", "*/children")
        return [SimpleNamespace(read_text=lambda text=text: text) for text in self.children.pop(0)]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    made = System()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(prctl=lambda *given: made.note("prctl", *given)))
    monkeypatch.setattr(subprocess, "Popen", made.popen)
    monkeypatch.setattr(threading, "Thread", made.thread)

    def glob(folder: Path, pattern: str) -> list[SimpleNamespace]:
        return made.glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", glob)
    monkeypatch.setattr(os, "read", made.read)
    for name in ("kill", "killpg", "waitpid"):
        monkeypatch.setattr(os, name, lambda *given, name=name: made.note(name, *given))
    return made


STARTED = [("prctl", 36, 1, 0, 0, 0), ("start", ("a", "b"), subprocess.DEVNULL, True), ("prctl", 1, 9, 0, 0, 0)]


@pytest.mark.parametrize(("status", "its"), [(0, 0), (7, 7), (-9, 137), (-15, 143)])
def test_a_command_ends_with_its_group_and_what_it_left_behind(status: int, its: int, system: System) -> None:
    system.status, system.children = status, [["11 12", "13"], ["14"], []]
    assert guarded.main(2.5, ["a", "b"]) == its
    kill, left = int(signal.SIGKILL), (11, 12, 13)
    assert system.calls == [
        *STARTED, ("wait", None), ("killpg", 70, kill), *(("kill", pid, kill) for pid in left),
        *(("waitpid", pid, 0) for pid in left), ("kill", 14, kill), ("waitpid", 14, 0),
    ]  # fmt: skip


def test_the_end_of_stdin_asks_the_command_to_end(system: System) -> None:
    guarded.main(2.5, ["a", "b"])
    system.calls.clear()
    (with_parent,) = system.threads
    with_parent()
    assert system.calls == [("read", 0)] * 3 + [("killpg", 70, int(signal.SIGTERM)), ("wait", 2.5)]


def test_another_system_adopts_nothing(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    guarded.main(2.5, ["a", "b"])
    assert not [call for call in system.calls if call[0] == "prctl"]


def test_a_command_that_does_not_exist_is_named(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    system.refuses = True
    assert guarded.main(2.5, ["a", "b"]) == 127
    assert capsys.readouterr().err == "a: No such file or directory\n"
    assert (system.threads, system.calls) == ([], STARTED[:1])


def test_what_has_ended_meanwhile_is_no_error(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(error: type[OSError]) -> Callable[..., None]:
        def raises(*_: object) -> None:
            raise error

        return raises

    monkeypatch.setattr(os, "killpg", gone(ProcessLookupError))
    monkeypatch.setattr(os, "kill", gone(ProcessLookupError))
    monkeypatch.setattr(os, "waitpid", gone(ChildProcessError))
    system.children = [["11"], []]
    assert guarded.main(2.5, ["a", "b"]) == 0
    monkeypatch.setattr(os, "killpg", gone(PermissionError))
    system.children = [[]]
    assert guarded.main(2.5, ["a", "b"]) == 0


def test_ctrl_c_is_left_to_the_parent(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["guarded", "2.5", "a", "b"])
    monkeypatch.setattr(signal, "signal", lambda *given: system.note("signal", *given))
    monkeypatch.delitem(sys.modules, "bench.process.guarded")  # It is run, not imported.
    system.status = 3
    with pytest.raises(SystemExit, match=r"^3$"):
        runpy.run_module("bench.process.guarded", run_name="__main__")
    assert system.calls[:4] == [("signal", signal.SIGINT, signal.SIG_IGN), *STARTED]
