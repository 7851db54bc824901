"""Paired shares against published and computed values, and against scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistics.multiple import holm
from bench.statistics.paired_shares import (
    Decision,
    PairedShare,
    Pairs,
    Stratum,
    clopper_pearson,
    mcnemar_mid_p,
    newcombe,
    none_seen,
    stratified_mid_p,
    wilson,
)
from tests.support import scipy_stats as stats


@pytest.mark.parametrize(
    ("b", "c", "mid"),
    [
        (12, 2, 0.007385),
        (10, 3, 0.057373),
        (8, 1, 0.021484),
        (6, 0, 0.015625),
        (5, 0, 0.031250),
        (25, 15, 0.117275),
        (5, 5, 1),
        (0, 0, 1),
    ],
)
def test_mcnemar_of_known_tables(b: int, c: int, mid: float) -> None:
    assert mcnemar_mid_p(b, c) == pytest.approx(mid, abs=6e-7)
    assert mcnemar_mid_p(c, b) == mcnemar_mid_p(b, c)


@pytest.mark.parametrize(
    ("k", "n", "exact", "approximate"),
    [
        (0, 100, (0, 0.03622), (0, 0.03699)),
        (0, 1000, (0, 0.00368), (0, 0.00383)),
        (1, 1000, (0.00003, 0.00556), (0.00018, 0.00564)),
        (3, 500, (0.00124, 0.01743), (0.00204, 0.01749)),
        (8, 10, (0.44390, 0.97479), (0.49016, 0.94332)),
        (80, 100, (0.70816, 0.87334), (0.71117, 0.86663)),
        (950, 1000, (0.93461, 0.96266), (0.93469, 0.96187)),
    ],
)
def test_intervals_of_known_shares(
    k: int, n: int, exact: tuple[float, float], approximate: tuple[float, float]
) -> None:
    of_exact, of_wilson = clopper_pearson(k, n), wilson(k / n, n)
    assert (of_exact.low, of_exact.high) == pytest.approx(exact, abs=6e-6)
    assert (of_wilson.low, of_wilson.high) == pytest.approx(approximate, abs=6e-6)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_that_of_scipy(of: tuple[int, int]) -> None:
    k, n = of
    oracle = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    interval = clopper_pearson(k, n)
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_a_share_of_nothing_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        clopper_pearson(k, n)


@pytest.mark.parametrize(
    ("pairs", "difference", "low", "high"),
    [
        (Pairs(36, 12, 2, 0), 0.2, 0.0569, 0.3404),
        (Pairs(180, 12, 2, 6), 0.05, 0.0127, 0.0932),
        (Pairs(500, 20, 5, 475), 0.015, 0.0051, 0.0249),
        (Pairs(97, 3, 0, 0), 0.03, -0.0119, 0.0845),
        (Pairs(54, 0, 0, 0), 0.0, -0.0664, 0.0664),
    ],
)
def test_newcombes_interval_of_known_tables(pairs: Pairs, difference: float, low: float, high: float) -> None:
    interval = newcombe(pairs)
    assert PairedShare(pairs).fall == pytest.approx(difference)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5.1e-5)


def test_a_difference_of_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a pair"):
        newcombe(Pairs(0, 0, 0, 0))


@given(*(st.integers(0, 40),) * 4)
def test_loads_that_change_places_mirror_the_interval(a: int, b: int, c: int, d: int) -> None:
    if a + b + c + d:
        one, other = newcombe(Pairs(a, b, c, d)), newcombe(Pairs(a, c, b, d))
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
        assert -1 - 1e-9 <= one.low <= (b - c) / (a + b + c + d) <= one.high <= 1 + 1e-9


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_one_answer_each_is_mcnemars_test(a: int, b: int, c: int, d: int) -> None:
    strata = (
        [Stratum(1, 0, 1, 0)] * a + [Stratum(1, 0, 1, 1)] * b + [Stratum(1, 1, 1, 0)] * c + [Stratum(1, 1, 1, 1)] * d
    )
    assert stratified_mid_p(strata) == pytest.approx(mcnemar_mid_p(b, c))


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_one_probe_asked_often_is_fishers_test(alone: int, loaded: int, data: st.DataObject) -> None:
    bad, also = data.draw(st.integers(0, alone)), data.draw(st.integers(0, loaded))
    law = stats.hypergeom(alone + loaded, bad + also, loaded)
    half = law.pmf(also) / 2
    wanted = min(1.0, 2 * min(law.cdf(also) - half, law.sf(also) + half))
    assert stratified_mid_p([Stratum(alone, bad, loaded, also)]) == pytest.approx(wanted, abs=1e-9)


def test_strata_of_different_sizes_are_added_as_all_ways_to_deal_the_failures() -> None:
    strata = [Stratum(3, 0, 2, 1), Stratum(2, 1, 1, 1), Stratum(4, 0, 2, 0), Stratum(1, 0, 3, 2)]
    chances = {0: 1.0}
    for s in strata:
        law = stats.hypergeom(s.alone + s.loaded, s.alone_bad + s.loaded_bad, s.loaded)
        dealt: dict[int, float] = {}
        for total, chance in chances.items():
            for k in range(s.loaded + 1):
                dealt[total + k] = dealt.get(total + k, 0.0) + chance * float(law.pmf(k))
        chances = dealt
    seen = sum(s.loaded_bad for s in strata)
    above = math.fsum(chance for k, chance in chances.items() if k > seen) + chances[seen] / 2
    assert stratified_mid_p(strata) == pytest.approx(2 * min(above, 1 - above))


def test_none_seen_bounds_the_rate() -> None:
    assert [none_seen(n) for n in (100, 300, 1000, 3000, 10_000)] == pytest.approx(
        [0.02951, 0.00994, 0.00299, 0.000998, 0.00030], abs=6e-6
    )


def test_one_disagreement_among_twenty_shows_nothing_and_says_how_many_would() -> None:
    once = PairedShare(Pairs(19, 1, 0, 0))
    assert mcnemar_mid_p(1, 0) == 0.5
    assert once.decide(0.5, margin=0.01) is Decision.NOT_SHOWN
    needed = once.probes_to_show(0.01, tests=1)
    assert needed is not None
    # Seven losses without a gain are the smallest number with a mid-p below 1%: 2^-7.
    assert needed == 140 == 20 * 7
    assert mcnemar_mid_p(7, 0) < 0.01 < mcnemar_mid_p(6, 0)
    assert (more := once.probes_to_show(0.01, tests=8)) is not None
    assert more > needed


def test_no_disagreement_is_within_the_margin_once_there_are_enough() -> None:
    few, many = PairedShare(Pairs(54, 0, 0, 0)), PairedShare(Pairs(400, 0, 0, 0))
    assert few.decide(1.0, margin=0.01) is Decision.NOT_SHOWN
    assert few.decide(1.0, margin=0.07) is Decision.WITHIN_MARGIN
    assert many.decide(1.0, margin=0.01) is Decision.WITHIN_MARGIN
    assert few.probes_to_show(0.01, tests=1) == pytest.approx(381, abs=1)


def test_a_change_within_the_margin_counts_as_none_however_sure_it_is() -> None:
    share = PairedShare(Pairs(9_960, 40, 0, 0))
    p = mcnemar_mid_p(40, 0)
    assert share.decide(p, margin=0.01) is Decision.WITHIN_MARGIN
    assert share.decide(p, margin=0.004) is Decision.CHANGED


def test_twelve_losses_against_two_are_a_change_alone_and_not_among_eight_tests() -> None:
    share, p = PairedShare(Pairs(180, 12, 2, 6)), mcnemar_mid_p(12, 2)
    assert share.decide(holm([p])[0], margin=0.01) is Decision.CHANGED
    assert share.decide(holm([p, *[1.0] * 7])[0], margin=0.01) is Decision.NOT_SHOWN


def test_as_many_losses_as_gains_are_never_a_change_and_take_many_probes_to_be_within() -> None:
    share = PairedShare(Pairs(90, 5, 5, 0))
    assert share.decide(mcnemar_mid_p(5, 5), margin=0.01) is Decision.NOT_SHOWN
    needed = share.probes_to_show(0.01, tests=1)
    assert needed is not None
    assert 3_000 < needed < 6_000
    assert PairedShare(share.pairs.times(needed / 100)).decide(1.0, margin=0.01) is Decision.WITHIN_MARGIN
