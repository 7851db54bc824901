"""Equal replicas are hardly ever called different; scripts/simulate-statistics replicas tries many more runs."""

from __future__ import annotations

from tests.support.replicas_alike import FLEETS, Fleet, one_run


def test_equal_replicas_are_hardly_ever_called_different() -> None:
    called = [one_run(fleet, seed) for fleet in FLEETS for seed in range(12)]
    assert sum(one.slower or one.share or one.errors for one in called) <= 0.02 * len(called)


def test_a_slow_one_is_found_where_queues_do_not_hide_it() -> None:
    fleet = Fleet(3, 300, 0.5, "least in flight")
    assert sum(one_run(fleet, seed).found for seed in range(10)) >= 9
