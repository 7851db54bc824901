"""The plan of a prefix cache against the counters: sums over a few requests, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.cache_plan import CachePlan
from bench.records import Outcome
from tests.support.made_records import made_record
from tests.support.tables import table_of


def plan(*requests: dict[str, Any]) -> CachePlan:
    found = CachePlan()
    found.add(table_of(*(made_record(index, **fields) for index, fields in enumerate(requests))))
    return found


def request(tokens: int | None, planned: int | None, said: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"input_tokens": tokens, "cached_tokens_planned": planned, "cached_tokens": said, **fields}


def test_shares_are_those_of_all_tokens_and_not_means_of_shares() -> None:
    found = plan(request(100, 0, 0), request(300, 200, 180)).against(0.9)
    assert found == {
        "planned_share": 200 / 400,
        "said_share": 180 / 400,
        "counted_by": "replies",
        "off_share": pytest.approx(-20 / 400),
        # One block of 16 tokens for each of two prompts.
        "rounding_share": 32 / 400,
    }


def test_replies_that_say_nothing_leave_it_to_the_counters_of_the_server_warm_up_included() -> None:
    # The counters include the warm-up. The plan of the load is (50 + 200) of 500, the plan of the run 200 of 400.
    found = plan(request(100, 50, phase="warmup"), request(400, 200)).against(0.6)
    assert found == {
        "planned_share": 0.5,
        "said_share": None,
        "counted_by": "metrics",
        "off_share": pytest.approx(0.1),
        "rounding_share": 32 / 500,
    }


def test_where_only_some_replies_say_it_they_are_compared_with_their_own_plan() -> None:
    found = plan(request(100, 50, 40), request(900, 0)).against(0.3)
    assert found is not None
    assert (found["planned_share"], found["said_share"], found["counted_by"]) == (0.05, 0.4, "replies")
    assert found["off_share"] == pytest.approx(-0.1)
    assert found["rounding_share"] == 0.16


def test_what_a_reply_says_in_the_warm_up_is_no_count_of_the_run() -> None:
    found = plan(request(100, 50, 40, phase="warmup"), request(100, 50)).against(None)
    assert found == {
        "planned_share": 0.5, "said_share": None, "counted_by": None, "off_share": None, "rounding_share": 0.16,
    }  # fmt: skip


@pytest.mark.parametrize("unplanned", [request(100, None), request(None, 50, input_tokens_asked=None)])
def test_counters_that_saw_prompts_without_a_plan_are_not_compared_with_it(unplanned: dict[str, Any]) -> None:
    found = plan(request(100, 50), unplanned).against(0.6)
    assert found is not None
    assert (found["planned_share"], found["counted_by"], found["off_share"]) == (0.5, None, None)
    for first, second in ((request(100, 50), unplanned), (unplanned, request(100, 50))):
        in_two_tables = plan(first)
        in_two_tables.add(table_of(made_record(1, **second)))
        assert in_two_tables.against(0.6) == found


def test_the_tokens_that_were_asked_stand_for_those_that_no_reply_says() -> None:
    found = plan(request(None, 50, 25, input_tokens_asked=200)).against(None)
    assert found is not None
    assert (found["planned_share"], found["said_share"], found["off_share"]) == (0.25, 0.125, -0.125)
    # The reply's count takes precedence.
    said = plan(request(100, 50, 25, input_tokens_asked=200)).against(None)
    assert said is not None
    assert said["planned_share"] == 0.5


def test_failed_requests_and_warm_up_alone_have_no_plan() -> None:
    failed = plan(request(100, 50, 50, outcome=Outcome.RESET))
    assert failed.against(0.5) is None
    assert plan(request(100, 50, phase="warmup")).against(0.5) is None
    assert plan().against(0.5) is None
    # The counters are still compared if a failed request has no plan.
    of_failed = plan(request(100, 50), request(100, None, outcome=Outcome.RESET)).against(0.5)
    assert of_failed is not None
    assert of_failed["counted_by"] == "metrics"


def test_prompts_of_no_tokens_have_no_share() -> None:
    for said, measured_share in ((0, None), (None, 0.5)):
        assert plan(request(0, 0, said)).against(measured_share) == {
            "planned_share": None, "said_share": None, "counted_by": None, "off_share": None, "rounding_share": 0.0,
        }  # fmt: skip
