"""What visits show about each objective: which visits count, how much, and over which loads."""

from __future__ import annotations

import math

import pytest

from bench.load_search.estimates import Estimates, _as_sent, _kept_up, _shares, _weight
from bench.load_search.goals import KEEPS_UP, Goal
from bench.load_search.visits import Result
from bench.statistics.capacity import SHALLOW, STEEP, Domain, Mean, Share
from tests.support.made_visits import MEAN, P99, TPOT, in_turn, made_visit

JOB = Goal("job:p90<60s", 0.1)


def estimates(*results: Result, goals: tuple[Goal, ...] = (P99,), of_jobs: bool = False) -> Estimates:
    return Estimates(goals, results, 0.1, 1_000.0, of_jobs)


def test_what_a_visit_saw_is_its_load_its_counts_and_three_times_its_dependence() -> None:
    visits = [
        made_visit(1, 8.0, 0.02, requests=2_000, act={P99.text: 5.0}),
        made_visit(2, 9.0, requests=500, act={P99.text: 0.9}),  # At least three visits.
        made_visit(3, 10.0, requests=500, act={}, violations={}),
        made_visit(4, 11.0, 0.5, about={P99.text: 60}, violations={P99.text: 6}),
    ]
    assert _as_sent(P99, visits) == [
        Share(8.0, 2_000, 40, 15.0), Share(9.0, 500, 0, 3.0), Share(10.0, 500, 0, 3.0), Share(11.0, 60, 6, 15.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "settle_s", "e2el_s", "weight"),
    [
        (0.0, 10.0, 5.0, 1.0),  # The requests in flight were replaced twice during settling.
        (0.0, 10.0, 10.0, 0.5),
        (0.0, 10.0, 2.0, 1.0),
        (0.01, 10.0, 10.0, 0.5),  # The visit held.
        (0.02, 10.0, 10.0, 1.0),
        (0.0, 10.0, None, 1.0),
        (0.0, 10.0, 0.0, 1.0),
    ],
)
def test_a_visit_that_held_before_the_server_had_settled_counts_less(
    share: float, settle_s: float, e2el_s: float | None, weight: float
) -> None:
    visit = made_visit(1, 8.0, share, settle_s=settle_s, e2el_p90_s=e2el_s)
    assert _weight(P99, visit) == weight
    (seen,) = _shares(P99, [visit])
    assert (seen.load, seen.own_d) == (8.0, 15.0)
    assert (seen.requests, seen.violations) == (weight * 4_000, weight * share * 4_000)


def test_a_visit_without_requests_counts_as_one_that_held() -> None:
    assert _weight(P99, made_visit(1, 8.0, requests=0, settle_s=4.0, e2el_p90_s=8.0)) == 0.25


def test_a_visit_that_was_repeated_keeps_up_as_its_repetition_says() -> None:
    visits = [
        made_visit(1, 8.0), made_visit(2, 16.0, kept_up=False), made_visit(3, 16.0, phase="again"),
        made_visit(4, 32.0, kept_up=False), made_visit(5, 32.0, phase="again", kept_up=False),
        made_visit(6, 12.0, kept_up=None),
    ]  # fmt: skip
    assert _kept_up(visits) == [(8.0, True), (16.0, True), (32.0, False)]


def test_keeping_up_is_an_objective_once_a_repetition_failed_it() -> None:
    scouts = in_turn(("scout", 16.0, 0.0), ("scout", 64.0, 0.9))
    piled = [*scouts, made_visit(3, 20.0, kept_up=False), made_visit(4, 20.0, phase="again")]
    assert list(estimates(*piled).posteriors) == [P99.text]
    found = estimates(*piled[:3], made_visit(4, 20.0, phase="again", kept_up=False))
    assert list(found.posteriors) == [P99.text, KEEPS_UP]
    assert found.binding()[0] == KEEPS_UP
    # All posteriors share a domain, so they can be compared.
    assert (found.posteriors[P99.text].grid == found.posteriors[KEEPS_UP].grid).all()


