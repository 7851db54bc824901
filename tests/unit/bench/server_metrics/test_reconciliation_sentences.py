"""Each sentence of a reconciliation, on both sides of the condition between two."""

from __future__ import annotations

from typing import Any

import pytest

from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from bench.results.server import ReconciledCount, Reconciliation
from bench.server_metrics.reconciliation import reconcile
from bench.server_metrics.role_series import ServerSeries
from bench.server_metrics.scrapes import Scrape
from bench.server_metrics.servers import SERVERS
from tests.support.changed import replace
from tests.support.made_records import made_record
from tests.unit.bench.server_metrics.test_reconciliation import answered, between, page, totals

LLAMA = {"llamacpp:prompt_tokens_total": 0.0, "llamacpp:tokens_predicted_total": 0.0}


def reconciled(series: ServerSeries, *records: RequestRecord, incomplete: bool = False) -> Reconciliation:
    found = reconcile(series, totals(*records, incomplete=incomplete))
    assert found is not None
    return found


def counted(
    finished: float, prompts: float, outputs: float, *records: RequestRecord, incomplete: bool = False, **of: float
) -> dict[str, ReconciledCount]:
    series = between(page(0, 0, 0), page(finished, prompts, outputs, **of))  # type: ignore[arg-type]
    return {line.what: line for line in reconciled(series, *records, incomplete=incomplete).counts}


def failed(n: int, outcome: Outcome = Outcome.RESET) -> list[RequestRecord]:
    return [replace(record, outcome=outcome) for record in answered(n)]


@pytest.mark.parametrize(
    ("finished", "lost", "incomplete", "agree", "sentence"),
    [
        (4, 0, False, True, "both counted 4 requests"),
        (5, 0, False, False, "the server finished 5 requests, of which 4 are this run's: 1 are somebody else's, or were sent "
         "again by something in between"),
        (3, 0, False, False, "the server finished 3 requests, and the client got 4 answers: this page is not of all that "
         "answered; name every replica's with --server-metrics"),
        (4, 2, False, True, "the server finished 4 requests; of the client's 4 succeeded, and it may also have finished the "
         "2 requests that did not succeed"),
        (6, 2, False, True, "the server finished 6 requests; of the client's 4 succeeded, and it may also have finished the "
         "2 requests that did not succeed"),
        (9, 2, False, False, "the server finished 9 requests, of which 4 are this run's: 3 are somebody else's, or were sent "
         "again by something in between"),
        (9, 2, True, None, "the server finished 9 requests, and 6 have a record: 3 lost their records with what sent them, "
         "or are somebody else's"),
        (6, 2, True, True, "the server finished 6 requests; of the client's 4 succeeded, and it may also have finished the "
         "2 requests that did not succeed"),
        (4, 0, True, True, "both counted 4 requests"),
        (3, 0, True, False, "the server finished 3 requests, and the client got 4 answers: this page is not of all that "
         "answered; name every replica's with --server-metrics"),
    ],
)  # fmt: skip
def test_requests(finished: int, lost: int, incomplete: bool, agree: bool | None, sentence: str) -> None:
    line = counted(finished, 40, 12, *answered(4), *failed(lost), incomplete=incomplete)["requests"]
    assert (line.server, line.client, line.agree, line.sentence) == (finished, 4, agree, sentence)


@pytest.mark.parametrize(
    ("outputs", "lost", "incomplete", "agree", "sentence"),
    [
        (12, 0, False, True, "both counted 12 output tokens"),
        (13, 0, False, False, "the server counted 13 output tokens, and its replies say 12"),
        (12, 1, False, None, "output tokens: 12 by the server's metrics, 12 by the replies that came; the 1 requests that "
         "did not succeed have some too"),
        (13, 0, True, None, "output tokens: 13 by the server's metrics, 12 by the replies that have a record"),
        (12, 0, True, True, "both counted 12 output tokens"),
        (11, 0, True, False, "the server counted 11 output tokens, and its replies say 12"),
    ],
)  # fmt: skip
def test_tokens(outputs: int, lost: int, incomplete: bool, agree: bool | None, sentence: str) -> None:
    line = counted(4, 40, outputs, *answered(4), *failed(lost), incomplete=incomplete)["generation_tokens"]
    assert (line.server, line.client, line.agree, line.sentence) == (outputs, 12, agree, sentence)


def test_tokens_that_replies_do_not_say_are_not_compared() -> None:
    silent = [replace(record, output_tokens_from="chunks") for record in answered(4)]
    line = counted(4, 40, 12, *silent)["generation_tokens"]
    assert (line.client, line.agree) == (None, None)
    assert line.sentence == "the server counted 12 output tokens; its replies do not say theirs"


