from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.metrics.histogram import RELATIVE_ERROR, LogHistogram
from bench.metrics.quantile import describe, lower_quantiles, quantile
from bench.results.base import to_plain
from bench.results.numbers import QUANTILES

INF = float("inf")
DURATIONS = st.lists(st.integers(0, 10**12), min_size=1, max_size=300)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_that_of_numpy(values: list[float], p: float) -> None:
    assert quantile(sorted(values), p) == pytest.approx(float(numpy.quantile(values, p)), rel=1e-9, abs=1e-6)


def test_the_p99_of_a_hundred_values_is_not_their_maximum() -> None:
    assert quantile(range(1, 101), 0.99) == pytest.approx(99.01)


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("values", "p", "expected"),
    [
        ([1.0, INF], 0.0, 1.0),
        ([1.0, INF], 0.5, INF),
        ([INF, INF], 0.5, INF),
        ([1.0, 2.0, INF], 0.5, 2.0),
        ([1.0, 2.0, INF], 1.0, INF),
    ],
)
def test_values_without_a_bound_leave_the_quantiles_below_them_alone(
    values: list[float], p: float, expected: float
) -> None:
    assert quantile(values, p) == expected


def test_lower_quantiles_come_from_the_highest_down() -> None:
    assert lower_quantiles("p95") == ["p90", "p75", "p50"]
    assert lower_quantiles("p50") == []


def test_statistics_are_those_of_numpy() -> None:
    values = sorted(numpy.random.default_rng(3).gamma(2.0, 10.0, 500).tolist())
    described = describe(values)
    assert described.n == 500
    assert described.mean == pytest.approx(numpy.mean(values))
    assert described.std == pytest.approx(numpy.std(values, ddof=1))
    assert (described.min, described.max) == (min(values), max(values))
    for name, p in QUANTILES.items():
        assert described.of(name) == pytest.approx(numpy.quantile(values, p))


def test_one_value_has_no_spread_and_no_values_have_nothing() -> None:
    assert describe([4.0]).std is None
    assert describe([3.0, 5.0]).std == 2**0.5
    assert describe([]).n == 0
    assert set(to_plain(describe([])).values()) == {0, None}


@given(DURATIONS)
def test_an_exact_histogram_gives_the_very_values(values: list[int]) -> None:
    histogram = LogHistogram()
    histogram.extend(values)
    assert histogram.exact
    for p in QUANTILES.values():
        assert histogram.snapshot().quantile(p) == quantile(sorted(values), p)


@given(DURATIONS)
def test_a_folded_histogram_is_within_its_stated_error(values: list[int]) -> None:
    histogram = LogHistogram()
    histogram.extend(values)
    histogram.fold()
    assert RELATIVE_ERROR <= 0.001
    snapshot = histogram.snapshot()
    for p in (0.0, *QUANTILES.values(), 1.0):
        # An interpolated value between two neighbours within the error is itself within the error.
        assert snapshot.quantile(p) == pytest.approx(quantile(sorted(values), p), rel=RELATIVE_ERROR + 1e-6)
    assert (snapshot.quantile(0), snapshot.quantile(1)) == (min(values), max(values))


@given(DURATIONS, DURATIONS, st.booleans(), st.booleans())
def test_merged_histograms_are_those_of_all_values(a: list[int], b: list[int], fold_a: bool, fold_b: bool) -> None:
    parts = []
    for values, fold in ((a, fold_a), (b, fold_b)):
        histogram = LogHistogram()
        histogram.extend(values)
        if fold:
            histogram.fold()
        parts.append(histogram)
    whole = LogHistogram()
    whole.extend(b + a)
    if fold_a or fold_b:
        whole.fold()
    parts[0].merge(parts[1])
    assert parts[0].exact is not (fold_a or fold_b)
    assert parts[0].snapshot().describe() == whole.snapshot().describe()


def one_by_one(histogram: LogHistogram, values: list[int]) -> None:
    for value in values:
        histogram.extend([value])


@given(DURATIONS, st.integers(0, 10))
@example([377_505_534, 377_623_859], 0)
def test_values_are_added_one_by_one_in_arrays_or_all_at_once(values: list[int], folded_after: int) -> None:
    ways: list[Callable[[LogHistogram, list[int]], object]] = [
        lambda histogram, some: histogram.extend(some),
        one_by_one,
        lambda histogram, some: histogram.extend(numpy.array(some, dtype=numpy.int64)),
        lambda histogram, some: histogram.extend(numpy.array(some, dtype=numpy.float64), sum(some)),
    ]
    found = []
    for add in ways:
        histogram = LogHistogram()
        add(histogram, values[:folded_after])
        histogram.fold()
        add(histogram, values[folded_after:])
        assert not histogram.exact
        found.append(histogram.snapshot().describe())
    for row in found:
        assert row.n == len(values)
        # Squares of floats are rounded. If the spread is small compared with the mean, its last digits are unknown.
        rounding = {"std": 1e-7 * (row.max or 0.0)}
        assert to_plain(row) == {
            name: None if x is None else pytest.approx(x, rel=1e-9, abs=rounding.get(name, 0.0))
            for name, x in to_plain(found[0]).items()
        }


@given(DURATIONS)
def test_a_histogram_describes_like_numpy(values: list[int]) -> None:
    histogram = LogHistogram()
    histogram.extend(values)
    described = histogram.snapshot().describe()
    assert described.mean == pytest.approx(numpy.mean(values))
    if len(values) > 1:
        assert described.std == pytest.approx(numpy.std(values, ddof=1), rel=1e-6, abs=1e-6)


def test_values_above_a_limit_are_counted() -> None:
    histogram = LogHistogram()
    histogram.extend([1_000, 2_000, 3_000, 4_000])
    assert histogram.snapshot().count_above(2_000) == 2
    histogram.fold()
    assert histogram.snapshot().count_above(2_500) == 2
    assert histogram.snapshot().count_above(10) == 4
    assert LogHistogram().snapshot().count_above(0) == 0
