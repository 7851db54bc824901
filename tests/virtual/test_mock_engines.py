"""Engines behind the pacer in virtual time: what is sent and when, and whether the reported plan is what happened."""

from __future__ import annotations

import asyncio
from itertools import accumulate

from mockserver.engine import Engine, EngineRequest
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.timeline import TimelineEngine
from mockserver.pacing import LoopAlarm, Pacer, Stepper
from mockserver.plans.plan import Plan
from mockserver.replies.stream_interval import StreamInterval
from mockserver.step_cost import StepCost
from tests.support.virtual_time import VirtualTimeLoop, run_virtual

MS = 1_000_000
# Times of the loop are floats. At its start of a million seconds their resolution is 0.12 us.
GRAIN_NS = 250
COST = StepCost(b0=5000, b1=10, b2=100, a0=1000, max_num_seqs=8, max_num_batched_tokens=64, kv_blocks=64)


def served(
    engine: Engine, works: list[tuple[int, Plan, int]], interval: int = 1, charge_ns: int = 0
) -> list[tuple[list[tuple[int, int]], Plan]]:
    """For each request (arrival in ns from the start, plan, input tokens): the tokens taken and when, and the reported
    plan."""

    async def main(loop: VirtualTimeLoop) -> list[tuple[list[tuple[int, int]], Plan]]:
        start = loop.virtual_ns
        stepper = Stepper(engine, pace := Pacer(0, LoopAlarm))
        seen: list[list[tuple[int, int]]] = [[] for _ in works]
        keys = {}

        def admit(i: int) -> None:
            arrival, plan, inputs = works[i]

            def take(tokens: int) -> None:
                seen[i].append((loop.virtual_ns - start, tokens))
                loop.charge(charge_ns)

            taker = take if interval == 1 else StreamInterval(take, interval, plan.output_tokens)
            keys[i] = stepper.admit(EngineRequest(start + arrival, plan, inputs), taker)

        for i, (arrival, _, _) in enumerate(works):
            loop.call_at((start + arrival) / 1e9, admit, i)
        await asyncio.sleep(20)
        out = [(seen[i], stepper.release(keys[i], 0).plan) for i in range(len(works))]
        pace.close()
        return out

    return run_virtual(main)


def instants(arrival_ns: int, plan: Plan) -> list[int]:
    assert plan.ttft_ns is not None
    return list(accumulate(plan.gaps_ns, initial=arrival_ns + plan.ttft_ns))


def test_batching_keeps_the_plan_that_it_tells_and_conserves_tokens() -> None:
    works = [(i * 7 * MS, Plan(0, (0,) * 39, 40), 50 + i) for i in range(12)]
    for (seen, plan), (arrival, asked, _) in zip(served(BatchingEngine(COST), works), works, strict=True):
        assert sum(tokens for _, tokens in seen) == asked.output_tokens
        for (at, _), due in zip(seen, instants(arrival, plan), strict=True):
            assert 0 <= at - due <= GRAIN_NS


def test_work_between_the_tokens_makes_no_step_of_the_model_later() -> None:
    works = [(0, Plan(0, (0,) * 99, 100), 20) for _ in range(4)]
    idle, busy = served(BatchingEngine(COST), works), served(BatchingEngine(COST), works, charge_ns=MS // 2)
    assert [plan for _, plan in idle] == [plan for _, plan in busy]
    # Four tokens take 0.5 ms of work each. The last waits for the three before it, and delays do not add up.
    assert all(
        0 <= at - due <= 2 * MS for at, due in zip((at for at, _ in busy[3][0]), instants(0, busy[3][1]), strict=True)
    )


def test_a_stream_interval_composes_with_every_engine() -> None:
    plan = Plan(10 * MS, (5 * MS,) * 9, 10)
    steps = Plan(10 * MS, (5 * MS, 0, 0, 5 * MS, 0, 5 * MS, 0, 0, 0), 10, step_tokens=(1, 3, 2, 4))
    for engine, asked, chunks in (
        (TimelineEngine(), plan, [1, 4, 4, 1]),
        (TimelineEngine(), steps, [1, 5, 4]),
        (BatchingEngine(COST), Plan(0, (0,) * 9, 10), [1, 4, 4, 1]),
        (BatchingEngine(COST, drafts=3), Plan(0, (0,) * 9, 10, step_tokens=(1, 3, 2, 4)), [1, 5, 4]),
    ):
        [(seen, told)] = served(engine, [(0, asked, 8)], interval=4)
        assert [tokens for _, tokens in seen] == chunks
        due = instants(0, told)
        for (at, _), out in zip(seen, accumulate(chunks), strict=True):
            assert 0 <= at - due[out - 1] <= GRAIN_NS
