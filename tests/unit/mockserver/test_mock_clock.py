"""Clocks: converted kernel stamps, and detection of a wall clock step."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from mockserver.clock import HAS_TIMERFD, RealtimeOffset, Timerfd, measure_offset_ns, now_ns
from mockserver.http.server import _Server
from tests.support.patience import PATIENCE_S


def test_the_offset_carries_the_wall_clock_over() -> None:
    offset = measure_offset_ns()
    before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
    # The offset is as exact as the narrowest bracket; this check is as exact as its own.
    assert before - 20_000 <= wall - offset <= after + 20_000


def test_a_step_of_the_wall_clock_is_measured_away() -> None:
    measured = iter([1_000, 3_000_001_000])
    offset = RealtimeOffset(lambda: next(measured))
    try:
        assert offset.to_monotonic_ns(5_000) == 4_000
        offset.on_step()
        assert offset.to_monotonic_ns(3_000_005_000) == 4_000
    finally:
        offset.close()


@pytest.mark.skipif(not HAS_TIMERFD, reason="timerfd is Linux's")
def test_a_timerfd_fires_at_its_deadline_and_not_before() -> None:
    import select

    timer = Timerfd()
    try:
        deadline = now_ns() + 5_000_000
        timer.set(deadline)
        assert select.select([timer.fd], [], [], 0)[0] == []
        assert select.select([timer.fd], [], [], PATIENCE_S)[0] == [timer.fd]
        assert now_ns() >= deadline
        timer.clear()
        assert select.select([timer.fd], [], [], 0)[0] == []
        for long_ago in (1, 0):  # A past time: fires at once.
            timer.set(long_ago)
            assert select.select([timer.fd], [], [], PATIENCE_S)[0] == [timer.fd]
            timer.clear()
    finally:
        timer.close()
    assert timer.fd == -1
    timer.close()  # Its descriptor may belong to something else by now.


@pytest.mark.skipif(not HAS_TIMERFD, reason="timerfd is Linux's")
def test_a_step_of_the_wall_clock_is_watched_for_also_after_one() -> None:
    offset = RealtimeOffset(lambda: 0)
    try:
        for _ in range(2):
            about = dict(
                line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{offset.watch_fd}").read_text().splitlines()
            )
            # CLOCK_REALTIME, an absolute time, cancelled when the clock is set, not due for a hundred years.
            assert (about["clockid"].strip(), int(about["settime flags"], 8)) == ("0", 3)
            assert int(about["it_value"].strip(" ()").split(",")[0]) > 2**31
            offset.on_step()
    finally:
        offset.close()


def test_a_wall_clock_that_is_stepped_again_and_again_is_measured_each_time_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    measured = iter([1, 2, 3, 4])
    unused: Any = None
    offset = RealtimeOffset(lambda: next(measured))
    try:
        server = _Server(uvicorn.Config(unused), unused, offset, lambda: None, None, unused)
        for _ in range(3):
            server._on_clock_step()
        assert offset.offset_ns == 4
    finally:
        offset.close()
    assert [message.partition(":")[0] for message in caplog.messages] == ["the wall clock was stepped"]


def test_after_a_step_the_timer_is_set_anew() -> None:
    offset = RealtimeOffset(lambda: 0)
    offset.close()
    done: list[str] = []

    class Timer:
        def clear(self) -> None:
            done.append("clear")
            raise OSError(errno.ECANCELED, "the clock was set")

        def set(self, at_ns: int, flags: int) -> None:
            done.append("set")

    offset._timer = Timer()  # type: ignore[assignment]
    offset.on_step()
    assert done == ["clear", "set"]
