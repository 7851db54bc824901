"""Student's t against scipy, also for fractional degrees of freedom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistics import student
from bench.statistics.student import t_quantile, two_sided
from tests.support import scipy_stats as stats

FREEDOMS = [0.7, 1.0, 1.5, 2.0, 4.0, 7.3, 30.0, 250.0, 5_000.0]


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.8, 0.975, 0.9995])
def test_quantiles_are_those_of_scipy(p: float) -> None:
    found = [t_quantile(p, freedom) for freedom in FREEDOMS]
    assert found == pytest.approx(list(stats.t.ppf(p, FREEDOMS)), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 2.3, 6.0, 40.0])
def test_tails_are_those_of_scipy(t: float) -> None:
    found = [two_sided(t, freedom) for freedom in FREEDOMS]
    assert found == pytest.approx(list(2 * stats.t.sf(t, FREEDOMS)), rel=1e-9, abs=1e-14)
    assert [two_sided(-t, freedom) for freedom in FREEDOMS] == found


def test_an_infinite_t_has_no_tail() -> None:
    assert two_sided(float("inf"), 3) == 0.0


@pytest.mark.parametrize(("p", "freedom"), [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_what_has_no_quantile_is_refused(p: float, freedom: float) -> None:
    with pytest.raises(ValueError, match="no t quantile"):
        t_quantile(p, freedom)


@given(st.floats(0.51, 0.999), st.floats(1, 1_000))
def test_the_tail_at_a_quantile_is_what_was_asked_for(p: float, freedom: float) -> None:
    assert two_sided(t_quantile(p, freedom), freedom) == pytest.approx(2 * (1 - p), rel=1e-9)


def test_a_quantile_is_found_in_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[float] = []

    def counted(t: float, freedom: float) -> float:
        looked.append(t)
        return two_sided(t, freedom)

    monkeypatch.setattr(student, "two_sided", counted)
    for p, freedom in ((0.975, 10.0), (0.9, 3.0), (0.999, 30.0)):
        looked.clear()
        assert t_quantile.__wrapped__(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-12)
        # Up to four evaluations for an upper bound, then Newton's steps. Bisection would take about 45.
        assert len(looked) <= 20
