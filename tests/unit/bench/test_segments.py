"""Loads that change over time: their notation, the arrivals of a changing rate, and users who come and go."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import islice, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config import RunConfig, resolve
from bench.config.segments import checked_steps, line_of, steps_of
from bench.errors import UsageError
from bench.modes.concurrency import Concurrency
from bench.modes.interface import UsersMode
from bench.modes.rate import Rate
from bench.modes.share import deal, draw
from bench.rng import stream
from bench.schedule import ARRIVALS, users
from bench.schedule.segments import Segment, after_warmup, arrivals, lasts_ns, most
from tests.support import scipy_stats as stats

S = 1_000_000_000
URL = {"url": "http://h"}
NO_SOURCE: Any = None
"""Users and arrivals do not depend on the prompts."""


@pytest.mark.parametrize("value", [["5", "10:60s"], ("5:60s",), None])
def test_steps_of_a_file_that_are_no_text_are_refused_as_such(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not text: write loads and the time of each, '5,10,20:60s'"):
        checked_steps(value)


def rate_of(**flags: object) -> Rate:
    load = resolve({**URL, "mode": "rate", **flags}).load
    assert isinstance(load, Rate)
    return load


def users_of(**flags: object) -> list[tuple[int, int]]:
    config = resolve({**URL, **flags})
    assert isinstance(config.load, Concurrency)
    (share,) = config.load.plan(config.length, source=NO_SOURCE).shares(1)
    return list(config.load.user_changes(share))


def test_steps_and_lines_are_read_as_they_are_written() -> None:
    assert steps_of("5, 10,2.5:90s") == tuple(Segment(load, load, 90 * S) for load in (5, 10, 2.5))
    assert steps_of("1..20x3:1m") == tuple(Segment(load, load, 60 * S) for load in (1, 3, 9, 20))
    assert line_of("1..50:10m") == (Segment(1, 50, 600 * S),)
    assert (lasts_ns(steps_of("5,10:90s")), most(line_of("50..1:1s"))) == (180 * S, 50)


# Arrivals of a changing rate


def test_a_metronome_steps_at_the_border_to_the_nanosecond() -> None:
    assert list(rate_of(steps="2,4,1:1500ms", arrivals="constant").offsets()) == [
        0, 500_000_000, 1_000_000_000,                                                       # 2/s until 1.5 s
        1_500_000_000, 1_750_000_000, 2_000_000_000, 2_250_000_000, 2_500_000_000, 2_750_000_000,  # 4/s until 3 s
        3_000_000_000, 4_000_000_000,                                                        # 1/s until 4.5 s
    ]  # fmt: skip


def test_a_rising_metronome_is_where_the_integral_of_the_rate_reaches_each_number() -> None:
    # r(t) = 1 + t over 8 s: t + t^2 / 2 = n, so t = sqrt(1 + 2 n) - 1; 40 arrivals in all.
    found = list(rate_of(ramp="1..9:8s", arrivals="constant").offsets())
    assert found == [round((math.sqrt(1 + 2 * n) - 1) * 1e9) for n in range(40)]


def test_a_rate_may_rise_from_nothing_and_fall_to_nothing() -> None:
    # r(t) = t: t^2 / 2 = n. Falling, r(t) = 4 - t: 4 t - t^2 / 2 = n.
    assert list(rate_of(ramp="0..4:4s", arrivals="constant").offsets()) == [
        round(math.sqrt(2 * n) * 1e9) for n in range(8)
    ]
    falling = list(rate_of(ramp="4..0:4s", arrivals="constant").offsets())
    assert falling == pytest.approx([(4 - math.sqrt(16 - 2 * n)) * 1e9 for n in range(8)], abs=1)


def test_one_step_sends_what_the_rate_alone_sends() -> None:
    alone = islice(rate_of(rate=7.0).offsets(), 60)
    assert list(islice(rate_of(steps="7:10s").offsets(), 60)) == pytest.approx(list(alone), abs=1)


@pytest.mark.parametrize("seed", range(3))
def test_poisson_arrivals_of_a_changing_rate_are_a_poisson_process_of_that_rate(seed: int) -> None:
    # With time rescaled by the rate, the gaps are exponential with mean 1, and their number is Poisson with the
    # integral.
    segments = (Segment(5, 5, 40 * S), Segment(5, 80, 60 * S), Segment(20, 20, 30 * S))
    found = list(arrivals(ARRIVALS["poisson"](1.0, 1.0, stream(seed, "arrivals")), segments))
    expected = 5 * 40 + 85 / 2 * 60 + 20 * 30
    assert abs(len(found) - expected) < 4 * math.sqrt(expected)

    def integral(at_ns: int) -> float:
        t, total = at_ns / 1e9, 0.0
        for first, slope, length in ((5.0, 0.0, 40.0), (5.0, 75 / 60, 60.0), (20.0, 0.0, 30.0)):
            inside = min(t, length)
            total += first * inside + slope * inside**2 / 2
            t -= inside
        return total

    gaps = [after - before for before, after in pairwise(map(integral, [0, *found]))]
    assert stats.kstest(gaps, "expon").pvalue > 0.001
    # If the rate changed only at each arrival (each gap drawn at the rate of the arrival before), there would be fewer
    # arrivals during the rise. The share in the first half of the rise is that of the integral.
    rise = [at for at in found if 40 * S <= at < 100 * S]
    share = (5 * 30 + 75 / 60 * 450) / 2550
    first_half = sum(at < 70 * S for at in rise)
    assert abs(first_half - share * len(rise)) < 4 * math.sqrt(len(rise) * share * (1 - share))


@settings(max_examples=40)
@given(
    loads=st.lists(st.floats(0.5, 200), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    name=st.sampled_from(sorted(ARRIVALS)),
)
def test_offsets_never_decrease_and_end_with_the_last_segment(loads: list[float], seed: int, name: str) -> None:
    line = [Segment(a, b, 2 * S) for a, b in pairwise([*loads, loads[0]])]
    found = list(arrivals(ARRIVALS[name](1.0, 1.0, stream(seed, "arrivals")), line))
    assert all(a <= b for a, b in pairwise(found))
    assert all(0 <= at <= lasts_ns(line) for at in found)
    assert found == list(arrivals(ARRIVALS[name](1.0, 1.0, stream(seed, "arrivals")), line))


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_arrivals_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    config = resolve({**URL, "mode": "rate", "steps": "20,50:3s", "warmup": "1s", "seed": 5})
    shares = config.load.plan(config.length, source=NO_SOURCE).shares(workers)
    dealt = sorted(at for share in shares for at in config.load.arrivals_of(share))  # type: ignore[attr-defined]
    assert dealt == list(rate_of(steps="20,50:3s", warmup="1s", seed=5).offsets())
    assert {share.ends_ns for share in shares} == {7 * S}


def test_the_warm_up_is_sent_at_the_first_load() -> None:
    found = list(rate_of(steps="2,4:1s", warmup="2s", arrivals="constant").offsets())
    assert found == [n * S // 2 for n in range(6)] + [3 * S + n * S // 4 for n in range(4)]
    planned = draw(iter(found), resolve({**URL, "mode": "rate", "steps": "2,4:1s", "warmup": "2s"}).length)
    assert (planned.warmup, planned.requests) == (4, 6)
    assert [s.warmup_requests for s in deal(planned, 2, None)] == [2, 2]


# Users who come and go


def test_users_change_at_the_steps() -> None:
    assert users_of(steps="5,10,3:60s") == [(0, 5), (60 * S, 10), (120 * S, 3)]
    assert users_of(steps="5,5,6:1s", warmup="2s") == [(0, 5), (4 * S, 6)]


def test_users_of_a_line_are_the_whole_number_nearest_to_it() -> None:
    # From 1 to 4 over 6 s, the load passes 1.5, 2.5 and 3.5 at 1, 3 and 5 s.
    assert users_of(ramp="1..4:6s") == [(0, 1), (1 * S, 2), (3 * S, 3), (5 * S, 4)]
    assert users_of(ramp="4..1:6s") == [(0, 4), (1 * S, 3), (3 * S, 2), (5 * S, 1)]
    assert users_of(ramp="0..2:4s") == [(0, 0), (1 * S, 1), (3 * S, 2)]


@settings(max_examples=60)
@given(first=st.integers(0, 60), last=st.integers(0, 60), length=st.integers(1, 10**12))
def test_each_number_between_is_passed_once_and_where_the_line_is_half_way(first: int, last: int, length: int) -> None:
    found = list(users.of_segments([Segment(float(first), float(last), length)]))
    step = 1 if last >= first else -1
    assert [n for _, n in found] == list(range(first, last + step, step))
    for (at, n), (_, before) in zip(found[1:], found, strict=False):
        exact = Fraction(length) * (Fraction(n + before, 2) - first) / (last - first)
        assert 0 <= exact - at < 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_workers_together_have_the_users_of_the_plan_at_every_instant(workers: int) -> None:
    config = resolve({**URL, "steps": "5,11,2,7:10s", "warmup": "3s"})
    shares = config.load.plan(config.length, source=NO_SOURCE).shares(workers)
    of_each = [dict(config.load.user_changes(share)) for share in shares]  # type: ignore[attr-defined]
    for at_s, users_then in ((0, 5), (13, 11), (23, 2), (33, 7)):
        assert sum(changes[at_s * S] for changes in of_each) == users_then


@pytest.mark.parametrize(
    ("flags", "come_s"),
    [
        ({"concurrency": 10, "ramp_up": "10s"}, range(10)),
        ({"mode": "sessions", "concurrency": 10, "ramp_up": "10s"}, range(10)),
        ({"mode": "throughput", "requests": 10, "ramp_up": "10s"}, range(10)),
        ({"concurrency": 10, "ramp_up": "10s", "requests": 7}, range(7)),
    ],
)
@pytest.mark.parametrize("workers", [1, 4])
def test_the_users_of_a_ramp_come_at_the_times_of_the_whole_ramp(
    workers: int, flags: dict[str, Any], come_s: range
) -> None:
    config = resolve({**URL, **flags})
    assert isinstance(config.load, UsersMode)
    come = []
    for share in config.load.plan(config.length, source=SimpleNamespace(at_once=1)).shares(workers):
        here = 0
        for at_ns, users_then in config.load.user_changes(share):
            come += [at_ns] * (users_then - here)
            here = users_then
    assert sorted(come) == [s * S for s in come_s]


@pytest.mark.parametrize(
    ("flags", "ends"),
    [
        ({"ramp_up": "60s", "warmup": "2s"}, (None, 32 * S)),
        ({"ramp_up": "60s", "warmup": "auto"}, (30 * S, None)),  # Not known yet.
        ({"ramp_up": "60s", "warmup": "3"}, (30 * S, None)),
        ({"warmup": "2s"}, (30 * S, None)),
    ],
)
def test_the_workers_of_a_ramp_end_together_even_if_a_user_comes_after_the_end(
    flags: dict[str, Any], ends: tuple[int | None, int | None]
) -> None:
    config = resolve({**URL, "concurrency": 4, "duration": "30s", **flags})
    plan = config.load.plan(config.length, source=NO_SOURCE)
    assert {(share.duration_ns, share.ends_ns) for share in plan.shares(4)} == {ends}
    assert plan.shares(1)[0].duration_ns == 30 * S


@pytest.mark.parametrize(
    ("warmup", "lasts", "ends"), [("10", 20 * S, None), ("3s", None, 23 * S), ("0", None, 20_331_370_180)]
)
def test_the_workers_of_sessions_at_a_rate_end_together_and_the_warm_up_is_extra(
    warmup: str, lasts: int | None, ends: int | None
) -> None:
    config = resolve({**URL, "mode": "sessions", "rate": 4, "duration": "20s", "warmup": warmup})
    shares = config.load.plan(config.length, source=SimpleNamespace(at_once=1)).shares(2)
    assert [(share.duration_ns, share.ends_ns) for share in shares] == [(lasts, ends)] * 2


def test_a_stored_configuration_gives_the_same_segments_again() -> None:
    for flags in ({"steps": "5,10:20s", "mode": "rate"}, {"ramp": "1..9:20s"}):
        config = resolve({**URL, **flags})
        again = RunConfig.stored(config.public())
        assert (again.load, again.length) == (config.load, config.length)
    assert RunConfig.stored({**URL, "ramp": 2.5, "concurrency": 3}).load == Concurrency(users=3, ramp_ns=2_500_000_000)


def test_the_warm_up_comes_before_the_segments_at_their_first_load() -> None:
    assert after_warmup((Segment(3, 9, S),), 2 * S) == (Segment(3, 3, 2 * S), Segment(3, 9, S))
    assert after_warmup((Segment(3, 9, S),), 0) == (Segment(3, 9, S),)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"steps": "5,10"}, "--steps: '5,10' lacks a time: write loads and the time of each, 5,10,20:60s"),
        ({"steps": "5,x:3s"}, "--steps: 'x' is not a load: write numbers (5,10,20), or a ladder with its factor (1..256x2)"),
        ({"steps": "5:0s"}, "--steps: '0s' is not a time: give more than 0 s after the colon"),
        ({"steps": "5:soon"}, "--steps: 'soon' is not a time"),
        ({"steps": "0,5:3s"}, "--steps: 0 is not a load: give more than 0 and at most 1,000,000"),
        ({"steps": "8..2x2:3s"}, "--steps: '8..2x2' does not rise"),
        ({"steps": "2.5:3s"}, "there is no 2.5th of a user: for requests per second add --mode rate"),
        ({"ramp": "5..5:3s"}, "does not change: for a constant load, write --steps 5:3s"),
        ({"ramp": "1..:3s"}, "is not a load that rises or falls within a time"),
        ({"steps": "5:3s", "rate": 2}, "--steps and --rate cannot be combined: --steps sets the rate (with --mode rate)"),
        ({"steps": "5:3s", "concurrency": 2}, "--steps and --concurrency cannot be combined"),
        ({"steps": "5:3s", "requests": 2}, "--steps and --requests cannot be combined: --steps says when the load ends"),
        ({"ramp": "1..5:3s", "duration": "2s"}, "--ramp and --duration cannot be combined"),
        ({"steps": "5:3s", "ramp": "1..5:3s"}, "--steps and --ramp cannot be combined"),
        ({"steps": "5:3s", "ramp_up": "2s"}, "--ramp-up starts users one by one, but with --steps they start at the steps"),
        ({"steps": "5:3s", "warmup": "20"}, "--steps needs a --warmup in time, such as 20s"),
        ({"ramp": "0..5:3s", "warmup": "2s"}, "--warmup sends at the first load, and --ramp begins at 0"),
        ({"steps": "5:3s", "mode": "sessions"}, "--steps is for --mode concurrency and rate, and this is mode sessions"),
        ({"steps": "900000:2h", "mode": "rate"}, "--steps plans 6,480,000,000 requests: give at most 1,000,000,000"),
        ({"rate": "5", "ramp_up": "5s"}, "--ramp-up is for users, and mode rate has none: a rate that rises is --ramp"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_said_in_one_sentence(flags: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({**URL, **flags})
    assert [said in problem for problem in refused.value.problems].count(True) == 1, refused.value.problems
