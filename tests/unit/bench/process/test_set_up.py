"""The calls of our processes to the interpreter, glibc and the kernel, with their arguments."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import NoReturn

import pytest

from bench.process import interpreter


class Libc:
    """The C library: records calls. `has`: functions besides prctl."""

    def __init__(self, has: tuple[str, ...] = ("mallopt",)) -> None:
        self.calls: list[tuple[object, ...]] = []
        for name in ("prctl", *has):
            setattr(self, name, self._noting(name))

    def _noting(self, name: str) -> Callable[..., None]:
        return lambda *given: self.calls.append((name, *given))


@pytest.fixture
def libc(monkeypatch: pytest.MonkeyPatch) -> Libc:
    made = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(gc, "set_threshold", lambda *given: made.calls.append(("threshold", *given)))
    for name in ("PYDANTIC_DISABLE_PLUGINS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "pydantic.plugin._loader", raising=False)
    return made


def test_the_collector_looks_rarely_and_freed_memory_is_kept(libc: Libc) -> None:
    interpreter.set_up()
    assert libc.calls == [("threshold", 200_000, 50, 50), ("mallopt", -3, 33_554_432), ("mallopt", -1, 67_108_864)]
    assert (os.environ["PYDANTIC_DISABLE_PLUGINS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("__all__", "1")
    assert sys.modules["pydantic.plugin._loader"].get_plugins() == ()


def test_what_the_user_asks_for_is_left_alone(libc: Libc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "logfire")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    interpreter.set_up()
    assert (os.environ["PYDANTIC_DISABLE_PLUGINS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("logfire", "4")
    assert "pydantic.plugin._loader" not in sys.modules


def test_plugins_that_were_loaded_stay(libc: Libc, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ModuleType("pydantic.plugin._loader")
    monkeypatch.setitem(sys.modules, "pydantic.plugin._loader", loaded)
    interpreter.set_up()
    assert sys.modules["pydantic.plugin._loader"] is loaded


@pytest.mark.parametrize(("platform", "has"), [("linux", ()), ("darwin", ("mallopt",))])
def test_without_glibc_memory_is_as_it_is(
    platform: str, has: tuple[str, ...], libc: Libc, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Libc(has)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: other)
    monkeypatch.setattr(sys, "platform", platform)
    interpreter.set_up()
    assert other.calls == []


def test_only_linux_wakes_a_process_by_the_end_of_its_parent(libc: Libc, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter.woken_by_parents_end()
    assert libc.calls == [("prctl", 1, int(signal.SIGCONT))]
    monkeypatch.setattr(sys, "platform", "darwin")
    interpreter.woken_by_parents_end()
    assert len(libc.calls) == 1


def test_a_program_beside_a_command_begins_set_up_and_ends_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[object] = []

    class Left(BaseException):
        """The process has ended."""

    def leave(status: int) -> NoReturn:
        steps.append(("leave", status))
        raise Left

    def main(descriptor: int) -> int:
        steps.append(("main", descriptor))
        return 7

    program = ModuleType("a_program_of_a_test")
    vars(program)["main"] = main
    monkeypatch.setitem(sys.modules, program.__name__, program)
    monkeypatch.setattr(sys, "argv", ["beside", program.__name__, "12"])
    monkeypatch.setattr(interpreter, "set_up", lambda: steps.append("set up"))
    monkeypatch.setattr(interpreter, "woken_by_parents_end", lambda: steps.append("woken"))
    monkeypatch.setattr(interpreter, "leave", leave)
    monkeypatch.setattr(signal, "signal", lambda *given: steps.append(given))
    with pytest.raises(Left):
        runpy.run_module("bench.process.beside", run_name="__main__")
    assert steps == ["set up", "woken", (signal.SIGINT, signal.SIG_IGN), ("main", 12), ("leave", 7)]
    runpy.run_module("bench.process.beside", run_name="bench.process.beside")
    assert len(steps) == 5


class Ended(BaseException):
    """The process has ended at once."""


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What happens at the end of an untraced process."""
    steps: list[object] = []

    def exit_at_once(status: int) -> NoReturn:
        steps.append(status)
        raise Ended

    monkeypatch.setattr(os, "_exit", exit_at_once)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: steps.append("exit functions"))
    monkeypatch.setattr(sys, "getprofile", lambda: None)
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])
    return steps


def test_a_process_leaves_after_its_exit_functions_and_its_output(
    ends: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(flush=lambda: ends.append("stdout")))
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(flush=lambda: ends.append("stderr")))
    with pytest.raises(Ended):
        interpreter.leave(3)
    assert ends == ["exit functions", "stdout", "stderr", 3]


@pytest.mark.parametrize(("daemon", "at_once"), [(True, True), (False, False)])
def test_a_process_waits_for_threads_that_have_something_to_do(
    daemon: bool, at_once: bool, ends: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = threading.Thread(daemon=daemon)
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread(), other])
    with pytest.raises(Ended if at_once else SystemExit):
        interpreter.leave(3)
    assert bool(ends) is at_once


@pytest.mark.parametrize("name", ["getprofile", "gettrace"])
def test_who_profiles_or_debugs_has_a_process_end_as_ever(
    name: str, ends: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, lambda: print)
    with pytest.raises(SystemExit, match=r"^3$"):
        interpreter.leave(3)
    assert ends == []


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_output_that_cannot_be_written_is_for_python_to_say(
    error: type[Exception], ends: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> NoReturn:
        raise error

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(flush=full))
    with pytest.raises(SystemExit, match=r"^3$"):
        interpreter.leave(3)
    assert ends == ["exit functions"]
