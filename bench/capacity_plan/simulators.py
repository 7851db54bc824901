"""Processes of `python -m mockserver.simulate`, which answer jobs in parallel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue

import orjson

from bench.errors import BenchError, UsageError


@dataclass(frozen=True, slots=True)
class Simulated:
    """The times of each request of a job, in us; None if the event did not happen."""

    sent_us: Sequence[float | None]
    first_us: Sequence[float | None]
    last_us: Sequence[float | None]
    replica: Sequence[int | None]


class Simulators:
    """Hands jobs to the processes. Created by `running`."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in processes:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(len(processes))

    def answers(self, jobs: Sequence[dict[str, object]]) -> list[Simulated]:
        """The answers in the order of the jobs. Raises UsageError for a job that the mock refuses."""
        return [*self._threads.map(self._answer, jobs)]

    def _answer(self, job: dict[str, object]) -> Simulated:
        process = self._free.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(orjson.dumps(job) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError as e:
            raise BenchError(f"a simulation ended early: {e}") from e
        finally:
            self._free.put(process)
        if not line:
            raise BenchError("a simulation ended early, without an answer")
        answer = orjson.loads(line)
        if "error" in answer:
            raise UsageError(f"the simulation refuses this server or load: {answer['error']}")
        return Simulated(**answer)

    def close(self) -> None:
        self._threads.shutdown()


@contextmanager
def running(count: int) -> Iterator[Simulators]:
    """This many processes, until the end of the block."""
    command = [sys.executable, "-m", "mockserver.simulate"]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Keeps Ctrl-C from the processes, which would print a traceback.
        )
        for _ in range(count)
    ]
    simulators = Simulators(processes)
    try:
        yield simulators
    finally:
        for process in processes:
            process.kill()
        simulators.close()
        for process in processes:
            process.wait()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.close()
            process.stdin.close()
