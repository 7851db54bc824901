"""Plans: what they depend on."""

from __future__ import annotations

import dataclasses
import statistics

import pytest

from mockserver.faults import ArrivalFacts, fault, parse_rule
from mockserver.plans.plan import Latencies, Plan, ReplyLength, StreamKey, draw_faults, draw_plan, index_of
from promptset.distributions import parse
from tests.support import scipy_stats as stats

MS = 1_000_000


def latencies(ttft: str = "50ms", tpot: str = "20ms", itl: str | None = None, tokens: str = "128") -> Latencies:
    return Latencies(
        parse(ttft, "time"),
        parse(tpot, "time"),
        None if itl is None else parse(itl, "time"),
        parse(tokens, "tokens"),
    )


RANDOM = latencies("exp:mean=100ms", "gamma:mean=20ms,cv=0.3", tokens="uniform:2..200")


def plan_of(key: StreamKey, seed: int = 0, of: Latencies = RANDOM) -> Plan:
    return draw_plan(of, seed, key, ReplyLength(100_000))


@pytest.mark.parametrize(
    ("request_id", "index"),
    [
        ("run-7", 7),
        ("a-b-0012", 12),
        ("run-", None),
        ("7", None),
        ("run-7x", None),
        (None, None),
        ("run--3", 3),
        ("", None),
    ],
)
def test_the_index_is_the_number_an_id_ends_in(request_id: str | None, index: int | None) -> None:
    assert index_of(request_id) == index


def test_constants_give_the_plain_plan() -> None:
    assert draw_plan(latencies(), 0, 3, ReplyLength(100, asked=4)) == Plan(50 * MS, (20 * MS,) * 3, 4)


def test_a_plan_does_not_depend_on_what_else_is_drawn() -> None:
    forwards = [plan_of(i) for i in range(20)]
    backwards = [plan_of(i) for i in reversed(range(20))][::-1]
    assert forwards == backwards
    assert len(set(forwards)) == 20


def test_seed_zero_is_a_seed_and_another_one_changes_the_plan() -> None:
    assert plan_of(5, 0) == plan_of(5, 0)
    assert plan_of(5, 0) != plan_of(5, 1)


def test_an_index_an_id_and_an_order_of_arrival_are_different_keys() -> None:
    assert len({plan_of(5), plan_of("5"), plan_of(("arrival", 5))}) == 3


def test_tpot_is_drawn_once_a_request_and_itl_for_each_gap() -> None:
    one = draw_plan(RANDOM, 0, 1, ReplyLength(1000, asked=50))
    each = draw_plan(latencies(itl="exp:mean=20ms"), 0, 1, ReplyLength(1000, asked=50))
    assert len(set(one.gaps_ns)) == 1
    assert len(set(each.gaps_ns)) == len(each.gaps_ns) == 49


def test_what_is_drawn_follows_the_distributions() -> None:
    plans = [plan_of(i) for i in range(2000)]
    ttft = [plan.ttft_ns / MS for plan in plans if plan.ttft_ns is not None]
    tpot = [plan.gaps_ns[0] / MS for plan in plans]
    assert stats.kstest(ttft, stats.expon(scale=100).cdf).pvalue > 0.001
    assert stats.kstest(tpot, stats.gamma(1 / 0.09, scale=20 * 0.09).cdf).pvalue > 0.001
    assert abs(statistics.correlation(ttft, tpot)) < 0.1
    assert {plan.output_tokens for plan in plans} <= set(range(2, 201))


def test_what_was_asked_for_is_planned_and_the_context_is_the_limit() -> None:
    assert draw_plan(RANDOM, 0, 1, ReplyLength(1000, asked=7)).output_tokens == 7
    assert draw_plan(latencies(tokens="500"), 0, 1, ReplyLength(30)).output_tokens == 30


def test_a_refusal_plans_no_token() -> None:
    plan = draw_plan(RANDOM, 0, 1, ReplyLength(1000, asked=7), faults=(fault("429"),))
    assert (plan.ttft_ns, plan.gaps_ns, plan.output_tokens) == (None, (), 0)


