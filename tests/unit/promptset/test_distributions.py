"""scipy is the oracle for the draws, the mass within limits, and the means."""

from __future__ import annotations

import functools
import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptset.distributions import FAMILIES, Dimension, Distribution, parse
from promptset.distributions.atoms import Atoms
from promptset.distributions.family import join_pairs, split_pairs
from promptset.distributions.gamma import regularized_gamma
from promptset.distributions.values import write_number
from promptset.errors import SpecError
from promptset.rng import stream
from tests.support import scipy_stats as stats
from tests.support.scipy_stats import Law

MS = 1e6


def lognorm(mean: float, cv: float) -> Any:
    sigma = math.sqrt(math.log1p(cv * cv))
    return Law("lognorm", sigma, scale=mean / math.exp(sigma**2 / 2))


# spec of a time, the same distribution in scipy (ns), its limits
TIMES = [
    ("uniform:10ms..50ms", Law("uniform", 10 * MS, 40 * MS), 0, math.inf),
    ("uniform:10ms..50ms,min=20ms,max=30ms", Law("uniform", 10 * MS, 40 * MS), 20 * MS, 30 * MS),
    ("normal:mean=200ms,std=40ms", Law("norm", 200 * MS, 40 * MS), 0, math.inf),
    ("normal:mean=20ms,cv=1.5", Law("norm", 20 * MS, 30 * MS), 0, math.inf),
    ("normal:mean=200ms,std=40ms,min=190ms,max=260ms", Law("norm", 200 * MS, 40 * MS), 190 * MS, 260 * MS),
    ("lognormal:mean=200ms,cv=0.5", lognorm(200 * MS, 0.5), 0, math.inf),
    ("lognormal:mean=200ms,cv=2,min=10ms,max=500ms", lognorm(200 * MS, 2), 10 * MS, 500 * MS),
    ("lognormal:median=80ms,sigma=0.7", Law("lognorm", 0.7, scale=80 * MS), 0, math.inf),
    ("gamma:mean=20ms,cv=0.3", Law("gamma", 1 / 0.09, scale=20 * MS * 0.09), 0, math.inf),
    ("gamma:mean=20ms,cv=2,max=60ms", Law("gamma", 0.25, scale=80 * MS), 0, 60 * MS),
    ("gamma:mean=20ms,shape=1", Law("gamma", 1, scale=20 * MS), 0, math.inf),
    ("exp:mean=1s", Law("expon", scale=1000 * MS), 0, math.inf),
    ("exp:mean=30ms,min=10ms,max=40ms", Law("expon", scale=30 * MS), 10 * MS, 40 * MS),
]

# spec of tokens, the distribution before rounding in scipy, its limits
TOKENS = [
    ("normal:mean=1024,std=200,min=1", Law("norm", 1024, 200), 1, math.inf),
    ("normal:mean=5,std=4", Law("norm", 5, 4), 1, math.inf),
    ("lognormal:mean=30,cv=1,min=4,max=200", lognorm(30, 1), 4, 200),
    ("lognormal:mu=2.788,sigma=0.847", Law("lognorm", 0.847, scale=math.exp(2.788)), 1, math.inf),
    ("gamma:mean=12,cv=1.4", Law("gamma", 1 / 1.96, scale=12 * 1.96), 1, math.inf),
    ("exp:mean=2", Law("expon", scale=2), 1, math.inf),
    ("exp:mean=20,min=0", Law("expon", scale=20), 0, math.inf),
    ("uniform:3..9", Law("uniform", 2.5, 7), 0, math.inf),
]


@functools.cache
def draws(distribution: Distribution, n: int = 4000) -> npt.NDArray[np.float64]:
    rng = stream(11, str(distribution))
    drawn = np.array([distribution.sample(rng) for _ in range(n)])
    drawn.setflags(write=False)
    return drawn


@pytest.mark.parametrize(("spec", "law", "low", "high"), TIMES)
def test_times_follow_the_law_between_the_limits(spec: str, law: Any, low: float, high: float) -> None:
    drawn = draws(parse(spec, "time"))
    kept = law.cdf(high) - law.cdf(low)
    assert drawn.min() >= low
    assert drawn.max() <= high
    assert stats.kstest(drawn, lambda x: (law.cdf(x) - law.cdf(low)) / kept).pvalue > 0.001


