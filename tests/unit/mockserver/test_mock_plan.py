"""Plans: what they depend on, and what they do not."""

from __future__ import annotations

import statistics

import pytest
from scipy import stats

from mockserver.faults import parse_demand, parse_rule
from mockserver.plan import Latencies, Plan, StreamKey, draw_plan, index_of
from promptset.distributions import parse

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
    return draw_plan(of, seed, key, limit_tokens=100_000)


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
    assert draw_plan(latencies(), 0, 3, asked_tokens=4, limit_tokens=100) == Plan(50 * MS, (20 * MS,) * 3, 4)


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
    one = draw_plan(RANDOM, 0, 1, asked_tokens=50, limit_tokens=1000)
    each = draw_plan(latencies(itl="exp:mean=20ms"), 0, 1, asked_tokens=50, limit_tokens=1000)
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
    assert draw_plan(RANDOM, 0, 1, asked_tokens=7, limit_tokens=1000).output_tokens == 7
    assert draw_plan(latencies(tokens="500"), 0, 1, limit_tokens=30).output_tokens == 30


def test_a_refusal_plans_no_token() -> None:
    plan = draw_plan(RANDOM, 0, 1, asked_tokens=7, limit_tokens=1000, rules=(parse_rule("429"),))
    assert (plan.ttft_ns, plan.gaps_ns, plan.output_tokens) == (None, (), 0)


def test_a_stall_changes_nothing_but_its_own_gap() -> None:
    plain = draw_plan(RANDOM, 0, 1, asked_tokens=4, limit_tokens=1000)
    stalled = draw_plan(RANDOM, 0, 1, asked_tokens=4, limit_tokens=1000, rules=(parse_rule("stall:after=2,for=3s"),))
    assert stalled.ttft_ns == plain.ttft_ns
    assert [b - a for a, b in zip(plain.gaps_ns, stalled.gaps_ns, strict=True)] == [0, 3_000_000_000, 0]


def test_a_rate_is_the_share_of_requests_it_hits_and_a_new_attempt_draws_anew() -> None:
    rules = (parse_rule("500:rate=0.2"),)

    def hit(index: int, attempt: int) -> bool:
        return draw_plan(RANDOM, 0, index, attempt=attempt, limit_tokens=1000, rules=rules).fault is not None

    first = [hit(i, 1) for i in range(2000)]
    second = [hit(i, 2) for i in range(2000)]
    assert stats.binomtest(sum(first), 2000, 0.2).pvalue > 0.001
    assert sum(a and b for a, b in zip(first, second, strict=True)) < 0.08 * 2000
    assert first == [hit(i, 1) for i in range(2000)]


def test_a_demand_of_the_request_wins_over_the_rules() -> None:
    plan = draw_plan(
        RANDOM, 0, 1, limit_tokens=1000, rules=(parse_rule("500"),), demanded=parse_demand("reset:after=1")
    )
    assert plan.fault is not None
    assert plan.fault.kind.name == "reset"
