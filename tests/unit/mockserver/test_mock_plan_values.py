"""Plans and arrivals computed by hand: the shortest reply, counts of identities, steps of speculation."""

from __future__ import annotations

from random import Random

import pytest

from mockserver.config import MockConfig
from mockserver.plans.arrival import Arrivals
from mockserver.plans.latencies import latencies_of
from mockserver.plans.plan import ReplyLength, draw_plan
from mockserver.plans.speculation import Speculation
from mockserver.workers.shared_state import SharedState
from tests.unit.mockserver.test_mock_plan import latencies


def test_requests_are_counted_by_how_they_were_identified() -> None:
    state = SharedState()
    try:
        arrivals = Arrivals(state)
        for request_id in ("a-1", "a-2", "b-2", "first", "second", "first", None, None):
            arrivals.identify(request_id)
        assert arrivals.counts() == {"index": 3, "id": 3, "arrival_order": 2}
        assert arrivals.identify("first").attempt == 3
        assert arrivals.identify("a-2").attempt == 2
    finally:
        state.close()


@pytest.mark.parametrize(("asked", "limit", "tokens"), [(1, 100, 1), (0, 100, 1), (5, 3, 3), (None, 1, 1), (3, 0, 1)])
def test_a_reply_has_a_token_at_least_and_never_more_than_fit(asked: int | None, limit: int, tokens: int) -> None:
    plan = draw_plan(latencies(), 0, 3, ReplyLength(limit, asked=asked))
    assert (plan.output_tokens, len(plan.gaps_ns)) == (tokens, tokens - 1)
    # The reply would have 128 tokens by itself, so it was cut off.
    assert plan.finish == "length"


def test_no_times_are_drawn_for_an_engine_that_computes_them() -> None:
    plan = draw_plan(latencies_of(MockConfig(engine="batching")), 0, 3, ReplyLength(9, asked=4))
    assert (plan.ttft_ns, plan.gaps_ns) == (0, (0, 0, 0))


def test_a_reply_that_ends_by_itself_says_so_where_it_fits() -> None:
    assert draw_plan(latencies(tokens="7"), 0, 3, ReplyLength(8)).finish == "stop"
    assert draw_plan(latencies(tokens="7"), 0, 3, ReplyLength(7)).finish == "stop"
    assert draw_plan(latencies(tokens="7"), 0, 3, ReplyLength(6)).finish == "length"


def test_steps_of_speculation_are_those_of_the_geometric_series() -> None:
    always, never = Speculation(3, 1.0), Speculation(3, 0.0)
    assert always.steps(10, Random(1)) == (1, 4, 4, 1)
    assert never.steps(4, Random(1)) == (1, 1, 1, 1)
    assert (always.mean_tokens, never.mean_tokens) == (4.0, 1.0)
    assert (always.mean_steps(10), never.mean_steps(4)) == (4.0, 4.0)
    half = Speculation(1, 0.5)
    assert half.mean_tokens == 1.5
    # R(3) = 1 + the steps for 2 tokens: half of them take one step, half take two.
    assert half.mean_steps(3) == 2.5