def test_a_server_that_counts_in_its_own_way_has_sentences_without_a_judgement() -> None:
    after = {"llamacpp:prompt_tokens_total": 33.0, "llamacpp:tokens_predicted_total": 12.0}
    found = reconciled(between(LLAMA, after), *answered(4))
    assert [line.sentence for line in found.counts] == [
        "prompt tokens: 33 by the server's metrics, 40 by its replies",
        "output tokens: 12 by the server's metrics, 12 by its replies",
    ]
    again = reconciled(between(page(7, 70, 21), page(9, 90, 27), page(1, 10, 3)), *answered(4))
    assert [line.agree for line in again.counts] == [None, None, None]


def test_a_page_of_no_known_server_counts_nothing() -> None:
    found = reconciled(between({"up": 1.0}, {"up": 1.0}), *answered(4))
    assert (found.counts, found.ttft, found.mismatch, found.off) == ([], None, None, 0.0)
    assert to_plain(found) == {"counts": [], "ttft": None, "mismatch": None, "off": 0.0}


def test_a_page_that_was_read_once_is_no_account() -> None:
    series = between(page(0, 0, 0))
    series.add(Scrape(t_ns=0, asked_ns=0, page=1, values=page(4, 40, 12)))
    assert reconcile(series, totals(*answered(4))) is None
    assert reconcile(ServerSeries(SERVERS), totals(*answered(4))) is None


@pytest.mark.parametrize(
    ("aborted", "lost", "sentence"),
    [
        (0, [], None),
        (2, [], "the server aborted 2 requests; 0 of the client's did not succeed"),
        (0, failed(1), "the server aborted 0 requests; 1 of the client's did not succeed"),
        (3, [*failed(2), *failed(1, Outcome.CANCELLED)],
         "the server aborted 3 requests; 3 of the client's did not succeed, of which 1 were cancelled"),
        (0, answered(2, attempts=2),
         "the server aborted 0 requests; 0 of the client's did not succeed; 2 were sent again"),
        (1, [*failed(1), *answered(1, attempts=2)],
         "the server aborted 1 requests; 1 of the client's did not succeed; 1 were sent again"),
    ],
)  # fmt: skip
def test_what_the_server_aborted_is_told_where_there_is_any(
    aborted: int, lost: list[Any], sentence: str | None
) -> None:
    found = counted(4, 40, 12, *answered(4), *lost, aborted=float(aborted)).get("aborted")
    assert (None if found is None else found.sentence) == sentence
    if found is not None:
        assert (found.server, found.client, found.agree) == (aborted, len(lost), None)


def test_the_mismatch_is_the_first_and_off_is_the_largest() -> None:
    # The differences: one of 4 requests, 2 of 40 prompt tokens and 6 of 12 output tokens.
    found = reconciled(between(page(0, 0, 0), page(5, 42, 18)), *answered(4))
    assert found.mismatch is not None
    assert found.mismatch.startswith("the server finished 5 requests")
    assert found.off == 0.5
    less = reconciled(between(page(0, 0, 0), page(4, 30, 12)), *answered(4))
    assert (less.mismatch, less.off) == ("the server counted 30 prompt tokens, and its replies say 40", 0.25)
    nothing = reconciled(between(page(0, 0, 0), page(3, 0, 0)))
    assert nothing.off == 3
    assert to_plain(nothing)["counts"][0] == {
        "what": "requests", "server": 3.0, "client": 0, "agree": False, "sentence": nothing.mismatch,
    }  # fmt: skip


HITS, PREEMPTED = "vllm:prefix_cache_hits_total", "vllm:num_preemptions_total"


def cached(
    hits: float, *records: RequestRecord, preempted: float | None = None, incomplete: bool = False
) -> tuple[bool | None, str]:
    before, after = {HITS: 0.0}, {HITS: hits}
    if preempted is not None:
        before, after = before | {PREEMPTED: 0.0}, after | {PREEMPTED: preempted}
    series = between(page(0, 0, 0) | before, page(4, 40, 12) | after)
    line = next(
        line for line in reconciled(series, *records, incomplete=incomplete).counts if line.what == "cached_tokens"
    )
    return line.agree, line.sentence.partition("replies")[2]


