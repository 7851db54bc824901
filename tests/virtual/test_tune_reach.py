"""How well races of `tune` decide, in a short simulation. `scripts/tune-reach` runs a long one
(docs/dev/simulations.md)."""

from __future__ import annotations

import pytest

from mockserver.engine.closed_form import ClosedForm
from tests.support.batching_model import S1
from tests.support.tune_reach import Arms, throughput, tokens_per_s, try_races

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arms() -> Arms:
    return throughput("8 values of max-num-seqs")


def test_a_turn_shows_the_throughput_of_the_closed_form() -> None:
    (shown,) = tokens_per_s(S1, 32, seed=0, visits=1)
    assert shown == pytest.approx(128 * ClosedForm(S1.cost, 1024, 128).requests_per_s(32), rel=0.02)


def test_a_race_finds_the_best_arm_in_half_the_time_of_an_even_split(arms: Arms) -> None:
    seen = try_races(arms, range(50), budget_s=4 * 3600.0, default=2)
    assert seen.right >= 48
    assert seen.kept >= 48
    assert seen.gain_holds >= 48
    assert seen.seconds <= 0.5 * seen.even_seconds


@pytest.mark.parametrize("number", [2, 4])
def test_equal_arms_are_not_told_apart(number: int, arms: Arms) -> None:
    assert try_races(arms.alike(number), range(60), budget_s=2 * 3600.0).alike >= 57  # 95%
