"""A checkout of Trueload under attack: starts its commands, and reads their output files."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY = "mockserver ready at "
LONGEST_S = 120.0
"""A command that takes longer is killed, and the table reports it."""


@dataclass(frozen=True)
class Ran:
    """The outcome of `bench run`: exit status (None: killed), its output, time, memory and files."""

    status: int | None
    out: str
    err: str
    took_s: float
    peak_mb: float
    folder: Path

    @property
    def summary(self) -> dict[str, Any] | None:
        path = self.folder / "summary.json"
        return dict(json.loads(path.read_text())) if path.exists() else None

    def records(self) -> list[dict[str, Any]]:
        """The records in the order in which the requests were made. A partial line (on a full disk) is skipped."""
        path = self.folder / "requests.jsonl"
        text = path.read_text() if path.exists() else ""
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return sorted((row for row in rows if row["phase"] == "run"), key=lambda row: row["index"])

    def words(self, about: str = "") -> str:
        """Verdict, exit status, outcomes, and the reason that contains `about`."""
        summary = self.summary
        if self.status is None:
            return f"did not end in {LONGEST_S:.0f} s"
        if summary is None:
            last = next((line for line in reversed(self.err.splitlines()) if line.strip()), "")
            what = "a traceback: " if "Traceback" in self.err else ""
            return f"exit {self.status}: {what}{_short(last.replace(str(self.folder), 'DIR'))}"
        counts = summary["counts"]["by_outcome"]
        outcomes = ", ".join(f"{n:,} {outcome}" for outcome, n in Counter(counts).most_common(3))
        text = f"{summary['verdict']['status']}, exit {self.status}; {outcomes}"
        reasons = summary["verdict"]["reasons"]
        found = [reason for reason in reasons if about and about in reason]
        if not found:
            return f"{text} (for: {_short(reasons[0], 90)})" if reasons else text
        return f"{text}; {_short(found[0])}"


def _short(text: str, most: int = 150) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 4].rstrip() + " ..."


@dataclass(frozen=True)
class Mock:
    """A running mock of the checkout."""

    url: str
    ledger: Path
    process: subprocess.Popen[str]


class Checkout:
    """The code in a folder, run by this Python, whose packages it shares."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.scratch = scratch
        self.environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"} | {
            "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'datasets'}",
            "XDG_CACHE_HOME": str(scratch / "cache"),
        }

    def start(self, module: str, *words: str, **popen: Any) -> subprocess.Popen[str]:
        """Start a command of the checkout."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *words], cwd=self.folder, text=True, env=self.environment, **popen
        )

    def place(self) -> Path:
        """A new empty folder."""
        return Path(tempfile.mkdtemp(dir=self.scratch))

    def run(
        self,
        url: str,
        *words: str,
        during: Callable[[subprocess.Popen[str], Path], None] | None = None,
        shape: Sequence[str] = ("--input-tokens", "16", "--output-tokens", "4"),
        out: Path | None = None,
        **popen: Any,
    ) -> Ran:
        """Run `bench run`. `during` may act on the process while it runs; it also gets the run directory."""
        place = self.place()
        out = place / "run" if out is None else out
        with (place / "out").open("w+") as printed, (place / "err").open("w+") as errors:
            began = time.monotonic()
            flags = ("run", "--url", url, "--out", str(out), "--quiet", *shape, *words)
            process = self.start("bench", *flags, stdout=printed, stderr=errors, stdin=subprocess.DEVNULL, **popen)
            try:
                if during is not None:
                    during(process, out)
                status, peak_mb = _wait(process)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            took_s = time.monotonic() - began
            printed.seek(0)
            errors.seek(0)
            return Ran(status, printed.read(), errors.read(), took_s, peak_mb, out)

    @contextmanager
    def mock(self, *flags: str) -> Iterator[Mock]:
        """Run a mock until the end of the block."""
        ledger = self.place() / "ledger.jsonl"
        words = ("--port", "0", "--ledger", str(ledger), *flags)
        process = self.start("mockserver", *words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith(READY):
                raise RuntimeError(f"the mock of {self.folder} did not start")
            yield Mock(line.removeprefix(READY).strip(), ledger, process)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _wait(process: subprocess.Popen[str]) -> tuple[int | None, float]:
    """Exit status and peak memory in MB; the process is killed after LONGEST_S."""
    deadline, peak_mb = time.monotonic() + LONGEST_S, 0.0
    while process.poll() is None:
        # Not the kernel's ru_maxrss, which includes the memory of the process that started this one.
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak_mb = max(peak_mb, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            return None, peak_mb
        time.sleep(0.02)
    return process.returncode, peak_mb