def test_a_stall_changes_nothing_but_its_own_gap() -> None:
    plain = draw_plan(RANDOM, 0, 1, ReplyLength(1000, asked=4))
    stalled = draw_plan(RANDOM, 0, 1, ReplyLength(1000, asked=4), faults=(parse_rule("stall:after=2,for=3s").fault,))
    assert stalled.ttft_ns == plain.ttft_ns
    assert [b - a for a, b in zip(plain.gaps_ns, stalled.gaps_ns, strict=True)] == [0, 3_000_000_000, 0]


def test_a_rate_is_the_share_of_requests_it_hits_and_a_new_attempt_draws_anew() -> None:
    rules = (parse_rule("500:rate=0.2"),)

    def hit(index: int, attempt: int) -> bool:
        return draw_faults(rules, 0, index, attempt, ArrivalFacts(index)) != ()

    first = [hit(i, 1) for i in range(2000)]
    second = [hit(i, 2) for i in range(2000)]
    assert stats.binomtest(sum(first), 2000, 0.2).pvalue > 0.001
    assert sum(a and b for a, b in zip(first, second, strict=True)) < 0.08 * 2000
    assert first == [hit(i, 1) for i in range(2000)]


@pytest.mark.parametrize(
    ("own", "asked", "limit", "tokens", "finish"),
    [
        # The reply has the requested length, unless it ends by itself.
        (None, 7, 1000, 7, "length"),
        (None, 7, 5, 5, "length"),
        (30, None, 1000, 30, "stop"),
        (30, None, 30, 30, "stop"),
        (30, None, 20, 20, "length"),
        (30, 40, 1000, 30, "stop"),
        (30, 30, 1000, 30, "length"),
        (30, 10, 1000, 10, "length"),
    ],
)
def test_a_reply_ends_by_itself_or_at_a_limit(
    own: int | None, asked: int | None, limit: int, tokens: int, finish: str
) -> None:
    of = latencies(tokens="500" if own is None else str(own))
    plan = draw_plan(of, 0, 1, ReplyLength(limit, asked=asked, ends_itself=own is not None and asked is not None))
    assert (plan.output_tokens, len(plan.gaps_ns), plan.finish) == (tokens, tokens - 1, finish)


def test_a_length_that_ignores_the_limit_of_the_request_keeps_that_of_the_model() -> None:
    longer = (parse_rule("length:more=5").fault,)
    assert draw_plan(RANDOM, 0, 1, ReplyLength(1000, asked=7), faults=longer).output_tokens == 12
    assert draw_plan(RANDOM, 0, 1, ReplyLength(9, asked=7), faults=longer).output_tokens == 9


def test_delays_add_up() -> None:
    plain = draw_plan(latencies(), 0, 1, ReplyLength(1000, asked=2))
    both = tuple(parse_rule(spec).fault for spec in ("slow:factor=2", "stall:for=1ms"))
    late = draw_plan(latencies(), 0, 1, ReplyLength(1000, asked=2), faults=both)
    assert (plain.ttft_ns, late.ttft_ns, late.gaps_ns) == (50 * MS, 101 * MS, (40 * MS,))


def test_reasoning_is_a_part_of_the_reply_and_only_where_it_can_be() -> None:
    of = dataclasses.replace(latencies(), reasoning_tokens=parse("10", "tokens"))
    assert draw_plan(of, 0, 1, ReplyLength(1000, asked=30), reasons=True).reasoning_tokens == 10
    assert draw_plan(of, 0, 1, ReplyLength(1000, asked=4), reasons=True).reasoning_tokens == 4
    assert draw_plan(of, 0, 1, ReplyLength(1000, asked=30)).reasoning_tokens == 0


def test_a_plan_that_ends_earlier_keeps_its_beginning() -> None:
    plan = Plan(50, (1, 2, 3, 4), 5, step_tokens=(1, 2, 2))
    assert plan.ending_at(4) == Plan(50, (1, 2, 3), 4, step_tokens=(1, 2, 1), finish="stop")
    assert plan.ending_at(3) == Plan(50, (1, 2), 3, step_tokens=(1, 2), finish="stop")
    assert Plan(50, (1,), 2).ending_at(1) == Plan(50, (), 1, finish="stop")
