"""Little's law over short runs: two counts that agree to the ns if, and only if, the bookkeeping is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.dispatch.in_flight import InFlightCounter
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.records import RequestRecord
from bench.transport.scripted import ScriptedReply
from bench.verdict import judge
from bench.verdict.evidence import RunEvidence
from bench.verdict.finding import Finding, Status
from bench.verdict.limits import Limits
from tests.support.tables import table_of
from tests.support.virtual_load import MS, START, Load

ANSWER = ScriptedReply(ttft_ns=30 * MS, gaps_ns=(10 * MS,) * 7)


def littles_law_of(
    load: Load,
    mode: str = "concurrency",
    lose: Callable[[list[RequestRecord]], list[RequestRecord]] = lambda records: records,
) -> tuple[Any, list[Finding]]:
    """`load.littles_law` of the summary, and its sign."""
    summary = Summary(RunFacts(mode=mode, open_loop=mode == "rate", endpoint="chat", start_ns=START, seed=0))
    summary.add(table_of(*lose(load.records)))
    for row in load.samples:
        summary.add_sample(row)
    numbers = summary.close()
    verdict = judge(RunEvidence(summary=numbers, open_loop=mode == "rate", exact_lengths=False), Limits())
    return numbers.load.littles_law, [f for f in verdict.findings if f.sign == "littles_law"]


@pytest.mark.parametrize("late_ms", [0, 3, 203, 1_700])
@pytest.mark.parametrize("requests", [1, 6, 50])
def test_a_short_run_that_began_late_agrees_to_the_last_digit(late_ms: int, requests: int) -> None:
    law, found = littles_law_of(Load(ANSWER, requests=requests, begins_late_ns=late_ms * MS).closed(2))
    assert law.difference == 0
    assert law.dispatcher_mean <= 2
    assert law.dispatched == law.records == requests
    assert [f.status for f in found] == [Status.VALID] * 2


@pytest.mark.parametrize("late_ms", [0, 203])
def test_arrivals_that_were_due_before_anybody_counted_are_counted(late_ms: int) -> None:
    load = Load(ANSWER, requests=6, begins_late_ns=late_ms * MS).open([i * 7 * MS for i in range(6)], cap=2)
    law, found = littles_law_of(load, mode="rate")
    assert law.difference == 0
    assert {f.status for f in found} == {Status.VALID}


def test_records_that_come_long_after_their_ends_change_nothing() -> None:
    law, _ = littles_law_of(Load(ANSWER, requests=6, records_late_ns=300 * MS, begins_late_ns=0).closed(2))
    assert law.difference == 0


def test_a_dispatcher_that_forgets_to_count_one_request_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    count, begun = InFlightCounter.begin, 0

    def forgetful(self: InFlightCounter, at_ns: int) -> None:
        nonlocal begun
        begun += 1
        if begun != 20:
            count(self, at_ns)

    monkeypatch.setattr(InFlightCounter, "begin", forgetful)
    _, found = littles_law_of(Load(ANSWER, requests=50, begins_late_ns=0).closed(2))
    assert Status.INVALID in [f.status for f in found]


@pytest.mark.parametrize(("requests", "status"), [(6, Status.INVALID), (50, Status.INVALID), (400, Status.SUSPECT)])
def test_a_record_that_is_lost_is_missed_however_long_the_run(requests: int, status: Status) -> None:
    law, found = littles_law_of(
        Load(ANSWER, requests=requests, begins_late_ns=0).closed(2), lose=lambda records: records[1:]
    )
    assert law.records == law.dispatched - 1
    assert max((f.status for f in found), key=list(Status).index) is status
    assert any("are in no number" in f.sentence for f in found if f.status is not Status.VALID)
