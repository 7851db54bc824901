"""Starts our mock for calibrations and limits: a separate process, reached only over HTTP and through its ledger."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from bench.errors import BenchError, UsageError
from bench.machine import preflight
from bench.process.child_process import death
from promptset.whole_file import load_yaml

READY = "mockserver ready at "
OWN_FLAGS = ("--ledger", "--port", "--host")
"""Flags of the mock that are set here."""


@dataclass(frozen=True, slots=True)
class Mock:
    """A running mock: its addresses (with `--replicas`, one for each), and its ledger file."""

    urls: tuple[str, ...]
    ledger: Path
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return self.urls[0]

    def stop(self) -> None:
        """End the mock and wait until its ledger is complete."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def end_with_ledger(self, place: Path) -> None:
        """End the mock, move its ledger to `place`, and remove its folder: if we are killed later, an ended mock could
        not."""
        self.stop()
        shutil.move(self.ledger, place)
        shutil.rmtree(self.ledger.parent, ignore_errors=True)


@contextmanager
def running_mock(flags: str, *, seed: int, tokenizer: str | None) -> Iterator[Mock]:
    """A mock with these command line flags, on a free loopback port. Raises UsageError for flags that it refuses."""
    try:
        words = shlex.split(flags)
    except ValueError as e:
        raise UsageError(f"--mock: {str(e).lower()} in {flags!r}") from e
    if reserved := [word for word in words if word.partition("=")[0] in OWN_FLAGS]:
        raise UsageError(f"--mock: {', '.join(reserved)} is set by calibrate itself; leave it out")
    preflight.kernel_time()  # If time does not advance, a mock never becomes ready.
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        ledger, log = Path(folder) / "ledger.jsonl", Path(folder) / "mock.log"
        # It ends when its standard input closes, and then removes the folder: this process may be killed.
        command = [sys.executable, "-m", "mockserver.child", "--scratch", folder]
        command += ["--host", "127.0.0.1", "--port", "0", "--ledger", str(ledger)]
        if "--seed" not in words:
            command += ["--seed", str(seed)]
        if tokenizer is not None and "--tokenizer" not in words:
            command += ["--tokenizer", tokenizer]
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C must reach only this process: the mock is still needed.
            )
        mock = Mock(_addresses(process, log, words), ledger, process)
        try:
            yield mock
        finally:
            mock.stop()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()


def replicas_of(flags: str) -> int:
    """How many servers a mock with these command line flags runs. Returns 1 for flags that the mock will refuse."""
    try:
        words = [part for word in shlex.split(flags) for part in (word.split("=", 1) if word[:2] == "--" else [word])]
        options = dict(pairwise(words))
        number = options.get("--replicas")
        if number is None and "--config" in options:
            content = load_yaml(Path(options["--config"]))
            number = content["replicas"] if isinstance(content, dict) else None
        return max(1, int(number or 1))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        return 1


def _addresses(process: subprocess.Popen[str], log: Path, words: Sequence[str]) -> tuple[str, ...]:
    assert process.stdout is not None
    addresses: list[str] = []
    servers = replicas_of(shlex.join(words))
    for line in process.stdout:
        if line.startswith(READY):
            addresses.append(line.removeprefix(READY).strip())
        if len(addresses) == servers:
            return tuple(addresses)
    process.stdout.close()
    status = process.wait()
    assert process.stdin is not None
    process.stdin.close()
    log_text = log.read_text().strip()
    if status == 2:
        raise UsageError([f"--mock: {problem.removeprefix('mockserver: ')}" for problem in log_text.splitlines()])
    if status < 0:  # Killed by a signal: not a defect of ours.
        raise UsageError(f"the mock {death(status)} before it was ready: no load was sent")
    raise BenchError(f"the mock {death(status)} before it was ready: {log_text[-2000:]}")
