"""Copies of this process, and how a process ends."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from bench.process.interpreter import leave

pytestmark = pytest.mark.processes

COPY = """
import fcntl, os, signal, socket, sys, threading, time, warnings
from multiprocessing.connection import Connection
from bench import native
from bench.process import child_process

lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
ours, theirs = socket.socketpair()

def beside(fd):
    open_now = sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}"))
    connection = Connection(fd)
    name = open("/proc/self/comm").read().strip()
    connection.send((name, os.getsid(0) == os.getpid(), [one for one in open_now if one not in (0, 1, 2, fd)]))
    status = connection.recv()
    if status is None:
        raise RuntimeError("it failed")
    return status

print(child_process.may_copy())
process = child_process.copy("scrape_program", theirs.detach(), beside)
connection = Connection(ours.detach())
print(*connection.recv())
connection.send({"well": 0, "badly": 3, "raises": None}[sys.argv[2]])
print(process.wait())
process.kill()
receiver = native.core.Receiver() if native.core else None  # It reads without the interpreter: no lock of a copy is its own.
print(child_process.may_copy())
beside_it, theirs = socket.socketpair()
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    once_more = child_process.copy("feed_program", theirs.detach(), lambda fd: len(Connection(fd).recv()))
Connection(beside_it.detach()).send("four")
print(once_more.wait(), warned)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print(child_process.may_copy())
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is copied")
@pytest.mark.parametrize(("how", "status"), [("well", 0), ("badly", 3), ("raises", 1)])
def test_a_copy_has_its_descriptor_and_its_name_and_nothing_else_of_ours(tmp_path: Path, how: str, status: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", COPY, str(tmp_path / "lock"), how], capture_output=True, text=True
    )
    lines = ran.stdout.splitlines()

    assert lines == ["True", "scrape_program True []", str(status), "True", "4 []", "False"]
    assert ("it failed" in ran.stderr) == (how == "raises")


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
        # Python ends as ever where a thread has something to do.
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
    # On one processor it starts none anyway.
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    code = (
        "import os, sys; from bench.process.interpreter import set_up; set_up(); import numpy; "
        "print('numpy' in sys.modules, len(os.listdir('/proc/self/task')))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["True", "1"]
