"""Steps of the wall clock, early timers, and the distance between two clocks, without waiting."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time

import pytest

from bench.clock import NS_PER_S, LoopClock, StepWatch, Timer, realtime_offset_ns, sleep_until
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ECANCELED, "Operation canceled"), True),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), False),
        (None, False),
    ],
)
def test_a_step_of_the_wall_clock_is_told_and_the_next_one_watched_for(
    error: OSError | None, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def main() -> None:
        watch = StepWatch(lambda: seen.append("step"))
        arm = watch._arm
        fd = watch._fd

        def armed() -> None:
            arm()
            seen.append("armed")

        def read(descriptor: int, size: int) -> bytes:
            assert descriptor == fd
            if error is not None:
                raise error
            return bytes(size)

        with monkeypatch.context() as patch:
            patch.setattr(watch, "_arm", armed)
            patch.setattr(os, "read", read)
            watch._stepped()
        watch.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    asyncio.run(main())
    assert seen == (["armed", "step"] if told else [])


def test_a_timer_of_the_loop_that_fires_early_waits_for_the_rest() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        ours, made = LoopClock(), list[int]()
        timer = Timer(START_NS + 5 * NS_PER_S, lambda: made.append(ours.now_ns()))
        ours._fire(timer)
        assert made == []
        await sleep_until(ours, START_NS + 6 * NS_PER_S)
        return made

    assert run_virtual(main) == [START_NS + 5 * NS_PER_S]


def test_a_call_of_the_loop_that_is_cancelled_is_never_made_and_another_once() -> None:
    async def main(loop: VirtualTimeLoop) -> list[str]:
        ours, made = LoopClock(), list[str]()
        cancelled = ours.call_at(START_NS + NS_PER_S, lambda: made.append("cancelled"))
        kept = ours.call_at(START_NS + 2 * NS_PER_S, lambda: made.append("kept"))
        cancelled.cancel()
        await sleep_until(ours, START_NS + 3 * NS_PER_S)
        ours._fire(kept)
        return made

    assert run_virtual(main) == ["kept"]


def test_whoever_stops_waiting_leaves_no_timer_behind() -> None:
    class Noted:
        name = "noted"
        timers: list[Timer]

        def __init__(self) -> None:
            self.timers = []

        def now_ns(self) -> int:
            return 0

        def call_at(self, deadline_ns: int, call: object) -> Timer:
            assert callable(call)
            self.timers.append(Timer(deadline_ns, call))
            return self.timers[-1]

        def next_ns(self) -> int | None:
            return None

        def close(self) -> None:
            pass

    async def main() -> tuple[Timer, bool]:
        noted = Noted()
        waiting = asyncio.create_task(sleep_until(noted, 7))
        await asyncio.sleep(0)
        (timer,) = noted.timers
        call = timer.call
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert call is not None
        call()  # The clock may already be making the call.
        return timer, waiting.cancelled()

    timer, cancelled = asyncio.run(main())
    assert (timer.deadline_ns, timer.call, cancelled) == (7, None, True)


def test_a_wait_ends_once_although_its_call_is_made_twice() -> None:
    async def main() -> str:
        class Twice(LoopClock):
            def call_at(self, deadline_ns: int, call: object) -> Timer:
                assert callable(call)
                call()
                call()
                return Timer(deadline_ns, call)

        await sleep_until(Twice(), 0)
        return "awake"

    assert asyncio.run(main()) == "awake"


def test_the_distance_of_two_clocks_is_read_from_the_tightest_bracket(monkeypatch: pytest.MonkeyPatch) -> None:
    brackets = [(0, 1_000 + 40, 100), (200, 1_000 + 205, 210), (300, 1_000 + 350, 310), (400, 1_000 + 450, 500)]
    brackets += [(1_000, 2_030, 1_060)] * 196
    monotonic = iter([at for before, _, after in brackets for at in (before, after)])
    real = iter([at for _, at, _ in brackets])
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic_ns", lambda: next(monotonic))
        patch.setattr(time, "time_ns", lambda: next(real))
        offset = realtime_offset_ns()
    # Of the two brackets of 10 ns, the first: 1,205 was read in the middle of 200 and 210.
    assert offset == 1_000
    assert next(real, None) is None
