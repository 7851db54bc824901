"""A mock that ends before it is ready, and how many servers one is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.process.mock_process import _addresses, replicas_of


@pytest.mark.processes
def test_a_mock_that_is_killed_before_it_is_ready_is_no_defect(tmp_path: Path) -> None:
    log = tmp_path / "mock.log"
    log.touch()
    dies = "import os; os.kill(os.getpid(), 9)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen([sys.executable, "-c", dies], text=True, **pipes) as process,  # type: ignore[call-overload]
        pytest.raises(UsageError, match=r"the mock was killed by SIGKILL \(.*\) before it was ready: no load was sent"),
    ):
        _addresses(process, log, [])


@pytest.mark.parametrize(
    ("flags", "servers"),
    [
        ("", 1),
        ("--ttft 5ms", 1),
        ("--replicas 3 --replica 1:ttft=9ms", 3),
        ("--replicas=2", 2),
        ("--replicas x", 1),
        ("--config 'FOLDER/a mock.yaml'", 4),
        ("--config='FOLDER/a mock.yaml' --replicas 2", 2),
        ("--config FOLDER/none.yaml", 1),
        ("--config FOLDER/list.yaml", 1),
        ("--config 'FOLDER", 1),
    ],
)
def test_the_flags_and_the_file_of_a_mock_say_how_many_servers_it_is(tmp_path: Path, flags: str, servers: int) -> None:
    (tmp_path / "a mock.yaml").write_text("replicas: 4\nttft: 5ms\n")
    (tmp_path / "list.yaml").write_text("- replicas\n")
    assert replicas_of(flags.replace("FOLDER", str(tmp_path))) == servers
