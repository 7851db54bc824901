"""The rules of the batching engine, step by step. test_mock_batching_model.py compares it with a slow stepper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.chain import Chain
from mockserver.engine.work import Drafts
from mockserver.plans.plan import Plan
from mockserver.step_cost import BLOCK_TOKENS, StepCost
from tests.support.played_engine import US, play, stamps_us, work

COST = StepCost(b0=10, b1=2, b2=3, a0=5, max_num_seqs=4, max_num_batched_tokens=32, kv_blocks=64)


def test_one_request_alone_is_prefilled_in_chunks_and_then_decoded_a_token_a_step() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(100, 40, 3))
    # In the queue at 105; 32 tokens: 10 + 64; 8 tokens: 10 + 16; two decodes: 13 each.
    assert stamps_us(engine) == {1: [205, 218, 231]}
    released = engine.release(1)
    assert (released.plan.ttft_ns, released.plan.gaps_ns) == (105 * US, (13 * US, 13 * US))
    assert released.facts == {
        "queue_ns": 0, "frontend_ns": 5 * US, "steps": 4, "cached_tokens": 0, "preemptions": 0, "late_ns": 0,
        "prefill_ns": 100 * US, "decode_ns": 26 * US,
    }  # fmt: skip


def test_a_request_that_comes_in_mid_step_waits_for_its_end_and_then_shares_the_steps() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 4, 4))
    engine.admit(2, work(3, 4, 2))
    # The prefill of 1 is 5..23. Then its decode and the prefill of 2 run together: 10 + 8 + 3. Then two decodes: 10 +
    # 6.
    assert stamps_us(engine) == {1: [23, 44, 60, 73], 2: [44, 60]}
    assert engine.release(2).facts["queue_ns"] == 15 * US


def test_context_tokens_cost_where_b3_says_so() -> None:
    engine = BatchingEngine(replace(COST, b3=1.0))
    engine.admit(1, work(0, 4, 3))
    # The first decode attends to 5 tokens, the second to 6.
    assert stamps_us(engine) == {1: [23, 23 + 13 + 5, 23 + 13 + 5 + 13 + 6]}


def test_without_a_free_block_the_newest_is_preempted_and_computed_again() -> None:
    engine = BatchingEngine(replace(COST, kv_blocks=3))
    engine.admit(1, work(0, 15, 10))
    engine.admit(2, work(0, 15, 10))
    seen = stamps_us(engine)
    assert {key: len(stamps) for key, stamps in seen.items()} == {1: 10, 2: 10}
    first, second = engine.release(1).facts, engine.release(2).facts
    assert (first["preemptions"], second["preemptions"]) == (0, 1)
    assert engine.state().preemptions == 1
    assert max(seen[1]) < max(seen[2])


ONE_BY_ONE = replace(COST, max_num_seqs=1)


@pytest.mark.parametrize(
    ("by_priority", "expected"),
    [
        # Request 1 runs 5..18 (4 tokens: 10 + 8), one decode to 31. The others wait: 2 and 3 with priority 5, 4 with -1.
        # Each takes 18 for its prompt and 13 for its second token.
        (False, {1: [23, 36], 2: [54, 67], 3: [85, 98], 4: [116, 129]}),
        (True, {1: [23, 36], 4: [54, 67], 2: [85, 98], 3: [116, 129]}),
    ],
)
def test_the_lowest_priority_is_served_first_and_among_equals_the_first_to_arrive(
    by_priority: bool, expected: dict[int, list[int]]
) -> None:
    engine = BatchingEngine(ONE_BY_ONE, by_priority=by_priority)
    for key, at, priority in ((1, 0, 9), (2, 1, 5), (3, 2, 5), (4, 3, -1)):
        engine.admit(key, replace(work(at, 4, 2), priority=priority))
    assert stamps_us(engine) == expected
    facts = {key: engine.release(key).facts for key in expected}
    assert [facts[key].get("priority") for key in (1, 2, 3, 4)] == ([9, 5, 5, -1] if by_priority else [None] * 4)
    assert {key: facts[key]["queue_ns"] // US for key in (2, 4)} == ({2: 61, 4: 28} if by_priority else {2: 30, 4: 90})


def test_the_highest_priority_is_preempted_even_where_the_step_had_it_already() -> None:
    # Blocks hold 16 tokens. 1 and 2 have 15 each, so the second decode of each needs another block. By arrival the
    # newest, 2, is preempted. By priority 1 is preempted, although it is before 2 in the step.
    for by_priority, goes, stays in ((False, 2, 1), (True, 1, 2)):
        engine = BatchingEngine(replace(COST, kv_blocks=3), by_priority=by_priority)
        engine.admit(1, replace(work(0, 15, 10), priority=3))
        engine.admit(2, replace(work(0, 15, 10), priority=1))
        seen = stamps_us(engine)
        # Both prompts in one step: 5 + 10 + 60, then a decode of both: 16 more.
        assert [seen[key][:2] for key in (1, 2)] == [[75, 91]] * 2
        # From the third token on it is alone: 13 each. The other is computed again with 17 tokens: 10 + 34.
        assert seen[stays] == [75, 91, *range(104, 104 + 8 * 13, 13)]
        assert seen[goes] == [75, 91, *range(195 + 44, 195 + 44 + 8 * 13, 13)]
        assert [engine.release(key).facts["preemptions"] for key in (goes, stays)] == [1, 0]


def test_a_prefix_that_was_computed_before_is_not_computed_again_but_for_the_last_token() -> None:
    engine = BatchingEngine(COST)
    chain = Chain().extended(range(32), BLOCK_TOKENS)
    for key, at in ((1, 0), (2, 1000)):
        engine.admit(key, work(at, 32, 1, blocks=chain.links))
    # All 32 tokens: 10 + 64. Then only the second block, which contains the needed last token: 10 + 32.
    assert stamps_us(engine) == {1: [79], 2: [1047]}
    assert [engine.release(key).facts["cached_tokens"] for key in (1, 2)] == [0, 16]
    state = engine.state()
    assert (state.prefix_queries, state.prefix_hits) == (64, 16)


def test_what_a_reply_said_is_in_the_cache_for_the_next_turn() -> None:
    engine = BatchingEngine(COST)
    prompt, reply = list(range(20)), list(range(100, 112))
    turn = Chain().extended(prompt, BLOCK_TOKENS).extended(reply, BLOCK_TOKENS)
    engine.admit(1, work(0, 20, 12, blocks=turn.links))
    following = Chain().extended([*prompt, *reply, 7, 8], BLOCK_TOKENS)
    engine.admit(2, work(10_000, 34, 1, blocks=following.links))
    stamps_us(engine)
    # The last token of a reply is never computed, so the block that it would fill is not cached.
    assert engine.release(2).facts["cached_tokens"] == 16
    engine.admit(3, work(20_000, 34, 1, blocks=following.links))
    stamps_us(engine)
    assert engine.release(3).facts["cached_tokens"] == 32


def test_a_chain_names_a_block_by_all_that_stands_before_it() -> None:
    whole = Chain().extended(range(40), 16)
    assert (len(whole.links), list(whole.rest)) == (2, [*range(32, 40)])
    assert Chain().extended(range(20), 16).extended(range(20, 40), 16) == whole
    other = Chain().extended([99, *range(1, 40)], 16)
    assert all(a != b for a, b in zip(whole.links, other.links, strict=True))


def test_a_released_request_gives_its_blocks_back_at_the_end_of_the_step() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 8, 50))
    engine.admit(2, work(0, 8, 2))
    engine.step(20 * US)
    engine.release(1)
    assert engine.state().running == 1
    assert stamps_us(engine).keys() == {2}
    assert engine.state().kv_usage == 0
    assert engine.next_ns() is None


def test_the_state_tells_who_runs_who_waits_and_how_much_of_the_cache_is_held() -> None:
    engine = BatchingEngine(replace(COST, max_num_seqs=1))
    for key in (1, 2, 3):
        engine.admit(key, work(0, 20, 30))
    assert (engine.state().running, engine.state().waiting) == (0, 3)
    engine.step(6 * US)
    state = engine.state()
    assert (state.running, state.waiting, state.kv_usage) == (1, 2, 2 / 64)
    engine.release(2)
    assert engine.state().waiting == 1
    engine.step(60 * US)
    assert dict(engine.state().iteration_tokens) == {20: 1, 1: 1}


def test_a_request_released_in_the_queue_is_never_computed() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 8, 2))
    engine.admit(2, work(1, 8, 2))
    engine.step(6 * US)
    released = engine.release(2)
    assert released.plan.ttft_ns is None
    assert "prefill_ns" not in released.facts
    assert stamps_us(engine).keys() == {1}


def test_a_stall_in_the_plan_keeps_the_token_from_the_client_and_not_from_the_engine() -> None:
    plain, stalled = BatchingEngine(COST), BatchingEngine(COST)
    plain.admit(1, work(0, 4, 4))
    stalled.admit(1, EngineRequest(0, Plan(0, (0, 500 * US, 0), 4), 4))
    times = stamps_us(plain)[1]
    assert stamps_us(stalled)[1] == [times[0], times[1], times[2] + 500, times[3] + 500]
    released = stalled.release(1).plan
    assert released.gaps_ns == (13 * US, 513 * US, 13 * US)


@pytest.mark.parametrize(
    ("ttft_us", "gaps_us", "expected"),
    [
        (50, (0, 0), [255, 268, 281]),  # A late first token shifts all later tokens.
        (0, (0, 7), [205, 218, 238]),  # A late gap shifts only the tokens after it.
        (50, (7, 0), [255, 275, 288]),
    ],
)
def test_each_delay_in_the_plan_counts_with_and_without_the_other(
    ttft_us: int, gaps_us: tuple[int, ...], expected: list[int]
) -> None:
    engine = BatchingEngine(COST)
    request = work(100, 40, 3)
    plan = replace(request.plan, ttft_ns=ttft_us * US, gaps_ns=tuple(gap * US for gap in gaps_us))
    engine.admit(1, replace(request, plan=plan))
    assert stamps_us(engine) == {1: expected}


def test_a_request_released_in_the_queue_has_waited_until_the_last_step_ended() -> None:
    engine = BatchingEngine(replace(COST, max_num_seqs=1))
    engine.admit(1, work(0, 4, 4))
    engine.admit(2, work(3, 4, 2))
    # In the queue at 8. Steps of 1 end at 23, 36 and 49.
    engine.step(40 * US)
    assert engine.release(2).facts["queue_ns"] == (36 - 8) * US


def test_a_request_released_before_it_was_in_the_queue_has_not_waited() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 4, 4))
    assert engine.release(1).facts["queue_ns"] == 0


def test_every_step_is_in_the_histogram_of_its_tokens() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 40, 5))
    stamps_us(engine)
    # A prefill of 32 and of 8, and four decodes.
    assert engine.state().iteration_tokens == {32: 1, 8: 1, 1: 4}


def test_a_client_that_leaves_during_a_stall_gets_nothing_more() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, EngineRequest(0, Plan(0, (500 * US,), 2), 4))
    assert engine.step(40 * US) == [(1, 1)]
    engine.release(1)
    assert list(play(engine)) == []


def test_a_late_caller_shifts_no_instant() -> None:
    on_time, late = BatchingEngine(COST), BatchingEngine(COST)
    for engine in (on_time, late):
        for key in range(6):
            engine.admit(key, work(key * 7, 10 + key, 5))
    stamps_us(on_time)
    late.step(10**9)
    for key in range(6):
        assert on_time.release(key) == late.release(key)


def test_a_request_that_is_admitted_after_a_step_that_it_belonged_to_says_how_late() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 4, 3))
    assert engine.step(24 * US) == [(1, 1)]
    # The second step began at 23. This request was in the queue at 8.
    engine.admit(2, work(3, 4, 1))
    engine.admit(3, work(30, 4, 1))
    stamps_us(engine)
    assert [engine.release(key).facts["late_ns"] for key in (1, 2, 3)] == [0, 15 * US, 0]


def test_a_request_too_large_for_all_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="more KV blocks"):
        BatchingEngine(replace(COST, kv_blocks=2)).admit(1, work(0, 30, 4))


def test_requests_are_served_in_the_order_of_their_arrival_in_the_queue() -> None:
    engine = BatchingEngine(replace(COST, max_num_seqs=1))
    for key, at in ((1, 30), (2, 10), (3, 20)):
        engine.admit(key, work(at, 4, 2))
    seen = stamps_us(engine)
    assert sorted(seen, key=lambda key: seen[key][0]) == [2, 3, 1]


def test_requests_at_the_same_instant_keep_the_order_in_which_they_came() -> None:
    engine = BatchingEngine(replace(COST, max_num_seqs=1))
    for key in (5, 3, 4):
        engine.admit(key, work(0, 4, 1))
    seen = stamps_us(engine)
    assert sorted(seen, key=lambda key: seen[key][0]) == [5, 3, 4]


def test_accepted_drafts_come_out_with_their_step_and_cost_as_computed() -> None:
    engine = BatchingEngine(COST, drafts=3)
    engine.admit(1, work(0, 4, 7, shares=(1, 3, 1, 2)))
    # Prefill: 18. Decodes compute 1 + 3 tokens, the last one 1 + 1 (two tokens are left, so only one can be a draft).
    assert stamps_us(engine) == {1: [23, 45, 45, 45, 64, 80, 80]}
    # Three steps proposed 3, 2 and 1 drafts. Right were two of the first step, none of the second, and the last.
    drafts = Drafts(6, (1, 1, 1, 0))
    assert (engine.work(1).drafts, engine.state().drafts) == (drafts, drafts)
    released = engine.release(1)
    assert released.plan.gaps_ns == tuple(gap * US for gap in (22, 0, 0, 19, 16, 0))
    counted = [released.facts[name] for name in ("draft_steps", "draft_tokens", "accepted_tokens")]
    assert counted == [3, 6, 3]


def test_drafts_fill_no_block_that_others_could_find() -> None:
    engine = BatchingEngine(COST, drafts=5)
    text = Chain().extended(range(40), BLOCK_TOKENS)
    engine.admit(1, work(0, 10, 8, blocks=text.links, shares=(1, 2, 5)))
    engine.admit(2, work(10, 20, 1, blocks=text.links))
    # The first request verifies its 5 drafts in the step that admits the second. 16 tokens are computed, but only 11 of
    # them are certain.
    stamps_us(engine)
    assert engine.release(2).facts["cached_tokens"] == 0
