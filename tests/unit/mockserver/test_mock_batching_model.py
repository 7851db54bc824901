"""The batching engine against a slow stepper with a different algorithm; and what the engine must never lose."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mockserver.engine.batching import BatchingEngine
from mockserver.engine.chain import Chain
from mockserver.step_cost import BLOCK_TOKENS, StepCost
from tests.support.played_engine import stamps_us, work
from tests.support.slow_batching import RequestLengths, SlowBatching
from tests.unit.mockserver.test_mock_batching import COST

DRAFTED = ("draft_steps", "draft_tokens", "accepted_tokens")

requests = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 70), st.integers(1, 40), st.integers(0, 2)), min_size=1, max_size=9
)


def _asked(
    rows: list[tuple[int, int, int, int]], drafts: int, seed: int, priorities: bool = False
) -> list[RequestLengths]:
    rng = random.Random(seed)
    asked = []
    for at, prompt, reply, family in rows:
        # Three families of texts, so that prefixes are shared, and a prompt may continue another request's reply.
        text = range(family * 1000, family * 1000 + prompt + reply)
        shares: list[int] = [1] if drafts else []
        while drafts and sum(shares) < reply:
            shares.append(min(rng.randint(1, drafts + 1), reply - sum(shares)))
        asked.append(
            RequestLengths(
                at, tuple(text[:prompt]), tuple(text[prompt:]), tuple(shares), rng.randint(-1, 1) if priorities else 0
            )
        )
    return asked


@settings(max_examples=60)
@given(
    rows=requests,
    seqs=st.integers(1, 4),
    budget=st.integers(1, 40),
    spare=st.integers(0, 6),
    caching=st.booleans(),
    drafts=st.integers(0, 3),
    b3=st.integers(0, 1),
    b4=st.sampled_from([0, 11]),
    by_priority=st.booleans(),
    w0=st.sampled_from([0, 0, 1, 90]),
)
@example(  # Two requests compute the same block at once. The first full one is evicted.
    rows=[(0, 16, 1, 0), (25, 16, 6, 0), (0, 40, 10, 2), (50, 27, 40, 2)],
    seqs=2,
    budget=39,
    spare=0,
    caching=True,
    drafts=3,
    b3=1,
    b4=11,
    by_priority=False,
    w0=0,
)
@example(  # The preempted request already had tokens of the step, which become free again.
    rows=[(27, 8, 22, 1), (35, 11, 39, 1), (57, 33, 19, 0), (21, 8, 14, 1), (53, 16, 17, 0)],
    seqs=4,
    budget=5,
    spare=2,
    caching=True,
    drafts=0,
    b3=0,
    b4=0,
    by_priority=True,
    w0=0,
)
@example(  # The second request comes while the engine wakes, the third in its step, and the fourth wakes it again.
    rows=[(0, 20, 1, 0), (50, 3, 1, 1), (120, 8, 1, 2), (299, 8, 2, 2)],
    seqs=4,
    budget=40,
    spare=4,
    caching=False,
    drafts=0,
    b3=0,
    b4=0,
    by_priority=False,
    w0=90,
)
def test_the_engine_and_the_slow_stepper_agree_to_the_microsecond(
    rows: list[tuple[int, int, int, int]],
    seqs: int,
    budget: int,
    spare: int,
    caching: bool,
    drafts: int,
    b3: int,
    b4: int,
    by_priority: bool,
    w0: int,
) -> None:
    asked = _asked(rows, drafts, 1, by_priority)
    needed = max(-(-(len(one.prompt) + len(one.reply)) // BLOCK_TOKENS) for one in asked)
    cost = StepCost(
        7, 2, 3, b3, b4, a0=5, a1=1, w0=w0,
        max_num_seqs=seqs, max_num_batched_tokens=budget, kv_blocks=needed + spare,
    )  # fmt: skip
    slow = SlowBatching(
        {"b0": 7, "b1": 2, "b2": 3, "b3": b3, "b4": b4, "a0": 5, "a1": 1, "w0": w0},
        seqs=seqs, budget=budget, blocks=needed + spare, caching=caching, drafts=drafts, by_priority=by_priority,
    )  # fmt: skip
    expected = slow.run(asked)
    engine = BatchingEngine(cost, prefix_caching=caching, drafts=drafts, by_priority=by_priority)
    for key, one in enumerate(asked):
        links = Chain().extended([*one.prompt, *one.reply], BLOCK_TOKENS).links if caching else ()
        request = work(one.at, len(one.prompt), len(one.reply), blocks=links, shares=one.shares)
        engine.admit(key, replace(request, priority=one.priority))
    seen = stamps_us(engine)
    assert seen == {live.name: live.stamps for live in expected}
    drafted = [0, 0, 0]
    for live in expected:
        facts = engine.release(live.name).facts
        assert facts["preemptions"] == live.preempted
        assert facts["cached_tokens"] == live.cached
        drafted = [drafted[n] + facts.get(name, 0) for n, name in enumerate(DRAFTED)]
    # The drafts of all requests add up to the engine's count.
    of_all = engine.state().drafts
    assert drafted == ([0, 0, 0] if of_all is None else [of_all.steps, of_all.proposed, of_all.accepted])
    # Conserved and bounded: all tokens came, all blocks are free again, and no step exceeded the budget.
    assert engine.state().kv_usage == 0
    assert max(engine.state().iteration_tokens) <= budget
    assert slow.most_running <= seqs


@settings(max_examples=60)
@given(rows=requests, seqs=st.integers(1, 4), spare=st.integers(0, 3), gone=st.sets(st.integers(0, 8)), data=st.data())
def test_whoever_leaves_nothing_is_lost_over_allocated_or_starved(
    rows: list[tuple[int, int, int, int]], seqs: int, spare: int, gone: set[int], data: st.DataObject
) -> None:
    needed = max(-(-(prompt + reply) // BLOCK_TOKENS) for _, prompt, reply, _ in rows)
    engine = BatchingEngine(replace(COST, max_num_seqs=seqs, kv_blocks=needed + spare))
    for key, (at, prompt, reply, _) in enumerate(rows):
        engine.admit(key, work(at, prompt, reply))
    leaving = {key: data.draw(st.integers(0, rows[key][2] - 1)) for key in gone if key < len(rows)}
    given_tokens: Counter[int] = Counter()
    for key in [key for key, after in leaving.items() if after == 0]:
        engine.release(key)
    while (at_ns := engine.next_ns()) is not None:
        for key, tokens in engine.step(at_ns):
            given_tokens[key] += tokens
        state = engine.state()
        assert state.running <= seqs
        assert state.kv_usage is not None
        assert 0 <= state.kv_usage <= 1
        for key in [key for key, after in leaving.items() if 0 < after <= given_tokens[key]]:
            del leaving[key]
            engine.release(key)
    for key, (_, _, reply, _) in enumerate(rows):
        if key not in gone:
            assert given_tokens[key] == reply
    assert engine.state().kv_usage == 0
