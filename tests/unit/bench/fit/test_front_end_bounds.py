"""a0, a1 and w0 from requests whose waits are known to the microsecond."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from bench.fit.coefficients import Coefficient
from bench.fit.front_end import UNKNOWN, FrontEnd, fit_front_end
from bench.fit.steps import Clusters, StepTable, clusters_of, step_table
from bench.fit.streams import Stream

Run = tuple[Sequence[Stream], Clusters, StepTable]
COST = (100.0, 2.0, 7.0, 5.0, 0.0)
"""b0, b1, b2 and b3: the last two cost nothing for a lone request without a token yet."""


def run_of(streams: Sequence[Stream]) -> Run:
    clusters = clusters_of(streams, 10.0)
    return streams, clusters, step_table(streams, clusters)


def waits(waited_us: Sequence[float], prompts: Sequence[int] = (), *, cached: int = 0, steps: int = 1) -> list[Stream]:
    """Successive requests, each of which waited this long in addition to its steps."""
    found = []
    for place, (wait, prompt) in enumerate(zip(waited_us, prompts or [50] * len(waited_us), strict=True)):
        first = 1e6 * place + wait + 100.0 * steps + 2.0 * (prompt - cached)
        found.append(Stream(1e6 * place, first, prompt, cached, (first,), (1,), sure=True))
    return found


def us(one: Coefficient) -> tuple[float, float, float]:
    return one.low, one.value, one.high


def idle(streams: Sequence[Stream], budget: int | None = None) -> FrontEnd:
    return fit_front_end([run_of(streams)], COST, budget)


def test_an_idle_server_shows_what_its_steps_leave_of_ttft() -> None:
    found = idle(waits([500.0] * 12))
    assert (found.how, found.requests, found.w0) == ("idle", 12, UNKNOWN)
    assert found.a0.value == pytest.approx(500)
    assert found.a0.told
    assert (found.a1.value, found.a1.told) == (0, False)


def test_cached_tokens_cost_nothing_and_a_long_prompt_takes_several_steps() -> None:
    assert idle(waits([500.0] * 12, cached=20)).a0.value == pytest.approx(500)
    # 50 tokens in steps of 24 take three steps, the 30 that are not cached take two.
    assert idle(waits([500.0] * 12, steps=3), 24).a0.value == pytest.approx(500)
    assert idle(waits([500.0] * 12, steps=2, cached=20), 24).a0.value == pytest.approx(500)
    assert idle(waits([500.0] * 12), 50).a0.value == pytest.approx(500)


def test_its_error_is_two_standard_errors() -> None:
    found = idle(waits([490.0, 510.0] * 8))
    # For residuals of 10 us the scale is 1.4826 x 10, and 16 requests divide the error by four.
    error = 2 * 14.826 / 4
    assert us(found.a0) == pytest.approx((500 - error, 500, 500 + error), abs=0.01)
    # If all prompts have one length, the error of a1 is that for a prompt of one token.
    assert us(found.a1) == pytest.approx((0, 0, error), abs=0.01)
    assert idle(waits([-9.0, 11.0] * 8)).a0.low == 0


def test_a_wait_below_nothing_is_none() -> None:
    found = idle(waits([-40.0] * 12))
    assert (found.a0.value, found.a0.low) == (0, 0)
    assert found.a0.high == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("longest", "told"), [(40, True), (39, False)])
def test_prompts_of_which_some_are_four_times_as_long_tell_a1(longest: int, told: bool) -> None:
    prompts = [10, longest] * 8
    found = idle(waits([500.0 + 3 * prompt for prompt in prompts], prompts))
    assert found.a1.told is told
    if told:
        assert (found.a0.value, found.a1.value) == (pytest.approx(500), pytest.approx(3))
    else:
        assert (found.a0.value, found.a1.value) == (pytest.approx(500 + 3 * 24.5, abs=2), 0)


def test_the_error_of_a1_is_that_of_a0_over_the_spread_of_the_prompts() -> None:
    prompts = [10, 10, 40, 40] * 4  # A standard deviation of 15.
    found = idle(waits([500 + 3 * prompt + (-10, 10)[k % 2] for k, prompt in enumerate(prompts)], prompts))
    error = found.a0.high - found.a0.value
    assert error == pytest.approx(2 * 14.826 / 4, rel=0.05)
    assert us(found.a1) == pytest.approx((3 - error / 15, 3, 3 + error / 15), rel=1e-6)
    level = idle(waits([500 + (-10, 10)[k % 2] for k in range(16)], prompts)).a1
    assert (level.value, level.low) == (pytest.approx(0, abs=1e-6), 0)


def test_a_request_that_waited_for_something_else_has_no_weight() -> None:
    found = idle(waits([490.0, 510.0] * 18 + [90_000.0] * 13))
    assert found.a0.value == pytest.approx(500, abs=0.5)
    assert found.a0.high - found.a0.value == pytest.approx(2 * 14.826 / 6, rel=0.1)
    prompts = [10, 40] * 8
    stray = idle(
        waits([500 + 3 * n + (-10, -10, 10, 10)[k % 4] for k, n in enumerate(prompts)] + [90_000], [*prompts, 40])
    )
    assert (stray.a0.value, stray.a1.value) == (pytest.approx(500, abs=2), pytest.approx(3, abs=0.1))


def counted(streams: Sequence[Stream]) -> int:
    """Whether the last requests count as finding the server idle; twelve others did."""
    late = [
        Stream(
            s.sent_us + 2e7,
            s.end_us + 2e7,
            s.prompt_tokens,
            0,
            tuple(at + 2e7 for at in s.arrivals_us),
            s.tokens,
            s.sure,
        )
        for s in streams
    ]
    return idle([*waits([500.0] * 12), *late]).requests - 12


def alone(sent_us: float, first_us: float, end_us: float, *, sure: bool = True) -> Stream:
    return Stream(sent_us, end_us, 50, 0, (first_us, end_us) if sure else (), (1, 1) if sure else (), sure)


@pytest.mark.parametrize(
    ("others", "count"),
    [
        ([(0, 600, 900), (901, 1500, 1800)], 2),
        ([(0, 600, 900), (900, 1500, 1800)], 1),  # The last token of the first request came at that instant.
        ([(0, 600, 900), (700, 1500, 1800)], 1),
        ([(0, 600, 900), (600, 1500, 1800)], 1),  # Sent when the first token came.
        ([(0, 600, 900), (599, 1500, 1800)], 0),
        ([(0, 600, 9000), (700, 1500, 1800), (2000, 2600, 2700)], 1),  # The first request is still in flight.
        ([(0, 600, 900), (700, 1500, 1800), (1801, 2600, 2700)], 2),
        ([(0, 600, 900), (599, 1500, 1800), (1801, 2600, 2700)], 1),
    ],
)
def test_idle_is_a_server_without_a_request_until_the_first_token(
    others: list[tuple[float, float, float]], count: int
) -> None:
    assert counted([alone(*times) for times in others]) == count


def test_a_failed_request_shows_nothing_and_keeps_the_server_busy() -> None:
    assert counted([alone(0, 600, 900, sure=False), alone(700, 1500, 1800)]) == 0
    assert counted([alone(0, 600, 900, sure=False), alone(901, 1500, 1800)]) == 1


def test_too_few_requests_show_nothing() -> None:
    assert idle(waits([500.0] * 11)) == FrontEnd(UNKNOWN, UNKNOWN, UNKNOWN, "none", 11)
    assert Coefficient(0.0, 0.0, math.inf, told=False) == UNKNOWN
    both = fit_front_end([run_of(waits([500.0] * 3)), beside([(900, 1100)] * 29)], COST, None)
    assert both == FrontEnd(UNKNOWN, UNKNOWN, UNKNOWN, "none", 32)


def beside(bounds: Sequence[tuple[float, float]], prompts: Sequence[int] = ()) -> Run:
    """Requests next to a permanently active stream. Each joined the first step that began after its a0, so a0 lies
    between its waits until the starts of the previous step and of its own."""
    ends: list[float] = []
    joining = []
    for place, ((low, high), prompt) in enumerate(zip(bounds, prompts or [50] * len(bounds), strict=True)):
        begin = 1e6 * place
        ends += [begin, begin + high - low, begin + high - low + 5e5]
        joining.append((Stream(begin - low, ends[-1], prompt, 0, (ends[-1],), (1,), sure=True), (len(ends) - 1,)))
    others = [
        (Stream(-2e6, ends[0], 9, 0, (ends[0],), (1,), sure=True), (0,)),
        (Stream(-1.5e6, ends[-1], 9, 0, tuple(ends), (1,) * len(ends), sure=True), tuple(range(len(ends)))),
    ]
    streams, places = zip(*others, *joining, strict=True)
    clusters = Clusters(np.array(ends), places, 10.0)
    return streams, clusters, step_table(streams, clusters)


def busy(*parts: tuple[int, float, float]) -> FrontEnd:
    """The fit of this many requests with these bounds."""
    return fit_front_end([beside([(low, high) for count, low, high in parts for _ in range(count)])], COST, None)


@pytest.mark.parametrize(
    ("parts", "low", "high"),
    [
        ([(30, 900, 1100)], 900, 1100),
        # The values that most requests allow, extended on each side to what all except two allow: two may fail by
        # chance.
        ([(30, 0, 1000), (10, 900, 1100)], 900, 1000),
        ([(37, 0, 1000), (3, 500, 2000)], 500, 1000),
        ([(38, 0, 1000), (2, 500, 2000)], 0, 1000),
        ([(38, 500, 2000), (2, 0, 1000)], 500, 2000),
        ([(37, 500, 2000), (3, 0, 1000)], 500, 1000),
        # 9 of 39 allow a different a0. A number that is lower by twice the root of 9 is nearly as many.
        ([(24, 900, 1100), (6, 900, 1000), (9, 5000, 6000)], 900, 1100),
        ([(23, 900, 1100), (7, 900, 1000), (9, 5000, 6000)], 900, 1000),
        ([(24, 900, 1100), (6, 1000, 1100), (9, 0, 100)], 900, 1100),
        ([(23, 900, 1100), (7, 1000, 1100), (9, 0, 100)], 1000, 1100),
        # If as many bounds begin as end at a point, the range continues.
        ([(38, 0, 2000), (20, 0, 1000), (20, 1000, 2000)], 0, 2000),
        # a0 is never below 0, and bounds that allow no value do not count.
        ([(30, -500, 200)], 0, 200),
        ([(26, 900, 1100), (4, 900, 1000), (5, -900, 0)], 900, 1000),
        ([(26, 900, 1100), (4, 900, 1000), (5, -900, -100)], 900, 1000),
        ([(30, -900, -100)], 0, 0),
        ([(30, 900, 1100), (1, 900, 900)], 900, 1100),
    ],
    ids=str,
)
def test_a0_is_the_middle_of_what_nearly_most_requests_allow(
    parts: list[tuple[int, float, float]], low: float, high: float
) -> None:
    found = busy(*parts)
    assert (found.how, found.a1, found.w0) == ("busy", UNKNOWN, UNKNOWN)
    assert found.requests == sum(count for count, _, _ in parts)
    assert (found.a0.low, found.a0.value, found.a0.high) == pytest.approx((low, (low + high) / 2, high))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([(30, 900, 1100)], True),
        ([(30, 900, 1500)], False),  # Half as wide as their middle, 1200.
        ([(30, 900, 1499)], True),
        ([(20, 900, 1100), (20, 5000, 6000)], False),  # Half of the requests.
        ([(21, 900, 1100), (20, 5000, 6000)], True),
        ([(30, -900, -100)], False),
    ],
    ids=str,
)
def test_a0_is_told_by_a_narrow_range_that_most_requests_allow(
    parts: list[tuple[int, float, float]], told: bool
) -> None:
    assert busy(*parts).a0.told is told


def test_only_first_tokens_of_sure_steps_after_sure_steps_bound_it() -> None:
    streams, clusters, table = beside([(900, 1100)] * 32)
    begins = [places[0] for places in clusters.of_chunk[2:]]
    table.sure[begins[3]] = False
    table.sure[begins[8] - 1] = False
    assert fit_front_end([(streams, clusters, table)], COST, None).requests == 30
    unsure = [
        Stream(s.sent_us, s.end_us, s.prompt_tokens, 0, (), (), sure=False) if place == 7 else s
        for place, s in enumerate(streams)
    ]
    left = fit_front_end([(unsure, clusters, table)], COST, None)
    assert (left.how, left.requests) == ("none", 29)


def both(whole: float, *parts: tuple[int, float, float]) -> FrontEnd:
    """The same, with twelve requests that found the server idle and waited for `whole`."""
    bounds = [(low, high) for count, low, high in parts for _ in range(count)]
    return fit_front_end([run_of(waits([whole] * 12)), beside(bounds)], COST, None)


def test_what_an_idle_server_takes_and_requests_beside_steps_do_not_is_w0() -> None:
    found = both(10_000.0, (30, 2000, 2400))
    assert (found.how, found.requests, found.a0.told, found.w0.told) == ("both", 42, True, True)
    assert us(found.a0) == pytest.approx((2000, 2200, 2400))
    assert us(found.w0) == pytest.approx((7600, 7800, 8000), abs=0.1)
    wide = both(10_000.0, (30, 2000, 9000))
    assert (wide.a0.told, wide.w0.told) == (False, False)
    assert us(wide.w0) == pytest.approx((1000, 4500, 8000), abs=0.1)


def test_w0_is_not_below_0() -> None:
    streams = waits([9990.0, 10_010.0] * 8)  # An error of 7.4 us.
    found = fit_front_end([run_of(streams), beside([(9800, 9998)] * 30)], COST, None)
    assert found.how == "both"
    assert us(found.w0) == pytest.approx((0, 101, 207.4), abs=0.1)


def test_the_error_of_what_an_idle_server_takes_is_in_w0() -> None:
    found = fit_front_end([run_of(waits([9990.0, 10_010.0] * 8)), beside([(2000, 2400)] * 30)], COST, None)
    error = 2 * 14.826 / 4
    assert us(found.w0) == pytest.approx((7600 - error, 7800, 8000 + error), abs=0.1)
    agreed = fit_front_end([run_of(waits([2190.0, 2210.0] * 8)), beside([(2000, 2400)] * 30)], COST, None)
    assert us(agreed.w0) == pytest.approx((0, 0, 200 + error), abs=0.1)


@pytest.mark.parametrize(
    ("parts", "how"),
    [([(33, 0, 12_000), (7, 2000, 2400)], "both"), ([(35, 0, 12_000), (5, 2000, 2400)], "idle")],
)
def test_it_takes_more_than_a_few_requests_to_divide_them(parts: list[tuple[int, float, float]], how: str) -> None:
    assert both(10_000.0, *parts).how == how


@pytest.mark.parametrize(("sooner", "how"), [(6, "idle"), (7, "both")])
def test_a_load_of_which_more_than_0_15_came_sooner_divides_them(sooner: int, how: str) -> None:
    # The rest of these 40 requests allow no a0, and the requests of another load allow both.
    one = beside([(2000, 2400)] * sooner + [(-900, -100)] * (40 - sooner))
    other = beside([(2000, 12_000)] * 30)
    assert fit_front_end([run_of(waits([10_000.0] * 12)), one, other], COST, None).how == how


def test_where_they_agree_w0_may_still_be_what_is_beyond_the_least_that_is_allowed() -> None:
    found = both(2300.0, (30, 2000, 2400))
    assert (found.how, found.requests, found.w0.told) == ("idle", 42, True)
    assert us(found.a0) == pytest.approx((2300, 2300, 2300), abs=0.1)
    assert us(found.w0) == pytest.approx((0, 0, 300), abs=0.1)
    below = both(1500.0, (35, 0, 9000), (5, 2000, 2400))
    assert (below.how, us(below.w0)) == ("idle", (0, 0, 0))
    assert not both(1500.0, (30, 1000, 2400)).w0.told


def test_a_whole_on_the_border_of_what_is_allowed_agrees() -> None:
    assert both(2000.0, (30, 2000, 3000)).how == "idle"


def test_what_is_allowed_up_to_the_whole_leaves_no_w0() -> None:
    # One load allows up to 2350, another up to 2600, and each request of a third load allows something else. The range
    # is 2000 to 2600, and the first load allows its middle. It does not allow 2500, but that is within the range.
    elsewhere = [(200.0 * place, 200.0 * place + 100) for place in range(50, 350)]
    runs = [beside(bounds) for bounds in ([(2000.0, 2350.0)] * 30, [(2000.0, 2600.0)] * 200, elsewhere)]
    found = fit_front_end([run_of(waits([2500.0] * 12)), *runs], COST, None)
    assert (found.how, found.requests) == ("idle", 542)
    assert us(found.w0) == pytest.approx((0, 0, 500), abs=0.1)
    found = fit_front_end([run_of(waits([2700.0] * 12)), *runs], COST, None)
    assert found.how == "both"
    assert us(found.a0) == pytest.approx((2000, 2300, 2600))


def test_a_load_of_too_few_requests_beside_steps_divides_nothing() -> None:
    found = both(10_000.0, (29, 2000, 2400))
    assert (found.how, found.requests, found.w0) == ("idle", 12, UNKNOWN)


def test_what_a_prompt_takes_is_no_part_of_a0() -> None:
    prompts = [10, 40] * 8
    streams = waits([9000.0 + 3 * prompt for prompt in prompts], prompts)
    run = beside([(2000 + 3 * n, 2400 + 3 * n) for n in [100] * 15 + [400] * 15], [100] * 15 + [400] * 15)
    found = fit_front_end([run_of(streams), run], COST, None)
    assert found.how == "both"
    assert us(found.a0) == pytest.approx((2000, 2200, 2400), abs=1)
    assert found.a1.value == pytest.approx(3, abs=1e-3)
    assert found.w0.value == pytest.approx(6800, abs=1)
