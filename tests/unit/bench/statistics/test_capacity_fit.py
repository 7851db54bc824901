"""Whether visits agree with one edge: a constant share, a moving edge, and scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from bench.statistics.capacity import SHALLOW, Mean, Share, grid
from bench.statistics.capacity_fit import (
    Fit,
    Flat,
    check,
    contradicts,
    contradicts_of_means,
    drift,
    drift_of_means,
    rising,
)

CAPACITIES = grid(1, 200)
LOADS = (5.0, 10.0, 20.0, 40.0)


def visits(*rows: tuple[float, float, float], own_d: float = 10.0) -> list[Share]:
    """Visits from their load, requests and share of violations."""
    return [Share(load, requests, round(requests * share), own_d) for load, requests, share in rows]


def level(share: float, requests: float = 4_000.0, loads: Sequence[float] = LOADS) -> list[Share]:
    return visits(*((load, requests, share) for load in loads))


def edge(load: float, capacity: float, slope: float = 30.0) -> float:
    """The share of violations by load: 1% at the capacity."""
    return 1 / (1 + 99 * math.exp(slope * math.log(capacity / load)))


@pytest.mark.parametrize(("share", "shown_from", "visits_from_there"), [(0.02, 20.0, 2), (0.1, 5.0, 4)])
def test_a_share_that_is_the_same_at_any_load_is_flat(share: float, shown_from: float, visits_from_there: int) -> None:
    """2% of 4,000 requests, worth 400. Three visits together certainly exceed 1%, and so does one visit of 10%."""
    assert check(level(share), 0.01, 10.0, CAPACITIES).flat == Flat(share, shown_from, 40.0, visits_from_there)
    assert check(level(share), 0.01, 10.0, CAPACITIES, SHALLOW).flat is not None


def test_a_share_that_is_allowed_is_not_flat() -> None:
    assert check(level(0.1), 0.1, 10.0, CAPACITIES).flat is None
    assert check(level(0.0), 0.1, 10.0, CAPACITIES).flat is None


def test_a_flat_share_must_be_three_standard_errors_above_what_is_allowed() -> None:
    # 2 (k ln 2 + (n - k) ln(0.98 / 0.99)), over D = 10, is 7.8e-4 n: 9 from 11,506 requests on.
    deviance = 2 * (0.02 * math.log(2) + 0.98 * math.log(0.98 / 0.99)) / 10
    assert 2_800 * 4 * deviance < 9 < 2_900 * 4 * deviance
    assert check(level(0.02, 2_800), 0.01, 10.0, CAPACITIES).flat is None
    assert check(level(0.02, 2_900), 0.01, 10.0, CAPACITIES).flat is not None
    # With twice the dependence, the same visits are worth half as much.
    assert check(level(0.02, 2_900), 0.01, 20.0, CAPACITIES).flat is None


@pytest.mark.parametrize("slope", [2.0, 6.0, 10.0, 30.0])
@pytest.mark.parametrize("capacity", [20.0, 30.0])
def test_a_curve_is_not_flat(slope: float, capacity: float) -> None:
    rows = [(load, 4_000.0, edge(load, capacity, slope)) for load in (5.0, 10.0, 20.0, 26.0, 33.0, 40.0)]
    assert check(visits(*rows), 0.01, 10.0, CAPACITIES).flat is None


def test_calm_visits_to_light_loads_tell_a_server_that_fell_from_one_that_never_held() -> None:
    over = [(load, 4_000.0, 0.1) for load in LOADS[1:]]
    assert check(visits((5.0, 4_000.0, 0.0025), *over), 0.01, 10.0, CAPACITIES).flat is None
    assert check(visits((5.0, 400.0, 0.0), *over), 0.01, 10.0, CAPACITIES).flat is None
    assert check(visits((5.0, 400.0, 0.1), *over), 0.01, 10.0, CAPACITIES).flat is not None
    # If the lightest visit broke even more, that is no sign of an edge.
    assert check(visits((5.0, 400.0, 0.2), *over), 0.01, 10.0, CAPACITIES).flat is not None


def test_visits_to_light_loads_count_together() -> None:
    over = [(load, 2_000.0, 0.1) for load in LOADS[1:]]
    # Each scout of 100 requests was too short to show much, but all were calm: 0 violations of 700, where 63 are
    # expected.
    calm = [(load, 100.0, 0.0) for load in (7.0, 1.0, 2.0, 4.0, 5.0, 6.0, 3.0)]
    assert check(visits(calm[0], *over), 0.01, 100.0, CAPACITIES).flat is not None
    assert check(visits(*over, *calm), 0.01, 100.0, CAPACITIES).flat is None
    assert check(visits(*over, *calm, own_d=30.0), 0.01, 100.0, CAPACITIES).flat is not None


def test_light_loads_must_have_been_able_to_show_a_violation() -> None:
    # The 29 requests at up to half of the highest load make slightly fewer than three expected violations; 30 make
    # three.
    few = [Share(5.0, 9, 1), Share(10.0, 10, 1), Share(20.0, 10, 1), Share(40.0, 201, 20)]
    assert check(few, 0.01, 1.0, CAPACITIES).flat is None
    enough = [*few[:2], Share(20.0, 11, 1), Share(40.0, 200, 20)]
    assert check(enough, 0.01, 1.0, CAPACITIES).flat is not None


@pytest.mark.parametrize(("d", "flat"), [(100.0, False), (200.0, True)])
def test_a_curve_that_explains_the_visits_clearly_better_is_no_flat_share(d: float, flat: bool) -> None:
    """Dependence within visits explains the differences. Twice the gain of the best curve over one share is 5.7 and
    2.8."""
    rows = visits((5.0, 4_000.0, 0.01), (10.0, 4_000.0, 0.02), (20.0, 4_000.0, 0.04), (40.0, 4_000.0, 0.2), own_d=4e3)
    assert (check(rows, 0.01, d, CAPACITIES).flat is not None) is flat


def test_four_visits_over_a_factor_of_two_are_needed() -> None:
    assert check(level(0.1, loads=LOADS[:3]), 0.01, 10.0, CAPACITIES).flat is None
    assert check(level(0.1, loads=(20, 25, 30, 39)), 0.01, 10.0, CAPACITIES).flat is None
    assert check(level(0.1, loads=(20, 25, 30, 40)), 0.01, 10.0, CAPACITIES).flat == Flat(0.1, 20, 40, 4)


def test_overloaded_visits_do_not_count() -> None:
    over = Share(80.0, 4_000, 3_999)
    assert check([*level(0.1), over], 0.01, 10.0, CAPACITIES).flat == Flat(0.1, 5.0, 40.0, 4)
    assert check([*level(0.1, loads=LOADS[:3]), over], 0.01, 10.0, CAPACITIES).flat is None
    # Shares up to 30% count; for an objective on a median up to 75%, which is three times the odds.
    assert check(level(0.3), 0.01, 10.0, CAPACITIES).flat is not None
    assert check(level(0.301), 0.01, 10.0, CAPACITIES).flat is None
    assert check(level(0.75), 0.5, 10.0, CAPACITIES).flat is not None
    assert check(level(0.76), 0.5, 10.0, CAPACITIES).flat is None


def test_shares_that_differ_by_more_than_their_own_dependence_explains_are_not_flat() -> None:
    rows = [(5.0, 4_000.0, 0.16), (10.0, 4_000.0, 0.02), (20.0, 4_000.0, 0.19), (40.0, 4_000.0, 0.03)]
    assert check(visits(*rows), 0.01, 400.0, CAPACITIES).flat is None
    assert check(visits(*rows, own_d=400.0), 0.01, 400.0, CAPACITIES).flat is not None


@pytest.mark.parametrize(("deviance", "flat"), [(5.99, True), (6.01, False)])
def test_shares_may_scatter_by_twice_their_degrees_of_freedom(deviance: float, flat: bool) -> None:
    """Four visits with one common share have three degrees of freedom."""
    shares = (0.14, 0.1, 0.13, 0.07)
    own_d = g_statistic([(4_000, round(4_000 * share)) for share in shares]) / deviance
    rows = [(load, 4_000.0, share) for load, share in zip(LOADS, shares, strict=True)]
    assert (check(visits(*rows, own_d=own_d), 0.01, 400.0, CAPACITIES).flat is not None) is flat


def test_visits_without_requests_say_nothing() -> None:
    assert check([], 0.01, 10.0, CAPACITIES) == Fit(None, 0.0)
    assert check([Share(5.0, 0, 0)], 0.01, 10.0, CAPACITIES) == Fit(None, 0.0)
    assert check([Share(80.0, 0, 0), *level(0.1)], 0.01, 10.0, CAPACITIES).flat == Flat(0.1, 5.0, 40.0, 4)


def g_statistic(rows: Sequence[tuple[int, int]]) -> float:
    """Twice the log-likelihood ratio of separate shares against a common one."""
    p = sum(k for _, k in rows) / sum(n for n, _ in rows)
    return 2 * sum(
        k * math.log(k / n / p) + (n - k) * math.log((1 - k / n) / (1 - p)) for n, k in rows
    )  # fmt: skip


def test_spread_is_the_deviance_of_visits_to_one_load_for_each_degree_of_freedom() -> None:
    rows = [(4_000, 20), (4_000, 60), (4_000, 30), (4_000, 90), (4_000, 45)]
    same = [Share(30.0, n, k) for n, k in rows]
    fine = grid(20, 45, 4_000)
    # Five visits near the edge; a curve has two parameters.
    assert check(same, 0.01, 10.0, fine).spread == pytest.approx(g_statistic(rows) / 10 / 3, rel=1e-3)
    assert check(same[:2], 0.01, 10.0, fine).spread == pytest.approx(g_statistic(rows[:2]) / 10, rel=1e-3)
    # A visit far from the edge, beyond six times the odds, adds no scatter and no degree of freedom.
    far = [Share(60.0, 4_000, 2_000), Share(10.0, 4_000, 1)]
    assert check([*same, *far], 0.01, 10.0, fine).spread == pytest.approx(g_statistic(rows) / 10 / 3, rel=1e-2)


def test_visits_on_a_curve_do_not_scatter() -> None:
    rows = [(load, 4_000.0, edge(load, 30.0, 25.0)) for load in (26.0, 28.0, 29.0, 30.0, 31.0, 32.0)]
    fine = grid(20, 45, 4_000)
    assert check(visits(*rows), 0.01, 10.0, fine).spread < 0.2
    swapped = [(load, n, share) for (load, n, _), (_, _, share) in zip(rows, reversed(rows), strict=True)]
    assert check(visits(*swapped), 0.01, 10.0, fine).spread > 2


SERIES = (20.0, 30.0, 38.0, 36.0, 35.0, 34.0, 33.0, 32.0, 31.0, 30.0)


def falling(factor: float) -> list[Share]:
    """Visits to a server whose capacity falls from 40 by a factor."""
    rows = [(load, 4_000.0, edge(load, 40 * factor ** (-i / 9))) for i, load in enumerate(SERIES)]
    return visits(*rows)


@pytest.mark.parametrize(("factor", "moved"), [(1.0, None), (1.1, None), (1.5, -0.8), (2.0, -0.8), (20.0, -3.2)])
def test_an_edge_that_falls_is_seen_from_a_third_on(factor: float, moved: float | None) -> None:
    assert drift(falling(factor), 0.01, 10.0, CAPACITIES) == moved


def test_an_edge_that_rises_is_the_other_way_round() -> None:
    rows = [(30.0, 4_000.0, edge(30.0, capacity)) for capacity in (27, 28, 29, 30, 31, 32, 33, 34)]
    moved = drift(visits(*rows), 0.01, 10.0, CAPACITIES)
    assert moved is not None
    assert moved > 0
    back = drift(visits(*reversed(rows)), 0.01, 10.0, CAPACITIES)
    assert back is not None
    assert back < 0


@pytest.mark.parametrize("factor", [-3.2, -1.6, -0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
def test_the_drift_is_how_far_the_edge_moved(factor: float) -> None:
    """Visits alternate just below and just above the edge at their time."""
    edges = [20 * math.exp(factor * (i / 15 - 0.5)) for i in range(16)]
    loads = [at * (1.02 if i % 2 else 0.98) for i, at in enumerate(edges)]
    rows = [(load, 400_000.0, edge(load, at)) for load, at in zip(loads, edges, strict=True)]
    assert drift(visits(*rows), 0.01, 10.0, grid(1, 200, 2_000)) == factor


@pytest.mark.parametrize("broken", [0.03, 0.3, 1.0])
def test_a_server_that_stays_as_it_is_did_not_move_whatever_the_form_of_its_edge(broken: float) -> None:
    """The search comes from above, so later visits are at lower loads. No slope of the model fits such an edge."""
    loads = [
        10,
        20,
        40,
        80,
        160,
        320,
        300,
        220,
        180,
        150,
        130,
        112,
        95,
        83,
        73,
        63,
        55,
        48,
        43,
        41,
        40.1,
        39.9,
        40.5,
        39.5,
    ]
    rows = [(load, 4_000.0, broken if load > 40 else 0.0) for load in loads]
    assert drift(visits(*rows), 0.01, 10.0, CAPACITIES) is None
    means = [Mean(load, broken if load > 40 else -broken, 0.02) for load in loads]
    assert drift_of_means(means, CAPACITIES) is None


@pytest.mark.parametrize(
    ("rows", "contradicted"),
    [
        # A restart at 19/s in the third visit is no drift, since the fourth visit holds again.
        ([(19, 1_200, 0.0), (25, 1_200, 0.5), (19, 1_200, 0.2), (19, 1_200, 0.0)], True),
        # A fifth of that may come from one long queue.
        ([(19, 1_200, 0.0), (25, 1_200, 0.5), (19, 1_200, 0.04), (19, 1_200, 0.0)], False),
        # A steep edge is no contradiction, and neither is a lighter load that held.
        ([(19, 1_200, 0.0), (20, 1_200, 0.9), (19, 1_200, 0.0), (20, 1_200, 0.9)], False),
        # Many visits scatter more by chance than a few do. Here each is off by one standard error.
        ([(19, 1_200, share) for share in (0.005, 0.025) * 8], False),
        # The number of violations under overload does not matter, either.
        ([(19, 1_200, 0.0), (25, 1_200, 0.9), (30, 1_200, 0.4)], False),
        ([(25, 1_200, 0.9), (30, 1_200, 0.4)], False),
        ([(19, 0, 0.0)], False),
    ],
)
def test_visits_contradict_every_steady_server_only_beyond_chance(
    rows: list[tuple[float, float, float]], *, contradicted: bool
) -> None:
    assert contradicts(visits(*rows), 0.01, 10.0) == contradicted
    if contradicted:
        assert drift(visits(*rows), 0.01, 10.0, CAPACITIES) is None


def test_levels_that_rise_are_pooled_where_the_values_fall() -> None:
    loads, values, weights = [3.0, 1.0, 2.0, 4.0, 2.0], [0.2, 0.0, 0.9, 1.0, 0.1], [2.0, 1.0, 1.0, 1.0, 3.0]
    # At 2: (0.9 + 3 x 0.1) / 4 = 0.3, over the 0.2 at 3: (4 x 0.3 + 2 x 0.2) / 6.
    assert rising(loads, values, weights) == pytest.approx([1.6 / 6, 0.0, 1.6 / 6, 1.0, 1.6 / 6])
    assert rising([2.0, 1.0], [0.1, 0.5], [1.0, 1.0]) == pytest.approx([0.3, 0.3])
    assert rising([], [], []) == []


def test_an_edge_that_is_still_did_not_move() -> None:
    assert drift(level(0.01, loads=[30.0] * 8), 0.01, 10.0, CAPACITIES) is None
    rows = [(load, 4_000.0, edge(load, 30.0)) for load in (31, 29, 31, 29, 30, 31, 29)]
    assert drift(visits(*rows), 0.01, 10.0, CAPACITIES) is None


def test_three_visits_show_no_drift() -> None:
    rows = [(30.0, 40_000.0, share) for share in (0.002, 0.01, 0.1, 0.3)]
    assert drift(visits(*rows[1:]), 0.01, 10.0, CAPACITIES) is None
    assert drift(visits(*rows), 0.01, 10.0, CAPACITIES) is not None
    means = [Mean(30.0, 0.3 * i, 0.01) for i in range(4)]
    assert drift_of_means(means[1:], CAPACITIES) is None
    assert drift_of_means(means, CAPACITIES) is not None


def test_dependence_of_a_visit_of_its_own_takes_weight_from_it_and_never_adds_any() -> None:
    rows = [(30.0, 20_000.0, share) for share in (0.004, 0.004, 0.01, 0.02, 0.03, 0.03)]
    assert drift(visits(*rows), 0.01, 10.0, CAPACITIES) is not None
    assert drift(visits(*rows, own_d=100.0), 0.01, 10.0, CAPACITIES) is None
    # The common D does not matter, because each visit has its own.
    assert drift(visits(*rows), 0.01, 80.0, CAPACITIES) == drift(visits(*rows), 0.01, 10.0, CAPACITIES)
    assert drift(visits(*rows, own_d=0.1), 0.01, 10.0, CAPACITIES) == drift(visits(*rows), 0.01, 10.0, CAPACITIES)


def test_a_mean_that_rises_at_one_load_is_an_edge_that_falls() -> None:
    slower = [Mean(30.0, 0.1 * i, 0.03) for i in range(8)]
    down, up = drift_of_means(slower, CAPACITIES), drift_of_means(slower[::-1], CAPACITIES)
    assert down is not None
    assert up is not None
    assert down < 0 < up
    assert drift_of_means([Mean(30.0, 0.0, 0.03)] * 8, CAPACITIES) is None
    assert drift_of_means([Mean(30.0, 0.03 * (i % 3), 0.03) for i in range(8)], CAPACITIES) is None


@pytest.mark.parametrize(
    ("rows", "contradicted"),
    [
        # Two visits to one load, each x errors off their mean: 2 x^2 with one degree of freedom, against 16.
        ([(20, -0.14), (20, 0.14)], False),
        ([(20, -0.145), (20, 0.145)], True),
        ([(18, 0.145), (20, -0.145)], True),
        ([(18, -0.145), (20, 0.145)], False),
        # Under overload, the excess over the limit depends on the length of the overload.
        ([(20, -0.1), (30, 2.0), (30, 0.5)], False),
        ([], False),
    ],
)
def test_means_contradict_every_steady_server_only_beyond_chance(
    rows: list[tuple[float, float]], contradicted: bool
) -> None:
    assert contradicts_of_means([Mean(load, log_ratio, 0.05) for load, log_ratio in rows]) is contradicted
