"""The numbers of each replica, from records, and the verdict on them: with each defect planted, and without any."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from bench.results.summary import SummaryNumbers
from bench.verdict import SIGNS
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Status
from bench.verdict.limits import Limits
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import table_of

NAMES = ("a", "b", "c")
Change = Callable[[int, str], dict[str, Any]]


def records(change: Change = lambda index, name: {}, n: int = 900) -> list[RequestRecord]:
    """Requests 10 ms apart to three replicas in turn, with varying times; `change` makes one of them differ."""
    rng = random.Random(7)
    made = []
    for index in range(n):
        name = NAMES[index % 3]
        own = {"ttft_ms": 50.0, **change(index, name)}
        ttft_ms, tpot_ms = own.pop("ttft_ms") * rng.lognormvariate(0, 0.3), 10 * rng.lognormvariate(0, 0.1)
        chunks = (ttft_ms, ttft_ms + tpot_ms, ttft_ms + 2 * tpot_ms)
        if own.get("outcome") is Outcome.CONNECT_ERROR:
            own |= {"sent_ns": None, "first_byte_ns": None, "status": None, "chunks_ms": (), "n": 0}
            own["end_ns"] = START_NS + 10 * index * MS
        made.append(made_record(index, **{"sent_ms": 10.0 * index, "chunks_ms": chunks, "target": name, **own}))
    return made


def summed(rows: Sequence[RequestRecord], **facts: Any) -> SummaryNumbers:
    known = {"replicas": "address", "targets": NAMES, **facts}
    summary = Summary(RunFacts(mode="rate", open_loop=True, endpoint="chat", start_ns=START_NS, seed=0, **known))
    for start in range(0, len(rows), 350):
        summary.add(table_of(*rows[start : start + 350]))
    return summary.close()


@cache
def equal() -> SummaryNumbers:
    """The numbers of three identical replicas."""
    return summed(records())


def said(summary: SummaryNumbers) -> list[tuple[str, str]]:
    evidence = RunEvidence(summary=summary, open_loop=True, exact_lengths=True)
    signs = [name for name in SIGNS if name.startswith("replica_")]
    return [(name, found.sentence) for name in signs for found in SIGNS[name](evidence, Limits())]


def fails(share: float, outcome: Outcome = Outcome.HTTP_ERROR) -> Change:
    rng = random.Random(3)
    return lambda index, name: {"outcome": outcome, "status": 500} if name == "b" and rng.random() < share else {}


def test_equal_replicas_have_equal_shares_and_no_sign() -> None:
    summary = equal()
    assert [(part.name, part.sent, part.share) for part in summary.per_target or ()] == [
        (name, 300, pytest.approx(1 / 3)) for name in NAMES
    ]
    assert said(summary) == []
    assert {row.metric for part in summary.per_target or () for row in part.slower} == {"ttft_ms", "tpot_ms"}


@pytest.mark.parametrize(
    ("sign", "change"),
    [
        ("replica_slower", lambda index, name: {"ttft_ms": 75.0 if name == "b" else 50.0}),
        ("replica_errors", fails(0.05)),
        ("replica_gone", lambda i, name: {"outcome": Outcome.CONNECT_ERROR} if name == "b" and i > 888 else {}),
    ],
)
def test_the_one_that_differs_is_named_and_no_other(sign: str, change: Change) -> None:
    found = said(summed(records(change)))
    assert [name for name, _ in found] == [sign]
    assert found[0][1].startswith("replica b ")


@pytest.mark.parametrize(
    ("times", "tokens", "said_of_it"),
    [
        # Every third row of the data has a prompt twice as long, or every third reply does.
        (2.0, {"input_tokens": 200}, None),
        (2.0, {"chunks_ms": (100.0, 110.0, 120.0, 130.0, 140.0, 150.0)}, None),
        (3.0, {"input_tokens": 200}, ", and its prompts or replies are only 100% longer: the latencies"),
        (1.5, {"input_tokens": 50}, "): the latencies"),
    ],
)
def test_a_replica_is_not_slower_because_its_prompts_or_replies_are_longer(
    times: float, tokens: dict[str, Any], said_of_it: str | None
) -> None:
    def change(index: int, name: str) -> dict[str, Any]:
        return {"ttft_ms": 50.0 * times, **tokens} if name == "b" else {}

    evidence = RunEvidence(summary=summed(records(change)), open_loop=True, exact_lengths=True)
    found = [row.sentence for row in SIGNS["replica_slower"](evidence, Limits()) if row.status is not Status.VALID]
    assert len(found) == (said_of_it is not None)
    assert said_of_it is None or said_of_it in found[0]


def test_the_error_rate_of_the_others_is_of_what_they_answered_and_failed() -> None:
    parts = summed(records(fails(0.05))).per_target or ()
    failed = parts[1].failed
    assert failed > 0
    assert [part.others_error_rate for part in parts] == pytest.approx([failed / 600, 0.0, failed / 600])


def test_replicas_of_which_one_gave_no_first_token_are_compared_by_whole_replies() -> None:
    parts = summed(records(lambda index, name: {"chunks_ms": ()} if name == "c" else {})).per_target or ()
    assert {row.metric for part in parts for row in part.slower} == {"e2el_ms"}


def test_a_replica_that_never_answered_is_gone_from_the_start() -> None:
    unreachable = records(lambda index, name: {"outcome": Outcome.CONNECT_ERROR} if name == "b" else {})
    part = (summed(unreachable).per_target or ())[1]
    assert part.gone is not None
    assert (part.gone.requests, part.gone.since_s) == (300, None)


def test_the_chances_are_corrected_for_all_that_is_compared() -> None:
    summary = equal()
    ps = [row.p for part in summary.per_target or () for row in part.slower]
    assert max(ps) == 1.0  # Six comparisons: Holm multiplies the smallest by six.


def test_an_answer_to_an_earlier_request_does_not_bring_a_dead_one_back() -> None:
    def change(index: int, name: str) -> dict[str, Any]:
        if name != "b" or index < 880:
            return {}
        return {"chunks_ms": (5_000.0,)} if index < 884 else {"outcome": Outcome.CONNECT_ERROR}

    part = (summed(records(change)).per_target or ())[1]
    assert part.gone is not None
    assert part.gone.requests == sum(1 for index in range(884, 900) if index % 3 == 1)
    assert part.gone.since_s == pytest.approx(8.83 + 5.0)


@pytest.mark.parametrize("requests", [2, 3])
def test_two_lost_requests_at_the_end_are_no_dead_replica(requests: int) -> None:
    def change(index: int, name: str) -> dict[str, Any]:
        return {"outcome": Outcome.CONNECT_ERROR} if name == "b" and index >= 900 - 3 * requests else {}

    part = (summed(records(change)).per_target or ())[1]
    assert (part.gone is not None) is (requests == 3)


def test_behind_a_router_shares_are_judged_and_requests_without_a_name_stand_apart() -> None:
    rows = records(lambda index, name: {"target": "b" if index % 2 else name})
    rows += [made_record(900 + i, sent_ms=9_000.0 + i, outcome=Outcome.HTTP_ERROR, status=503) for i in range(9)]
    summary = summed(rows, replicas="reply", targets=())
    assert [part.name for part in summary.per_target or ()] == ["(not named)", "a", "b", "c"]
    assert [name for name, _ in said(summary)] == ["replica_share"]
    assert "replica b got 66.0% of the requests from the router, where 33.3% is an equal share" in said(summary)[0][1]


def test_the_requests_of_one_session_are_one_choice_of_the_router() -> None:
    sessions = records(lambda index, name: {"target": "b" if index % 2 else name, "session": f"s{index % 2}-{name}"})
    summary = summed(sessions, replicas="reply", targets=())
    assert [name for name, _ in said(summary)] == []  # b has four of the six sessions.


def test_a_run_that_names_no_replica_has_no_numbers_of_any() -> None:
    assert summed(records(lambda index, name: {"target": None}), replicas=None, targets=()).per_target is None
    assert said(summed(records(), replicas=None, targets=())) == []
