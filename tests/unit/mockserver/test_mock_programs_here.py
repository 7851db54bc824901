"""Programs of the mock run in the process of the tests: `python -m mockserver`, the expectation, a worker, and a child."""

from __future__ import annotations

import builtins
import gc
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mockserver
from mockserver.child import Parent
from mockserver.config import MockConfig
from mockserver.errors import UsageError
from mockserver.expect import EXPECTATIONS, RequestLengths
from mockserver.workers import processes
from mockserver.workers.processes import WorkerPipes, WorkerProcesses

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has neither niceness nor forks")


def run_as_main(name: str) -> None:
    """Like `runpy.run_module`, which pytest's import hook does not allow."""
    file = Path(mockserver.__path__[0]).joinpath(*name.split(".")[1:]).with_suffix(".py")
    code = SourceFileLoader(name, str(file)).get_code(name)
    assert code is not None
    exec(code, {"__name__": "__main__"})


def test_an_expectation_is_computed_at_low_priority(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    nice: list[int] = []
    question = {"config": {"ttft": "5ms"}, "asked": {"output_tokens": 3, "input_tokens": None}}
    monkeypatch.setattr(os, "nice", nice.append)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(question).encode())))
    run_as_main("mockserver.expect.__main__")
    expected = EXPECTATIONS["sampled"](MockConfig(ttft="5ms"), RequestLengths(output_tokens=3))
    assert json.loads(capsysbinary.readouterr().out) == json.loads(json.dumps(expected))
    assert nice == [10]


def run_mockserver(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> object:
    """The exit status of `python -m mockserver --version`, whose import of the command fails with an error."""
    real = builtins.__import__

    def imported(name: str, *rest: Any, **named: Any) -> Any:
        if name == "mockserver.cli" and error is not None:
            raise error
        return real(name, *rest, **named)

    thresholds = gc.get_threshold()
    monkeypatch.setattr(sys, "argv", ["mockserver", "--version"])
    monkeypatch.setattr("promptset.closed_pipe.survive", lambda *, results: None)
    monkeypatch.setattr(builtins, "__import__", imported)
    try:
        with pytest.raises(SystemExit) as ended:
            run_as_main("mockserver.__main__")
        assert gc.get_threshold() == (200_000, *thresholds[1:])
    finally:
        gc.set_threshold(*thresholds)
    return ended.value.code


def test_the_program_is_its_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_mockserver(monkeypatch, None) == 0
    assert capsys.readouterr().out.startswith("mockserver ")


def test_a_python_without_the_packages_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_mockserver(monkeypatch, ModuleNotFoundError(name="pydantic.types")) == 2
    start = f"error: {sys.executable} has no module 'pydantic.types': Trueload is not installed there. "
    assert capsys.readouterr().err.startswith(start)


@pytest.mark.parametrize("name", [None, "mockserver", "mockserver.config"])
def test_a_module_of_the_mock_that_is_missing_is_a_defect(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    with pytest.raises(ModuleNotFoundError):
        run_mockserver(monkeypatch, ModuleNotFoundError(name=name))


def test_a_key_that_interrupts_the_import_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_mockserver(monkeypatch, KeyboardInterrupt()) == 130


# ---- A worker after its fork -------------------------------------------------------------------------------------------


def fails(error: BaseException) -> Callable[[int, WorkerPipes], None]:
    def work(number: int, pipes: WorkerPipes) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "status", "says"),
    [
        (lambda number, pipes: None, 0, ""),
        (fails(UsageError("--flag: no")), 2, "mockserver: --flag: no\n"),
        (fails(RuntimeError("a defect")), 70, "RuntimeError: a defect\n"),
        (fails(KeyboardInterrupt()), 70, "KeyboardInterrupt\n"),
    ],
    ids=["ends", "is refused", "fails", "is interrupted"],
)
def test_a_worker_leaves_ctrl_c_to_its_parent_and_ends_with_a_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    work: Callable[[int, WorkerPipes], None],
    status: int,
    says: str,
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    statuses: list[int] = []
    seen: list[object] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(processes, "woken_by_parents_end", lambda: seen.append("woken"))

    def looks(number: int, pipes: WorkerPipes) -> None:
        seen.extend([number, pipes, *map(signal.getsignal, numbers)])
        seen.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {*numbers})
        work(number, pipes)

    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # As the parent does before the fork.
    try:
        WorkerProcesses(3, looks)._run_worker(1, WorkerPipes(5, 6))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    assert statuses == [status]
    assert seen == ["woken", 1, WorkerPipes(5, 6), signal.SIG_IGN, signal.SIG_DFL, set()]
    error = capsys.readouterr().err
    assert error == says or (status == 70 and error.endswith(says))


# ---- A child whose parent ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("serves", [True, False])
def test_a_child_ends_with_its_parent_by_a_signal_if_it_serves(monkeypatch: pytest.MonkeyPatch, serves: bool) -> None:
    ours, theirs = os.pipe()
    calls: list[object] = []
    monkeypatch.setattr(os, "kill", lambda *call: calls.append(call))
    monkeypatch.setattr(os, "_exit", lambda status: calls.append(("exit", status)))
    monkeypatch.setattr(Parent, "clean_up", lambda self: calls.append("cleaned up"))
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN if serves else signal.SIG_DFL)
    before = {*threading.enumerate()}
    try:
        with os.fdopen(ours, "rb") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            parent = Parent(None)
            (waits,) = {*threading.enumerate()} - before
            assert waits.daemon
            os.write(theirs, b"anything")
            assert not parent.gone
            os.close(theirs)
            waits.join(60)
            assert parent.gone
    finally:
        signal.signal(signal.SIGTERM, handler)
    # A real exit would not return.
    assert calls == ([] if serves else ["cleaned up", ("exit", 0)]) + [(os.getpid(), signal.SIGTERM)]
