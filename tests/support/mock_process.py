"""A mock server in its own process, for tests: started on a free port, ready when it reports so, stopped by SIGTERM.

with mock_process("--ttft", "30ms") as mock:
    httpx.get(f"{mock.url}/health")
    ...
    mock.ledger_lines(at_least=1)
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.stopped import go_on, stop

READY = "mockserver ready at "


@dataclass
class MockProcess:
    """A running mock."""

    url: str
    ledger_path: Path
    process: subprocess.Popen[str]
    stderr: list[str] = field(default_factory=list)

    def ledger_lines(self, at_least: int = 0) -> list[dict[str, Any]]:
        """The ledger's lines in order of arrival, once there are `at_least`: a line comes within 100 ms of its
        response's end, possibly after the line of a request that ended later."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            text = self.ledger_path.read_text() if self.ledger_path.exists() else ""
            whole = text[: text.rfind("\n") + 1].splitlines()
            if len(whole) >= at_least:
                return sorted(map(json.loads, whole), key=lambda line: int(line["received_ns"]))
            if time.monotonic() > deadline:
                raise AssertionError(f"the ledger has {len(whole)} lines after {PATIENCE_S} s, not {at_least}")
            time.sleep(0.005)

    def lines_of(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """The lines of these ended requests; for several attempts, the last."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = {line["id"]: line for line in self.ledger_lines() if line["id"] in ids}
            if len(found) == len(ids):
                return found
            assert time.monotonic() < deadline, (
                f"the ledger has {len(found)} of {len(ids)} requests after {PATIENCE_S} s"
            )
            time.sleep(0.005)

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The line of a request that has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for line in self.ledger_lines():
                if line["id"] == request_id:
                    return line
            if time.monotonic() > deadline:
                raise AssertionError(f"the ledger has no line of {request_id} after {PATIENCE_S} s")
            time.sleep(0.005)

    @contextlib.contextmanager
    def held_still(self) -> Iterator[None]:
        """Stop the mock, so that it does not even read: the kernel accepts the data (with one worker)."""
        stop(self.process.pid)
        try:
            yield
        finally:
            go_on(self.process.pid)

    def stop(self) -> int:
        """Send SIGTERM. Returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=PATIENCE_S)


@contextlib.contextmanager
def mock_process(*flags: str) -> Iterator[MockProcess]:
    """`python -m mockserver --port 0 --ledger <temporary file> <flags>`, stopped at the end, with its stderr kept."""
    with tempfile.TemporaryDirectory(prefix="mock-") as folder:
        ledger = Path(folder) / "ledger.jsonl"
        command = [sys.executable, "-m", "mockserver", "--port", "0", "--ledger", str(ledger), *flags]
        process = popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stderr is not None
        stderr: list[str] = []
        # The wall clock of a virtual machine may be set at any time.
        said = (line for line in process.stderr if "the wall clock was stepped" not in line)
        reader = threading.Thread(target=stderr.extend, args=(said,), daemon=True)
        reader.start()
        try:
            line = process.stdout.readline()
            if not line.startswith(READY):
                process.wait(timeout=PATIENCE_S)
                reader.join(PATIENCE_S)
                raise AssertionError(f"the mock did not start (status {process.returncode}): {''.join(stderr)}")
            yield MockProcess(line.removeprefix(READY).strip(), ledger, process, stderr)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join(PATIENCE_S)
            process.stdout.close()
            process.stderr.close()
