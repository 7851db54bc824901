"""The batching engine when two events coincide or nearly coincide: a stall during a step, a request that leaves the
queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.work import Drafts
from mockserver.plans.plan import Plan
from mockserver.step_cost import StepCost
from tests.support.played_engine import US, stamps_us, work

COST = StepCost(b0=10, b1=2, b2=3, a0=5, max_num_seqs=4, max_num_batched_tokens=32, kv_blocks=64)


def test_the_next_instant_is_the_nearer_one_of_a_stall_and_a_step() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, EngineRequest(0, Plan(0, (4 * US, 0), 3), 4))
    assert (engine.next_ns(), engine.step(5 * US), engine.next_ns()) == (5 * US, [], 23 * US)
    # The second token is computed at 36 and held back until 40. A step that began at 36 ends at 49.
    assert engine.step(23 * US) == [(1, 1)]
    assert engine.step(36 * US) == []
    assert engine.next_ns() == 40 * US
    assert engine.step(40 * US) == [(1, 1)]
    assert engine.next_ns() == 49 * US
    # The last token is held back until 53, when no step is running any more.
    assert engine.step(49 * US) == []
    assert engine.next_ns() == 53 * US
    assert engine.step(53 * US) == [(1, 1)]
    assert engine.next_ns() is None


def test_whoever_leaves_before_the_queue_leaves_the_others_in_their_order() -> None:
    engine = BatchingEngine(COST)
    for key, at in ((1, 10), (2, 50), (3, 20)):
        engine.admit(key, work(at, 4, 1))
    engine.release(1)
    # The request is in the queue 5 us after it came.
    assert engine.next_ns() == 25 * US
    assert stamps_us(engine) == {3: [43], 2: [73]}


def test_a_plan_that_says_nothing_of_its_first_token_delays_the_others_alone() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, EngineRequest(0, Plan(None, (0, 7 * US), 3), 4))
    assert stamps_us(engine) == {1: [23, 36, 56]}


@pytest.mark.parametrize(("drafts", "caching"), [(0, True), (0, False), (1, True), (1, False), (2, False)])
def test_work_tells_of_drafts_and_of_a_cache_where_there_are_any(drafts: int, caching: bool) -> None:
    engine = BatchingEngine(COST, drafts=drafts, prefix_caching=caching)
    assert (engine.block_tokens, engine.needs_input_tokens) == (16 if caching else 0, True)
    engine.admit(1, work(0, 4, 2))
    told = engine.work(1)
    assert told.cached_tokens == (0 if caching else None)
    assert told.drafts == (Drafts(0, (0,) * (drafts + 1)) if drafts else None)
    assert engine.state().drafts == told.drafts
    stamps_us(engine)
    facts = engine.release(1).facts
    assert ("draft_steps" in facts) is (drafts > 0)
    # Without a cache there are no queries to count.
    assert (engine.state().prefix_queries, engine.state().prefix_hits) == ((4, 0) if caching else (0, 0))


def test_a_prompt_without_tokens_has_one_and_a_request_that_comes_on_time_is_not_late() -> None:
    engine = BatchingEngine(replace(COST, a1=1.0))
    for key, tokens in ((1, 0), (2, None), (3, 1)):
        engine.admit(key, EngineRequest(1_000 * key * US, Plan(0, (), 1), tokens))
    # In the queue 5 and 1 us later, then steps of 10 and 2 us.
    assert stamps_us(engine) == {1: [1_018], 2: [2_018], 3: [3_018]}
    assert [engine.release(key).facts["late_ns"] for key in (1, 2, 3)] == [0, 0, 0]


def test_a_prompt_of_a_whole_budget_is_one_step_and_of_one_token_more_two() -> None:
    for tokens, steps in ((32, {32: 1}), (33, {32: 1, 1: 1}), (64, {32: 2})):
        engine = BatchingEngine(COST)
        engine.admit(1, work(0, tokens, 1))
        stamps_us(engine)
        assert engine.state().iteration_tokens == steps
        assert engine.release(1).facts["steps"] == sum(steps.values())


def test_two_requests_share_the_budget_of_a_step_in_their_order() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 20, 1))
    engine.admit(2, work(0, 20, 1))
    # 20 and 12 tokens, then the remaining 8: 5 + 10 + 64, then 10 + 16.
    assert stamps_us(engine) == {1: [79], 2: [105]}
    assert engine.state().iteration_tokens == {32: 1, 8: 1}


def test_no_more_requests_run_at_once_than_may() -> None:
    engine = BatchingEngine(replace(COST, max_num_seqs=2))
    for key in (1, 2, 3):
        engine.admit(key, work(0, 4, 2))
    engine.step(5 * US)
    assert (engine.state().running, engine.state().waiting) == (2, 1)
    # Two prompts: 10 + 16; two decodes: 10 + 6; then the third alone: 18, and 13.
    assert stamps_us(engine) == {1: [31, 47], 2: [31, 47], 3: [65, 78]}


def test_a_request_that_fills_all_blocks_is_served_and_gives_them_back() -> None:
    engine = BatchingEngine(replace(COST, kv_blocks=2, max_num_batched_tokens=64))
    engine.admit(1, work(0, 16, 16))
    engine.step(5 * US)
    assert engine.state().kv_usage == 0.5
    stamps = stamps_us(engine)[1]
    assert (len(stamps), stamps[0], stamps[-1]) == (16, 5 + 42, 5 + 42 + 15 * 13)
    assert (engine.state().kv_usage, engine.state().preemptions) == (0.0, 0)
    assert engine.release(1).facts["preemptions"] == 0


@pytest.mark.parametrize("by_priority", [False, True])
def test_whoever_gives_way_itself_takes_nobody_with_it(by_priority: bool) -> None:
    # Request 1 has two of three blocks; 2 has one, with 2 of its 45 tokens. The next 31 tokens of 2 need two more
    # blocks, so 2 is preempted.
    engine = BatchingEngine(replace(COST, kv_blocks=3), by_priority=by_priority)
    engine.admit(1, work(0, 30, 10))
    engine.admit(2, work(0, 45, 1))
    seen = stamps_us(engine)
    assert seen[1] == [79 + 13 * i for i in range(10)]
    # Then 2 is alone: 32 tokens and 13.
    assert seen[2] == [79 + 13 * 9 + 74 + 36]
    assert [engine.release(key).facts["preemptions"] for key in (1, 2)] == [0, 1]


def test_each_time_that_a_request_gives_way_is_counted() -> None:
    # Four blocks. In the second decode, 1 takes the fourth block and 2 takes the block of 3. 3 returns when 2 has
    # ended, and is preempted again when 1 needs a third block for its 33rd token.
    engine = BatchingEngine(replace(COST, kv_blocks=4, max_num_batched_tokens=64))
    for key, tokens in ((1, 40), (2, 8), (3, 20)):
        engine.admit(key, work(0, 15, tokens))
    assert {key: len(stamps) for key, stamps in stamps_us(engine).items()} == {1: 40, 2: 8, 3: 20}
    assert [engine.release(key).facts["preemptions"] for key in (1, 2, 3)] == [0, 0, 2]
    assert engine.state().preemptions == 2


def test_a_request_that_gives_way_to_one_of_a_better_priority_costs_no_step() -> None:
    # Three blocks of 16 tokens. The first request needs its second block at 115, when the other one has two.
    cost = replace(COST, max_num_batched_tokens=64, kv_blocks=3)
    engine = BatchingEngine(cost, by_priority=True)
    engine.admit(1, replace(work(0, 14, 6), priority=5))
    engine.admit(2, replace(work(0, 20, 12), priority=0))
    stamps = stamps_us(engine)
    # 34 prompt tokens from 5 on, then steps of two tokens, then steps of one token of the other request until it ends.
    assert stamps[2] == [83, 99, 115, *range(128, 233, 13)]
    # The prompt and three tokens are computed again, then the remaining tokens.
    assert stamps[1] == [83, 99, 115, 232 + 44, 289, 302]
    state = engine.state()
    assert state.preemptions == 1
    assert state.iteration_tokens == {34: 1, 2: 2, 1: 11, 17: 1}


def test_a_step_whose_only_request_so_far_gives_way_begins_anew_with_the_others() -> None:
    # As above, but the first request runs before the other one comes. At 112 it is first in the step, and is preempted.
    engine = BatchingEngine(replace(COST, max_num_batched_tokens=64, kv_blocks=3), by_priority=True)
    engine.admit(1, replace(work(0, 14, 6), priority=5))
    engine.admit(2, replace(work(6, 20, 12), priority=0))
    stamps = stamps_us(engine)
    # A prompt of 14; a decode with a prompt of 20; two decodes; then only the other request until it ends.
    assert stamps[2] == [96, 112, *range(125, 243, 13)]
    assert stamps[1] == [43, 96, 112, 242 + 44, 299, 312]
    assert engine.state().iteration_tokens == {14: 1, 21: 1, 2: 1, 1: 12, 17: 1}


def test_whoever_is_released_while_it_waits_leaves_no_gap_in_the_line() -> None:
    engine = BatchingEngine(replace(COST, max_num_seqs=1))
    for key in (1, 2, 3):
        engine.admit(key, work(0, 4, 2))
    assert engine.step(10 * US) == []
    assert (engine.state().running, engine.state().waiting) == (1, 2)
    engine.release(2)
    assert (engine.state().running, engine.state().waiting) == (1, 1)
    # 4 prompt tokens take 18 us, an output token 13 us.
    assert stamps_us(engine) == {1: [23, 36], 3: [54, 67]}
    assert engine.state().iteration_tokens == {4: 2, 1: 2}


def test_a_step_whose_tokens_are_all_taken_is_no_step_of_those_that_got_none() -> None:
    engine = BatchingEngine(replace(COST, max_num_batched_tokens=4), drafts=3)
    for key in (1, 2):
        engine.admit(key, work(0, 1, 9, shares=(1,) * 9))
    # 14 us for two prompts of one token. Then the first request uses all 4 tokens, a decode and three drafts, for 22
    # us, until only 3, 2 and 1 tokens are left. The second request uses the rest, and then all 4.
    first = [19, 41, 63, 85, 107, 129, 151, 173, 195]
    assert stamps_us(engine) == {1: first, 2: [19, 151, 173, 195, 217, 239, 258, 274, 287]}
    assert [engine.release(key).facts["steps"] for key in (1, 2)] == [9, 9]


def test_blocks_that_were_found_are_held_as_long_as_their_request_runs() -> None:
    engine = BatchingEngine(replace(COST, max_num_batched_tokens=64), prefix_caching=True)
    engine.admit(1, work(0, 33, 1, blocks=(11, 12)))
    stamps_us(engine)
    assert engine.state().kv_usage == 0
    engine.admit(2, work(1000, 33, 4, blocks=(11, 12)))
    assert engine.step(1005 * US) == []
    # Two blocks of 16 tokens from the cache and one for the last token, of 64.
    assert engine.state().kv_usage == pytest.approx(3 / 64)
    stamps_us(engine)
    assert (engine.state().kv_usage, engine.release(2).facts["cached_tokens"]) == (0, 32)
