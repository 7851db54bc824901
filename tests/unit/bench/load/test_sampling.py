"""The client's samples of itself, one line per second."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bench.clock import NS_PER_MS, NS_PER_S, LoopClock, sleep_until
from bench.load.sampling import SAMPLE_FIELDS, RunQueue, Sampler, processor_times, run_queue, used_ticks, waited_ns
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual


def sampled(seconds: float, *, pauses: dict[float, float] | None = None, load_s: float = 0.05) -> list[dict[str, Any]]:
    """The lines of a sampler that ran this long; the loop is busy for `pauses` (at second: for seconds)."""
    rows: list[dict[str, Any]] = []

    async def main(loop: VirtualTimeLoop) -> None:
        clock = LoopClock()
        sampler = Sampler(
            clock, lambda at_ns: {"in_flight": 3, "in_flight_ns": at_ns}, lambda line: rows.append(orjson.loads(line))
        )
        for at, length in (pauses or {}).items():
            clock.call_at(START_NS + round(at * NS_PER_S), lambda length=length: loop.charge(round(length * NS_PER_S)))  # type: ignore[misc]
        sampler.start(START_NS + round(load_s * NS_PER_S))
        await sleep_until(clock, START_NS + round(seconds * NS_PER_S))
        sampler.stop()

    run_virtual(main)
    return rows


def times(rows: list[dict[str, Any]]) -> list[float]:
    return [(row["t_ns"] - START_NS) / NS_PER_S for row in rows]


def test_there_is_a_line_at_the_start_each_second_and_at_the_end() -> None:
    assert times(sampled(3.5)) == [0, 1, 2, 3, 3.5]


def test_a_load_that_began_before_the_sampler_is_counted_from_its_beginning() -> None:
    late = sampled(2.5, load_s=-0.203)
    assert times(late) == [-0.203, 1, 2, 2.5]
    assert late[0]["in_flight_ns"] == late[0]["t_ns"]


def test_each_line_has_the_dispatchers_counts_at_its_instant() -> None:
    for row in sampled(2.5):
        assert (row["in_flight"], row["in_flight_ns"], row["worker"]) == (3, row["t_ns"], 0)
        assert {*row} <= {*SAMPLE_FIELDS}


def test_a_rest_too_short_to_be_a_share_of_has_counts_and_lags_alone() -> None:
    last = sampled(2.1)[-1]
    assert "cpu" not in last
    assert set(last["loop_lag_ms"]) == {0}
    assert last["in_flight"] == 3
    assert "cpu" in sampled(2.5)[-1]


def test_an_idle_loop_has_no_lag() -> None:
    lags = [lag for row in sampled(2.5) for lag in row.get("loop_lag_ms", [])]
    assert lags == [0] * 125  # One tick every 20 ms.


def test_a_busy_loop_is_seen_in_the_lag() -> None:
    lags = [lag for row in sampled(2.5, pauses={1.505: 0.2}) for lag in row.get("loop_lag_ms", [])]
    assert max(lags) == pytest.approx(185)  # Due at 1.52 s, and the loop was busy until 1.705 s.
    assert sum(lag > 1 for lag in lags) == 1


def pauses(rows: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [
        ((begin - START_NS) / NS_PER_S, (end - START_NS) / NS_PER_S)
        for begin, end in (r["pause_ns"] for r in rows if "pause_ns" in r)
    ]


def test_a_pause_is_told_with_its_instants_in_the_line_that_follows_it() -> None:
    rows = sampled(6.5, pauses={1.505: 3.2, 5.305: 0.1, 5.605: 0.05})
    # A pause begins 20 ms after the last tick before it. With two pauses in a second, the longer one is kept.
    assert pauses(rows) == [(1.52, 4.705), (pytest.approx(5.32, abs=0.02), 5.405)]
    rows = sampled(6.5, pauses={5.305: 0.05, 5.605: 0.1})
    assert pauses(rows) == [(pytest.approx(5.62, abs=0.02), 5.705)]
    assert pauses(sampled(3.5)) == []


def test_a_pause_that_lasts_until_the_end_is_told_too() -> None:
    async def main(loop: VirtualTimeLoop) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        clock = LoopClock()
        sampler = Sampler(clock, lambda at_ns: {}, lambda line: rows.append(orjson.loads(line)))
        sampler.start(START_NS)
        await sleep_until(clock, START_NS + NS_PER_S // 10)
        loop.charge(2 * NS_PER_S)
        sampler.stop()
        return rows

    ((begin, end),) = pauses(run_virtual(main))
    assert end == 2.1
    assert begin == pytest.approx(0.11, abs=0.011)


def test_a_pause_of_seconds_is_one_sample_and_the_next_second_is_where_it_always_was() -> None:
    rows = sampled(6.5, pauses={1.5: 3.2})
    assert times(rows) == [0, 1, 4.7, 5, 6, 6.5]
    assert all(0 <= row["cpu"] <= 8 for row in rows if "cpu" in row)


def test_nothing_more_is_written_after_the_stop() -> None:
    rows: list[bytes] = []

    async def main(loop: VirtualTimeLoop) -> int:
        clock = LoopClock()
        sampler = Sampler(clock, lambda at_ns: {}, rows.append, worker=7)
        sampler.start(START_NS)
        await sleep_until(clock, START_NS + NS_PER_S // 2)
        sampler.stop()
        written = len(rows)
        await sleep_until(clock, START_NS + 5 * NS_PER_S)
        return written

    assert run_virtual(main) == len(rows) == 2
    assert orjson.loads(rows[0])["worker"] == 7


def test_a_machine_that_does_not_say_how_idle_it_is_counts_as_busy() -> None:
    assert waited_ns(RunQueue(0, 0, 0, 0), RunQueue(60 * NS_PER_MS, 2_500, 0, 0)) == 35 * NS_PER_MS


def test_the_run_queue_only_grows() -> None:
    first, second = run_queue(), run_queue()
    if first is not None:
        assert second is not None
        assert 0 <= first.wait_ns <= second.wait_ns < 10**9 * NS_PER_MS
        assert 0 < first.times <= second.times
        assert 0 <= first.idle_time <= first.all_time <= second.all_time


@pytest.mark.parametrize(
    ("wait_ms", "times", "idle", "waited_ms"),
    [
        (50, 8_000, 0, 0),  # Woken eight thousand times on a quiet machine: 6 us each.
        (500, 200, 0, 498),  # Other programs have the processor for 2.5 ms each time.
        (90, 8_000, 0, 10),  # Both causes.
        (60, 2_500, 79, 35),
        (60, 2_500, 80, 0),  # Sleeping processors wake slowly.
        (500, 200, 80, 494),
        (0, 0, 200, 0),
    ],
)
def test_only_waiting_for_others_counts_and_being_woken_does_not(
    wait_ms: int, times: int, idle: int, waited_ms: int
) -> None:
    before = RunQueue(7 * NS_PER_MS, 100, 5_000, 3_000)
    after = RunQueue((7 + wait_ms) * NS_PER_MS, 100 + times, 5_200, 3_000 + idle)
    assert waited_ns(before, after) == waited_ms * NS_PER_MS


def test_of_the_time_of_all_processors_guests_are_counted_once_and_waiting_for_disks_is_idle() -> None:
    stat = b"cpu  100 20 30 4000 500 6 7 8 90 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
    assert processor_times(stat) == (100 + 20 + 30 + 4000 + 500 + 6 + 7 + 8, 4000 + 500, 8)
    before_there_were_virtual_machines = b"cpu  100 20 30 4000 500 6 7\n"
    assert processor_times(before_there_were_virtual_machines) == (4663, 4500, 0)


@pytest.mark.parametrize(
    ("all_time", "idle_time", "used"),
    [
        (200, 80, 120),
        (200, 0, 200),
        (80, 80, 0),
        (190, -10, 200),  # The idle time of a sleeping processor may step back (proc(5)), and the total with it.
        (70, 80, 0),
    ],
)
def test_what_was_not_idle_was_used(all_time: int, idle_time: int, used: int) -> None:
    assert used_ticks(RunQueue(0, 0, 5_000, 3_000), RunQueue(0, 0, 5_000 + all_time, 3_000 + idle_time)) == used


def test_a_line_says_what_the_machine_used_and_what_was_stolen_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = iter([RunQueue(0, 0, 1_000, 400, 30), RunQueue(0, 0, 1_200, 450, 36), RunQueue(0, 0, 1_400, 650, 36)])
    monkeypatch.setattr("bench.load.sampling.run_queue", lambda: next(looked))
    assert [(row.get("used_s"), row.get("stolen_s")) for row in sampled(2.1)] == [
        (None, None), (1.5, 0.06), (0, 0), (None, None),
    ]  # fmt: skip
