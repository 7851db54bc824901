"""Request headers that change the mock's behaviour for this request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from mockserver.dialect.overrides import NO_OVERRIDES, read_overrides
from mockserver.dialect.refusals import Refusal
from mockserver.faults import fault
from mockserver.plans.plan import Latencies, ReplyLength, draw_plan
from mockserver.plans.replay import RecordedReplies, RecordedReply
from mockserver.sampled_times import sampled_times_of
from promptset.distributions import parse

MS = 1_000_000
CONFIGURED = Latencies(parse("50ms", "time"), parse("20ms", "time"), parse("7ms", "time"), parse("128", "tokens"))
TIMES = json.loads((Path(__file__).parents[2] / "support" / "made_times.json").read_text())


def headers(*pairs: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.encode(), value.encode()) for name, value in pairs])


def test_a_request_without_such_headers_is_as_configured() -> None:
    overrides = read_overrides(headers(("x-request-id", "a-1"), ("content-type", "application/json")))
    assert overrides is NO_OVERRIDES
    assert overrides.over(CONFIGURED) is CONFIGURED


@pytest.mark.parametrize(
    ("pairs", "ttft", "gap", "tokens", "finish"),
    [
        ((("x-mock-ttft", "200ms"),), 200, 7, 9, "length"),
        ((("x-mock-tpot", "3ms"),), 50, 3, 9, "length"),
        ((("x-mock-itl", "4ms"),), 50, 4, 9, "length"),
        ((("x-mock-tpot", "3ms"), ("x-mock-itl", "4ms")), 50, 4, 9, "length"),
        ((("x-mock-output-tokens", "5"),), 50, 7, 5, "stop"),
        ((("x-mock-output-tokens", "50"),), 50, 7, 9, "length"),
    ],
)
def test_a_header_takes_the_place_of_what_is_configured(
    pairs: tuple[tuple[str, str], ...], ttft: int, gap: int, tokens: int, finish: str
) -> None:
    overrides = read_overrides(headers(*pairs))
    own = overrides.output_tokens is not None
    plan = draw_plan(overrides.over(CONFIGURED), 0, 1, ReplyLength(100, asked=9, ends_itself=own))
    assert (plan.ttft_ns, set(plan.gaps_ns), plan.output_tokens) == (ttft * MS, {gap * MS}, tokens)
    assert plan.finish == finish


@pytest.mark.parametrize(
    ("configured", "ignored"),
    [
        ({}, ()),
        ({"seen": sampled_times_of(TIMES, "times.json")}, ("ttft", "tpot", "itl")),
        (
            {"recording": RecordedReplies((RecordedReply(1, (), (1,)),), {}, "order")},
            ("ttft", "tpot", "itl", "output-tokens"),
        ),
    ],
)
def test_a_header_that_would_be_ignored_is_refused(configured: dict[str, Any], ignored: tuple[str, ...]) -> None:
    latencies = replace(CONFIGURED, **configured)
    for name, value in (("ttft", "1ms"), ("tpot", "1ms"), ("itl", "1ms"), ("output-tokens", "5")):
        overrides = read_overrides(headers((f"x-mock-{name}", value)))
        if name in ignored:
            with pytest.raises(Refusal) as refused:
                overrides.refuse_hidden(latencies)
            assert f"x-mock-{name} has no effect" in str(refused.value.message)
        else:
            overrides.refuse_hidden(latencies)


def test_a_distribution_is_drawn_from_as_a_configured_one_is() -> None:
    asked = read_overrides(headers(("x-mock-ttft", "exp:mean=100ms"))).over(CONFIGURED)
    configured = Latencies(parse("exp:mean=100ms", "time"), CONFIGURED.tpot, CONFIGURED.itl, CONFIGURED.output_tokens)
    draws = [draw_plan(of, 3, 7, ReplyLength(100)).ttft_ns for of in (asked, configured)]
    assert draws[0] == draws[1]


def test_faults_may_stand_in_one_header_or_in_several() -> None:
    both = (fault("crlf"), fault("reset", after=2))
    assert read_overrides(headers(("x-mock-fault", "crlf; reset:after=2"))).faults == both
    assert read_overrides(headers(("x-mock-fault", "crlf"), ("x-mock-fault", "reset:after=2"))).faults == both
    assert read_overrides(headers(("x-mock-fault", "none"))).faults == ()
    assert read_overrides(headers(("x-mock-ttft", "1ms"))).faults is None


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Refusal) as caught:
        read_overrides(
            headers(
                ("x-mock-ttft", "50"), ("x-mock-output-tokens", "5ms"), ("x-mock-fault", "rest"), ("x-mock-itl", "1ms")
            )
        )
    assert caught.value.status == 400
    message = json.loads(caught.value.body)["error"]["message"]
    for part in ("x-mock-ttft: ", "x-mock-output-tokens: ", "x-mock-fault: 'rest'", "did you mean reset?"):
        assert part in message
    assert "x-mock-itl" not in message
