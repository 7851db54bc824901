"""The parent of the workers without any: its forks, the ends that it waits for, and its signals are played. And the
queries between workers, in one process."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mockserver.errors import MockError
from mockserver.workers.peers import PeerError, Peers
from mockserver.workers.processes import WorkerPipes, WorkerProcesses, woken_by_parents_end

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked, and ask over Unix sockets")


class Played:
    """Three workers with the process ids 11 to 13, which end in this order with these statuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends: list[tuple[int, int]], silent: int | None = None) -> None:
        self.said: list[Any] = []
        self.handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        self._pipes: list[tuple[int, int]] = []
        self._pids, self._ends = iter((11, 12, 13)), iter(ends)
        self._silent = silent
        pipe = os.pipe

        def opened() -> tuple[int, int]:
            self._pipes.append(pipe())
            return self._pipes[-1]

        def fork() -> int:
            pid = next(self._pids)
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= {signal.SIGINT, signal.SIGTERM}
            if pid != self._silent:
                os.write(self._pipes[-1][1], b"1")
            return pid

        def waitpid(pid: int, options: int) -> tuple[int, int]:
            assert (pid, options) == (-1, 0)
            end = next(self._ends)
            if end[0] == 0:  # A signal comes meanwhile.
                os.kill(os.getpid(), signal.SIGTERM)
                end = next(self._ends)
            return end

        real_kill = os.kill

        def kill(pid: int, number: int) -> None:
            if pid == os.getpid():
                real_kill(pid, number)
            else:
                self.said.append((pid, signal.Signals(number).name))

        for name, call in (("pipe", opened), ("fork", fork), ("waitpid", waitpid), ("kill", kill)):
            monkeypatch.setattr(os, name, call)

    def run(self) -> str:
        """Returns the error at the end, or an empty text. By then all pipes are closed and the signal handlers restored."""
        error = ""
        try:
            WorkerProcesses(3, lambda number, pipes: None).run(lambda: self.said.append("ready"))
        except MockError as e:
            error = str(e)
        for pipe in self._pipes:
            for end in pipe:
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(end)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == self.handlers
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}
        return error


STOPPED = [(11, "SIGTERM"), (11, "SIGCONT"), (12, "SIGTERM"), (12, "SIGCONT"), (13, "SIGTERM"), (13, "SIGCONT")]


def test_a_signal_stops_all_workers_and_their_ends_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, [(0, 0), (11, 0), (13, 0), (99, 1), (12, 0)])
    assert played.run() == ""
    assert played.said == ["ready", *STOPPED]


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (0, "ended unexpectedly with status 0"),
        (3 << 8, "ended unexpectedly with status 3"),
        (signal.SIGHUP, "was killed by SIGHUP"),
        (signal.SIGKILL, "was killed by SIGKILL (which the system does when memory runs out)"),
        (40, "was killed by signal 40"),  # A real-time signal, which has no name.
    ],
)
def test_the_first_worker_that_ends_is_named_and_the_others_are_stopped(
    monkeypatch: pytest.MonkeyPatch, status: int, how: str
) -> None:
    played = Played(monkeypatch, [(12, status), (11, signal.SIGTERM), (13, 1 << 8)])
    assert played.run() == (
        f"worker 1 of 3 (process 12) {how}: its requests are missing from the ledger, so the mock stops"
    )
    assert played.said == ["ready", *(each for each in STOPPED if each[0] != 12)]


def test_a_worker_that_fails_while_the_mock_stops_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, [(0, 0), (11, 0), (12, 1 << 8), (13, 0)])
    assert played.run().startswith("worker 1 of 3 (process 12) ended unexpectedly with status 1: ")
    assert played.said[1:] == [*STOPPED, *STOPPED[4:]]


@pytest.mark.parametrize("silent", [11, 12, 13])
def test_the_mock_is_not_ready_if_a_worker_is_not(monkeypatch: pytest.MonkeyPatch, silent: int) -> None:
    others = [(pid, signal.SIGTERM) for pid in (11, 12, 13) if pid != silent]
    played = Played(monkeypatch, [(silent, 1 << 8), *others], silent)
    assert f"(process {silent}) ended unexpectedly with status 1" in played.run()
    assert "ready" not in played.said


def test_the_kernel_continues_a_process_whose_parent_ends() -> None:
    libc, wanted = ctypes.CDLL(None), ctypes.c_int()
    set_signal, get_signal = 1, 2  # PR_SET_PDEATHSIG and PR_GET_PDEATHSIG of linux/prctl.h.
    libc.prctl(get_signal, ctypes.byref(wanted))
    before = wanted.value
    try:
        woken_by_parents_end()
        libc.prctl(get_signal, ctypes.byref(wanted))
        assert wanted.value == signal.SIGCONT
    finally:
        libc.prctl(set_signal, before)


def test_a_fork_keeps_only_its_own_ends_of_the_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    opened: list[tuple[int, int]] = []
    pipe = os.pipe

    def opens() -> tuple[int, int]:
        opened.append(pipe())
        return opened[-1]

    def run_worker(self: WorkerProcesses, number: int, pipes: WorkerPipes) -> None:
        given.extend([number, pipes])
        for end in (*opened[0], *opened[1]):
            try:
                os.fstat(end)
            except OSError:
                given.append(end)
        raise SystemExit

    monkeypatch.setattr(os, "pipe", opens)
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(WorkerProcesses, "_run_worker", run_worker)
    (parent_read, parent_write) = os.pipe()
    try:
        with pytest.raises(SystemExit):
            WorkerProcesses(3, lambda number, pipes: None)._fork(2, parent_read, parent_write)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    ready_read, ready_write = opened[1]
    assert given == [2, WorkerPipes(ready_write, parent_read), parent_write, ready_read]
    for end in (parent_read, ready_write):
        os.close(end)


# ---- Queries between workers -------------------------------------------------------------------------------------------


def test_workers_answer_each_other_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    async def main() -> None:
        peers = [Peers(tmp_path, number, 3) for number in range(3)]
        for one in peers:

            async def answer(name: bytes = b"worker %d" % one.number) -> bytes:
                return name

            await one.serve({"name": answer})
        assert sorted(path.name for path in tmp_path.iterdir()) == ["worker-0", "worker-1", "worker-2"]
        assert await peers[0].ask("name") == [b"worker 1", b"worker 2"]
        assert await peers[1].ask("name") == [b"worker 0", b"worker 2"]
        await peers[2].close()
        assert not (tmp_path / "worker-2").exists()
        with pytest.raises(PeerError, match="worker 2 does not answer, so its part is missing"):
            await peers[0].ask("name")
        while len(asyncio.all_tasks()) > 1:  # The query of the other worker is still under way.
            await asyncio.sleep(0)
        for one in peers[:2]:
            await one.close()
        assert [*tmp_path.iterdir()] == []

    asyncio.run(main())


def test_a_single_process_asks_nobody_and_opens_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        alone = Peers(tmp_path)
        await alone.serve({})
        assert await alone.ask("name") == []
        assert [*tmp_path.iterdir()] == []
        await alone.close()

    asyncio.run(main())
