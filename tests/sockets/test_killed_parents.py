"""What a command leaves behind when killed (SIGKILL): no process, and no temporary file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.run_process import SMALL, process
from tests.support.stopped import stop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


def children(parent: int) -> list[tuple[int, str]]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append((int(path.name), (path / "cmdline").read_bytes().decode().replace("\0", " ")))
        except OSError:
            continue
    return found


def is_there(number: int) -> bool:
    try:
        return (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(what: object) -> Iterator[None]:
    """Poll until the test has seen what it waits for."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        yield
        time.sleep(0.02)
    pytest.fail(f"waited in vain for {what}")


@pytest.mark.parametrize("serves", [False, True], ids=["while the mock starts", "while it serves"])
def test_a_calibration_that_is_killed_leaves_neither_its_mock_nor_its_ledger_behind(
    tmp_path: Path, serves: bool
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    words = ["calibrate", "--mock", "--ttft 5ms --tpot 5ms", "--rate", "50", "--duration", "600s", "--no-store"]
    environment = os.environ | {"TMPDIR": str(scratch)}
    with process([*words, "--out", str(tmp_path / "run"), *SMALL], env=environment) as running:
        for _ in until("the mock"):
            mocks = [number for number, line in children(running.pid) if "mockserver" in line]
            requests = tmp_path / "run" / "requests.jsonl"
            if mocks and (not serves or (requests.exists() and requests.stat().st_size)):
                break
        assert [*scratch.iterdir()]
        running.send_signal(signal.SIGKILL)
        running.communicate()
    for _ in until("the end of the mock"):
        if not any(map(is_there, mocks)) and not [*scratch.iterdir()]:
            break


def test_a_mock_that_is_stopped_does_not_outlive_a_calibration_that_is_killed(tmp_path: Path) -> None:
    words = [
        "calibrate",
        "--mock",
        "--ttft 5ms --tpot 5ms --workers 2",
        "--rate",
        "50",
        "--duration",
        "600s",
        "--no-store",
    ]
    with process([*words, "--out", str(tmp_path / "run"), *SMALL]) as running:
        requests = tmp_path / "run" / "requests.jsonl"
        for _ in until("the load"):
            if requests.exists() and requests.stat().st_size:
                break
        (mock,) = [number for number, line in children(running.pid) if "mockserver" in line]
        stopped = [mock, *(number for number, _ in children(mock))]
        assert len(stopped) == 3
        for number in stopped:
            stop(number)
        running.send_signal(signal.SIGKILL)
        running.communicate()
    try:
        for _ in until("the end of the mock"):
            if not any(map(is_there, stopped)):
                break
    finally:
        for number in filter(is_there, stopped):
            os.kill(number, signal.SIGKILL)


def test_a_mock_as_a_child_does_not_try_the_place_of_its_parents_folder_with_a_file(tmp_path: Path) -> None:
    # The parent may be killed after it made the file, and the mock with it.
    told = "from mockserver import child; child.main = lambda words: print(child.tempfile.tempdir, flush=True)"
    ran = f"{told}; child.run(['--scratch', {str(tmp_path / 'scratch')!r}])"
    words = [sys.executable, "-c", ran]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as mock:
        assert mock.stdout is not None
        assert mock.stdout.readline().strip() == str(tmp_path)


def test_a_mock_as_a_child_leaves_the_folder_of_a_living_parent_alone(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mockserver.child", "--scratch", str(tmp_path), "--port", "0"]
    with popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert "ready" in child.stdout.readline()
        child.terminate()
        assert child.wait(timeout=PATIENCE_S) == 0
    assert tmp_path.is_dir()
