"""The batching engine against its closed form."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.closed_form import ClosedForm
from mockserver.plans.plan import Plan
from mockserver.plans.speculation import Speculation
from mockserver.step_cost import STEP_COSTS, StepCost
from tests.support.played_engine import US, play, work

TABLED = StepCost(1600, 8, 840, decode=((1, 1300), (2, 2600), (4, 3000), (8, 6700), (16, 13_400)))
"""A server whose decodes differ in cost."""


def closed_loop(
    cost: StepCost,
    users: int,
    inputs: int,
    outputs: int,
    rounds: int,
    stagger_ns: int,
    speculation: Speculation | None = None,
) -> tuple[float, float]:
    """N users, each of whom sends the next request when the last one has ended: requests/s and mean TPOT in us, without
    the start."""
    engine = BatchingEngine(cost, prefix_caching=False, drafts=0 if speculation is None else speculation.draft_tokens)
    left: dict[int, int] = {}
    rng = random.Random(1)

    def send(at_ns: int) -> None:
        number = len(left)
        shares = () if speculation is None else speculation.steps(outputs, rng)
        engine.admit(number, EngineRequest(at_ns, Plan(0, (0,) * (outputs - 1), outputs, step_tokens=shares), inputs))
        left[number] = outputs

    for user in range(users):
        send(user * stagger_ns)
    ends: list[int] = []
    tpots: list[float] = []
    while len(ends) < users * rounds:
        at = engine.next_ns()
        assert at is not None
        for key, tokens in engine.step(at):
            left[key] -= tokens
            if left[key] == 0:
                ends.append(at)
                tpots.append(sum(engine.release(key).plan.gaps_ns) / (outputs - 1) / US)
                send(at)
    half = users * (rounds // 2)
    throughput = (len(ends) - half) / (ends[-1] - ends[half - 1]) * 1e9
    return throughput, sum(tpots[half:]) / len(tpots[half:])


@pytest.mark.parametrize("users", [1, 2, 8, 32, 256])
@pytest.mark.parametrize("spread", [False, True], ids=["lockstep", "spread"])
def test_throughput_is_the_closed_form_within_1_percent(users: int, spread: bool) -> None:
    form = ClosedForm(STEP_COSTS["qwen2.5-7b-h100"], 1024, 128)
    cycle_ns = form.step_us(users) * form.steps * US
    requests_per_s, tpot_us = closed_loop(form.cost, users, 1024, 128, 6, int(spread * cycle_ns / users))
    assert requests_per_s == pytest.approx(form.requests_per_s(users), rel=0.01)
    if spread:
        assert tpot_us == pytest.approx(form.spread_tpot_us(users), rel=0.015)
    else:
        assert tpot_us < form.tpot_us(users)


@pytest.mark.parametrize("users", [1, 16, 64])
def test_the_closed_form_holds_with_speculation_and_costs_of_contexts_and_prompts(users: int) -> None:
    speculation = Speculation(4, 0.7)
    form = ClosedForm(replace(STEP_COSTS["qwen2.5-7b-h100"], b3=0.01, b4=9_000), 512, 256, speculation)
    cycle_ns = form.step_us(users) * form.steps * US
    requests_per_s, _ = closed_loop(form.cost, users, 512, 256, 40 // users + 6, int(cycle_ns / users), speculation)
    assert requests_per_s == pytest.approx(form.requests_per_s(users), rel=0.02)


@pytest.mark.parametrize("users", [1, 3, 8, 24, 64])
def test_the_closed_form_holds_with_a_decode_table(users: int) -> None:
    form = ClosedForm(TABLED, 256, 128)
    cycle_ns = form.step_us(users) * form.steps * US
    requests_per_s, tpot_us = closed_loop(form.cost, users, 256, 128, 6, int(cycle_ns / users))
    assert requests_per_s == pytest.approx(form.requests_per_s(users), rel=0.02)
    assert tpot_us == pytest.approx(form.spread_tpot_us(users), rel=0.03)


def test_half_of_the_ceiling_is_found_with_a_decode_table_too() -> None:
    form = ClosedForm(TABLED, 256, 128)
    assert form.requests_per_s(form.half_load_users) == pytest.approx(form.max_requests_per_s / 2)
    # Below one user, the table begins with 1300 us per decode: N (b1 I + 2 b2 S - 1300 S) = b0 S at half of 1 / (b1 I +
    # b2 S).
    assert ClosedForm(TABLED, 20_000, 8).half_load_users == pytest.approx(1600 * 8 / (160_000 + 13_440 - 10_400))
    flat = ClosedForm(replace(STEP_COSTS["qwen2.5-7b-h100"], decode=((1, 25.43),)), 1024, 128)
    assert flat.half_load_users == pytest.approx(replace(flat, cost=replace(flat.cost, decode=())).half_load_users)


def test_the_closed_form_is_that_of_the_published_example() -> None:
    form = ClosedForm(STEP_COSTS["qwen2.5-7b-h100"], 1024, 128)
    assert form.max_requests_per_s == pytest.approx(42.98, abs=0.005)
    assert form.tpot_us(32) == pytest.approx(7052 + 32 * (19.54 * 1024 / 128 + 25.43))
    assert form.requests_per_s(round(form.half_load_users)) == pytest.approx(form.max_requests_per_s / 2, rel=0.01)


def test_a_request_alone_has_the_ttft_of_the_closed_form() -> None:
    cost = replace(STEP_COSTS["qwen2.5-7b-h100"], a1=3.0)
    engine = BatchingEngine(cost)
    engine.admit(1, work(0, 20_000, 1))
    seen = [at for at, _ in play(engine)]
    assert seen == [round(ClosedForm(cost, 20_000, 1).alone_ttft_us() * US)]
