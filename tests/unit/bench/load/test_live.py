"""The numbers of a running load, from this process and from several."""

from __future__ import annotations

from typing import Any

import pytest

from bench.clock import NS_PER_S, LoopClock, sleep_until
from bench.load.live import Live, LiveNumbers, LoadGoal, RecentLatency
from bench.load.progress_tally import ProgressTally, metrics_of
from bench.metrics import objectives
from bench.observer import Cadence, Control, LoadOnly, Observer
from bench.records import Outcome
from bench.run_files.load_change import LoadChange
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

COUNTS = {"planned": 9, "sent": 6, "done": 4, "in_flight": 2}
SLO = objectives.parse(["ttft:p99<60ms", "error_rate<1%"])
RECORDS = [
    *(made_record(i, chunks_ms=(50 + i, 60 + i, 80 + i)) for i in range(4)),
    *(made_record(i, chunks_ms=(500, 510, 520), phase="warmup") for i in range(3)),
    made_record(9, outcome=Outcome.RESET),
]


def live_of(goal: LoadGoal) -> Live:
    return Live(LoopClock(), lambda at_ns: dict(COUNTS), goal)


def test_the_numbers_of_a_load() -> None:
    async def main(loop: VirtualTimeLoop) -> LiveNumbers:
        live = live_of(LoadGoal(requests=10, duration_s=8, objectives=SLO))
        live.start()
        for record in RECORDS:
            live.add(record)
        return live.numbers(START_NS + 2 * NS_PER_S)

    numbers = run_virtual(main)
    assert (numbers.elapsed_s, numbers.run_s, numbers.warming_up, numbers.all_sent) == (2, 2, False, False)
    assert (numbers.planned, numbers.sent, numbers.done, numbers.in_flight, numbers.waiting) == (9, 6, 4, 2, 3)
    # 4 of 10 requests are a larger share than 2 of 8 s. 8 requests ended in 2 s, so the other 6 need 1.5 s.
    assert (numbers.share_done, numbers.left_s) == (0.4, 1.5)
    assert (numbers.requests_per_s, numbers.output_tokens_per_s) == (4, 21 / 2)
    assert numbers.failures == ((Outcome.RESET, 1),)
    assert (numbers.failed, numbers.failed_share) == (1, 0.2)
    assert numbers.latencies["tpot"] == RecentLatency(p50=15.0, p99=15.0)
    ttft, errors = numbers.objectives
    assert ttft.value == pytest.approx(53.0, rel=1e-3)
    assert (ttft.held, errors.value, errors.held) == (True, 0.2, False)


@pytest.mark.parametrize("counted", [{}, {"input_tokens": None, "input_tokens_asked": 100}])
def test_rates_so_far_are_of_the_time_of_the_run(counted: dict[str, Any]) -> None:
    """Four replies in 2 s, each of 3 tokens for a prompt of 100. The counts come from the server or from the request."""
    names = ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s")

    async def main(loop: VirtualTimeLoop) -> LiveNumbers:
        live = live_of(LoadGoal(objectives=objectives.parse([f"{name}>1" for name in names])))
        live.start()
        for record in RECORDS[:4]:
            live.add(replace(record, **counted))
        return live.numbers(START_NS + 2 * NS_PER_S)

    assert [one.value for one in run_virtual(main).objectives] == [4 / 2, 400 / 2, 12 / 2, 412 / 2]


def test_a_run_begins_when_the_end_of_its_warm_up_has_been_told() -> None:
    async def main(loop: VirtualTimeLoop) -> list[LiveNumbers]:
        live = live_of(LoadGoal(duration_s=8, warmup_s=60))
        live.start()
        before = live.numbers(START_NS + 2 * NS_PER_S)
        live.warmup_ends(START_NS + 3 * NS_PER_S)
        return [before, *(live.numbers(START_NS + at_s * NS_PER_S) for at_s in (2, 5))]

    numbers = run_virtual(main)
    assert [(now.warming_up, now.run_s, now.share_done) for now in numbers] == [
        (True, 0, 0),
        (True, 0, 0),
        (False, 2, 0.25),
    ]


def test_what_workers_counted_is_the_same() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[LiveNumbers, LiveNumbers]:
        goal = LoadGoal(requests=10, objectives=SLO)
        alone, merged = live_of(goal), live_of(goal)
        tallies = [ProgressTally(metrics_of(SLO)) for _ in range(2)]
        alone.start()
        merged.start()
        for i, record in enumerate(RECORDS):
            alone.add(record)
            tallies[i % 2].add(record)
        for tally in tallies:
            merged.merge(tally)
        return alone.numbers(START_NS + NS_PER_S), merged.numbers(START_NS + NS_PER_S)

    alone, merged = run_virtual(main)
    assert alone == merged


def test_numbers_are_told_at_their_times_and_when_the_load_is_over() -> None:
    async def main(loop: VirtualTimeLoop) -> list[float]:
        times: list[float] = []
        live = live_of(LoadGoal(duration_s=60))
        live.start()
        live.follow(lambda numbers: times.append(numbers.elapsed_s), *Cadence(first_s=1, every_s=2))
        await sleep_until(LoopClock(), START_NS + 6 * NS_PER_S)
        live.stop()
        return times

    assert run_virtual(main) == [1, 3, 5, 6]


class Noting(Observer):
    """Records its calls."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def say(self, line: str) -> None:
        self.told.append(line)

    @property
    def cadence(self) -> Cadence:
        return Cadence(1, 1)

    def load_begins(self, control: Control) -> None:
        self.told.append("begins")

    def load_ended(self) -> None:
        self.told.append("ended")

    def run_ended(self) -> None:
        self.told.append("over")


class Uncontrolled:
    """Ends nothing."""

    def interrupt(self) -> None: ...

    def terminate(self) -> None: ...

    def set_load(self, load: float) -> LoadChange:
        raise AssertionError("nobody changes it")


def test_of_one_run_of_many_only_the_load_is_followed() -> None:
    noting = Noting()
    one = LoadOnly(noting)
    one.say("probing")
    one.load_begins(Uncontrolled())
    one.say("stopping")
    one.load_ended()
    # From here on Ctrl-C ends the series. It must not be held back for the report of one run.
    assert noting.told == ["begins", "stopping", "ended", "over"]
    one.say("done")
    one.run_ended()
    assert noting.told == ["begins", "stopping", "ended", "over"]
    one.load_begins(Uncontrolled())
    one.load_ended()
    assert noting.told[4:] == ["begins", "ended", "over"]
    assert one.cadence == Cadence(1, 1)
    assert LoadOnly(noting, progress=False).cadence is None


def test_more_requests_than_were_asked_for_are_the_whole_load_and_nothing_is_left() -> None:
    async def main(loop: VirtualTimeLoop) -> LiveNumbers:
        live = live_of(LoadGoal(requests=2, warmup_requests=1))
        live.start()
        for record in RECORDS:
            live.add(record)
        return live.numbers(START_NS + 2 * NS_PER_S)

    numbers = run_virtual(main)
    assert (numbers.done, numbers.share_done, numbers.left_s) == (4, 1.0, 0.0)
