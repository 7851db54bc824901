"""The process behind `--until`, seen from the sender. The test plays that process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from unittest.mock import Mock

import pytest

from bench.load.precision_watch import PrecisionTask, PrecisionWatch
from bench.metrics.precision import PRECISE_ENOUGH, Look
from bench.process import child_process

TASK = PrecisionTask(("ttft:p90=10%",), "run", 2, 60.0)
EARLY, ENOUGH = Look(20.0, (), False), Look(40.0, (), True)


@contextlib.contextmanager
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PrecisionWatch, Connection]]:
    """The watch, and its process's end of the connection. The watch believes that the process was killed."""
    ours, theirs = socket.socketpair()
    process = Mock(wait=Mock(return_value=-9))
    monkeypatch.setattr(child_process, "start", lambda module: (process, ours))
    watch = PrecisionWatch(TASK)
    with contextlib.closing(Connection(theirs.detach())) as program:
        yield watch, program
    watch.close()


DEATH = "was killed by SIGKILL (which the system does when memory runs out)"


@pytest.mark.parametrize(
    ("looks", "dies", "told", "died"),
    [
        ([EARLY, ENOUGH], False, [EARLY, ENOUGH], None),
        ([EARLY, ENOUGH], True, [EARLY, ENOUGH], None),
        ([ENOUGH, EARLY], False, [ENOUGH], None),
        ([EARLY], True, [EARLY], DEATH),
        ([], True, [], DEATH),
    ],
)
def test_every_look_is_told_until_there_is_enough_or_no_process(
    looks: list[Look], dies: bool, told: list[Look], died: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(watch: PrecisionWatch, program: Connection) -> list[Look]:
        program.send("ready")
        await watch.ready()
        assert program.recv() == TASK
        heard: list[Look] = []
        watch.begin(heard.append)
        for look in looks:
            program.send(look)
        if dies:
            program.close()
        for _ in range(10):
            await asyncio.sleep(0)
        return heard

    with beside(monkeypatch) as (watch, program):
        assert asyncio.run(main(watch, program)) == told
        assert (watch.last, watch.died) == (told[-1] if told else None, died)


def test_a_process_that_dies_before_the_load_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(watch: PrecisionWatch, program: Connection) -> None:
        program.close()
        await watch.ready()
        assert watch.died == DEATH
        watch.begin(lambda look: None)
        assert not watch._companion.reading

    with beside(monkeypatch) as (watch, program):
        asyncio.run(main(watch, program))
        assert (watch.last, watch.died) == (None, DEATH)


@pytest.mark.parametrize(
    ("last", "died", "stop_reason", "why"),
    [
        (ENOUGH, None, PRECISE_ENOUGH, f"stopped: {ENOUGH}"),
        (EARLY, DEATH, "duration", f"--until could not end the run: the process that judges it {DEATH}"),
        (None, None, "duration", "--until had no effect: the run ended before its first look"),
        (EARLY, None, "duration", f"the cap came first: {EARLY}"),
        (EARLY, None, "requests", f"the cap came first: {EARLY}"),
        (EARLY, None, "errors", f"--until was not reached: {EARLY}"),
    ],
)
def test_why_a_run_ended_is_a_sentence(
    last: Look | None, died: str | None, stop_reason: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with beside(monkeypatch) as (watch, _):
        watch.last, watch.died = last, died
        assert watch.why(stop_reason) == why
