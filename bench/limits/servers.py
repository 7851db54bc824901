"""The servers for the ladders: each is a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.limits.source import READY
from bench.process.mock_process import running_mock


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. It sends each token `gap_ms` after the one before, and the first `gap_ms` after the request."""

    url: str
    pid: int

    def cpu_s(self) -> float | None:
        """Processor time used so far, in seconds; None where the system does not say (proc(5), /proc/PID/stat)."""
        try:
            # The name of the program, in parentheses, may hold blanks: utime and stime are the 12th and 13th after it.
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        if sys.platform == "win32":
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def bare_source(gap_ms: float) -> Iterator[Server]:
    """Our bare source. Raises BenchError where it does not start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.limits.source", "--gap-ms", f"{gap_ms:g}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches us alone.
    )
    with process:  # Leaving closes its standard input, which ends it, and waits.
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said.startswith(READY):
            raise BenchError(f"the source ended with status {process.wait()} before it was ready: its error is above")
        yield Server(said.removeprefix(READY).strip(), process.pid)


@contextmanager
def mock(gap_ms: float) -> Iterator[Server]:
    """Our mock, with the same times."""
    with running_mock(f"--ttft {gap_ms:g}ms --tpot {gap_ms:g}ms", seed=0, tokenizer=None) as running:
        yield Server(running.url, running.process.pid)


SERVERS: dict[str, Callable[[float], AbstractContextManager[Server]]] = {
    "the bare source": bare_source,
    "the mock": mock,
}
"""By their names in reports. The first costs least, so it shows the client's own ceiling."""
