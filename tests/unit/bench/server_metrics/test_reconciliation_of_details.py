"""Sums of the details in replies against the server's counters: cached tokens, and drafts."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from bench.results.server import ReconciledCount
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.reconciliation import reconcile
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.tables import table_of

S = 1_000_000_000
COUNTERS = {
    "cached_tokens": "vllm:prefix_cache_hits_total",
    "draft_steps": "vllm:spec_decode_num_drafts_total",
    "draft_tokens": "vllm:spec_decode_num_draft_tokens_total",
    "accepted_tokens": "vllm:spec_decode_num_accepted_tokens_total",
}
SAID = {"cached_tokens": 48, "draft_steps": 5, "draft_tokens": 15, "accepted_tokens": 9}
REQUESTS = {'vllm:request_success_total{finished_reason="length"}': 1, "vllm:prompt_tokens_total": 100}


def answered(n: int, **changes: Any) -> list[RequestRecord]:
    record = made_record(output_tokens_from="usage", **{**SAID, **changes})
    return [replace(record, id=f"r-{i}", index=i) for i in range(n)]


def rises(n: int, **changes: float) -> dict[str, float]:
    """How much the counters rise for n such requests."""
    of_details = {COUNTERS[name]: changes.get(name, n * value) for name, value in SAID.items()}
    return {**{name: n * value for name, value in REQUESTS.items()}, **of_details}


def lines(rise: dict[str, float], *records: RequestRecord) -> dict[str, ReconciledCount]:
    series, client = ServerSeries(SERVERS), ClientTotals()
    # The counters start above zero because of earlier requests: the probe, other clients, an earlier run.
    for second, share in enumerate((0.0, 1.0)):
        values = {name: 1000 + share * value for name, value in rise.items()}
        series.add(Scrape(t_ns=second * S, asked_ns=second * S, page=0, values=values))
    client.add(table_of(*records))
    reconciled = reconcile(series, client)
    assert reconciled is not None
    return {line.what: line for line in reconciled.counts}


def test_the_sums_of_the_replies_are_what_the_counters_rose_by() -> None:
    found = lines(rises(4), *answered(4))
    assert {name: (found[name].server, found[name].client, found[name].agree) for name in SAID} == {
        name: (4 * value, 4 * value, True) for name, value in SAID.items()
    }
    assert found["cached_tokens"].sentence == "both counted 192 cached prompt tokens"


def test_warm_up_is_among_them_as_among_the_other_counts() -> None:
    found = lines(rises(4), *answered(3), *answered(1, phase="warmup"))
    assert {name: found[name].agree for name in SAID} == dict.fromkeys(SAID, True)


@pytest.mark.parametrize("name", SAID)
def test_one_token_too_many_is_a_mismatch_and_says_which(name: str) -> None:
    series = lines(rises(4, **{name: 4 * SAID[name] + 1}), *answered(4))
    assert [line.what for line in series.values() if line.agree is False] == [name]
    assert f"the server counted {4 * SAID[name] + 1}" in series[name].sentence


def test_a_cache_outside_the_server_counts_too() -> None:
    outside = {"vllm:external_prefix_cache_hits_total": 64.0}
    assert lines({**rises(4, cached_tokens=128), **outside}, *answered(4))["cached_tokens"].agree is True


def test_what_may_differ_is_shown_and_not_judged() -> None:
    failed = made_record(9, outcome=Outcome.RESET)
    assert lines(rises(5), *answered(4), failed)["cached_tokens"].agree is None
    silent = answered(1, cached_tokens=None)
    unsaid = lines(rises(5), *answered(4), *silent)["cached_tokens"]
    assert (unsaid.agree, unsaid.sentence) == (
        None,
        "cached prompt tokens: 240 by the server's metrics, 192 by its replies; replies that do not say theirs: 1",
    )
    # Older versions leave out a zero. The sums agree anyway.
    assert lines(rises(5, cached_tokens=192), *answered(4), *silent)["cached_tokens"].agree is True
    preempted = {"vllm:num_preemptions_total": 1.0}
    again = lines({**rises(4, cached_tokens=208, draft_steps=21), **preempted}, *answered(4))
    assert (again["cached_tokens"].agree, again["draft_steps"].agree) == (None, False)


def test_what_no_reply_says_and_what_no_page_has_is_no_line() -> None:
    assert not SAID.keys() & lines(rises(2), *answered(2, **dict.fromkeys(SAID))).keys()
    assert not SAID.keys() & lines({name: 2.0 * value for name, value in REQUESTS.items()}, *answered(2)).keys()


def test_the_counts_of_another_kind_of_server_are_shown_and_not_judged() -> None:
    found = lines({"sglang:cached_tokens_total": 100.0, "sglang:num_requests_total": 4.0}, *answered(4))[
        "cached_tokens"
    ]
    assert (found.agree, found.sentence) == (
        None,
        "cached prompt tokens: 100 by the server's metrics, 192 by its replies",
    )