def test_the_domain_is_that_of_the_scouts_and_of_jobs_no_higher_than_what_a_visit_broke() -> None:
    scouts = in_turn(("scout", 16.0, 0.0), ("scout", 32.0, 0.9))
    broken, held = made_visit(3, 8.0, 0.5), made_visit(4, 4.0)
    assert estimates(*scouts, broken, held).domain == Domain(10.0, pytest.approx(38.4))  # type: ignore[arg-type]
    assert estimates(*scouts, held, of_jobs=True).domain == Domain(10.0, pytest.approx(38.4))  # type: ignore[arg-type]
    assert estimates(*scouts, broken, held, of_jobs=True).domain == Domain(5.0, pytest.approx(38.4))  # type: ignore[arg-type]
    # At least twice 1.2 times the lower end.
    close = in_turn(("scout", 16.0, 0.0), ("scout", 16.5, 0.9))
    found = estimates(*close, of_jobs=True).domain
    assert (found.low, found.high) == pytest.approx((10.0, 24.0))


def test_the_edge_of_an_objective_on_jobs_may_be_shallow() -> None:
    judged = made_visit(1, 8.0, goal=JOB, jobs={JOB.text: 40})
    found = estimates(judged, made_visit(2, 8.0), goals=(JOB, P99))
    assert found._edge(JOB) is SHALLOW
    assert found._edge(P99) is STEEP


def test_what_was_tried_is_all_evidence_and_the_edge_may_be_four_times_beyond_it() -> None:
    visits = [*in_turn(("scout", 8.0, 0.0), ("visit", 20.0, 0.3)), made_visit(3, 90.0, verdict="FAILED")]
    tried, capacities = estimates(*visits)._tried()
    assert [result.n for result in tried] == [1, 2]
    assert (capacities[0], capacities[-1]) == pytest.approx((2.0, 80.0))
    nothing, capacities = estimates()._tried()
    assert (nothing, capacities[0], capacities[-1]) == ([], pytest.approx(0.25), pytest.approx(4.0))
    assert estimates().fits == {}


def test_dependence_is_twice_the_last_scout_until_a_visit_near_the_edge_shows_it() -> None:
    scouts = in_turn(("scout", 16.0, 0.0), ("scout", 40.0, 0.9))
    assert estimates(*scouts)._dispersion(P99) == 80.0
    assert estimates(*in_turn(("scout", 3.0, 0.0)))._dispersion(P99) == 10.0
    assert estimates(
        *in_turn(("scout", 0.5, 0.9))
    ).hints  # Until a visit holds, a scout that broke is a hint at any load.
    assert estimates()._dispersion(P99) == 10.0
    near = [made_visit(n, load, share, act={P99.text: tau}) for n, load, share, tau in
            ((3, 29.0, 0.002, 6.0), (4, 31.0, 0.02, 10.0), (5, 2.0, 0.0, 99.0))]  # fmt: skip
    # Three times the mean of the two visits within a quarter of the capacity.
    assert estimates(*scouts, *near)._dispersion(P99) == pytest.approx(3 * 8.0)
    # Visits with too few requests show no dependence.
    blind = [made_visit(n, 30.0, act={}) for n in (3, 4)]
    assert estimates(*scouts, *blind)._dispersion(P99) == 80.0


def test_an_objective_on_a_mean_is_judged_by_the_visits_that_have_one() -> None:
    visits = [
        made_visit(n, load, means={MEAN.text: Mean(load, 4 * math.log(load / 25.0), 0.03)})
        for n, load in enumerate((10.0, 20.0, 24.0, 26.0, 30.0))
    ]
    scouts = in_turn(("scout", 16.0, 0.0), ("scout", 128.0, 0.9), goal=TPOT)
    found = estimates(*scouts, *visits, made_visit(9, 90.0), goals=(MEAN, TPOT))
    assert found.posteriors[MEAN.text].estimate == pytest.approx(25.0, rel=0.02)
    assert list(found.fits) == [TPOT.text]
    assert found.drifts == {}


def test_scatter_widens_the_interval_of_the_objective_that_scatters() -> None:
    shares, scouts = (0.0, 0.05, 0.0, 0.06, 0.001, 0.04), (("scout", 16.0, 0.0), ("scout", 64.0, 0.9))
    wild = estimates(*in_turn(*scouts, *(("visit", 30.0, share) for share in shares), act={P99.text: 10.0}))
    even = estimates(*in_turn(*scouts, *(("visit", 30.0, sum(shares) / 6) for _ in shares), act={P99.text: 10.0}))
    assert wild.fits[P99.text].spread > 2
    assert even.fits[P99.text].spread < 1
    assert wild.posteriors[P99.text].width > 1.2 * even.posteriors[P99.text].width
