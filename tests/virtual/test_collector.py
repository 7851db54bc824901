"""When garbage is collected during a load."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from bench.clock import LoopClock, sleep_until
from bench.load.active_load import MANY_OBJECTS, collector_at_rest
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

S = 1_000_000_000


@pytest.mark.parametrize(
    ("objects", "busy_s", "looks"), [(MANY_OBJECTS, 0.1, 3), (MANY_OBJECTS - 1, 0.1, 0), (MANY_OBJECTS, 0.9, 0)]
)
def test_a_quiet_second_after_many_new_objects_ends_with_a_look(
    monkeypatch: pytest.MonkeyPatch, objects: int, busy_s: float, looks: int
) -> None:
    asked: list[int] = []
    nothing = lambda: None  # noqa: E731
    monkeypatch.setattr(
        "bench.load.active_load.gc",
        SimpleNamespace(
            get_count=lambda: (objects, 0, 0), collect=asked.append,
            freeze=nothing, disable=nothing, enable=nothing, unfreeze=nothing,
        ),
    )  # fmt: skip

    async def main(_loop: VirtualTimeLoop) -> None:
        clock = LoopClock()
        monkeypatch.setattr("bench.load.active_load.cpu_ns", lambda: round(clock.now_ns() * busy_s))
        with collector_at_rest(clock):
            await sleep_until(clock, clock.now_ns() + 3 * S + S // 2)

    run_virtual(main)
    assert asked == [0] * looks


@pytest.mark.parametrize("fails", [False, True])
def test_the_collector_is_as_before_after_a_load_however_it_ends(fails: bool) -> None:
    async def main(_loop: VirtualTimeLoop) -> None:
        with collector_at_rest(LoopClock()):
            assert not gc.isenabled()
            assert gc.get_freeze_count() > 10_000, "what was there is left alone"
            if fails:
                raise ValueError("the load broke")

    assert gc.isenabled()
    before = gc.get_freeze_count()
    if fails:
        with pytest.raises(ValueError, match="the load broke"):
            run_virtual(main)
    else:
        run_virtual(main)
    assert gc.isenabled()
    assert gc.get_freeze_count() <= before


def test_what_was_made_and_is_gone_does_not_count() -> None:
    """`collector_at_rest` depends on this."""
    gc.disable()
    try:
        before = gc.get_count()[0]
        kept = [[number] for number in range(2_000)]
        made = gc.get_count()[0]
        del kept
        assert (made - before, gc.get_count()[0] - before) == (pytest.approx(2_000, abs=200), pytest.approx(0, abs=200))
    finally:
        gc.enable()
