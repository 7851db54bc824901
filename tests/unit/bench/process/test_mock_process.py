"""A mock that ends before it is ready."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.process.mock_process import _address


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
        _address(process, log, [])
