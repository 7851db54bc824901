"""A copy of a histogram is independent, an empty one changes nothing, and a snapshot has the middle of each bin."""

from __future__ import annotations

import struct

import pytest

from bench.metrics.histogram import LogHistogram

VALUES = [1.0, 3.0, 3.0, 700.0, 5e6, 5e6 + 1.0, 8e7]


def made(values: list[float], *, folded: bool) -> LogHistogram:
    histogram = LogHistogram()
    histogram.extend(values)
    if folded:
        histogram.fold()
    return histogram


@pytest.mark.parametrize("folded", [True, False])
def test_a_copy_is_changed_apart(folded: bool) -> None:
    histogram = made(VALUES, folded=folded)
    before = histogram.snapshot().describe()
    copy = histogram.copy()
    assert copy.snapshot().describe() == before
    assert copy.exact == (not folded)

    copy.extend([12.0])
    copy.remove(made([700.0], folded=folded))

    assert histogram.snapshot().describe() == before
    assert copy.snapshot().describe() == made([1.0, 3.0, 3.0, 12.0, *VALUES[4:]], folded=folded).snapshot().describe()


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("empty_folded", [True, False])
def test_an_empty_one_adds_nothing_but_that_it_is_no_longer_exact(folded: bool, empty_folded: bool) -> None:
    histogram = made(VALUES, folded=folded)
    histogram.merge(made([], folded=empty_folded))

    assert histogram.exact == (not folded and not empty_folded)
    assert histogram.count == len(VALUES)
    assert (histogram.min, histogram.max) == (1.0, 8e7)


def test_a_snapshot_of_bins_has_the_middle_of_each_and_the_exact_ends() -> None:
    snapshot = made([700.5, 5e6, 8e7], folded=True).snapshot()

    def middle(value: float) -> float:
        """The middle of a bin: a float32 with the last 14 bits cut off, plus half of their range."""
        bits = struct.unpack("I", struct.pack("f", value))[0]
        found: float = struct.unpack("f", struct.pack("I", (bits >> 14 << 14) + (1 << 13)))[0]
        return found

    assert snapshot._values == [max(middle(700.5), 700.5), middle(5e6), min(middle(8e7), 8e7)]
    assert snapshot._cumulative == [1, 2, 3]
    assert snapshot.quantile(0.5) == middle(5e6)
    assert (snapshot.quantile(0), snapshot.quantile(1)) == (700.5, 8e7)
    assert made([0.0, 0.0], folded=True).snapshot().quantile(0.5) == 0.0


@pytest.mark.parametrize("value", [1e308 * 10, 1e19, float("nan")])
def test_a_value_that_no_clock_measures_is_an_error_and_not_another_number(value: float) -> None:
    with pytest.raises(FloatingPointError):
        LogHistogram().extend([5.0, value])
