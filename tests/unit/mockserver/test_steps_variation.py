"""Varying steps: their description in the profile, and the mock's draws."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bench.statistics.autocorrelation import act
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.closed_form import ClosedForm
from mockserver.engine.interface import EngineRequest
from mockserver.plans.plan import Plan
from mockserver.rng import stream
from mockserver.step_cost import STEP_COSTS, StepCost, parse_step_cost
from mockserver.steps.variation import Level, StepDraws, StepVariation, variation_of

SLOW = Level(4.0, (0.0,) * 22 + (2.0,) * 3)


def varied(*levels: Level, power: float = 1.0, block: float = 1.0) -> StepVariation:
    return StepVariation(power=power, at_us=1_000.0, block=block, levels=levels)


@pytest.mark.parametrize(
    ("power", "cost_us", "expected_us"), [(1.0, 500.0, 1_500.0), (0.0, 500.0, 2_500.0), (0.5, 250.0, 1_250.0)]
)
def test_a_deviation_grows_with_the_step_as_its_power_says(power: float, cost_us: float, expected_us: float) -> None:
    assert varied(SLOW, power=power).us(cost_us, 2.0) == pytest.approx(expected_us)


def test_no_step_takes_less_than_nothing() -> None:
    assert varied(SLOW, power=0.0).us(100.0, -0.9) == 0.0
    assert StepDraws(varied(Level(1, (-1.0,))), stream(1, "steps", 0)).ns(1_000, 1) == 1


def test_draws_have_the_distribution_of_the_deviations() -> None:
    draws = StepDraws(varied(SLOW), stream(3, "steps", 0))
    slow = [draws.ns(1_000_000, 4) == 3_000_000 for _ in range(20_000)]
    assert sum(slow) / len(slow) == pytest.approx(0.12, abs=0.01)
    assert act(slow) < 1.2


def test_blocks_keep_how_deviations_follow_each_other() -> None:
    modes = Level(4.0, ((0.0,) * 50 + (1.0,) * 50) * 20)
    draws = StepDraws(varied(modes, block=1_000.0), stream(3, "steps", 0))
    taken = [draws.ns(1_000_000, 4) for _ in range(10_000)]
    changes = sum(a != b for a, b in pairwise(taken))
    assert 150 < changes < 260


def test_a_batch_between_two_levels_takes_from_both() -> None:
    draws = StepDraws(varied(Level(1, (0.0,)), Level(15, (1.0,))), stream(1, "steps", 0))
    shares = {
        decodes: sum(draws.ns(1_000, decodes) == 2_000 for _ in range(4_000)) / 4_000 for decodes in (0, 1, 5, 15, 99)
    }
    assert (shares[0], shares[1], shares[15], shares[99]) == (0, 0, 1, 1)
    assert shares[5] == pytest.approx(0.53, abs=0.05)


def test_the_mean_of_a_batch_between_two_levels_lies_between_theirs() -> None:
    variation = varied(Level(1, (0.0,)), Level(15, (0.5, 1.5)))
    # ln(1 + 7) is two thirds of the way from ln(1 + 1) to ln(1 + 15).
    means = [variation.mean_us(1_000.0, decodes) for decodes in (0, 1, 7, 15, 99)]
    assert means == pytest.approx([1_000, 1_000, 1_667, 2_000, 2_000], abs=1)


def test_an_engine_draws_the_same_again_from_one_seed_and_other_steps_from_another() -> None:
    cost = replace(STEP_COSTS["qwen2.5-7b-h100"], variation=varied(SLOW))

    def instants(seed: int) -> list[int]:
        engine = BatchingEngine(cost, seed=seed)
        engine.admit(0, EngineRequest(0, Plan(0, (0,) * 63, 64), 16))
        found = []
        while (now := engine.next_ns()) is not None:
            found += [now] * len(engine.step(now))
        return found

    assert instants(1) == instants(1)
    assert instants(1) != instants(2)


def test_the_closed_form_has_the_mean_of_steps_that_vary() -> None:
    even = StepCost(b0=1_000, b1=2, b2=10)
    uneven = replace(even, variation=varied(SLOW))
    forms = [ClosedForm(cost, 100, 50) for cost in (even, uneven)]
    assert forms[1].tpot_us(8) == pytest.approx(1.24 * forms[0].tpot_us(8))
    assert forms[1].max_requests_per_s == pytest.approx(forms[0].max_requests_per_s / 1.24)
    assert forms[1].half_load_users == pytest.approx(forms[0].half_load_users, rel=1e-6)


def test_a_file_of_a_step_cost_can_say_how_steps_vary(tmp_path: Path) -> None:
    row = {"power": 1, "at_us": 900, "block": 50, "levels": [{"decodes": 2, "shares": [0, 0.5]}]}
    file = tmp_path / "cost.json"
    file.write_text(json.dumps({"b0": 1, "b1": 2, "b2": 3, "variation": row}))
    assert parse_step_cost(str(file)).cost.variation == StepVariation(1.0, 900.0, 50.0, (Level(2.0, (0.0, 0.5)),))


def with_levels(*levels: object) -> dict[str, object]:
    return {"power": 1, "at_us": 1, "block": 1, "levels": [*levels]}


ONE, TWO = {"decodes": 0, "shares": [0]}, {"decodes": 2.5, "shares": [-0.5, 1]}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        *((with_levels(ONE) | {key: value}, None) for key, value in (
            ("power", 0), ("power", 1), ("at_us", 1e-3), ("at_us", 1e12), ("block", 1), ("block", 1e9))),
        *((with_levels(ONE) | {key: value}, f"variation: {key}={value!r}: write a number from {span}")
          for key, value, span in (
            ("power", -0.01, "0 to 1"), ("power", 1.01, "0 to 1"), ("at_us", 9e-4, "0.001 to 1e+12"),
            ("at_us", 1.1e12, "0.001 to 1e+12"), ("block", 0.9, "1 to 1e+09"), ("block", 1.1e9, "1 to 1e+09"),
            ("block", True, "1 to 1e+09"), ("power", None, "0 to 1"), ("block", math.inf, "1 to 1e+09"))),
        (with_levels(ONE, TWO), None),
        *((with_levels(*levels), "variation: levels: write objects like") for levels in (
            (), (7,), (ONE, ONE), (TWO, ONE), ({"decodes": -1, "shares": [0]},), ({"decodes": 1, "shares": []},),
            ({"decodes": 1, "shares": 5},), ({"decodes": "1", "shares": [0]},), (ONE | {"more": 1},), ({"decodes": 1},),
            ({"decodes": 1, "shares": [0, True]},))),
        (with_levels() | {"levels": {"decodes": 1}}, "variation: levels: write objects like"),
    ],
)  # fmt: skip
def test_a_variation_at_its_borders_is_taken_and_beyond_them_refused(row: dict[str, object], said: str | None) -> None:
    variation, problems = variation_of(row)
    if said is None:
        assert variation is not None
        assert (variation.power, variation.at_us, variation.block) == (row["power"], row["at_us"], row["block"])
    else:
        assert variation is None
        assert len(problems) == 1
        assert problems[0].startswith(said)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (7, "must be an object with power, at_us, block, levels"),
        ({"power": 2, "at_us": 1, "block": 1, "levels": []}, "power=2: write a number from 0 to 1"),
        ({"power": 1, "at_us": 1, "block": 1, "levels": []}, "levels: write objects"),
        ({"power": 1, "at_us": 1, "block": 1, "levels": [{"decodes": 1, "shares": ["x"]}]}, "levels: write objects"),
        ({"power": 1, "at_us": 1, "block": 1}, "levels is missing"),
        (
            {"power": 1, "at_us": 1, "block": 1, "levels": [{"decodes": 1, "shares": [0]}], "more": 1},
            "no key is called 'more'",
        ),
    ],
)
def test_a_bad_variation_is_refused_with_a_sentence(row: object, said: str) -> None:
    found, problems = variation_of(row)
    assert found is None
    assert any(said in problem for problem in problems)
