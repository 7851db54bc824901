"""How our processes are set up: what they do not import, and which settings of other programs they leave alone."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from bench import cli
from bench.process import child_process, interpreter

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="threads are counted as Linux tells them"),
]

CODE = """
import sys
from bench.process.interpreter import set_up
set_up()
from pydantic import BaseModel
class Model(BaseModel):
    number: int
assert Model(number="3").number == 3
import numpy
threads = int(next(line for line in open("/proc/self/status") if line.startswith("Threads:")).split()[1])
print(sorted({"importlib.metadata"} & sys.modules.keys()), threads)
"""


def said(tmp_path: Path, **environment: str) -> str:
    names = ("PYDANTIC_DISABLE_PLUGINS", "OPENBLAS_NUM_THREADS")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-c", CODE],
        env={**inherited, "XDG_CACHE_HOME": str(tmp_path), **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_no_plugins_are_looked_for_and_no_threads_are_started(tmp_path: Path) -> None:
    assert said(tmp_path) == "[] 1"


def test_who_names_plugins_has_them_looked_for(tmp_path: Path) -> None:
    assert said(tmp_path, PYDANTIC_DISABLE_PLUGINS="logfire") == "['importlib.metadata'] 1"


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor needs no second thread")
def test_who_asks_for_threads_has_them(tmp_path: Path) -> None:
    assert said(tmp_path, OPENBLAS_NUM_THREADS="2") == "[] 2"


PROGRAM = """
import gc, os
from bench.process.interpreter import GARBAGE_AT
SET_UP = gc.get_threshold()[0] == GARBAGE_AT
def main(descriptor):
    os.write(descriptor, b"set up before" if SET_UP else b"not set up")
    return 7
"""


def test_a_program_beside_a_command_is_set_up_before_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "program_of_a_test.py").write_text(PROGRAM)
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    process, ours = child_process.start(
        "program_of_a_test", environment={**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(tmp_path)}
    )
    with ours:
        assert ours.recv(100) == b"set up before"
    assert process.wait() == 7


def _ctrl_c(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_ctrl_c_while_the_command_line_is_loaded_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = ModuleType("bench.cli")
    vars(loading)["__getattr__"] = _ctrl_c
    monkeypatch.setitem(sys.modules, "bench.cli", loading)
    with pytest.raises(SystemExit, match=r"^130$"):
        runpy.run_module("bench", run_name="__main__")


def test_ctrl_c_while_the_process_is_set_up_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "set_up", _ctrl_c)
    assert cli.main() == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_what_somebody_else_has_said_of_sigterm_stays() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in interpreter.TERMINATE}
    try:
        interpreter.end_as_ctrl_c()
        assert {signal.getsignal(number) for number in interpreter.TERMINATE} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, *interpreter.TERMINATE])
def test_a_signal_while_a_command_is_imported_ends_the_process_without_an_exception(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with interpreter.ended_at_once(130):
            signal.pthread_kill(threading.get_ident(), number)
        assert (ended, capsys.readouterr().err) == ([130], "error: interrupted\n")
        assert signal.getsignal(number) is signal.default_int_handler
        signal.signal(number, signal.SIG_IGN)
        with interpreter.ended_at_once(130):
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
