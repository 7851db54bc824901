"""A companion process of a load, seen from the run: its messages are read while the run waits for it, and it can be
ended at any time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from unittest.mock import Mock

import pytest

from bench.process import child_process
from bench.process.companion import Companion


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Companion, Connection]]:
    """A companion, and its program's end of the connection."""
    ours, theirs = socket.socketpair()
    process = Mock()
    monkeypatch.setattr(child_process, "start", lambda program: (process, ours))
    with contextlib.closing(Connection(theirs.detach())) as program:
        yield Companion("a.program"), program
    process.kill.assert_called()


def test_it_can_be_ended_where_no_loop_runs_and_twice(started: tuple[Companion, Connection]) -> None:
    companion, program = started
    companion.close()
    companion.close()
    with pytest.raises(EOFError):
        program.recv()


def test_an_answer_is_read_and_nothing_after_it(started: tuple[Companion, Connection]) -> None:
    companion, program = started

    async def main() -> str:
        program.send("answer")
        program.send("more")
        return await companion.ask("question", str)

    assert asyncio.run(main()) == "answer"
    assert (program.recv(), companion.reading, companion.connection.recv()) == ("question", False, "more")
    companion.close()


def test_each_message_is_taken_until_it_listens_no_more(started: tuple[Companion, Connection]) -> None:
    companion, program = started
    taken: list[object] = []

    async def main() -> None:
        companion.listen(lambda word: taken.append((word, companion.connection.recv())), "told")
        for n in (1, 2):
            program.send(n)
        for _ in range(5):
            await asyncio.sleep(0)
        companion.stop()
        companion.stop()
        program.send(3)
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert taken == [("told", 1), ("told", 2)]
    companion.close()
