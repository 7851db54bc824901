"""Messages of other processes, read in an event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from multiprocessing import Pipe

import pytest

from bench.process import event_loop


def test_a_message_is_taken_once_it_is_there_and_its_connection_is_let_go() -> None:
    async def main() -> None:
        ours, theirs = Pipe()
        os.set_blocking(ours.fileno(), False)
        waiting = asyncio.create_task(event_loop.next_message(ours, str))
        await asyncio.sleep(0)
        assert not waiting.done()
        theirs.send("said")
        assert await waiting == "said"
        assert os.get_blocking(
            ours.fileno()
        )  # Uvloop and asyncio make it non-blocking: a long message would break off.
        assert not asyncio.get_running_loop().remove_reader(ours.fileno())
        theirs.close()
        with pytest.raises(EOFError):
            await event_loop.next_message(ours, str)
        assert not asyncio.get_running_loop().remove_reader(ours.fileno())
        ours.close()

    asyncio.run(main())


def test_each_message_is_handed_on_with_what_was_given() -> None:
    async def main() -> list[object]:
        ours, theirs = Pipe()
        taken: list[object] = []
        done = asyncio.Event()

        def take(*given: object) -> None:
            taken.extend((*given, ours.recv()))
            if len(taken) == 6:
                done.set()

        event_loop.add_message_reader(ours, take, "a", 1)
        theirs.send("first")
        theirs.send("second")
        await done.wait()
        asyncio.get_running_loop().remove_reader(ours.fileno())
        ours.close()
        theirs.close()
        return taken

    assert asyncio.run(main()) == ["a", 1, "first", "a", 1, "second"]


def test_without_uvloop_the_loop_is_that_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert event_loop.loop_factory() is sys.modules["uvloop"].new_event_loop
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.loop_factory() is None
