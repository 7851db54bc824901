"""The server's counts against the client's, in agreement or not; and what limited a server."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from bench.results.server import Reconciliation
from bench.server_metrics.block import Sent, sentences
from bench.server_metrics.client_totals import ClientTotals
from bench.server_metrics.reconciliation import reconcile
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.support.tables import table_of

S = 1_000_000_000
TTFT = "vllm:time_to_first_token_seconds"


def page(
    finished: float,
    prompts: float,
    outputs: float,
    *,
    ttft_sum: float = 0.0,
    prefix: str = "vllm:",
    aborted: float = 0.0,
) -> dict[str, float]:
    return {
        f'{prefix}request_success_total{{finished_reason="length"}}': finished,
        f'{prefix}request_success_total{{finished_reason="abort"}}': aborted,
        f"{prefix}prompt_tokens_total": prompts,
        f"{prefix}generation_tokens_total": outputs,
        f'{TTFT}_bucket{{le="1.0"}}': finished,
        f'{TTFT}_bucket{{le="+Inf"}}': finished,
        f"{TTFT}_sum": ttft_sum,
        f"{TTFT}_count": finished,
    }


def between(*values: dict[str, float]) -> ServerSeries:
    found = ServerSeries(SERVERS)
    for number, row in enumerate(values):
        found.add(Scrape(t_ns=number * S, asked_ns=number * S, page=0, values=row))
    return found


def totals(*records: RequestRecord, incomplete: bool = False) -> ClientTotals:
    found = ClientTotals(incomplete=incomplete)
    found.add(table_of(*records))
    return found


def answered(n: int, **changes: Any) -> list[RequestRecord]:
    record = made_record(input_tokens=10, output_tokens=3, output_tokens_from="usage", **changes)
    return [replace(record, id=f"r-{i}", index=i) for i in range(n)]


def found(before: dict[str, float], after: dict[str, float], *records: RequestRecord) -> Reconciliation:
    reconciled = reconcile(between(before, after), totals(*records))
    assert reconciled is not None
    return reconciled


def test_the_same_requests_counted_twice_agree_whatever_came_before() -> None:
    said = found(page(7, 70, 21), page(11, 110, 33), *answered(4))
    assert [line.agree for line in said.counts] == [True, True, True]
    assert (said.mismatch, said.off) == (None, 0.0)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (page(5, 50, 15), "1 are somebody else's"),
        (page(3, 30, 9), "this page is not of all that answered"),
        (page(4, 41, 12), "41 prompt tokens, and its replies say 40"),
        (page(4, 40, 11), "11 output tokens, and its replies say 12"),
    ],
)
def test_a_difference_of_one_is_told(after: dict[str, float], words: str) -> None:
    said = found(page(0, 0, 0), after, *answered(4))
    assert said.mismatch is not None
    assert words in said.mismatch
    assert said.off > 0


def test_a_request_that_failed_may_have_been_counted() -> None:
    lost = [replace(r, outcome=Outcome.RESET) for r in answered(1)]
    for finished in (4, 5):
        said = found(page(0, 0, 0), page(finished, 50, 13), *answered(4), *lost)
        assert said.mismatch is None
        assert [line.agree for line in said.counts] == [True, None, None, None]
    assert found(page(0, 0, 0), page(6, 50, 13), *answered(4), *lost).mismatch is not None


def test_requests_of_which_the_records_were_lost_are_nobody_elses_for_certain() -> None:
    series, client = between(page(0, 0, 0), page(6, 60, 18)), totals(*answered(4), incomplete=True)
    said = reconcile(series, client)
    assert said is not None
    assert said.mismatch is None
    assert said.counts[0].sentence == (
        "the server finished 6 requests, and 4 have a record: 2 lost their records with what sent them, or are somebody "
        "else's"
    )
    assert [line.agree for line in said.counts] == [None, None, None]
    less = reconcile(between(page(0, 0, 0), page(3, 30, 9)), client)
    assert less is not None
    assert less.mismatch is not None, "this does not explain a count below the number of records"


def test_what_the_server_made_of_users_who_gave_up_is_told() -> None:
    gone = [replace(r, outcome=Outcome.CANCELLED) for r in answered(3)]
    said = found(page(0, 0, 0), page(4, 70, 15, aborted=2), *answered(4), *gone)
    assert said.counts[-1].sentence == (
        "the server aborted 2 requests; 3 of the client's did not succeed, of which 3 were cancelled"
    )
    assert (said.counts[-1].server, said.counts[-1].agree) == (2, None)


def test_what_was_not_sent_is_no_business_of_the_server() -> None:
    unsent = [replace(r, sent_ns=None, outcome=Outcome.CONNECT_ERROR) for r in answered(3)]
    assert found(page(0, 0, 0), page(4, 40, 12), *answered(4), *unsent).mismatch is None


def test_a_server_that_counts_in_its_own_way_is_shown_and_not_judged() -> None:
    before = {"llamacpp:prompt_tokens_total": 0.0, "llamacpp:tokens_predicted_total": 0.0}
    after = {"llamacpp:prompt_tokens_total": 33.0, "llamacpp:tokens_predicted_total": 12.0}
    said = found(before, after, *answered(4))
    assert [(line.server, line.client, line.agree) for line in said.counts] == [(33, 40, None), (12, 12, None)]
    assert said.mismatch is None


def test_a_server_that_was_started_again_is_not_judged() -> None:
    series = between(page(7, 70, 21), page(9, 90, 27), page(1, 10, 3))
    said = reconcile(series, totals(*answered(4)))
    assert said is not None
    assert said.mismatch is None


def test_the_difference_of_the_means_is_what_the_server_does_not_see() -> None:
    records = answered(4)
    totalled = totals(*records)
    assert totalled.ttft_mean_s is not None
    said = found(page(0, 0, 0), page(4, 40, 12, ttft_sum=4 * (totalled.ttft_mean_s - 0.005)), *records)
    assert said.ttft is not None
    assert said.ttft.difference_ms == pytest.approx(5.0)
    assert said.ttft.same_requests
    assert said.ttft.quantiles_ms.p50.server == [0.0, 1000.0]


def test_the_means_of_different_requests_are_not_explained() -> None:
    said = found(page(0, 0, 0), page(6, 60, 18, ttft_sum=0.3), *answered(4))
    assert said.ttft is not None
    assert not said.ttft.same_requests
    assert said.ttft.sentence.endswith(
        "from the server's, but of 6 requests there and 4 here, so that this says little"
    )


def test_one_scrape_is_no_account() -> None:
    assert reconcile(between(page(0, 0, 0)), totals(*answered(1))) is None


LEVELS = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")


def levels(running: float, waiting: float, kv: float, **more: float) -> dict[str, float]:
    return {**dict(zip(LEVELS, (running, waiting, kv), strict=True)), **more}


@pytest.mark.parametrize(
    ("row", "sent", "words"),
    [
        (levels(64, 30, 0.99), Sent(), ["memory of the KV cache was the limit: 30.0 requests waited"]),
        (levels(64, 30, 0.40), Sent(), ["30.0 requests waited on average (at most 30) while 64.0 ran and at most 40%"]),
        (levels(0, 0, 0.0), Sent(), []),
        (
            levels(8, 0, 0.1),
            Sent(),
            ["nothing waited inside the server, 8.0 ran on average: it could take more at once"],
        ),
        (
            levels(8, 0, 0.1),
            Sent(200.0, 120.0),
            ["120.0 of 200.0 requests/s were answered: the limit is in front of it"],
        ),
        # 6 of 20 replies in a second may be missing by chance, or because 8 requests still run at its end.
        (levels(8, 0, 0.1), Sent(20.0, 14.0), ["it could take more at once"]),
        (levels(8, 0, 0.1), Sent(20.0, 19.9), ["it could take more at once"]),
        (levels(8, 0.3, 0.1), Sent(), []),
    ],
)
def test_what_limited_a_server_is_said_with_its_evidence(row: dict[str, float], sent: Sent, words: list[str]) -> None:
    said = sentences(between(row, row), 0, S, sent)
    assert len(said) == len(words)
    for sentence, part in zip(said, words, strict=True):
        assert part in sentence


def test_preemptions_and_prefill_are_told() -> None:
    def row(n: float) -> dict[str, float]:
        times = {"prefill": 0.3, "decode": 0.1}
        parts = {
            f"vllm:request_{name}_time_seconds_{part}": value * n
            for name, mean in times.items()
            for part, value in (("sum", mean), ("count", 1.0))
        }
        return {**levels(8, 0.2, 0.9), "vllm:num_preemptions_total": 3 * n, **parts}

    said = sentences(between(row(0), row(10)), 0, S, Sent())
    assert said[0].startswith("30 requests were preempted")
    assert said[1].startswith("prefill took 75% of a request's time in the engine (300 ms of 400 ms")


def test_a_request_that_was_sent_again_may_be_counted_twice() -> None:
    before = page(0, 0, 0)
    again = answered(4, attempts=2)
    for finished in (4, 6, 8):
        said = found(before, page(finished, 40, 12), *again)
        assert said.mismatch is None
        assert said.counts[0].sentence == (
            f"the server finished {finished} requests; of the client's 4 succeeded, and it may also have finished the 4 "
            "first attempts of requests that were sent again"
        )
    assert "1 are somebody else's" in str(found(before, page(9, 40, 12), *again).mismatch)
