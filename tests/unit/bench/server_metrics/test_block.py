"""The server's block of a run that has no numbers of its own."""

from __future__ import annotations

import dataclasses

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.server_metrics import block
from bench.server_metrics.client_totals import ClientTotals
from tests.support.made_records import made_record
from tests.support.made_scrapes import made_server

START_NS = 1_000_000_000_000


def test_a_run_that_ended_in_its_warm_up_has_a_block() -> None:
    facts = RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0)
    numbers = Summary(facts).close()
    assert numbers["throughput"]["duration_s"] is None
    found = block.describe(made_server(START_NS, 5), ["http://h/metrics"], ClientTotals(), numbers, START_NS)
    assert (found["window"]["of"], found["window"]["end_s"]) == ("the whole run", 0.0)


@pytest.mark.parametrize(("late_ns", "compared"), [(0, True), (1, False)])
def test_counts_are_compared_only_where_the_page_was_read_when_all_had_ended(late_ns: int, compared: bool) -> None:
    server = made_server(START_NS, 5)
    assert server.last_ns is not None
    facts = RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0)
    client = ClientTotals()
    client.add(dataclasses.replace(made_record(), end_ns=server.last_ns + late_ns))
    found = block.describe(server, ["http://h/metrics"], client, Summary(facts).close(), START_NS)
    assert (found["reconciliation"] is not None) == compared