def test_why_cached_tokens_may_differ_is_told_in_its_order() -> None:
    said = answered(4, cached_tokens=2)
    silent = answered(1, cached_tokens=None)
    assert cached(8, *said) == (True, "")
    assert cached(9, *said) == (False, " say 8")
    assert cached(9, *said, preempted=0.0) == (False, " say 8")
    assert cached(9, *said, preempted=1.0) == (
        None, "; the server preempted requests, and may count their prompts again",
    )  # fmt: skip
    assert cached(8, *said, preempted=1.0) == (True, "")
    assert cached(9, *said, *silent, preempted=1.0) == (None, "; replies that do not say theirs: 1")
    assert cached(9, *said, *silent, incomplete=True) == (None, "; requests whose records were lost have some too")
    assert cached(9, *said, *failed(1), incomplete=True) == (
        None, "; the 1 requests that did not succeed have some too",
    )  # fmt: skip


def test_cached_tokens_of_another_cache_are_added() -> None:
    outside = "vllm:external_prefix_cache_hits_total"
    series = between(page(0, 0, 0) | {HITS: 0.0, outside: 0.0}, page(4, 40, 12) | {HITS: 5.0, outside: 3.0})
    line = next(
        line for line in reconciled(series, *answered(4, cached_tokens=2)).counts if line.what == "cached_tokens"
    )
    assert (line.server, line.agree, line.sentence) == (8, True, "both counted 8 cached prompt tokens")
    alone = between(page(0, 0, 0) | {outside: 0.0}, page(4, 40, 12) | {outside: 8.0})
    assert "cached_tokens" not in {line.what for line in reconciled(alone, *answered(4, cached_tokens=2)).counts}


TTFT, QUEUE = "vllm:time_to_first_token_seconds", "vllm:request_queue_time_seconds"


def ttft(mean_s: float, *, requests: int = 4, queue_s: float | None = None) -> dict[str, Any]:
    """A histogram for four requests whose client-side TTFT is 20, 40, 60 and 80 ms."""

    def scraped(n: int) -> dict[str, float]:
        found = {
            f'{TTFT}_bucket{{le="0.03"}}': n / 4, f'{TTFT}_bucket{{le="0.05"}}': n / 2,
            f'{TTFT}_bucket{{le="0.07"}}': 3 * n / 4, f'{TTFT}_bucket{{le="+Inf"}}': float(n),
            f"{TTFT}_sum": mean_s * n, f"{TTFT}_count": float(n),
        }  # fmt: skip
        if queue_s is not None:
            found |= {f"{QUEUE}_sum": queue_s * n, f"{QUEUE}_count": float(n)}
        return found

    records = [made_record(place, sent_ms=place, chunks_ms=(20.0 * (place + 1), 900.0)) for place in range(4)]
    found = reconciled(between(scraped(0), scraped(requests)), *records).ttft
    assert found is not None
    return to_plain(found)


def test_ttft_by_both_is_in_ms() -> None:
    found = ttft(0.045, queue_s=0.004)
    assert found["requests"] == {"server": 4, "client": 4}
    assert found["same_requests"] is True
    assert found["mean_ms"] == {"server": pytest.approx(45), "client": pytest.approx(50)}
    assert found["difference_ms"] == pytest.approx(5)
    assert found["queue_mean_ms"] == pytest.approx(4)
    assert [row["server"] for row in found["quantiles_ms"].values()] == [[30, 50], [70, None], [70, None]]
    # For 20, 40, 60 and 80: the midpoint between the second and the third, and 0.7 of the way from there to the last.
    assert [row["client"] for row in found["quantiles_ms"].values()] == pytest.approx([50, 74, 79.4])
    assert found["sentence"] == (
        "the client's mean TTFT is +5.00 ms from the server's: network, HTTP, and what the server does with a request before "
        "its own clock starts"
    )


def test_a_client_that_sees_less_than_the_server_is_explained_otherwise() -> None:
    assert ttft(0.0501)["sentence"].startswith(
        "the client's mean TTFT is -0.10 ms from the server's: the server's clock starts before the request was sent"
    )
    assert ttft(0.05, queue_s=None)["queue_mean_ms"] is None
    other = ttft(0.045, requests=5)
    assert (other["same_requests"], other["requests"]) == (False, {"server": 5, "client": 4})
    assert other["sentence"].endswith("from the server's, but of 5 requests there and 4 here, so that this says little")


def test_without_ttft_on_either_side_there_is_no_comparison() -> None:
    assert reconciled(between(page(0, 0, 0), page(4, 40, 12, ttft_sum=0.2))).ttft is None
    assert reconciled(between(page(0, 0, 0), page(0, 0, 0)), *answered(4)).ttft is None
    assert reconciled(between(LLAMA, LLAMA), *answered(4)).ttft is None
