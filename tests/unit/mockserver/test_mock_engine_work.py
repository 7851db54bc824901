"""What engines report about a request: its queue time, prefill, decodes, and drafts."""

from __future__ import annotations

from dataclasses import replace

from mockserver.engine import EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.sampled import SampledEngine
from mockserver.engine.timeline import TimelineEngine
from mockserver.engine.work import DraftCounts, Drafts, Work
from mockserver.plans.plan import Plan
from mockserver.step_cost import StepCost

US = 1_000
COST = StepCost(b0=10, b1=2, b2=3, a0=5, max_num_seqs=1, max_num_batched_tokens=32, kv_blocks=64)


def instants(engine: BatchingEngine) -> dict[int, list[int]]:
    """When each request's tokens came, in us."""
    found: dict[int, list[int]] = {}
    while (at_ns := engine.next_ns()) is not None:
        for key, tokens in engine.step(at_ns):
            found.setdefault(key, []).extend([at_ns // US] * tokens)
    return found


def test_queue_prefill_and_decode_are_apart_and_what_the_ledger_says() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, EngineRequest(0, Plan(None, (), 3), 4))
    engine.admit(2, EngineRequest(3 * US, Plan(None, (), 3), 20))
    assert engine.work(2) == Work(cached_tokens=0)
    at = instants(engine)
    # Only one request fits, so the second waits until the first ends. Each is in the queue 5 us after it came.
    for key, came, waited in ((1, 0, 0), (2, 3, at[1][-1] - 8)):
        done = engine.work(key)
        assert done.queue_ns == waited * US
        assert done.prefill_ns == (at[key][0] - came - 5 - waited) * US
        assert done.decode_ns == (at[key][-1] - at[key][0]) * US > 0
        facts = engine.release(key).facts
        names = ("queue_ns", "prefill_ns", "decode_ns", "cached_tokens")
        assert [facts[name] for name in names] == [getattr(done, name) for name in names]


def test_a_stall_of_the_plan_is_no_work_of_the_engine() -> None:
    engine = BatchingEngine(replace(COST, max_num_seqs=4))
    engine.admit(1, EngineRequest(0, Plan(0, (500 * US,), 2), 4))
    assert instants(engine)[1][-1] > 500
    assert engine.work(1).decode_ns == 13 * US


def test_a_sampled_request_has_the_times_of_its_plan() -> None:
    engine = SampledEngine()
    engine.admit(1, EngineRequest(10, Plan(50, (20, 30), 3)))
    assert engine.work(1) == Work(queue_ns=0)
    engine.step(60)
    assert engine.work(1) == Work(queue_ns=0, prefill_ns=50, decode_ns=0)
    engine.step(1000)
    assert engine.work(1) == Work(queue_ns=0, prefill_ns=50, decode_ns=50)


def test_drafts_are_counted_without_the_token_of_the_model() -> None:
    counts = DraftCounts(3)
    for proposed, accepted in ((3, 3), (3, 0), (2, 1), (0, 0)):
        counts.observe(proposed, accepted)
    found = counts.so_far()
    assert found == Drafts(8, (1, 1, 0, 1))
    assert (found.steps, found.accepted, found.accepted_at) == (3, 4, (2, 1, 1))
    counts.observe(3, 2)
    assert counts.so_far().since(found) == Drafts(3, (0, 0, 1, 0))


def test_a_drawn_reply_drafts_as_its_plan_says() -> None:
    engine = TimelineEngine(drafts=3)
    engine.admit(1, EngineRequest(10, Plan(50, (20, 0, 0, 20, 20, 0), 7, step_tokens=(1, 3, 1, 2))))
    assert engine.work(1) == Work(queue_ns=0, drafts=Drafts(0, (0, 0, 0, 0)))
    engine.step(1000)
    # The last step has two tokens left, only one of which can be a draft.
    assert engine.work(1) == Work(0, 50, 60, None, Drafts(6, (1, 1, 1, 0)))
    assert engine.release(1).facts == {
        "queue_ns": 0, "steps": 4, "draft_steps": 3, "draft_tokens": 6, "accepted_tokens": 3
    }  # fmt: skip
    assert engine.state().drafts == Drafts(6, (1, 1, 1, 0))
