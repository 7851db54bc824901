"""The fit of a server with invisible steps, from exactly known times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.fit.sampled import SampledFit, fit_sampled
from bench.fit.streams import Stream

GAPS = (9000.0, 10_000.0, 11_000.0, 10_000.0)


def alone(
    count: int,
    *,
    ttft_us: float = 50_000.0,
    slope_us: float = 0.0,
    prompts: Sequence[int] = (100,),
    gaps: Sequence[float] = GAPS,
    times: float = 1.0,
    behind_us: float = 0.0,
) -> Iterator[Stream]:
    """Successive requests, their TTFT and gaps multiplied by these factors."""
    sent = behind_us
    for place in range(count):
        prompt = prompts[place % len(prompts)]
        first = sent + times * (ttft_us + slope_us * prompt)
        arrivals = tuple(accumulate((times * gap for gap in gaps), initial=first))
        yield Stream(sent, arrivals[-1], prompt, 0, arrivals, (1,) * len(arrivals), sure=True)
        sent = arrivals[-1] + 1000


def beside(streams: Sequence[Stream], others: int) -> list[Stream]:
    """The same, with this many failed requests active all the time. They only count as load."""
    first, last = streams[0].sent_us - 1, streams[-1].end_us + 1
    return [*(Stream(first, last, 100, 0, (), (), sure=False) for _ in range(others)), *streams]


def load(fit: SampledFit) -> list[tuple[float, ...]]:
    return [(point.under_way, round(point.ttft, 6), round(point.gap, 6), point.requests) for point in fit.load]


def test_times_of_requests_that_are_alone_are_kept_as_they_are() -> None:
    fit = fit_sampled([[*alone(50)]])
    assert fit.ttft_ms == (50,) * 101
    assert (len(fit.gap_ms), fit.gap_ms[0], fit.gap_ms[10], fit.gap_ms[50], fit.gap_ms[-1]) == (101, 9, 9, 10, 11)
    assert fit.gap_ms.count(10) in (49, 50, 51)
    assert (fit.requests, fit.gaps, fit.ttft_per_input_token_us) == (50, 200, 0)
    assert load(fit) == [(1, 1, 1, 50)]


def test_fifty_requests_and_two_hundred_gaps_are_needed() -> None:
    with pytest.raises(ValueError, match="49 streamed replies with 245 gaps between tokens were seen, and 50 and 200"):
        fit_sampled([[*alone(49, gaps=(1.0,) * 5)]])
    with pytest.raises(ValueError, match="50 streamed replies with 150 gaps"):
        fit_sampled([[*alone(50, gaps=(1.0,) * 3)]])
    assert fit_sampled([[*alone(25)], [*alone(25)]]).requests == 50


def test_quantiles_have_five_digits() -> None:
    assert fit_sampled([[*alone(50, ttft_us=51_234.5678)]]).ttft_ms[0] == 51.235


def test_the_load_lengthens_ttft_and_gaps() -> None:
    runs = [[*alone(60)], beside([*alone(60, times=1.5)], 3), beside([*alone(60, times=4.0)], 9)]
    fit = fit_sampled(runs)
    assert load(fit) == [(1, 1, 1, 60), (4, 1.5, 1.5, 60), (10, 4, 4, 60)]
    assert fit.ttft_ms == (50,) * 101
    assert (fit.gap_ms[0], fit.gap_ms[50], fit.gap_ms[-1]) == (9, 10, 11)


def test_ttft_and_gaps_have_factors_of_their_own() -> None:
    slow_gaps = [*alone(60, gaps=[3 * gap for gap in GAPS])]
    assert load(fit_sampled([[*alone(60)], beside(slow_gaps, 3)])) == [(1, 1, 1, 60), (4, 1, 3, 60)]
    assert load(fit_sampled([[*alone(60)], beside([*alone(60, ttft_us=100_000.0)], 3)])) == [
        (1, 1, 1, 60),
        (4, 2, 1, 60),
    ]


def test_a_request_is_under_way_from_its_send_until_its_last_token() -> None:
    # The second half begins while the first half is in flight: requests are alone, then in pairs.
    one = Stream(0.0, 1e9, 100, 0, (50_000.0, 1e9), (1, 1), sure=True)
    streams = [one, *alone(60, behind_us=100_000.0)]
    fit = fit_sampled([streams])
    assert fit.load[-1].under_way == 2
    assert (fit.requests, fit.gaps) == (61, 241)
    # A request that is sent at the instant in which another ends is alone.
    chained = [
        Stream(
            s.sent_us - 1000 * k,
            s.end_us - 1000 * k,
            100,
            0,
            tuple(at - 1000 * k for at in s.arrivals_us),
            s.tokens,
            s.sure,
        )
        for k, s in enumerate(alone(60))
    ]
    assert load(fit_sampled([chained])) == [(1, 1, 1, 60)]


@pytest.mark.parametrize(
    ("counts", "points"),
    [
        ((60,), [1]),
        ((25, 25), [1, 2]),
        ((30, 24), [1]),  # Data that is too little for its own point joins the previous one.
        ((24, 30), [2]),  # 24 and 30 requests join: their mean.
        ((30, 25, 30), [1, 2, 3]),
        ((10, 10, 10, 30), [2, 4]),
        ((13, 13, 24), [2]),
    ],
)
def test_a_load_that_enough_requests_met_is_a_point(counts: tuple[int, ...], points: list[float]) -> None:
    runs = [beside([*alone(count)], others) for others, count in enumerate(counts)]
    fit = fit_sampled(runs)
    assert [point.under_way for point in fit.load] == points
    assert sum(point.requests for point in fit.load) == sum(counts)


def test_a_point_without_gaps_has_the_factor_of_those_on_either_side() -> None:
    whole = [Stream(s.sent_us, s.end_us, 100, 0, s.arrivals_us[:1], (1,), sure=True) for s in alone(60, times=2.0)]
    runs = [[*alone(60)], beside(whole, 1), beside([*alone(60, times=3.0)], 2)]
    assert load(fit_sampled(runs)) == [(1, 1, 1, 60), (2, 2, 2, 60), (3, 3, 3, 60)]


def test_ttft_grows_with_the_prompt_at_every_load() -> None:
    prompts = (100, 400, 900, 1600)
    made: dict[str, Any] = {"prompts": prompts, "slope_us": 30.0}
    runs = [[*alone(60, **made)], beside([*alone(60, times=2.0, **made)], 3)]
    fit = fit_sampled(runs)
    assert fit.ttft_per_input_token_us == pytest.approx(30, rel=1e-3)
    assert fit.ttft_ms == pytest.approx((50,) * 101, rel=1e-3)
    assert [point.ttft for point in fit.load] == pytest.approx([1, 2], rel=1e-3)


def test_loads_of_other_prompts_do_not_spoil_the_factor_of_the_load() -> None:
    runs = [
        [*alone(60, prompts=(100, 400, 900), slope_us=30.0)],
        beside([*alone(60, times=2.0, prompts=(400, 900, 1600), slope_us=30.0)], 3),
    ]
    fit = fit_sampled(runs)
    assert fit.ttft_per_input_token_us == pytest.approx(30, rel=0.02)
    assert [point.ttft for point in fit.load] == pytest.approx([1, 2], rel=0.02)


@pytest.mark.parametrize(("longest", "slope"), [(200, 30.0), (199, 0.0)])
def test_prompts_twice_as_long_as_others_tell_the_slope(longest: int, slope: float) -> None:
    fit = fit_sampled([[*alone(60, prompts=(100, longest), slope_us=30.0)]])
    assert fit.ttft_per_input_token_us == pytest.approx(slope, rel=1e-6)


def test_a_ttft_that_is_all_prompt_leaves_nothing() -> None:
    fit = fit_sampled([[*alone(60, prompts=(100, 1000), ttft_us=0.0, slope_us=30.0)]])
    assert fit.ttft_per_input_token_us == pytest.approx(30, rel=1e-3)
    assert all(0 <= value < 0.1 for value in fit.ttft_ms)


def test_a_chunk_of_several_tokens_is_as_many_gaps_of_the_same_length() -> None:
    coarse = [
        Stream(
            s.sent_us, s.end_us, 100, 0, (s.arrivals_us[0], s.arrivals_us[1], s.arrivals_us[4]), (1, 1, 3), sure=True
        )
        for s in alone(60)
    ]
    fit = fit_sampled([coarse])
    assert (fit.gaps, fit.gap_ms[0], fit.gap_ms[-1]) == (240, 9, pytest.approx(31 / 3, rel=1e-4))


def correlated(requests: int, gaps: int, spread: float, follows: float, seed: int) -> list[Stream]:
    """Lognormal gaps. `spread` of the variance lies between requests, and the rest is autocorrelated."""
    chance = Random(seed)
    found = []
    for request in range(requests):
        own, score, at = chance.gauss(0, spread**0.5), chance.gauss(0, 1), 1e8 * request + 50_000
        arrivals = [at]
        for _ in range(gaps):
            arrivals.append(arrivals[-1] + 10_000 * np.exp(0.1 * (own + (1 - spread) ** 0.5 * score)))
            score = follows * score + (1 - follows**2) ** 0.5 * chance.gauss(0, 1)
        found.append(Stream(1e8 * request, arrivals[-1], 100, 0, tuple(arrivals), (1,) * (gaps + 1), sure=True))
    return found


def by_kendall(gaps_us: npt.NDArray[np.float64]) -> tuple[float, float]:
    """(requests, gaps) -> the correlations, from scipy's normal scores, an analysis of variance, and Kendall's
    correction."""
    from scipy import stats

    requests, m = gaps_us.shape
    scores = stats.norm.ppf((stats.rankdata(gaps_us) - 0.5) / gaps_us.size).reshape(requests, m)
    rest = scores - scores.mean(axis=1, keepdims=True)
    seen = float((rest[:, 1:] * rest[:, :-1]).sum() / (rest[:, :-1] ** 2).sum())
    f = (seen + 1 / m) / (1 - 3 / m)  # For a mean of m: seen = f - (1 + 3 f) / m.
    inside = float(rest.var(axis=1, ddof=1).mean())
    apart = max(0.0, float(scores.mean(axis=1).var()) - inside / m * (1 + f) / (1 - f))
    return apart / (apart + inside), f


@pytest.mark.parametrize(
    ("spread", "follows", "gaps"),
    [(0.0, 0.0, 12), (0.5, 0.0, 12), (0.0, 0.4, 8), (0.4, 0.4, 40), (0.0, -0.4, 40), (0.9, 0.0, 12), (0.3, 0.3, 40)],
)
def test_what_hangs_together_is_found(spread: float, follows: float, gaps: int) -> None:
    streams = correlated(300, gaps, spread, follows, 5)
    fit = fit_sampled([streams])
    expected = by_kendall(np.array([np.diff(stream.arrivals_us) for stream in streams]))
    assert (fit.between, fit.follows) == pytest.approx(expected, abs=2e-3)
    if gaps > 8:
        assert (fit.between, fit.follows) == pytest.approx((spread, follows), abs=0.06)


def test_few_and_short_replies_have_the_scores_of_their_ranks() -> None:
    streams = correlated(50, 5, 0.4, 0.2, 8)
    fit = fit_sampled([streams])
    expected = by_kendall(np.array([np.diff(stream.arrivals_us) for stream in streams]))
    assert (fit.between, fit.follows) == pytest.approx(expected, abs=2e-4)


def test_replies_of_two_gaps_swing_about_their_mean_as_far_as_a_correlation_can() -> None:
    assert fit_sampled([[*alone(120, gaps=(9000.0, 11_000.0))]]).follows == -0.99


def test_gaps_of_no_length_have_no_factor() -> None:
    none = fit_sampled([[*alone(60, gaps=(0.0,) * 4)], beside([*alone(60, times=2.0, gaps=(0.0,) * 4)], 3)])
    assert load(none) == [(1, 1, 1, 60), (4, 2, 1, 60)]
    assert none.gap_ms == (0,) * 101


def test_requests_of_different_runs_are_different_requests() -> None:
    # Each request has gaps of one length. Two runs of one request each equal two requests in one run.
    runs = [[*alone(30, gaps=(gap,) * 5)] for gap in (9000.0, 11_000.0)]
    assert fit_sampled(runs).between == pytest.approx(fit_sampled([[*runs[0], *(
        Stream(s.sent_us + 1e9, s.end_us + 1e9, 100, 0, tuple(at + 1e9 for at in s.arrivals_us), s.tokens, s.sure)
        for s in runs[1]
    )]]).between)  # fmt: skip
    assert fit_sampled(runs).between > 0.9


def test_replies_of_two_tokens_show_nothing_of_what_hangs_together() -> None:
    fit = fit_sampled([[*alone(200, gaps=(10_000.0,))]])
    assert (fit.between, fit.follows) == (0, 0)


def test_two_replies_of_several_gaps_are_enough_to_see_what_hangs_together() -> None:
    long = [*alone(2, gaps=[10_000.0, 1000.0] * 80, behind_us=1e9)]
    short = [*alone(60, gaps=(5000.0,))]
    assert fit_sampled([[*short, *long]]).follows < -0.7
    one = [*alone(1, gaps=[10_000.0, 1000.0] * 80, behind_us=1e9)]
    assert fit_sampled([[*short, *one]]).follows == 0


def test_gaps_that_all_follow_each_other_stay_within_what_a_correlation_can_be() -> None:
    rising = fit_sampled([[*alone(60, gaps=[1000.0 * k for k in range(1, 41)])]])
    swinging = fit_sampled([[*alone(60, gaps=[10_000.0, 1000.0] * 20)]])
    assert 0.85 < rising.follows <= 0.99
    assert -0.99 <= swinging.follows < -0.95
