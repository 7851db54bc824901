"""The batching engine where two things happen at once or nearly so: a stall beside a step, a request that leaves the line."""

from __future__ import annotations

from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.plans.plan import Plan
from mockserver.step_cost import StepCost
from tests.support.played_engine import US, stamps_us, work

COST = StepCost(b0=10, b1=2, b2=3, a0=5, max_num_seqs=4, max_num_batched_tokens=32, kv_blocks=64)


def test_the_next_instant_is_the_nearer_one_of_a_stall_and_a_step() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, EngineRequest(0, Plan(0, (4 * US, 0), 3), 4))
    assert (engine.next_ns(), engine.step(5 * US), engine.next_ns()) == (5 * US, [], 23 * US)
    # The second token is computed at 36 and kept until 40; a step that began at 36 ends at 49.
    assert engine.step(23 * US) == [(1, 1)]
    assert engine.step(36 * US) == []
    assert engine.next_ns() == 40 * US
    assert engine.step(40 * US) == [(1, 1)]
    assert engine.next_ns() == 49 * US
    # The last one is kept until 53, when no step is under way any more.
    assert engine.step(49 * US) == []
    assert engine.next_ns() == 53 * US
    assert engine.step(53 * US) == [(1, 1)]
    assert engine.next_ns() is None


def test_whoever_leaves_before_the_queue_leaves_the_others_in_their_order() -> None:
    engine = BatchingEngine(COST)
    for key, at in ((1, 10), (2, 50), (3, 20)):
        engine.admit(key, work(at, 4, 1))
    engine.release(1)
    # In the queue 5 us after it came.
    assert engine.next_ns() == 25 * US
    assert stamps_us(engine) == {3: [43], 2: [73]}


def test_a_plan_that_says_nothing_of_its_first_token_delays_the_others_alone() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, EngineRequest(0, Plan(None, (0, 7 * US), 3), 4))
    assert stamps_us(engine) == {1: [23, 36, 56]}
