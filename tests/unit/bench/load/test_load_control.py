"""Which changes a running load accepts. It refuses others with one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.config import resolve
from bench.errors import UsageError
from bench.load.live import LiveNumbers, LoadGoal
from bench.load.load_control import BegunLoad, LoadControl
from bench.run_files.load_change import LoadChange

S = 1_000_000_000
START = 7 * S
NUMBERS = LiveNumbers(
    goal=LoadGoal(), elapsed_s=5.0, run_s=5.0, warming_up=False, all_sent=False, share_done=None, left_s=None, planned=9,
    sent=9, done=9, in_flight=0, dropped=0, failures=(), failed=0, failed_share=None, requests_per_s=1.0,
    output_tokens_per_s=1.0, latencies={}, objectives=(),
)  # fmt: skip


class MadeRun:
    """Replaces the crew, the clock, Ctrl-C and the file of a run."""

    def __init__(self, *, workers: int = 1, lead_ns: int = 0, changeable: bool = True, **settings: Any) -> None:
        self.now, self.lead, self.seen = START + 5 * S, lead_ns, False
        self.told: list[tuple[int, float]] = []
        self.noted: list[LoadChange] = []
        self.numbers = NUMBERS
        self.ended: list[str] = []
        config = resolve({"url": "http://127.0.0.1:1", "duration": "60s", **settings})
        made: Any = self
        self.control = LoadControl(
            BegunLoad(config, start_ns=START, workers=workers, changeable=changeable),
            made,
            made,
            made,
            numbers=lambda now_ns: self.numbers,
            note=self.noted.append,
        )

    def now_ns(self) -> int:
        return self.now

    def lead_ns(self, load: float) -> int:
        return self.lead

    def change(self, at_ns: int, load: float) -> None:
        self.told.append((at_ns, load))

    def interrupt(self) -> None:
        self.ended.append("interrupted")

    def terminate(self) -> None:
        self.ended.append("terminated")


def test_a_change_is_written_down_told_to_the_crew_and_begins_after_its_lead() -> None:
    run = MadeRun(concurrency=4, workers=2, lead_ns=S // 4)
    made = run.control.set_load(10, by="terminal")
    begins = START + 5 * S + S // 4
    assert made == LoadChange(t_ns=begins, before=4, after=10, by="terminal")
    assert (run.told, run.noted) == ([(begins, 10)], [made])
    assert LoadChange.of_row({"t_ns": begins, "from": 4, "to": 10, "by": "terminal"}) == made
    assert made.to_line() == b'{"t_ns":%d,"from":4,"to":10.0,"by":"terminal"}\n' % begins
    assert [run.control.load_at(begins + ns) for ns in (-1, 0)] == [4, 10]
    assert run.control.set_load(3).before == 10
    assert run.control.since_start_s(made) == 5.25


@pytest.mark.parametrize(
    ("settings", "load", "words"),
    [
        ({"mode": "throughput", "max_concurrency": 9}, 5, "mode throughput has no load that can be set"),
        ({"steps": "5,10:10s", "duration": None}, 7, "--steps already plans how this load changes"),
        ({"ramp": "1..50:10m", "duration": None}, 7, "--ramp already plans how this load changes"),
        ({"ramp_up": 30.0}, 7, "--ramp-up 30s already plans when users start"),
        ({"until": ["ttft:p90=10%"]}, 7, "--until needs a constant load"),
        ({"mode": "sessions", "sessions_begin": "middle"}, 7, "--sessions-begin middle plans how this load begins"),
        ({"mode": "sessions"}, 2.5, "2.5 sessions do not exist"),
        ({"mode": "sessions", "rate": 5.0}, 2_000_000, "2e\\+06 sessions/s is not a load"),
        ({}, 0, "0 users is not a load: give more than 0 and at most 1,000,000"),
        ({}, -3, "not a load"),
        ({}, float("nan"), "not a load"),
        ({"rate": 5.0}, 2_000_000, "not a load"),
        ({}, 2.5, "2.5 users do not exist"),
        ({"workers": 4}, 3, "this run has 4 workers: give at least 4 users"),
        ({}, 10, "the load is 10 users already"),
        ({}, 900_000, "open files"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(settings: dict[str, Any], load: float, words: str) -> None:
    run = MadeRun(workers=settings.pop("workers", 1), **settings)
    with pytest.raises(UsageError, match=words):
        run.control.set_load(load)
    assert (run.told, run.noted) == ([], [])


@pytest.mark.parametrize(
    ("numbers", "seen", "words"),
    [
        ({"run_s": 0.0, "warming_up": True}, False, "warming up"),
        ({"run_s": 0.0}, False, "has not begun yet"),
        ({"all_sent": True}, False, "sends no more requests"),
        ({"run_s": 59.5}, False, "ends within a second"),
        ({}, True, "sends no more requests"),
    ],
)
def test_a_load_is_set_only_while_requests_of_the_run_are_sent(numbers: Any, seen: bool, words: str) -> None:
    run = MadeRun()
    run.numbers, run.seen = replace(NUMBERS, **numbers), seen
    with pytest.raises(UsageError, match=words):
        run.control.set_load(5)
    assert (run.told, run.noted) == ([], [])


def test_a_run_of_a_series_stays_as_it_is() -> None:
    with pytest.raises(UsageError, match="one of a search, a sweep, repeats or a calibration"):
        MadeRun(changeable=False).control.set_load(5)


def test_the_present_load_is_that_of_the_plan_where_nobody_changed_it() -> None:
    stepped = MadeRun(steps="5,10:10s", mode="rate", duration=None, warmup="2s")
    assert [stepped.control.load_at(START + s * S) for s in (1, 11, 13, 99)] == [5, 5, 10, 10]
    rising = MadeRun(ramp="1..11:10s", duration=None)
    assert [rising.control.load_at(START + s * S) for s in (0, 5, 10)] == [1, 6, 11]
    coming = MadeRun(ramp_up=10.0, concurrency=10)
    assert [coming.control.load_at(START + s * S) for s in (0, 5, 20)] == [1, 6, 10]
    assert MadeRun(mode="throughput", max_concurrency=9).control.load_at(START) is None


def test_changes_begin_in_their_order_also_where_the_first_has_to_wait() -> None:
    run = MadeRun(mode="rate", rate=5.0, lead_ns=2 * S)
    first = run.control.set_load(100)
    run.lead = 0
    second = run.control.set_load(20)
    assert second.t_ns == first.t_ns + 1
    run.now += 3 * S
    assert run.control.set_load(30).t_ns == run.now


def test_a_change_that_would_have_to_wait_beyond_the_end_is_refused() -> None:
    run = MadeRun(mode="rate", rate=5.0, lead_ns=2 * S)
    run.numbers = replace(NUMBERS, run_s=57.5)
    with pytest.raises(UsageError, match="could begin in 2 s, and the run ends less than a second after that"):
        run.control.set_load(100)
    run.lead = 0
    assert run.control.set_load(100).after == 100


def test_a_load_that_ends_with_a_number_of_requests_may_be_changed_until_all_are_sent() -> None:
    run = MadeRun(concurrency=4, requests=500, duration=None, lead_ns=2 * S)
    run.numbers = replace(NUMBERS, run_s=10_000.0)
    assert run.control.set_load(5).after == 5


def test_a_load_is_changed_a_thousand_times_at_most() -> None:
    run = MadeRun(concurrency=4)
    for number in range(1_000):
        run.control.set_load(5 + number % 2)
    with pytest.raises(UsageError) as refused:
        run.control.set_load(7)
    assert str(refused.value) == "the load of this run was changed 1,000 times, which is the most"
    assert (len(run.noted), run.told[-1][1]) == (1_000, 6)


def test_a_program_ends_a_load_as_ctrl_c_and_sigterm_do() -> None:
    run = MadeRun()
    run.control.interrupt()
    assert run.ended == ["interrupted"]
    run.control.terminate()
    assert run.ended == ["interrupted", "terminated"]


@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        ({}, "users"),
        ({"rate": 5.0}, "requests/s"),
        ({"mode": "sessions"}, "sessions"),
        ({"mode": "sessions", "rate": 5.0}, "sessions/s"),
        ({"mode": "throughput", "max_concurrency": 9}, ""),
    ],
)
def test_a_load_has_the_unit_of_its_mode(settings: dict[str, Any], unit: str) -> None:
    assert MadeRun(**settings).control.unit == unit
