"""A program copied from a process that has imported it behaves like a new interpreter."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.errors import Exit
from tests.support.mock_process import READY, mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import ROOT, popen, run_to_end
from tests.support.run_process import SMALL, process, wait_for
from tests.support.worker_processes import shard_lines, worker_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each is a new interpreter")

MOCK = [sys.executable, "-m", "mockserver", "--port", "0"]


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "bench", "--version"),
        ("-m", "bench", "run", "--url", "http://127.0.0.1:1", "--concurency", "2"),
        ("-m", "mockserver", "--ttft", "5"),
        ("-m", "promptset", "--count", "2", "--input-tokens", "16", "--salt", "a", "--out", "here/rows.jsonl"),
        ("-c", "import sys; print(sys.argv, __name__); sys.exit(3)", "a word"),
    ],
    ids=" ".join,
)
def test_it_prints_and_writes_the_same_and_ends_with_the_same_status(words: tuple[str, ...], tmp_path: Path) -> None:
    new = partial(subprocess.run, capture_output=True, text=True)
    ways: dict[str, Callable[..., subprocess.CompletedProcess[str]]] = {"new": new, "copy": run_to_end}
    ended = []
    for name, run in ways.items():
        (tmp_path / name / "here").mkdir(parents=True)
        ran = run([sys.executable, *words], cwd=tmp_path / name, timeout=PATIENCE_S)
        written = {path.name: path.read_bytes() for path in (tmp_path / name / "here").iterdir()}
        ended.append((ran.returncode, ran.stdout, ran.stderr, written))
    assert ended[0] == ended[1]


def test_its_command_is_shown_before_whoever_started_it_goes_on() -> None:
    for _ in range(20):
        with popen(MOCK, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            process.kill()
        assert shown == [word.encode() for word in MOCK]


def test_it_is_a_child_of_ours_that_signals_end(tmp_path: Path) -> None:
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)):
        with popen(MOCK, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(READY)
            stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            assert int(stat[1]) == os.getpid()
            assert os.getsid(process.pid) == process.pid
            assert process.poll() is None
            process.send_signal(number)
            process.communicate(timeout=PATIENCE_S)
        assert process.returncode == status


def test_it_has_the_environment_and_no_descriptor_of_others(tmp_path: Path) -> None:
    environment = {**os.environ, "TRUELOAD_MARK": "of this one", "PYTHONUNBUFFERED": "1"}
    with popen(MOCK, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        here = Path(f"/proc/{process.pid}")
        assert (here / "cwd").readlink() == tmp_path
        links = open_files(here)
        process.terminate()
    ours = open_files(Path("/proc/self"))
    assert [link for link in links if str(link).startswith("socket:") and link in ours] == []


def test_what_cannot_be_copied_is_a_new_interpreter() -> None:
    known = [sys.executable, "-m", "bench", "--version"]
    kinds = {}
    ways: list[tuple[str, list[str], dict[str, Any]]] = [
        ("a copy", known, {}),
        ("another program", [sys.executable, "-I", "-c", "pass"], {}),
        ("a variable of the interpreter", known, {"env": {**os.environ, "PYTHONOPTIMIZE": "1"}}),
        ("something before it starts", known, {"preexec_fn": lambda: None}),
    ]
    for name, command, settings in ways:
        with popen(command, stdout=subprocess.PIPE, **settings) as process:
            process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        kinds[name] = type(process) is subprocess.Popen
    assert kinds == {name: name != "a copy" for name in kinds}


WHERE_OUTPUT_IS_A_FILE = """
import os, socket, sys
from tests.support import ready_made
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if os.fork() == 0:  # In place of one that imports everything.
    ours.close()
    ready_made._copy_when_asked(theirs)
theirs.close()
original = ready_made._Original(ours, os.wait)
ready_made._original = lambda: original
ran = ready_made.run_to_end([sys.executable, "-m", "bench", "nonsense"])
original.end()
print(ran.returncode, ran.stderr)
"""


def test_it_does_not_mind_what_the_output_of_the_tests_is(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        out.write("before\n")
        out.flush()
        subprocess.run([sys.executable, "-c", WHERE_OUTPUT_IS_A_FILE], stdout=out, stderr=out, cwd=ROOT, check=True)
    assert (tmp_path / "out").read_text().startswith("before\n2 error: 'nonsense' is not a command")


def test_what_a_copy_starts_is_a_copy_that_tells_its_command(tmp_path: Path) -> None:
    # tests/sockets/test_feed.py shows that NEW_INTERPRETERS exposes its environment.
    environment = os.environ | {"TRUELOAD_MARK": "of this one"}
    with mock_process() as mock:
        load = ("--duration", "600s", "--concurrency", "2", "--workers", "2", "--server-metrics", "off")
        words = ("run", "--url", mock.url, "--out", str(tmp_path / "run"), *SMALL, *load)
        with process(words, env=environment, start_new_session=True) as running:
            wait_for(lambda: min(shard_lines(tmp_path), default=0) >= 1)
            workers = worker_processes(running.pid)
            marks = [b"TRUELOAD_MARK=" in Path(f"/proc/{pid}/environ").read_bytes() for pid in workers]
            os.killpg(running.pid, signal.SIGINT)
            _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == Exit.INTERRUPTED, err
    assert marks == [False, False]
    # Nothing is left: neither the workers nor the process that they were copied from.
    wait_for(lambda: not [path for path in Path("/proc").glob("[0-9]*") if session_of(path) == running.pid])


def open_files(process: Path) -> list[Path]:
    """What the descriptors of a process are. It may close one meanwhile."""
    links = []
    for entry in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(entry.readlink())
    return links


def session_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return 0
