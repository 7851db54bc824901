"""When requests are sent: the rules for every arrival process, and the distribution of each."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rng import stream
from bench.schedule import ARRIVALS, SHAPED
from tests.support import scipy_stats as stats

RATES = st.floats(0.01, 10_000)
SHAPES = st.floats(0.1, 200)
NAMES = st.sampled_from(sorted(ARRIVALS))


def taken(name: str, n: int, rate: float, burstiness: float = 1.0, seed: int = 1) -> list[int]:
    return list(itertools.islice(ARRIVALS[name](rate, burstiness, stream(seed, "arrivals")), n))


def gaps_of(name: str, n: int, rate: float, burstiness: float = 1.0) -> list[float]:
    offsets = [0, *taken(name, n, rate, burstiness)]
    return [(b - a) / 1e9 for a, b in itertools.pairwise(offsets)]


@given(NAMES, RATES, SHAPES, st.integers(0, 1_000))
def test_offsets_never_decrease_and_never_lie_before_the_start(name: str, rate: float, shape: float, seed: int) -> None:
    offsets = taken(name, 50, rate, shape, seed)
    assert offsets[0] >= 0
    assert offsets == sorted(offsets)


@given(NAMES, RATES, SHAPES)
def test_twice_the_rate_halves_every_offset(name: str, rate: float, shape: float) -> None:
    slow, fast = taken(name, 50, rate, shape), taken(name, 50, 2 * rate, shape)
    assert all(abs(a - 2 * b) <= 1 for a, b in zip(slow, fast, strict=True))


@given(NAMES, RATES, SHAPES, st.integers(1, 60), st.integers(1, 60))
def test_the_first_offsets_do_not_depend_on_how_many_are_taken(
    name: str, rate: float, shape: float, n: int, more: int
) -> None:
    assert taken(name, n + more, rate, shape)[:n] == taken(name, n, rate, shape)


@pytest.mark.parametrize("name", sorted(ARRIVALS))
def test_the_mean_rate_is_the_rate_that_was_asked_for(name: str) -> None:
    n = 20_000
    assert n / (taken(name, n, 50.0)[-1] / 1e9) == pytest.approx(50, rel=0.03)


@pytest.mark.parametrize("name", ["poisson", "gamma"])
def test_another_seed_is_another_schedule_and_the_same_seed_the_same(name: str) -> None:
    assert taken(name, 5, 10.0, seed=0) == taken(name, 5, 10.0, seed=0)
    assert taken(name, 5, 10.0, seed=0) != taken(name, 5, 10.0, seed=1)


def test_poisson_gaps_are_exponential() -> None:
    assert stats.kstest(gaps_of("poisson", 5_000, 40.0), "expon", args=(0, 1 / 40)).pvalue > 0.01


def test_poisson_counts_have_a_dispersion_near_one() -> None:
    offsets = taken("poisson", 50_000, 100.0)
    slots = offsets[-1] // 100_000_000
    counts = [0] * slots
    for at in offsets:
        if at // 100_000_000 < slots:
            counts[at // 100_000_000] += 1
    mean = sum(counts) / slots
    variance = sum((x - mean) ** 2 for x in counts) / (slots - 1)
    # The index of dispersion of a Poisson process has a standard error of sqrt(2 / slots).
    assert abs(variance / mean - 1) < 4 * math.sqrt(2 / slots)


@pytest.mark.parametrize("shape", [0.25, 0.87, 1.0, 4.0, 100.0])
def test_gamma_gaps_follow_the_gamma_distribution_of_that_shape(shape: float) -> None:
    gaps = gaps_of("gamma", 5_000, 40.0, shape)
    assert stats.kstest(gaps, "gamma", args=(shape, 0, 1 / (40 * shape))).pvalue > 0.01


@pytest.mark.parametrize("shape", [0.25, 1.0, 4.0, 100.0])
def test_the_gaps_of_burstiness_b_vary_by_one_over_its_root(shape: float) -> None:
    gaps = gaps_of("gamma", 40_000, 40.0, shape)
    assert stats.variation(gaps) == pytest.approx(1 / math.sqrt(shape), rel=0.05)


@given(RATES, st.integers(0, 200))
def test_each_beat_of_a_metronome_is_where_exact_arithmetic_puts_it(rate: float, i: int) -> None:
    offset = next(itertools.islice(ARRIVALS["constant"](rate, 1.0, stream(0)), i, None))
    exact = Fraction(i) / Fraction(rate) * 10**9
    # Half a nanosecond, plus the rounding error of a double.
    assert abs(offset - exact) <= Fraction(1, 2) + exact / 2**51


def test_the_millionth_beat_of_a_metronome_has_not_drifted() -> None:
    # 1/30 s is not a whole number of ns: the rounding error of a million added gaps would be 0.3 ms.
    offset = next(itertools.islice(ARRIVALS["constant"](30.0, 1.0, stream(0)), 1_000_000, None))
    assert offset == round(Fraction(1_000_000 * 10**9, 30))


def test_burstiness_shapes_the_processes_of_shaped_alone() -> None:
    changed = {name for name in ARRIVALS if taken(name, 5, 10.0, 0.5) != taken(name, 5, 10.0, 1.0)}
    assert changed == set(SHAPED), (
        "SHAPED of bench/schedule/__init__.py must name the processes whose gaps burstiness changes"
    )