@pytest.mark.parametrize(("spec", "law", "low", "high"), TIMES)
def test_the_mean_of_a_time_is_the_integral(spec: str, law: Any, low: float, high: float) -> None:
    distribution = parse(spec, "time")
    kept = law.cdf(high) - law.cdf(low)
    top = min(high, law.ppf(1 - 1e-13))
    points = [p for p in law.ppf([0.01, 0.5, 0.99]) if low < p < top]
    from scipy import integrate

    expected = integrate.quad(lambda x: x * law.pdf(x), low, top, points=points, limit=200)[0] / kept
    assert distribution.mean() == pytest.approx(expected, rel=1e-6)
    assert distribution.kept() == pytest.approx(kept, rel=1e-9)
    assert distribution.share_below(25 * MS) == pytest.approx(
        max(0, (law.cdf(min(25 * MS, high)) - law.cdf(low)) / kept), abs=1e-9
    )


@pytest.mark.parametrize(("spec", "law", "low", "high"), TOKENS)
def test_tokens_are_the_law_rounded_and_drawn_again_outside(spec: str, law: Any, low: float, high: float) -> None:
    distribution = parse(spec, "tokens")
    k = np.arange(low, min(high, int(law.ppf(1 - 1e-12)) + 2) + 1)
    weights = law.cdf(k + 0.5) - law.cdf(k - 0.5)
    k, weights = k[weights > 0], weights[weights > 0] / weights.sum()
    drawn = draws(distribution)
    assert (drawn == np.floor(drawn)).all()
    assert drawn.min() >= low
    assert drawn.max() <= high
    assert distribution.mean() == pytest.approx((k * weights).sum(), rel=1e-6)
    assert distribution.share_below(6) == pytest.approx(weights[k < 6].sum(), abs=1e-9)
    # Cells with at least 20 expected draws. The last one contains the tail.
    cells = np.minimum((np.cumsum(weights) * len(drawn) / 20).astype(int), int(len(drawn) / 20) - 1)
    expected = np.array([weights[cells == c].sum() for c in np.unique(cells)]) * len(drawn)
    observed = np.array([np.isin(drawn, k[cells == c]).sum() for c in np.unique(cells)])
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 0.001


