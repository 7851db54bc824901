"""The warm-up that a run detects itself ends when the first round of replies has come, whatever the server does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bench.clock import LoopClock, sleep_until
from bench.load.warmup_finder import LOOK_EVERY_NS, WarmupFinder
from bench.modes.interface import MOST_AUTO_WARMUP_S
from bench.modes.rate import Rate
from bench.modes.share import RunLength
from bench.records import Outcome
from bench.transport.scripted import ScriptedReply
from bench.workload import Request
from tests.support.slow_metrics import ttft_ms
from tests.support.virtual_load import MS, START, Load
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

S = 1000 * MS
QUICK = ScriptedReply(ttft_ns=20 * MS)
MOST = MOST_AUTO_WARMUP_S * S
RATE = Rate(rate=20.0, arrivals="poisson", burstiness=1.0, seed=3, cap=None, drop_late=False)


class _Crew:
    """A load in virtual time as a crew of one."""

    def __init__(self, load: Load, lead_ns: int) -> None:
        self.begin_lead_ns = lead_ns
        self._load = load

    def counts(self, at_ns: int) -> dict[str, int]:
        return {"sent": self._load.dispatcher.sent, "done": self._load.dispatcher.done}

    def warmup_ends(self, at_ns: int) -> None:
        self._load.stop.warmup_ends(at_ns)


class _Warmed:
    """A load whose warm-up is detected. `told`: the reported instants, in ns from the start."""

    def __init__(
        self,
        script: ScriptedReply | Callable[[Request], ScriptedReply],
        *,
        duration_ns: int = S,
        lead_ns: int = 0,
        least_ns: int = 0,
    ) -> None:
        self.told: list[int] = []

        def begin(load: Load) -> None:
            crew: Any = _Crew(load, lead_ns)
            self.finder = WarmupFinder(
                LoopClock(), crew, start_ns=START, least_ns=least_ns, most_ns=MOST,
                tell=lambda at_ns: self.told.append(at_ns - START),
            )  # fmt: skip
            self.finder.start()

        self.load = Load(script, duration_ns=duration_ns, warmup_ns=MOST, meanwhile=[(0, begin)])

    @property
    def phases(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {"warmup": set(), "run": set()}
        for record in self.load.records:
            found[record.phase].add(record.index)
        return found


def _cold(first: int, cold_ns: int) -> Callable[[Request], ScriptedReply]:
    """The first requests all wait for the server to warm up."""
    return lambda request: ScriptedReply(ttft_ns=cold_ns) if request.index < first else QUICK


def test_the_first_round_of_users_is_warm_up() -> None:
    warmed = _Warmed(_cold(3, 700 * MS))
    warmed.load.closed(3)
    assert warmed.told == [750 * MS]  # The first check after the end of the round.
    assert {0, 1, 2} <= warmed.phases["warmup"]
    assert {ttft_ms(record) for record in warmed.load.records if record.phase == "run"} == {20.0}
    assert warmed.load.stop.reason == "duration"
    assert warmed.finder.found is not None
    assert (warmed.finder.found.lasted_s, warmed.finder.found.replies >= 3, warmed.finder.found.whole) == (
        0.75,
        True,
        True,
    )
    # The measured part has its full length, counted from its own first request.
    run_start_ns = warmed.load.stop.run_start_ns
    assert run_start_ns is not None
    assert max(warmed.load.sent_at) + START < run_start_ns + S <= max(warmed.load.sent_at) + START + 20 * MS


def test_what_queued_up_behind_the_first_request_of_an_open_loop_is_warm_up() -> None:
    # Everything that arrives in the first second is answered at its end. At the first reply, 10 requests have been
    # sent.
    def script(request: Request) -> ScriptedReply:
        return ScriptedReply(ttft_ns=S - request.index * 100 * MS) if request.index < 10 else QUICK

    warmed = _Warmed(script)
    warmed.load.open([i * 100 * MS for i in range(100)])
    assert set(range(10)) <= warmed.phases["warmup"]
    assert min(warmed.phases["run"]) >= 10
    assert warmed.told == [1050 * MS]


def test_a_request_that_hangs_does_not_hold_up_the_warm_up() -> None:
    warmed = _Warmed(lambda request: ScriptedReply(ttft_ns=30 * S) if request.index == 0 else QUICK)
    warmed.load.closed(3)
    assert warmed.told == [2 * LOOK_EVERY_NS]
    assert warmed.load.of(0).phase == "warmup"


def test_a_server_that_answers_nothing_is_warm_after_the_longest_time() -> None:
    warmed = _Warmed(ScriptedReply(ttft_ns=200 * S))
    warmed.load.closed(2)
    assert warmed.told == [MOST]
    assert warmed.finder.found is not None
    assert not warmed.finder.found.whole
    # The measurement of the users begins when they are free, and so does its duration.
    assert len(warmed.phases["run"]) == 2


def test_failed_requests_are_replies() -> None:
    warmed = _Warmed(ScriptedReply(ttft_ns=30 * MS, failed=Outcome.HTTP_ERROR))
    warmed.load.closed(2)
    assert warmed.told == [2 * LOOK_EVERY_NS]


def test_users_who_come_one_by_one_have_all_come_before_the_run_begins() -> None:
    warmed = _Warmed(QUICK, least_ns=2 * S)
    warmed.load.closed(4, ramp_ns=2 * S)
    assert warmed.told == [2 * S]
    assert min(r.intended_ns for r in warmed.load.records if r.phase == "run") - START >= 2 * S


def test_the_end_is_told_so_long_before_that_every_worker_hears_of_it() -> None:
    warmed = _Warmed(QUICK, lead_ns=150 * MS)
    warmed.load.closed(2)
    assert warmed.told == [2 * LOOK_EVERY_NS + 150 * MS]


def test_an_end_that_is_told_late_moves_no_request_that_was_measured() -> None:
    load = Load(
        QUICK, duration_ns=S, warmup_ns=100 * MS, meanwhile=[(500 * MS, lambda load: load.stop.warmup_ends(START))]
    )
    load.closed(1)
    assert {record.phase for record in load.records if record.intended_ns >= START + 100 * MS} == {"run"}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_have_arrivals_for_as_long_as_the_warm_up_may_take_and_end_the_run_themselves(workers: int) -> None:
    length = RunLength(requests=None, duration_ns=2 * S, warmup_ns=MOST, finds_warmup=True)
    ends: Any = [(1500 * MS, lambda load: load.stop.warmup_ends(START + 1500 * MS))]
    sent: list[int] = []
    for share in RATE.plan(length, None).shares(workers):  # type: ignore[arg-type]
        assert (share.finds_warmup, share.requests) == (True, None)
        load = Load(QUICK, duration_ns=share.duration_ns, warmup_ns=share.warmup_ns, meanwhile=ends)
        load.open(RATE.arrivals_of(share), then_daily=False)
        assert load.stop.reason == "duration"
        sent += load.sent_at
    first = next(at for at in RATE.offsets() if at >= 1500 * MS)
    planned = [at for at, _ in zip(RATE.offsets(), range(200), strict=False) if at < first + 2 * S]
    # The first arrivals of the workers follow each other closely, so the workers also end close together.
    assert planned == sorted(sent)[: len(planned)]
    assert len(sent) - len(planned) < workers


def test_a_finder_that_is_stopped_tells_nothing_more() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[int], object]:
        told: list[int] = []
        crew: Any = SimpleNamespace(
            begin_lead_ns=0, counts=lambda at_ns: {"sent": 1, "done": 1}, warmup_ends=told.append
        )
        clock = LoopClock()
        finder = WarmupFinder(clock, crew, start_ns=START, least_ns=0, most_ns=MOST, tell=told.append)
        finder.start()
        finder.stop()
        await sleep_until(clock, START + 3 * LOOK_EVERY_NS)
        return told, finder.found

    assert run_virtual(main) == ([], None)
