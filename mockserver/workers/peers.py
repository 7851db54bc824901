"""Queries between the workers of one mock. They are rare, and no request for text waits for one.

Each worker listens on a Unix socket in a shared directory. A query is one word and the end of the stream; the answer is
bytes until the end of the stream. So any worker can return the ledger, the metrics and the counts of all. A single
process has no peers.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0

Answers = Mapping[str, Callable[[], Awaitable[bytes]]]


def sum_counts(counts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Sum numbers by group and name. For other values, take the first that is not None."""
    sums: dict[str, dict[str, Any]] = {}
    for of_worker in counts:
        for group, values in of_worker.items():
            into = sums.setdefault(group, {})
            for name, value in values.items():
                before = into.get(name)
                if isinstance(before, int) and isinstance(value, int):
                    into[name] = before + value
                elif before is None:
                    into[name] = value
    return sums


class PeerError(Exception):
    """A worker does not answer. The message names it."""


class Peers:
    """The other workers of worker `number` of `workers`."""

    def __init__(self, folder: Path | None = None, number: int = 0, workers: int = 1) -> None:
        self.number = number
        self._folder = folder
        self._others = [n for n in range(workers) if n != number]
        self._server: asyncio.Server | None = None

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"worker-{number}"

    async def serve(self, answers: Answers) -> None:
        """Start to answer the other workers."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The asking worker may have given up, and the loop may be closing.
            with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
                question = (await reader.read()).decode()
                writer.write(await answers[question]())
                await writer.drain()

        if self._others and sys.platform != "win32":
            self._server = await asyncio.start_unix_server(answer, self._path(self.number))

    async def ask(self, question: str) -> list[bytes]:
        """The answers of all other workers, in the order of their numbers. Raises PeerError."""
        return list(await asyncio.gather(*(self._ask(number, question) for number in self._others)))

    async def _ask(self, number: int, question: str) -> bytes:
        if sys.platform == "win32":
            raise PeerError("Windows has no sockets of files for Python")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._path(number))
                with contextlib.closing(writer):
                    writer.write(question.encode())
                    writer.write_eof()
                    return await reader.read()
        except (OSError, TimeoutError) as e:
            raise PeerError(f"worker {number} does not answer, so its part is missing") from e

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path(self.number).unlink(missing_ok=True)
