"""Signs find their numbers in the summary of records and samples."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.records import Outcome
from bench.verdict import SIGNS, judge
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Status, Verdict
from bench.verdict.limits import Limits
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import table_of


def judged(records: list[Any], samples: list[dict[str, Any]], mode: str = "rate") -> Verdict:
    facts = RunFacts(
        mode=mode,
        open_loop=mode == "rate",
        endpoint="chat",
        start_ns=START_NS,
        seed=0,
        offered_rps=100.0,
        max_concurrency=50,
    )
    summary = Summary(facts)
    summary.add(table_of(*records))
    for row in samples:
        summary.add_sample(row)
    return judge(RunEvidence(summary=summary.close(), open_loop=facts.open_loop, exact_lengths=True), Limits())


def perfect_samples(seconds: int, in_flight: float) -> list[dict[str, Any]]:
    return [
        {
            "t_ns": START_NS + s * 1_000 * MS,
            "worker": 0,
            "in_flight_ns": s * in_flight * 1_000 * MS,
            "sent": 100 * s,
            "done": 100 * s,
            **({"cpu": 0.2, "loop_lag_ms": [0.05] * 50, "run_queue_share": 0.001} if s else {}),
        }
        for s in range(seconds + 1)
    ]


def test_the_signs_find_their_numbers_where_the_summary_puts_them() -> None:
    # 100 per second, each in flight for 70 ms: 7 at once.
    told: dict[str, Any] = {"output_tokens_asked": 3, "output_tokens_counted": 3, "connect_ns": 1}
    records = [made_record(i, sent_ms=10 * i, **told) for i in range(1_000)]
    # The ramp of 70 ms at the start costs less than 0.5% of 10 s.
    found = judged(records, perfect_samples(10, 7.0 * 0.997))
    assert found.status is Status.VALID, found.reasons
    said_by_others = {
        "calibration", "off_plan", "workers", "clock_drift", "target_gone", "cache_hits", "never_sent", "ready_not_sent",
        "server_counts", "input_tokens",
        "files", "nothing_measured", "imported", "replica_gone", "replica_errors", "replica_slower", "replica_share",
    }  # fmt: skip
    assert {f.sign for f in found.findings} == set(SIGNS) - said_by_others


@pytest.mark.parametrize(
    ("sign", "status", "change"),
    [
        (
            "send_lateness",
            Status.INVALID,
            {"sent_ns": START_NS + 30 * MS, "intended_ns": START_NS, "eligible_ns": START_NS},
        ),
        ("errors", Status.FAILED, {"outcome": Outcome.RESET}),
        ("target_gone", Status.FAILED, {"outcome": Outcome.RESET}),
        ("slow_connects", Status.SUSPECT, {"connect_ns": 101 * MS}),
        ("slow_connects", Status.VALID, {"connect_ns": 100 * MS}),
        ("cache_hits", Status.SUSPECT, {"cached_tokens": 18}),
        ("cache_hits", Status.VALID, {"cached_tokens": 17}),
        ("waited_at_cap", Status.SUSPECT, {"intended_ns": START_NS, "eligible_ns": START_NS + MS}),
        ("wide_stamps", Status.SUSPECT, {"chunk_bound_ns": (START_NS, START_NS, None), "coalesced": 2}),
        ("output_tokens", Status.SUSPECT, {"output_tokens_asked": 9}),
        ("input_tokens", Status.SUSPECT, {"input_tokens_asked": 1_000, "input_tokens": 499}),
        ("input_tokens", Status.VALID, {"input_tokens_asked": 1_000, "input_tokens": 500}),
        ("input_tokens", Status.VALID, {"input_tokens_asked": 10, "input_tokens": 5_000}),
        ("usage", Status.SUSPECT, {"output_tokens_counted": 9}),
        ("usage_contradicted", Status.INVALID, {"usage_contradiction": "usage says -5 output tokens"}),
    ],
)
def test_records_that_show_a_sign_trip_it_through_the_summary(
    sign: str, status: Status, change: dict[str, Any]
) -> None:
    records = [made_record(i, sent_ms=0.01 * i, **change) for i in range(300)]
    found = judged(records, [])
    assert {f.status for f in found.findings if f.sign == sign} == {status}


def test_a_rate_that_was_not_sent_is_seen_in_the_records() -> None:
    # Planned every 10 ms, sent every 12 ms: the waits are relative to the last send.
    records = [
        made_record(i, sent_ms=12 * i, intended_ns=START_NS + i * 10 * MS, eligible_ns=START_NS + i * 10 * MS)
        for i in range(300)
    ]
    found = judged(records, [])
    assert {f.status for f in found.findings if f.sign == "sent_rate"} == {Status.INVALID}
