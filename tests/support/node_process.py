"""A cluster without Ray: each node is a process with a `NodeWorker`, called through a socket. Nodes may have their own
clock (time_namespaces(7)), with CLOCK_MONOTONIC hours away from the driver's.

As a program, `python -m tests.support.node_process DESCRIPTOR`: the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from bench.scale.cluster.node_worker import NodeWorker
from bench.scale.cluster.remote_worker import NodeLostError

AHEAD_S = 5_000
BEHIND_S = 60
"""A clock cannot be set back to before the boot, which on a CI machine may have been a minute ago."""


def own_clock(by_s: int = AHEAD_S) -> list[str]:
    """The prefix of a command that gives it a clock this far ahead."""
    return ["unshare", "-T", "--monotonic", str(by_s), "--fork", "--"]


def clocks_can_differ() -> bool:
    """Whether this system allows such a clock."""
    try:
        return subprocess.run([*own_clock(), "true"], capture_output=True).returncode == 0
    except OSError:
        return False


class NodeProcess:
    """A `Handle` of a worker in another process."""

    def __init__(self, node: str, before: list[str]) -> None:
        self.node = node
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.support.node_process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._answers: dict[int, Future[Any]] = {}
        self._lost = False
        self._calls = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                number, answer = self._connection.recv()
                self._answers.pop(number).set_result(answer)
        with self._lock:
            self._lost = True
            for future in self._answers.values():
                future.set_exception(NodeLostError("was lost with its node"))

    def _call(self, method: str, arguments: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # The answer arrives even if no caller waits for it any more.
        with self._lock:
            self._calls += 1
            self._answers[self._calls] = future
            try:
                if self._lost:
                    raise BrokenPipeError
                self._connection.send((self._calls, method, arguments))
            except OSError:
                del self._answers[self._calls]
                future.set_exception(NodeLostError("was lost with its node"))
        return future

    def call(self, method: str, *arguments: Any) -> Awaitable[Any]:
        return asyncio.wrap_future(self._call(method, arguments))

    def tell(self, method: str, *arguments: Any) -> None:
        self._call(method, arguments).exception  # noqa: B018

    def kill(self) -> None:
        """Like a power loss of its machine, except that the worker's program survives without its parent."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class FakeCluster:
    """Replaces `RayCluster`. `nodes` are created when workers are placed, each with its own command prefix from
    `before`."""

    def __init__(self, before: list[list[str]]) -> None:
        self.before = before
        self.nodes: list[NodeProcess] = []
        self.processors = 8

    async def join(self, address: str, per_node: int | None, environment: Any = None) -> FakeCluster:
        return self

    def workers(self, wanted: str) -> str:
        return wanted

    async def place(self, workers: int) -> list[NodeProcess]:
        self.nodes = [NodeProcess(f"node-{k}", self.before[k % len(self.before)]) for k in range(workers)]
        return self.nodes

    def release(self) -> None:
        for node in self.nodes:
            node.kill()


def main(descriptor: int) -> None:
    connection = Connection(descriptor)
    worker = NodeWorker()
    lock = threading.Lock()

    def answer(number: int, method: str, arguments: tuple[Any, ...]) -> None:
        result = getattr(worker, method)(*arguments)
        with lock, contextlib.suppress(OSError):
            connection.send((number, result))

    while True:
        try:
            call = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        threading.Thread(target=answer, args=call, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
