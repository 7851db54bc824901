"""How a process of ours ends, and what it starts."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from bench.process.interpreter import leave

pytestmark = pytest.mark.processes

LEAVE = """
import atexit, sys, threading, time
from bench.process.interpreter import leave

class Told:
    def __del__(self):
        print("taken apart")

told = Told()
told.itself = told
atexit.register(print, "exit function")
{first}
print("said", end=" ")
leave(3)
"""


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("", "said exit function\n"),
        # Python ends normally if a thread still has work.
        (
            "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()",
            "said thread\nexit function\ntaken apart\n",
        ),
    ],
)
def test_a_process_ends_with_its_status_and_output_and_exit_functions(first: str, said: str) -> None:
    ran = subprocess.run([sys.executable, "-c", LEAVE.format(first=first)], capture_output=True, text=True)

    assert (ran.returncode, ran.stdout) == (3, said)
    assert not ran.stderr


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError("the disk is full")


@pytest.mark.parametrize(("name", "value"), [("getprofile", lambda: print), ("stdout", Full())])
def test_who_profiles_and_what_cannot_be_written_have_a_process_end_as_ever(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    def exit_at_once(status: int) -> NoReturn:
        raise AssertionError(status)

    monkeypatch.setattr("os._exit", exit_at_once)
    monkeypatch.setattr("atexit._run_exitfuncs", lambda: None)
    monkeypatch.setattr(sys, name, value)
    with pytest.raises(SystemExit) as ended:
        leave(3)
    monkeypatch.undo()
    assert ended.value.code == 3


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux shows the threads of a process")
def test_numpy_starts_no_threads_beside_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    # With one processor it starts no threads anyway.
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    code = (
        "import os, sys; from bench.process.interpreter import set_up; set_up(); import numpy; "
        "print('numpy' in sys.modules, len(os.listdir('/proc/self/task')))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["True", "1"]
