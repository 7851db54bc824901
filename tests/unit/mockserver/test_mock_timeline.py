"""Several tokens per step, load, speculation and the stream interval, under the test's own clock."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mockserver.engine import EngineRequest
from mockserver.engine.timeline import TimelineEngine
from mockserver.engine.work import Drafts
from mockserver.faults import parse_demand
from mockserver.plans.plan import Latencies, Plan, ReplyLength, draw_plan
from mockserver.plans.speculation import Speculation
from mockserver.replies.stream_interval import StreamInterval
from mockserver.rng import stream
from promptset.distributions import parse

MS = 1_000_000


def play(engine: TimelineEngine) -> list[tuple[int, list[tuple[int, int]]]]:
    seen = []
    while (at := engine.next_ns()) is not None:
        if given := engine.step(at):
            seen.append((at, given))
    return seen


def test_the_tokens_of_a_step_come_together_at_the_instant_of_the_plan() -> None:
    engine = TimelineEngine()
    plan = Plan(50, (20, 0, 0, 30), 5, step_tokens=(1, 3, 1))
    engine.admit(1, EngineRequest(1000, plan))
    assert play(engine) == [(1050, [(1, 1)]), (1070, [(1, 3)]), (1100, [(1, 1)])]
    released = engine.release(1)
    assert released.plan is plan
    assert released.facts == {"queue_ns": 0, "steps": 3}


def test_a_request_alone_is_served_as_planned_whatever_the_slowdown() -> None:
    engine = TimelineEngine(0.5)
    plan = Plan(50, (20, 30), 3)
    engine.admit(1, EngineRequest(1000, plan))
    assert play(engine) == [(1050, [(1, 1)]), (1070, [(1, 1)]), (1100, [(1, 1)])]
    assert engine.release(1).plan == plan


def test_each_wait_is_stretched_by_the_requests_under_way_as_it_begins() -> None:
    engine = TimelineEngine(0.5)
    engine.admit(1, EngineRequest(0, Plan(100, (100, 100), 3)))
    engine.admit(2, EngineRequest(0, Plan(100, (10,), 2)))
    # 2 begins while 1 runs: 150, then a wait of 15, so it ends at 165. 1 begins alone: 100, then 150 together with 2,
    # then 100 alone.
    assert play(engine) == [(100, [(1, 1)]), (150, [(2, 1)]), (165, [(2, 1)]), (250, [(1, 1)]), (350, [(1, 1)])]
    assert engine.release(1).plan == Plan(100, (150, 100), 3)
    assert engine.release(2).plan == Plan(150, (15,), 2)


def test_with_a_slowdown_the_plan_that_is_told_has_a_gap_a_token_also_where_they_come_together() -> None:
    engine = TimelineEngine(1.0)
    engine.admit(1, EngineRequest(0, Plan(100, (50, 0, 30), 4, step_tokens=(1, 2, 1))))
    engine.admit(2, EngineRequest(0, Plan(1000, (), 1)))
    assert play(engine) == [(100, [(1, 1)]), (200, [(1, 2)]), (260, [(1, 1)]), (2000, [(2, 1)])]
    assert engine.release(1).plan.gaps_ns == (100, 0, 60)


def test_a_request_that_is_gone_slows_no_other() -> None:
    engine = TimelineEngine(1.0)
    engine.admit(1, EngineRequest(0, Plan(100, (100,), 2)))
    engine.admit(2, EngineRequest(0, Plan(400, (), 1)))
    assert engine.release(2).plan.ttft_ns is None
    assert play(engine) == [(100, [(1, 1)]), (200, [(1, 1)])]
    engine.release(1)
    assert engine.state().running == 0


def test_users_who_are_always_there_see_the_slowdown_of_the_formula() -> None:
    engine = TimelineEngine(0.25)
    for key in range(5):
        engine.admit(key, EngineRequest(key, Plan(100, (40,) * 9, 10)))
    while engine.next_ns() is not None:
        engine.step(engine.next_ns() or 0)
    plan = engine.release(4).plan
    assert plan.ttft_ns == 200
    assert plan.gaps_ns[0] == 80


@pytest.mark.parametrize(("k", "a"), [(1, 0.5), (4, 0.7), (3, 0.0), (3, 1.0), (8, 0.95)])
def test_steps_are_geometric_cut_at_one_more_than_the_drafts(k: int, a: float) -> None:
    speculation = Speculation(k, a)
    steps = speculation.steps(200_000, stream(1, "test", k))
    assert steps[0] == 1
    assert sum(steps) == 200_000
    seen = Counter(steps[1:-1])
    total = len(steps) - 2
    shares = {n: (1 - a) * a ** (n - 1) for n in range(1, k + 1)} | {k + 1: a**k}
    for n, share in shares.items():
        # Five standard deviations of a binomial share.
        assert abs(seen[n] / total - share) <= 5 * (share * (1 - share) / total) ** 0.5 + 1e-12
    assert set(seen) <= set(shares)
    assert speculation.mean_tokens == pytest.approx(sum(n * share for n, share in shares.items()))


def test_the_mean_number_of_steps_is_exact_for_short_replies() -> None:
    speculation = Speculation(2, 0.6)
    # Two tokens after the first: 1 step if the first draft is accepted, else 2.
    assert speculation.mean_steps(3) == pytest.approx(1 + 0.6 + 0.4 * 2)
    assert speculation.mean_steps(1) == 1
    assert Speculation(4, 0.0).mean_steps(50) == 50
    draws = [len(speculation.steps(40, stream(0, "mean", i))) for i in range(4000)]
    assert sum(draws) / len(draws) == pytest.approx(speculation.mean_steps(40), abs=0.15)


def latencies(**more: object) -> Latencies:
    values = {
        "ttft": parse("50ms", "time"),
        "tpot": parse("20ms", "time"),
        "itl": None,
        "output_tokens": parse(9, "tokens"),
    }
    return Latencies(**(values | more))  # type: ignore[arg-type]


def test_with_speculation_the_plan_holds_steps_and_a_gap_for_each() -> None:
    drawn = latencies(speculation=Speculation(3, 0.8), itl=parse("uniform:1ms..9ms", "time"))
    plan = draw_plan(drawn, 0, 5, ReplyLength(1000, asked=100))
    assert sum(plan.step_tokens) == plan.output_tokens == len(plan.gaps_ns) + 1 == 100
    ends = list(itertools.accumulate(plan.step_tokens))
    between = {end - 1 for end in ends[:-1]}
    assert all((gap > 0) == (i in between) for i, gap in enumerate(plan.gaps_ns))
    assert plan == draw_plan(drawn, 0, 5, ReplyLength(1000, asked=100))


def test_a_stall_within_a_step_holds_up_the_whole_step() -> None:
    drawn = latencies(speculation=Speculation(4, 1.0))
    plans = [
        draw_plan(drawn, 0, 1, ReplyLength(99, asked=11), faults=parse_demand(f"stall:after={after},for=1s"))
        for after in (2, 6, 8)
    ]
    # Steps of 1, 5 and 5 tokens.
    assert [plan.gaps_ns[0] for plan in plans] == [1020 * MS, 20 * MS, 20 * MS]
    assert [plan.gaps_ns[5] for plan in plans] == [20 * MS, 1020 * MS, 1020 * MS]
    assert all(sum(plan.gaps_ns) == 1040 * MS for plan in plans)


def test_ttft_grows_with_the_input_by_what_was_drawn_for_the_request() -> None:
    drawn = latencies(ttft_per_input_token=parse("uniform:10us..30us", "time"))
    slopes = set()
    for key in range(20):
        none, some, more = (draw_plan(drawn, 0, key, ReplyLength(99), input_tokens=n) for n in (0, 1000, 3000))
        assert none.ttft_ns == 50 * MS
        assert none.gaps_ns == some.gaps_ns == more.gaps_ns
        assert some.ttft_ns is not None
        assert more.ttft_ns is not None
        slope = (more.ttft_ns - some.ttft_ns) / 2000
        assert 10_000 <= slope <= 30_000
        assert some.ttft_ns == pytest.approx(50 * MS + 1000 * slope, abs=2)
        slopes.add(slope)
    assert len(slopes) == 20


def chunks(interval: int, steps: list[int]) -> list[int]:
    sent: list[int] = []
    take = StreamInterval(sent.append, interval, sum(steps))
    for tokens in steps:
        take(tokens)
    return sent


@pytest.mark.parametrize(
    ("interval", "steps", "sent"),
    [
        (3, [1] * 9, [1, 3, 3, 2]),
        (3, [1] * 7, [1, 3, 3]),
        (3, [1, 2, 2, 2, 1], [1, 4, 3]),
        (8, [1, 1, 1], [1, 2]),
        (5, [1], [1]),
        (1, [1, 3, 1], [1, 3, 1]),
    ],
)
def test_the_first_token_goes_at_once_and_then_a_chunk_each_n_tokens(
    interval: int, steps: list[int], sent: list[int]
) -> None:
    assert chunks(interval, steps) == sent


@given(st.integers(1, 12), st.lists(st.integers(1, 5), min_size=1, max_size=40))
def test_a_stream_interval_loses_no_token_and_holds_none_back_at_the_end(interval: int, steps: list[int]) -> None:
    sent = chunks(interval, steps)
    assert sum(sent) == sum(steps)
    assert sent[0] == steps[0]
    assert all(interval <= tokens < interval + 5 for tokens in sent[1:-1])


def test_of_three_requests_under_way_one_that_ends_or_leaves_takes_its_own_share_of_the_load_alone() -> None:
    engine = TimelineEngine(1.0)
    # A wait is multiplied by the number of requests in flight when it begins.
    engine.admit(1, EngineRequest(0, Plan(100, (), 1)))
    engine.admit(2, EngineRequest(0, Plan(100, (50, 50), 3)))
    engine.admit(3, EngineRequest(0, Plan(1000, (), 1)))
    # 1 ends at 100. 2 continues at 200 together with 3: 50 x 2, and again.
    assert engine.step(300) == [(1, 1), (2, 1), (2, 1)]
    engine.admit(4, EngineRequest(300, Plan(1000, (), 1)))
    engine.admit(5, EngineRequest(300, Plan(1000, (), 1)))
    # 3 leaves: 2, 4 and 5 are in flight, and the next request is the fourth.
    engine.release(3)
    engine.admit(6, EngineRequest(301, Plan(10, (), 1)))
    assert engine.next_ns() == 341
    # 1 has ended, so its release does not change the load.
    engine.release(1)
    engine.admit(7, EngineRequest(302, Plan(10, (), 1)))
    assert engine.step(351) == [(6, 1)]
    assert engine.step(352) == [(7, 1)]
    assert engine.state().running == 5


def test_a_request_that_is_gone_keeps_no_other_of_its_instant_back() -> None:
    engine = TimelineEngine()
    for key in (1, 2):
        engine.admit(key, EngineRequest(0, Plan(100, (), 1)))
    engine.release(1)
    assert engine.step(100) == [(2, 1)]


@pytest.mark.parametrize("plan", [Plan(None, (), 0), Plan(None, (5,), 2)])
def test_a_plan_without_a_first_token_is_refused(plan: Plan) -> None:
    engine = TimelineEngine()
    with pytest.raises(ValueError, match="nothing to wait for"):
        engine.admit(1, EngineRequest(0, plan))
    assert engine.state().running == 0


def test_the_timeline_needs_no_tokens_and_factors_that_are_given_count_in_place_of_the_slowdown() -> None:
    assert (TimelineEngine.needs_input_tokens, TimelineEngine.block_tokens) == (False, 0)
    plain, slowed, given, both = (
        TimelineEngine(),
        TimelineEngine(1.0),
        TimelineEngine(factors=lambda under_way: (3.0, 5.0)),
        TimelineEngine(1.0, factors=lambda under_way: (3.0, 5.0)),
    )
    seen = []
    for engine in (plain, slowed, given, both):
        for key in (1, 2):
            engine.admit(key, EngineRequest(0, Plan(100, (10,), 2)))
        seen.append([at for at, _ in play(engine)])
    # The second of the slowed requests takes twice as long: 200. When the first gives its second token, it is no longer
    # alone.
    assert seen == [[100, 110], [100, 120, 200, 210], [300, 350], [300, 350]]


def test_a_request_that_got_nothing_has_no_first_token_and_one_with_drafts_says_so() -> None:
    engine = TimelineEngine(0.5, 2)
    engine.admit(1, EngineRequest(5, Plan(100, (10,), 2)))
    report = engine.release(1)
    assert (report.plan.ttft_ns, report.plan.gaps_ns) == (None, ())
    assert report.facts == {"queue_ns": 0, "steps": 0, "draft_steps": 0, "draft_tokens": 0, "accepted_tokens": 0}
    assert TimelineEngine().state().drafts is None
    assert engine.state().drafts == Drafts(0, (0, 0, 0))
