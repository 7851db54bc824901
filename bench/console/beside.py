"""Runs `python -m bench` in a low-priority process, so that it does not disturb running measurements."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from bench.process.priority import NICENESS_BESIDE


def ran(words: Sequence[str], within_s: float) -> tuple[int, str] | None:
    """The exit status and the stderr of a command. Returns None if it exceeds `within_s`, and kills it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with suppress(OSError):
        if sys.platform != "win32":
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS_BESIDE)
    try:
        _, errors = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return process.returncode, errors
