"""Replays, plans and engines at their borders: what is read, what is kept separate, and numbers computed by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mockserver.engine import EngineRequest, EngineState
from mockserver.engine.batching import BatchingEngine
from mockserver.engine.chain import Chain
from mockserver.engine.closed_form import ClosedForm
from mockserver.engine.kv import BlockPool
from mockserver.engine.sampled import SampledEngine
from mockserver.engine.timeline import TimelineEngine
from mockserver.engine.work import DraftCounts, Drafts, Work
from mockserver.errors import UsageError
from mockserver.faults import fault
from mockserver.plans.arrival import key_of_choice
from mockserver.plans.plan import Latencies, Plan, ReplyLength, draw_plan
from mockserver.plans.replay import RecordedReplies, RecordedReply, read_source
from mockserver.plans.speculation import Speculation
from mockserver.rng import UNUSED, stream
from mockserver.sampled_times import SampledTimes
from mockserver.step_cost import BLOCK_TOKENS, StepCost
from promptset.distributions import parse
from tests.support.changed import replace
from tests.support.played_engine import US, stamps_us, work
from tests.unit.mockserver.test_mock_plan import latencies
from tests.unit.mockserver.test_mock_replay import ledger_line, record, write

MS = 1_000_000
COST = StepCost(b0=10, b1=2, b2=3, a0=5, max_num_seqs=4, max_num_batched_tokens=32, kv_blocks=64)


# ---- Replays -------------------------------------------------------------------------------------------------------


def test_a_reply_that_was_recorded_is_cut_or_goes_round_from_its_second_chunk() -> None:
    reply = RecordedReply(50, (10, 20), (2, 3, 1))
    assert reply.output_tokens == 6
    assert reply.stretched(1, 9) == ((), (1,))
    assert reply.stretched(4, 9) == ((0, 10, 0), (2, 2))
    assert reply.stretched(6, 9) == ((0, 10, 0, 0, 20), (2, 3, 1))
    assert reply.stretched(11, 9) == ((0, 10, 0, 0, 20, 10, 0, 0, 20, 10), (2, 3, 1, 3, 1, 1))
    assert RecordedReply(50, (), (2,)).stretched(4, 9) == ((0, 9, 9), (2, 1, 1))


def test_a_reply_is_picked_by_its_index_else_in_order_else_by_chance() -> None:
    first, second, third = (RecordedReply(n, (), (1,)) for n in range(3))
    in_order = RecordedReplies([first, second, third], {7: third}, "order")
    assert [in_order.pick(key, UNUSED) for key in (7, 0, 4, ("arrival", 5))] == [third, first, second, third]
    by_name = {in_order.pick(name, stream(1, "replay", name)).ttft_ns for name in "abcdefghijk"}
    assert by_name == {0, 1, 2}
    random = RecordedReplies([first, second, third], {}, "random")
    assert {random.pick(n, stream(1, "replay", n)).ttft_ns for n in range(30)} == {0, 1, 2}


def test_a_file_of_one_line_is_a_recording_and_not_a_profile(tmp_path: Path) -> None:
    for name, row in (("ledger", ledger_line(4, 50, 20)), ("records", record(0))):
        found = read_source(write(tmp_path / name, row), "order")
        assert found.recording is not None
        assert (len(found.recording.replies), found.profile) == (1, {})
    profile = read_source(write(tmp_path / "profile", {"tpot": "3ms"}), "order")
    assert (profile.recording, list(profile.profile)) == (None, ["tpot"])


def test_empty_lines_are_passed_over_and_the_first_of_an_index_counts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    rows = [ledger_line(4, 50), ledger_line(4, 60), ledger_line(None, 70)]
    path.write_text("\n\n" + "\n \n".join(json.dumps(row) for row in rows) + "\n\n")
    found = read_source(path, "order").recording
    assert found is not None
    assert [reply.ttft_ns for reply in found.replies] == [50 * MS, 60 * MS, 70 * MS]
    assert {index: reply.ttft_ns for index, reply in found.by_index.items()} == {4: 50 * MS}


def test_what_did_not_end_well_is_not_replayed(tmp_path: Path) -> None:
    bad = [ledger_line(1, 50, status=500), ledger_line(2, 50, fault="stall"), ledger_line(3, 50, engine={"cut": 3}),
           record(4, outcome="reset"), record(5, phase="warmup"), record(6, chunk_kind="roou")]  # fmt: skip
    with pytest.raises(UsageError, match="no reply in it ended well and had text") as caught:
        read_source(write(tmp_path / "bad", *bad), "order")
    assert len(caught.value.problems) == 1
    one = read_source(write(tmp_path / "one", *bad, record(7)), "order").recording
    assert one is not None
    assert list(one.by_index) == [7]


def test_ten_bad_lines_are_named_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"a":1}\n' * 12)
    with pytest.raises(UsageError) as caught:
        read_source(path, "order")
    assert len(caught.value.problems) == 10
    assert caught.value.problems[9].startswith(f"--replay {path}:10: not a line of a ledger or of requests.jsonl")
    two = tmp_path / "two.jsonl"
    two.write_text(json.dumps(record(0)) + '\n{"a":1}\n' * 2)
    with pytest.raises(UsageError) as caught:
        read_source(two, "order")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("change", [{"received_ns": 1051 * MS}, {"write_ns": [1, 1050 * MS, 1049 * MS, 1, 1]}])
def test_stamps_that_run_backwards_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    line = ledger_line(1, 50, 20) | change
    with pytest.raises(UsageError, match="its stamps run backwards"):
        read_source(write(tmp_path / "back", line), "order")


def test_text_at_the_very_start_and_tokens_that_are_not_known_are_one_at_least(tmp_path: Path) -> None:
    line = ledger_line(1, 0, 20) | {"chunk_tokens": [0, None, 0, 0, 0]}
    found = read_source(write(tmp_path / "start", line), "order").recording
    assert found is not None
    assert found.replies[0] == RecordedReply(0, (20 * MS,), (1, 1))


# ---- Plans ---------------------------------------------------------------------------------------------------------


def test_a_plan_that_ends_earlier_keeps_whole_steps_as_far_as_they_go() -> None:
    plan = Plan(50, (0, 10, 0, 20), 5, step_tokens=(2, 2, 1))
    assert plan.ending_at(3) == Plan(50, (0, 10), 3, step_tokens=(2, 1), finish="stop")
    assert plan.ending_at(4) == Plan(50, (0, 10, 0), 4, step_tokens=(2, 2), finish="stop")
    assert plan.ending_at(1) == Plan(50, (), 1, step_tokens=(1,), finish="stop")
    assert Plan(50, (10,), 2).ending_at(1) == Plan(50, (), 1, finish="stop")


def test_times_come_from_each_distribution_by_its_own_stream() -> None:
    def of(**fields: Any) -> Plan:
        given = {
            "ttft": parse("50ms", "time"),
            "tpot": parse("20ms", "time"),
            "itl": None,
            "output_tokens": parse("4", "tokens"),
        }
        return draw_plan(Latencies(**(given | fields)), 0, 3, ReplyLength(100), input_tokens=7, reasons=True)

    assert of(ttft_per_input_token=parse("2ms", "time")).ttft_ns == 64 * MS
    assert of(itl=parse("3ms", "time")).gaps_ns == (3 * MS,) * 3
    assert of(reasoning_tokens=parse("3", "tokens")).reasoning_tokens == 3
    assert of(reasoning_tokens=parse("9", "tokens")).reasoning_tokens == 4
    assert of().reasoning_tokens == of(reasoning_tokens=parse("0", "tokens")).reasoning_tokens == 0
    together = of(speculation=Speculation(1, 1.0))
    # The first step gives a token, each later step also its draft: 1 + 2 + 1.
    assert (together.step_tokens, together.gaps_ns) == ((1, 2, 1), (20 * MS, 0, 20 * MS))


def test_only_a_time_per_token_of_the_prompt_makes_a_plan_depend_on_it() -> None:
    plain = latencies()
    assert not plain.by_input
    assert replace(plain, ttft_per_input_token=parse("2ms", "time")).by_input
    seen = SampledTimes("s.json", (1e6, 2e6), 0.0, (1e6,), 0.0, 0.0, ())
    assert not replace(plain, seen=seen).by_input
    assert replace(plain, seen=replace(seen, per_input_token_ns=0.5)).by_input


def test_faults_delay_whole_steps_and_lengthen_a_reply() -> None:
    drawn = Latencies(
        parse("50ms", "time"), parse("20ms", "time"), None, parse("4", "tokens"), speculation=Speculation(1, 1.0)
    )
    faults = (fault("stall", **{"after": 2, "for": 100 * MS}),)
    stalled = draw_plan(drawn, 0, 3, ReplyLength(100), faults=faults)
    assert stalled.step_tokens == (1, 2, 1)
    assert stalled.ttft_ns == 50 * MS
    assert sum(stalled.gaps_ns) == 140 * MS
    assert stalled.gaps_ns[1] == 0  # The second token of a step still comes with the first.
    longer = draw_plan(latencies(), 0, 3, ReplyLength(100, asked=4), faults=(fault("length", more=3),))
    assert longer.output_tokens == 7
    assert draw_plan(latencies(), 0, 3, ReplyLength(100), faults=(fault("429"),)) == Plan(None, (), 0, (fault("429"),))


@pytest.mark.parametrize(
    ("after", "gaps_ms"), [(1, (25, 0, 0, 20, 0, 0, 20)), (6, (20, 0, 0, 25, 0, 0, 20)), (7, (20, 0, 0, 20, 0, 0, 25))]
)
def test_a_stall_within_a_later_step_delays_that_step(after: int, gaps_ms: tuple[int, ...]) -> None:
    times = Latencies(
        parse("50ms", "time"), parse("20ms", "time"), None, parse("8", "tokens"), speculation=Speculation(2, 1.0)
    )
    plan = draw_plan(times, 0, 3, ReplyLength(100), faults=(fault("stall", **{"after": after, "for": 5 * MS}),))
    assert plan.step_tokens == (1, 3, 3, 1)
    assert (plan.ttft_ns, plan.gaps_ns) == (50 * MS, tuple(gap * MS for gap in gaps_ms))


def test_a_reply_whose_content_is_known_has_its_length_and_ends_by_itself() -> None:
    plan = draw_plan(latencies(), 0, 3, ReplyLength(100, asked=4, exact=9))
    assert (plan.output_tokens, plan.finish, len(plan.gaps_ns)) == (9, "stop", 8)
    own = draw_plan(latencies(tokens="3"), 0, 3, ReplyLength(100, asked=4, ends_itself=True))
    assert (own.output_tokens, own.finish) == (3, "stop")
    # A reply of the requested length ended at the limit; without a request, by itself.
    at_limit = draw_plan(latencies(tokens="4"), 0, 3, ReplyLength(100, asked=4, ends_itself=True))
    assert (at_limit.output_tokens, at_limit.finish) == (4, "length")


def test_further_choices_have_keys_of_their_own() -> None:
    assert [key_of_choice(7, 0), key_of_choice(7, 1), key_of_choice("7", 1)] == [7, ("choice:7", 1), ("choice:'7'", 1)]


# ---- Engines -------------------------------------------------------------------------------------------------------


def test_the_counters_of_a_state_are_told_from_an_earlier_one() -> None:
    before = EngineState(2, 1, 0.5, 10, 4, 1, {8: 2, 32: 1}, Drafts(6, (1, 2)))
    now = EngineState(3, 0, 0.25, 30, 9, 1, {8: 5, 32: 1, 4: 1}, Drafts(9, (2, 4)))
    since = now.since(before)
    assert (since.running, since.waiting, since.kv_usage) == (3, 0, 0.25)
    assert (since.prefix_queries, since.prefix_hits, since.preemptions) == (20, 5, 0)
    assert since.iteration_tokens == {8: 3, 4: 1}
    assert since.drafts == Drafts(3, (1, 2))
    plain = EngineState(3).since(EngineState(1))
    assert (plain.prefix_queries, plain.prefix_hits, plain.preemptions, plain.drafts) == (None, None, None, None)
    assert EngineState(3, prefix_hits=1).since(EngineState(1)).prefix_hits is None
    assert EngineState(3, drafts=Drafts(1, (1,))).since(EngineState(1)).drafts is None
    assert EngineState(3).since(EngineState(1, drafts=Drafts(1, (1,)))).drafts is None
    assert EngineRequest(0, Plan(1, (), 1)).priority == EngineState(0).waiting == 0


def test_drafts_are_counted_by_how_many_were_right() -> None:
    counts = DraftCounts(3)
    for proposed, accepted in ((3, 3), (3, 0), (2, 1), (1, 1), (0, 0)):
        counts.observe(proposed, accepted)
    drafts = counts.so_far()
    assert drafts == Drafts(9, (1, 2, 0, 1))
    assert (drafts.steps, drafts.accepted, drafts.accepted_at) == (4, 5, (3, 1, 1))
    assert drafts.facts() == {"draft_steps": 4, "draft_tokens": 9, "accepted_tokens": 5}


def test_blocks_are_taken_from_the_oldest_and_found_by_what_they_end() -> None:
    pool = BlockPool(4, caching=True)
    assert pool.take(3) == [0, 1, 2]
    for block, link in ((0, 100), (1, 101), (2, 100)):
        pool.remember(block, link)
    assert pool.find([100, 101, 102, 100]) == [0, 1]
    assert pool.find([102, 100]) == []
    assert (pool.free, pool.free_beside([0, 1])) == (1, 1)
    pool.give_back([0, 1])
    # The last block of a request is evicted first. Block 3 was free before it.
    assert (pool.free, pool.free_beside([0, 1])) == (3, 1)
    pool.hold([0])
    assert pool.free == 2
    assert pool.take(2) == [3, 1]
    assert pool.find([101]) == []
    assert pool.find([100]) == [0]
    pool.hold([0])
    pool.give_back([0])
    assert pool.free == 0  # One request still refers to the block.
    pool.give_back([0])
    assert pool.take(1) == [0]
    # The other block with the same tokens still exists.
    assert pool.find([100]) == [2]
    without = BlockPool(2, caching=False)
    without.remember(without.take(1)[0], 100)
    assert without.find([100]) == []
    with pytest.raises(KeyError):
        without.take(2)


def test_a_sampled_engine_gives_each_token_at_its_instant_and_nothing_after_release() -> None:
    engine = SampledEngine()
    with pytest.raises(ValueError, match="nothing to wait for"):
        engine.admit(1, EngineRequest(0, Plan(None, (), 0)))
    engine.admit(1, EngineRequest(1000, Plan(50, (20, 30), 3)))
    engine.admit(2, EngineRequest(1000, Plan(60, (), 1)))
    engine.follow(3, EngineRequest(1000, Plan(10, (), 1)))
    assert engine.work(1) == Work(queue_ns=0)
    assert (engine.next_ns(), engine.state().running) == (1050, 3)
    assert engine.step(1049) == []
    assert engine.step(1070) == [(1, 1), (2, 1), (1, 1)]
    assert engine.work(1) == Work(queue_ns=0, prefill_ns=50, decode_ns=20)
    assert engine.work(2) == Work(queue_ns=0, prefill_ns=60, decode_ns=0)
    assert engine.release(1).facts == {"queue_ns": 0, "steps": 2}
    assert engine.next_ns() == 1100
    assert engine.step(2000) == []
    assert engine.next_ns() is None
    assert engine.release(2).facts == {"queue_ns": 0, "steps": 1}
    assert engine.state().running == 1


def test_the_work_of_a_timeline_is_told_as_it_goes() -> None:
    engine = TimelineEngine()
    engine.admit(1, EngineRequest(1000, Plan(50, (20, 0, 30), 4, step_tokens=(1, 2, 1))))
    assert engine.work(1) == Work(queue_ns=0)
    engine.step(1050)
    assert engine.work(1) == Work(queue_ns=0, prefill_ns=50, decode_ns=0)
    engine.step(1075)
    assert engine.work(1) == Work(queue_ns=0, prefill_ns=50, decode_ns=20)
    assert engine.next_ns() == 1100


def test_drafts_of_a_timeline_are_what_a_step_could_still_give() -> None:
    engine = TimelineEngine(0.0, 3)
    engine.admit(1, EngineRequest(0, Plan(50, (20, 0, 0, 30, 0), 6, step_tokens=(1, 3, 2))))
    for at in (50, 70, 100):
        engine.step(at)
    # After the first token there are four more, three of which may be drafts: 3 are proposed, 2 accepted. Then two are
    # left: one draft.
    assert engine.release(1).facts == {
        "queue_ns": 0,
        "steps": 3,
        "draft_steps": 2,
        "draft_tokens": 4,
        "accepted_tokens": 3,
    }
    assert engine.state().drafts == Drafts(4, (0, 1, 1, 0))


def test_a_request_that_cannot_be_served_is_refused_when_it_comes() -> None:
    engine = BatchingEngine(COST)
    with pytest.raises(ValueError, match="without tokens"):
        engine.admit(1, EngineRequest(0, Plan(None, (), 0), 4))
    # 64 blocks of 16 tokens: 1,024 tokens fit in total.
    for tokens, fits in ((1_000, True), (1_001, False)):
        request = EngineRequest(0, Plan(0, (0,) * 23, 24), tokens)
        if fits:
            engine.admit(2, request)
        else:
            with pytest.raises(ValueError, match="more KV blocks than there are"):
                engine.admit(3, request)


def test_a_request_that_leaves_frees_its_place_and_is_told_how_long_it_waited() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, work(0, 4, 4))
    assert engine.state().waiting == 1
    # The request is in the queue at 5. Nothing has run since, so it has not waited.
    assert engine.release(1).facts["queue_ns"] == 0
    assert stamps_us(engine) == {}
    engine.admit(2, work(100, 4, 9))
    engine.admit(3, work(101, 4, 9))
    assert engine.next_ns() == 105 * US
    engine.step(106 * US)
    assert (engine.state().running, engine.state().waiting) == (1, 1)
    # 2 leaves during the step from 105 to 123. The step continues to its end.
    released = engine.release(2)
    assert (released.plan.ttft_ns, released.facts["steps"]) == (None, 0)
    assert stamps_us(engine)[3][0] == 141
    engine.release(3)
    assert engine.state().kv_usage == 0.0


def test_the_share_of_blocks_in_use_and_the_steps_by_their_tokens() -> None:
    engine = BatchingEngine(COST)
    chain = Chain().extended(range(40), BLOCK_TOKENS)
    engine.admit(1, work(0, 40, 2, blocks=chain.links))
    engine.step(5 * US)
    # 32 of the 40 tokens: two of 64 blocks.
    assert engine.state().kv_usage == pytest.approx(2 / 64)
    stamps_us(engine)
    assert engine.state().iteration_tokens == {32: 1, 8: 1, 1: 1}
    assert (engine.state().prefix_queries, engine.state().prefix_hits) == (40, 0)
    assert engine.state().drafts is None


def test_a_token_that_the_plan_keeps_back_comes_later_and_the_engine_does_not_wait() -> None:
    engine = BatchingEngine(COST)
    engine.admit(1, EngineRequest(0, Plan(0, (0, 500 * US, 0), 4), 4))
    # Steps end at 23, 36, 49 and 62. From the third token on, 500 is added.
    assert stamps_us(engine) == {1: [23, 36, 549, 562]}
    facts = engine.release(1)
    assert (facts.plan.ttft_ns, facts.plan.gaps_ns) == (23 * US, (13 * US, 513 * US, 13 * US))
    assert facts.facts["decode_ns"] == 39 * US


def test_who_finds_the_engine_idle_waits_until_it_is_awake() -> None:
    engine = BatchingEngine(replace(COST, w0=100), prefix_caching=False)
    # In the queue at 5. The step begins at 105 with the second request, which is in the queue by then, too: 10 + 2 (1 +
    # 1).
    engine.admit(1, work(0, 1, 1))
    engine.admit(2, work(100, 1, 1))
    # In the queue at 119, when that step ends, so the engine is awake. The last request wakes it again.
    engine.admit(3, work(114, 1, 1))
    engine.admit(4, work(127, 1, 1))
    assert stamps_us(engine) == {1: [119], 2: [119], 3: [131], 4: [244]}
    waited = {key: engine.release(key).facts["queue_ns"] for key in (1, 2, 3, 4)}
    assert waited == {1: 100 * US, 2: 0, 3: 0, 4: 100 * US}


def test_the_closed_form_by_hand() -> None:
    form = ClosedForm(StepCost(b0=1000, b1=10, b2=20, b3=0.5, b4=70, a0=100, a1=2, max_num_batched_tokens=50), 100, 10)
    # 10 steps. Alone: 10 x 100 + 70 + 10 x 0.5 x (100 + 5) = 1595; with others, 20 more per step.
    assert (form.steps, form.decoded, form.alone_us, form.user_us) == (10, 1, 1595.0, 1795.0)
    assert form.max_requests_per_s == pytest.approx(1e6 / 1795)
    assert form.step_us(4) == pytest.approx(1000 + 4 * 159.5 + 80)
    assert form.tpot_us(4) == pytest.approx(1718)
    assert form.spread_tpot_us(4) == pytest.approx(1718 - 107)
    assert form.requests_per_s(4) == pytest.approx(4 / (10 * 1718) * 1e6)
    assert form.requests_per_s(form.half_load_users) == pytest.approx(form.max_requests_per_s / 2)
    # 100 + 200 before the queue, two steps of 50 tokens, 1000 for the tokens, and 70 for the prompt.
    assert form.alone_ttft_us() == pytest.approx(300 + 2000 + 1070)
    assert replace(form, cost=replace(form.cost, w0=40)).alone_ttft_us() == pytest.approx(300 + 40 + 2000 + 1070)
    # If the time of a step does not depend on its work, there is no ceiling, and no half of it.
    free = ClosedForm(StepCost(b0=1000, b1=0, b2=0), 100, 10)
    assert (free.max_requests_per_s, free.half_load_users) == (math.inf, math.inf)
    drafts = ClosedForm(StepCost(b0=1000, b1=10, b2=20), 100, 10, Speculation(1, 1.0))
    assert (drafts.steps, drafts.decoded) == (Speculation(1, 1.0).mean_steps(10), 2)
    assert drafts.user_us == pytest.approx(1000 + 20 * drafts.steps * 2)
