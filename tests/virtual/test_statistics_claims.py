"""The claims of docs/dev/simulations.md, in short simulations with fixed seeds. `scripts/simulate-statistics` runs long
ones."""

from __future__ import annotations

import pytest

from tests.support import statistics_claims as claims
from tests.support.batching_model import S1, S2, S3

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("load", claims.LOADS, ids=lambda load: load.name)
def test_intervals_of_a_report_hold_the_truth_in_nine_runs_of_ten(load: claims.Load) -> None:
    found = claims.coverage(load, 240, 12, truth_runs=5)
    hits, given = (sum(column) for column in zip(*found.values(), strict=True))
    assert given >= 12 * 5
    assert hits / given >= 0.9
    assert all(hits >= 0.9 * given for hits, given in found.values() if given >= 10), found


@pytest.mark.parametrize("load", [load for load in claims.LOADS if "95%" in load.name], ids=lambda load: load.name)
def test_means_of_short_runs_close_to_the_capacity_hold_the_truth_wherever_they_have_an_interval(
    load: claims.Load,
) -> None:
    found = claims.coverage(load, 30, 60, truth_runs=8)
    means = {name: found[name] for name in ("ttft_ms:mean", "tpot_ms:mean", *claims.RATES)}
    assert found["ttft_ms:mean"][1] >= 40
    assert all(hits >= 0.9 * given for hits, given in means.values() if given >= 20), means


def test_intervals_of_the_gaps_between_tokens_hold_the_truth() -> None:
    found = claims.token_coverage(claims.LOADS[3], 60, 8, truth_runs=6)
    hits, given = (sum(column) for column in zip(*found.values(), strict=True))
    assert given >= 8
    assert hits / given >= 0.9


def test_requests_taken_for_independent_give_intervals_that_do_not_hold() -> None:
    found = claims.uncorrected_coverage(claims.LOADS[2], 240, 12, truth_runs=5)
    assert all(hits / given < 0.8 for hits, given in found.values()), found


def test_searches_of_a_quarter_of_an_hour_find_the_capacity() -> None:
    graded, _ = claims.searches(claims.seek_ttft(), 900, 10)
    assert graded.searches == 10
    assert graded.rms <= 0.04
    assert graded.too_much == 0
    assert graded.coverage >= 0.9
    assert graded.minutes < 16.5


def test_a_backlog_is_found_where_no_objective_sees_it() -> None:
    graded, found = claims.searches(claims.seek_backlog(), 900, 6)
    assert graded.rms < 0.15
    assert graded.coverage >= 0.8
    known = [one.search.known() for one in found]
    assert sum(answer is not None and answer.binding == "keeps up" for answer in known) >= 4


def test_an_objective_on_a_mean_is_searched_for_as_well() -> None:
    graded, _ = claims.searches(claims.seek_mean(S2, 27.0, "tpot", truth_runs=5), 900, 6, precision=0.05)
    assert graded.rms <= 0.04
    assert graded.coverage >= 0.8


@pytest.mark.parametrize("budget_s", [60.0, 180.0])
def test_a_minute_is_enough_for_a_server_of_short_requests(budget_s: float) -> None:
    graded, _ = claims.searches(claims.seek_users(claims.FAST, 40), budget_s, 6, precision=0.1)
    assert graded.coverage >= 0.8
    assert graded.rms <= 0.05
    assert graded.width <= 0.2


def test_a_doubled_visit_flags_fewer_loads_that_hold_and_more_that_do_not() -> None:
    below = [claims.flags(S3, 0.95, 10, seconds, 30) for seconds in (60, 120)]
    above = [claims.flags(S3, 1.1, 10, seconds, 30) for seconds in (60, 120)]
    assert below[1] <= below[0] <= 0.2
    assert above[1] >= above[0] >= 0.7


def test_a_load_rarely_differs_from_itself() -> None:
    for how in ("welch", "batches"):
        assert claims.compared_with_itself(claims.LOADS[1], 120, 3, 10, how) <= 0.1


def test_a_change_of_5_percent_is_found_in_five_pairs() -> None:
    found, held = claims.found_changes(0.05, 0.01, 5, 300)
    assert found >= 0.9
    assert held >= 0.9


def test_the_gate_fails_on_changes_and_not_on_unchanged_code() -> None:
    assert claims.gate_failures(0.0, 0.05, 400) <= 0.01
    assert claims.gate_failures(0.0, 0.05, 400, candidate=1) <= 0.015
    assert claims.gate_failures(0.2, 0.05, 200) >= 0.8
    assert claims.gate_failures(0.1, 0.02, 100) >= 0.95


def test_unchanged_code_whose_runs_are_alike_fails_rarely_and_a_tail_that_rose_is_found() -> None:
    assert claims.gate_alarms("alike", 0.05, 150) <= 0.01
    assert claims.gate_alarms("alike", 0.05, 150, candidate=1) <= 0.02
    assert claims.gate_alarms("alike", 0.05, 60, tail=0.65) >= 0.9


def test_the_knee_of_a_sweep_is_that_of_the_closed_form() -> None:
    found, true = claims.knee_of_model([1, 2, 4, 8, 16, 32, 64, 128, 256], seconds=120)
    assert found.half_at == pytest.approx(true, rel=0.05)
    assert found.warning is None


def test_a_steady_server_is_called_steady_and_a_drifting_one_is_not() -> None:
    assert claims.drifts("none", claims.LOADS[3], 600, 10) <= 0.1
    assert claims.drifts("drift 25%", claims.LOADS[3], 600, 10) >= 0.7


def test_the_servers_that_are_searched_have_the_capacities_that_they_are_graded_against() -> None:
    for sought, server in ((claims.seek_ttft(), S1), (claims.seek_tpot(), S2)):
        (limit,) = sought.limits
        over = [
            float((limit.value(claims.Load("", server, rate=sought.capacity * f).run(2_000, 1)) > limit.limit_ms).mean())
            for f in (0.96, 1.04)
        ]  # fmt: skip
        assert over[0] < limit.goal.allowed < over[1]  # type: ignore[operator]
