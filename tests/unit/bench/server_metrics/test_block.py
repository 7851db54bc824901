"""The server's block of a run without its own numbers."""

from __future__ import annotations

import pytest

from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.server_metrics import block
from bench.server_metrics.block import NOT_SEEN
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.made_scrapes import made_page, made_server
from tests.support.tables import table_of

NS_PER_MS = 1_000_000

START_NS = 1_000_000_000_000


def test_a_run_that_ended_in_its_warm_up_has_a_block() -> None:
    facts = RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0)
    numbers = Summary(facts).close()
    assert numbers.throughput.duration_s is None
    found = block.describe(made_server(START_NS, 5), ["http://h/metrics"], ClientTotals(), numbers, START_NS)
    assert (found.window.of, found.window.end_s) == ("the whole run", 0.0)


@pytest.mark.parametrize(("late_ns", "compared"), [(0, True), (1, False)])
def test_counts_are_compared_only_where_the_page_was_read_when_all_had_ended(late_ns: int, compared: bool) -> None:
    server = made_server(START_NS, 5)
    assert server.last_ns is not None
    facts = RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0)
    client = ClientTotals()
    client.add(table_of(replace(made_record(), end_ns=server.last_ns + late_ns)))
    found = block.describe(server, ["http://h/metrics"], client, Summary(facts).close(), START_NS)
    assert (found.reconciliation is not None) == compared


@pytest.mark.parametrize("seen", [True, False])
def test_levels_before_and_after_a_load_say_nothing_of_it(seen: bool) -> None:
    """One scrape before a load of 0.6 s and one after it. Nothing runs at either, and nothing in between was seen."""
    server = ServerSeries(SERVERS)
    for at_ms in (-10, 300, 610) if seen else (-10, 610):
        at = START_NS + at_ms * NS_PER_MS
        server.add(Scrape(t_ns=at, asked_ns=at, page=0, values=made_page(5, 40.0 if at_ms == 300 else 0.0, 0.0, 0.1)))
    client, record = ClientTotals(), replace(made_record(), end_ns=START_NS + 600 * NS_PER_MS)
    client.add(table_of(record))
    facts = RunFacts(mode="throughput", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0)
    numbers = Summary(facts)
    numbers.add(table_of(record))
    found = block.describe(server, ["http://h/metrics"], client, numbers.close(), START_NS)
    drawn = block.over_steps(server, [0.0], 0.6, START_NS)
    assert ("running" in found.levels, "running" in drawn, NOT_SEEN in found.limits) == (seen, seen, not seen)
    assert "prompt_tokens" in found.counters