def anderson_darling(
    drawn: npt.NDArray[np.float64], cdf: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> float:
    """A^2 against a fully known distribution: above 6.0 in one of a thousand samples (D'Agostino and Stephens, table
    4.2)."""
    u = np.clip(np.sort(cdf(drawn)), 1e-15, 1 - 1e-15)
    i = np.arange(1, len(u) + 1)
    return float(-len(u) - ((2 * i - 1) * (np.log(u) + np.log1p(-u[::-1]))).mean())


@pytest.mark.parametrize(("spec", "law", "low", "high"), TIMES)
def test_the_tails_of_the_draws_follow_the_law_too(spec: str, law: Any, low: float, high: float) -> None:
    kept = law.cdf(high) - law.cdf(low)
    drawn = draws(parse(spec, "time"))
    assert anderson_darling(drawn, lambda x: (law.cdf(x) - law.cdf(low)) / kept) < 6.0


@pytest.mark.parametrize(
    ("told", "drawn_from"),
    [
        ("lognormal:mean=200ms,cv=0.5", lambda d: d * 1.05),  # a scale
        ("lognormal:mean=200ms,cv=0.5", lambda d: d + 5 * MS),  # an offset
        ("gamma:mean=20ms,cv=0.3", lambda d: 20 * MS + (d - 20 * MS) * 1.1),  # a spread
        ("exp:mean=1s", lambda d: np.minimum(d, 3000 * MS)),  # a clipped tail
        ("normal:mean=200ms,std=40ms", lambda d: np.round(d / (10 * MS)) * 10 * MS),  # whole steps
    ],
    ids=["scale", "offset", "spread", "clipped", "steps"],
)
def test_a_law_that_is_a_little_wrong_is_caught(
    told: str, drawn_from: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> None:
    law = {spec: law for spec, law, *_ in TIMES}[told]
    drawn = drawn_from(draws(parse(told, "time")))
    assert anderson_darling(drawn, law.cdf) > 6.0 or stats.kstest(drawn, law.cdf).pvalue < 0.001


SHARES = [0.001, 0.1, 0.5, 0.9, 0.99, 0.9999]


@pytest.mark.parametrize(("spec", "law", "low", "high"), TIMES)
def test_the_quantile_of_a_time_is_the_inverse_of_the_law_between_the_limits(
    spec: str, law: Any, low: float, high: float
) -> None:
    distribution = parse(spec, "time")
    for share in SHARES:
        expected = law.ppf(law.cdf(low) + share * (law.cdf(high) - law.cdf(low)))
        assert distribution.quantile(share) == pytest.approx(expected, rel=1e-9)
        assert distribution.cdf(expected) == pytest.approx(share, rel=1e-9)
    assert (distribution.cdf(low - 1), distribution.cdf(1e15)) == (0.0, 1.0)


@pytest.mark.parametrize(("spec", "law", "low", "high"), TOKENS)
def test_the_quantile_of_tokens_is_the_least_whole_number_that_reaches_the_share(
    spec: str, law: Any, low: float, high: float
) -> None:
    distribution = parse(spec, "tokens")
    k = np.arange(low, min(high, int(law.ppf(1 - 1e-12)) + 2) + 1)
    cumulative = np.cumsum(law.cdf(k + 0.5) - law.cdf(k - 0.5))
    cumulative /= cumulative[-1]
    for share in SHARES:
        expected = k[np.searchsorted(cumulative, share)]
        assert distribution.quantile(share) == expected
        assert distribution.cdf(expected) >= share > distribution.cdf(expected - 1)
    atoms = distribution.atoms()
    assert atoms is not None
    told = dict(atoms)
    shares = np.diff(cumulative, prepend=0.0)
    assert [told.get(value, 0.0) for value in k] == pytest.approx(shares, abs=1e-9)
    assert sum(told.values()) == pytest.approx(1.0)


def test_the_quantiles_of_listed_values_are_these_values(tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text('[["1ms", 3], ["2ms", 5], ["7ms", 2]]')
    distribution = parse(f"empirical:{file}", "time")
    assert [distribution.quantile(share) / MS for share in (0.1, 0.3, 0.31, 0.8, 0.81)] == [1, 1, 2, 2, 7]
    assert [(value / MS, share) for value, share in distribution.atoms() or []] == [(1, 0.3), (2, 0.5), (7, 0.2)]
    limited = parse(f"empirical:{file},max=2ms", "time")
    assert [share for _, share in limited.atoms() or []] == pytest.approx([3 / 8, 5 / 8])
    tokens = tmp_path / "tokens.json"
    tokens.write_text("[[1, 3], [2, 5], [7, 2]]")
    for limit, atoms in (("max=2", {1: 3 / 8, 2: 5 / 8}), ("min=2", {2: 5 / 7, 7: 2 / 7}), ("min=2,max=2", {2: 1.0})):
        assert dict(parse(f"empirical:{tokens},{limit}", "tokens").atoms() or ()) == pytest.approx(atoms)
    assert parse("5ms", "time").quantile(0.5) == 5 * MS
    assert parse("0ms", "time").quantile(0.99) == 0
    assert parse("exp:mean=1s", "time").atoms() is None
    for share in (0, 1, 1.5):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            distribution.quantile(share)


@pytest.mark.parametrize(("spec", "law", "low", "high"), TIMES)
def test_the_parts_of_a_time_add_up_to_the_whole(spec: str, law: Any, low: float, high: float) -> None:
    distribution = parse(spec, "time")
    edges = [-math.inf, *(distribution.quantile(share) for share in (0.2, 0.5, 0.999)), math.inf]
    parts = [distribution.part(a, b) for a, b in itertools.pairwise(edges)]
    assert [share for share, _ in parts] == pytest.approx([0.2, 0.3, 0.499, 0.001], rel=1e-6)
    assert sum(share * mean for share, mean in parts) == pytest.approx(distribution.mean(), rel=1e-9)


def test_zipf_weighs_by_rank() -> None:
    distribution = parse("zipf:s=1.2,n=50,min=3", "tokens")
    k = np.arange(3, 51)
    weights = k**-1.2 / (k**-1.2).sum()
    assert distribution.mean() == pytest.approx((k * weights).sum())
    observed = np.bincount(draws(distribution).astype(int), minlength=51)[3:]
    assert stats.chisquare(observed, weights * 4000).pvalue > 0.001


def test_an_empirical_file_gives_its_values_by_their_weights(tmp_path: Path) -> None:
    file = tmp_path / "seen, twice.json"
    file.write_text(json.dumps([10, [20, 3], [30, 0], 10]))
    distribution = parse(f"empirical:{file}", "tokens")
    drawn = draws(distribution)
    assert set(drawn) == {10, 20}
    assert (drawn == 20).mean() == pytest.approx(0.6, abs=0.03)
    assert distribution.mean() == 16
    assert parse(str(distribution), "tokens") == distribution
    assert parse(f"empirical:{file},max=15", "tokens").mean() == 10


def test_an_empirical_file_of_times_says_its_unit_once_or_everywhere(tmp_path: Path) -> None:
    once, everywhere = tmp_path / "once.json", tmp_path / "everywhere.json"
    once.write_text("[1.5, 2]")
    everywhere.write_text('["1.5ms", "2000us"]')
    assert parse(f"empirical:{once},unit=ms", "time").mean() == 1.75 * MS
    assert parse(f"empirical:{everywhere}", "time").mean() == 1.75 * MS
    with pytest.raises(SpecError, match=r"entry 1: '1\.5' is a time without a unit"):
        parse(f"empirical:{once}", "time")


def test_limits_of_listed_values_are_included(tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text('["1ms", "2ms", "3ms"]')
    distribution = parse(f"empirical:{file},min=1ms,max=2ms", "time")
    assert set(draws(distribution, 200)) == {1 * MS, 2 * MS}
    assert distribution.mean() == pytest.approx(1.5 * MS)
    assert distribution.kept() == pytest.approx(2 / 3)
    assert set(draws(parse("uniform:4..6", "tokens"), 200)) == {4, 5, 6}


def test_a_constant_is_itself() -> None:
    assert parse(128, "tokens").sample(stream(1)) == 128 == parse("128", "tokens").mean()
    assert parse("50ms", "time").sample(stream(1)) == 50 * MS
    assert parse("0.25s", "time").mean() == 250 * MS


@pytest.mark.parametrize("dimension", ["tokens", "time"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_example_of_each_kind_parses_and_its_text_gives_it_back(
    name: str, dimension: Dimension, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lengths.json").write_text("[1, [2, 5]]")
    (tmp_path / "ttft.json").write_text("[50.5, [60, 5]]")
    if dimension in FAMILIES[name].example:
        distribution = parse(FAMILIES[name].example[dimension], dimension)
        assert parse(str(distribution), dimension) == distribution


@given(
    st.sampled_from(["normal:mean={a},std={b}", "gamma:mean={a},cv=0.7", "lognormal:median={a},sigma=0.3,max={c}"]),
    st.floats(1e-3, 1e6),
    st.sampled_from(["us", "ms", "s"]),
)
def test_any_time_written_back_is_the_same_distribution(form: str, number: float, unit: str) -> None:
    spec = form.format(a=f"{number!r}{unit}", b=f"{number / 7!r}{unit}", c=f"{number * 2!r}{unit}")
    distribution = parse(spec, "time")
    assert parse(str(distribution), "time") == distribution


@pytest.mark.parametrize(
    ("spec", "dimension", "written"),
    [
        ("128", "tokens", "128"),
        (" 1500us ", "time", "1.5ms"),
        ("constant:50ms", "time", "50ms"),
        ("uniform: 100 .. 500 , max=400 , min=200", "tokens", "uniform:100..500,max=400,min=200"),
        ("uniform:10ms..1s", "time", "uniform:10ms..1s"),
        ("exp:mean=1000ms,min=1us", "time", "exp:mean=1s,min=1us"),
    ],
)
def test_a_distribution_is_written_in_one_form(spec: str, dimension: Dimension, written: str) -> None:
    assert str(parse(spec, dimension)) == written


@given(st.floats(0.05, 2000), st.floats(1e-4, 5000))
def test_the_incomplete_gamma_function_is_scipys(a: float, x: float) -> None:
    assert regularized_gamma(a, x)[0] == pytest.approx(stats.gamma(a).cdf(x), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("a", [0.5, 1.0, 3.5, 40.0])
@pytest.mark.parametrize("x", [0.0, 0.01, 1.0, 4.4, 4.6, 39.0, 200.0, math.inf])
def test_the_upper_gamma_function_is_that_of_scipy(a: float, x: float) -> None:
    assert regularized_gamma(a, x)[1] == pytest.approx(stats.gamma.sf(x, a), rel=1e-9, abs=1e-290)


def test_draws_use_nothing_of_a_generator_but_random() -> None:
    class OnlyRandom:
        def __init__(self) -> None:
            self.random = stream(1).random

    for spec, *_ in TIMES:
        parse(spec, "time").sample(cast(random.Random, OnlyRandom()))


REFUSED = [
    ("50", "time", ["'50' is a time without a unit: write 50ms, 50s or 50us"]),
    ("128ms", "tokens", ["takes no unit: write 128"]),
    ("5 minutes", "time", ["is not a number with a unit"]),
    ("-3ms", "time", ["cannot be negative"]),
    ("1.5", "tokens", ["write a whole number"]),
    ("many", "tokens", ["is not a number (example: 128)"]),
    ("", "tokens", ["is not a number (example: 128)"]),
    ("nan", "tokens", ["finite"]),
    ("lognorm:mean=1", "tokens", ["did you mean lognormal?"]),
    ("weird:mean=1", "tokens", ["no distribution is called 'weird'; there are constant, uniform"]),
    ("exp", "time", ["exp needs its parameters (example: exp:mean=1s)"]),
    ("normal:men=10,sdt=x,min=3ms", "tokens", ["mean'?", "std'?", "mean and std", "takes no unit"]),
    ("lognormal:mean=200,cv=x", "time", ["mean: '200' is a time without a unit", "cv: 'x' is not a number"]),
    ("lognormal:mean=1ms,sigma=1", "time", ["takes mean and cv, or median and sigma"]),
    ("lognormal:mu=1,sigma=1", "time", ["write median="]),
    ("exp:mean=1s,mean=2s", "time", ["mean is given twice"]),
    ("exp:1s", "time", ["'1s' is not key=value"]),
    ("gamma:mean=20ms,cv=0", "time", ["cv must be above 0"]),
    ("gamma:mean=20ms,cv=0.0001", "time", ["next to constant"]),
    ("normal:mean=5,std=0", "tokens", ["std must be above 0"]),
    ("uniform:5", "tokens", ["two ends joined by two dots"]),
    ("uniform:9..5", "tokens", ["first end must be below"]),
    ("uniform:1.5..3", "tokens", ["the ends must be whole numbers of tokens"]),
    ("uniform:1..3.5", "tokens", ["the ends must be whole numbers of tokens"]),
    ("uniform:1..5,low=3,high=4", "tokens", ["low is given twice", "high is given twice"]),
    ("uniform:10..50ms", "time", ["low: '10' is a time without a unit"]),
    ("exp:mean=5,min=1.5", "tokens", ["min=1.5: write a whole number"]),
    ("exp:mean=5,min=9,max=3", "tokens", ["max must be at least 9"]),
    ("normal:mean=10,std=1,min=100", "tokens", ["of the draws lie inside the limits"]),
    ("uniform:1..5,min=7", "tokens", ["of the draws lie inside the limits"]),
    ("zipf:s=1.2,n=5", "time", ["cannot describe a time"]),
    ("zipf:s=1.2,n=0", "tokens", ["n must be a whole number from 1 to 1000000"]),
    ("zipf:s=1.2,n=1000001", "tokens", ["n must be a whole number from 1 to 1000000"]),
    ("empirical:", "tokens", ["the file is missing"]),
    ("empirical:nowhere.json", "tokens", ["nowhere.json cannot be read: No such file"]),
    ("empirical:nowhere.json,unit=ms", "tokens", ["tokens take none"]),
]


@pytest.mark.parametrize(("spec", "dimension", "said"), REFUSED)
def test_what_is_wrong_is_said_all_at_once(spec: str, dimension: Dimension, said: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse(spec, dimension)
    for words in said:
        assert words in str(caught.value)
    assert all(repr(spec) in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "[1, -2, true, [3, -1], 1.5]",
            ["entry 2: '-2' cannot be", "entry 3: True", "4: the weight -1", "entry 5: 1.5"],
        ),
        ("{}", ["must hold a list"]),
        ("[]", ["must hold a list"]),
        ("[[5, 0]]", ["no value has a weight above 0"]),
        ("[1,", ["is not JSON"]),
    ],
)
def test_a_bad_empirical_file_is_refused_by_its_entries(content: str, said: list[str], tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(SpecError) as caught:
        parse(f"empirical:{file}", "tokens")
    for words in said:
        assert words in str(caught.value)


def test_an_entry_of_an_empirical_file_is_a_value_or_a_pair(tmp_path: Path) -> None:
    file = tmp_path / "lengths.json"
    file.write_text("[5, [7, 2], [1, 2, 3], [4], []]")
    with pytest.raises(SpecError) as refused:
        parse(f"empirical:{file}", "tokens")
    problems = refused.value.problems
    assert len(problems) == 3
    for number, problem in zip((3, 4, 5), problems, strict=True):
        assert f"{file}, entry {number}: " in problem


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3.0, "3"),
        (-2.0, "-2"),
        (0.5, "0.5"),
        (1e15 - 1, "999999999999999"),
        (1e15, "1000000000000000.0"),
        (1e300, "1e+300"),
    ],
)
def test_a_number_is_written_as_short_as_it_is_read_again(number: float, text: str) -> None:
    assert write_number(number) == text
    assert float(text) == number


@pytest.mark.parametrize(
    "spec",
    [
        "lognormal:mean=5,cv=1e200",
        "lognormal:mu=1000,sigma=1",  # Its mean is e^1000.5, which no float can be.
        f"{2**60 + 2**8}",
    ],
)
def test_a_mean_beyond_all_bounds_is_refused(spec: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse(spec, "tokens")
    assert refused.value.problems == [f"{spec!r}: its values grow beyond all bounds: give it a smaller spread"]
    assert parse(f"{2**60}", "tokens").mean() == 2**60


def test_a_part_without_values_has_the_share_zero() -> None:
    times = parse("exp:mean=1s,max=2s", "time")
    assert times.part(3e9, 4e9) == (0.0, 3e9)
    assert times.part(1e9, 1e9) == (0.0, 1e9)


def test_the_part_of_some_values_is_theirs_alone() -> None:
    law = Atoms.from_weights([(8, 4), (1, 1), (2, 2), (4, 3)])
    # Each range with its share and its part of the mean, in tenths.
    for low, high, mass, part in (
        (0, 9, 10, 49),
        (1, 1, 1, 1),
        (2, 4, 5, 16),
        (4, 8, 7, 44),
        (8, 8, 4, 32),
        (5, 7, 0, 0),
    ):
        assert law.mass(low, high) == pytest.approx(mass / 10, abs=1e-15)
        assert law.partial_mean(low, high) == pytest.approx(part / 10, abs=1e-15)
    assert law.atoms(2, 4) == [(2, pytest.approx(0.2)), (4, pytest.approx(0.3))]


def test_listed_times_are_cut_at_their_limits_to_the_nanosecond(tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_text("[1, 2, 3]")
    assert parse(f"empirical:{path},unit=us,min=1.0004us,max=2.9996us", "time").atoms() == [(2000.0, 1.0)]
    assert parse(f"empirical:{path},unit=us,min=1us,max=2us", "time").atoms() == [(1000.0, 0.5), (2000.0, 0.5)]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("a=1,b=2", {"a": "1", "b": "2"}), (" a = 1 , ,b=x=y,", {"a": "1", "b": "x=y"}), ("", {})],
)
def test_pairs_are_read_by_their_first_sign(text: str, pairs: dict[str, str]) -> None:
    assert split_pairs(text) == pairs
    assert split_pairs(join_pairs(pairs)) == pairs


def test_what_is_no_pair_is_named() -> None:
    with pytest.raises(SpecError) as refused:
        split_pairs("a,b=,c=1,c=2,=")
    assert refused.value.problems == [
        "'a' is not key=value", "'b=' is not key=value", "c is given twice", "'=' is not key=value",
    ]  # fmt: skip
