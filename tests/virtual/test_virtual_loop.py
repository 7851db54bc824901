"""The event loop of the other virtual tests, and the clock that waits with a loop's own timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TypeVarTuple, Unpack

import pytest

from bench.clock import NS_PER_S, LoopClock, sleep_until
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual


def test_an_hour_passes_at_once_and_to_the_nanosecond() -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        clock = LoopClock()
        await sleep_until(clock, START_NS + 3_600 * NS_PER_S + 1)
        return clock.now_ns()

    assert run_virtual(main) == START_NS + 3_600 * NS_PER_S + 1


def test_charged_work_moves_the_time() -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        loop.charge(5)
        return LoopClock().now_ns()

    assert run_virtual(main) == START_NS + 5


def test_a_wait_that_nothing_can_end_is_an_error_and_no_hang() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        await loop.create_future()

    with pytest.raises(RuntimeError, match="would wait for ever"):
        run_virtual(main)


def test_calls_are_made_in_the_order_of_their_deadlines_each_exactly_then() -> None:
    async def main(loop: VirtualTimeLoop) -> list[tuple[int, int]]:
        clock = LoopClock()
        made: list[tuple[int, int]] = []

        def note(offset: int) -> None:
            made.append((offset, clock.now_ns() - START_NS))

        for offset in (30, 10, 20, 10_000_001):
            clock.call_at(START_NS + offset, partial(note, offset))
        await sleep_until(clock, START_NS + 20_000_000)
        return made

    assert run_virtual(main) == [(10, 10), (20, 20), (30, 30), (10_000_001, 10_000_001)]


def test_a_cancelled_call_is_never_made() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        clock = LoopClock()
        made: list[str] = []
        timer = clock.call_at(START_NS + 10, lambda: made.append("cancelled"))
        clock.call_at(START_NS + 10, lambda: made.append("kept"))
        timer.cancel()
        await sleep_until(clock, START_NS + 100)
        return made

    assert run_virtual(main) == ["kept"]


def test_a_deadline_in_the_past_is_called_soon_and_not_at_once() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[bool, bool]:
        clock = LoopClock()
        reached = asyncio.Event()
        clock.call_at(START_NS - 1, reached.set)
        before = reached.is_set()
        await reached.wait()
        return before, clock.now_ns() == START_NS

    assert run_virtual(main) == (False, True)


Ts = TypeVarTuple("Ts")


def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()


class _EarlyLoop(VirtualTimeLoop):
    """Calls back 0.9 ms early, like a loop that counts in whole milliseconds."""

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return super().call_at(max(self.time(), when - 0.0009), callback, *args, context=context)


def test_a_loop_that_wakes_early_makes_no_call_early() -> None:
    async def main() -> int:
        clock = LoopClock()
        await sleep_until(clock, START_NS + 5_000_000)
        return clock.now_ns()

    loop = _EarlyLoop()
    # Between the early wake-up and the deadline the time must pass by itself: each reading of the clock takes 0.1 ms.
    plain = loop.time

    def slow_time() -> float:
        loop.charge(100_000)
        return plain()

    loop.time = slow_time  # type: ignore[method-assign]
    try:
        assert loop.run_until_complete(main()) >= START_NS + 5_000_000
    finally:
        loop.close()


def test_leaving_a_wait_takes_its_timer_back() -> None:
    async def main(loop: VirtualTimeLoop) -> bool:
        clock = LoopClock()
        task = asyncio.ensure_future(sleep_until(clock, START_NS + NS_PER_S))
        clock.call_at(START_NS + 10, partial(_cancel, task))
        with pytest.raises(asyncio.CancelledError):
            await task
        await sleep_until(clock, START_NS + 2 * NS_PER_S)
        return task.cancelled()

    assert run_virtual(main)
