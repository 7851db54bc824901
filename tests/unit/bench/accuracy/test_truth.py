"""The true values of single requests, computed by hand: short replies, replies in one read, stamps that are bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.accuracy.join import Pair
from bench.accuracy.truth import TokenTimes, gap_values, request_values, stamped_values, true_values
from bench.records import RequestRecord
from bench.results.certificate import FROM_SENT, METRICS, OF_FEW
from tests.support.changed import replace
from tests.support.made_ledger import LAG_NS, made_line
from tests.support.made_records import MS, START_NS, made_record
from tests.support.slow_metrics import send_lateness_ms, ttft_ms

LAG_MS = LAG_NS / MS


def truth_of(record: RequestRecord) -> dict[str, list[float]]:
    return {metric: list(values) for metric, values in true_values(Pair(record, made_line(record))).items()}


def near(values: dict[str, list[float]]) -> dict[str, Any]:
    return {metric: pytest.approx(numbers, rel=1e-9) for metric, numbers in values.items()}


@pytest.mark.parametrize("tokens", [1, 4])
def test_a_reply_of_one_chunk_has_a_first_and_a_last_token_and_nothing_in_between(tokens: int) -> None:
    at = 50 - LAG_MS
    whole = {"ttft_ms", "e2el_ms", "ttft_from_intended_ms", "e2el_from_intended_ms", "ttfo_ms"}
    assert truth_of(made_record(chunks_ms=(50,), tokens=(tokens,))) == near({metric: [at] for metric in whole})


def test_every_metric_that_begins_with_the_request_is_known_to_begin_on_the_clients_side() -> None:
    reply = TokenTimes((50, 60), (1, 1), "cc", sent_ns=10, due_ns=5, n=2, known=True)
    assert set(request_values(reply)) == set(FROM_SENT) - {"ttfb_ms", *OF_FEW}, (
        "bench/results/certificate.py: FROM_SENT must have the keys of request_values"
    )
    assert set(METRICS) - set(FROM_SENT) - set(OF_FEW) == set(gap_values((50, 60), (50, 60), reply)), (
        "gap_values must have all other keys"
    )


REPLIES: list[tuple[str, dict[str, Any], dict[str, list[float]]]] = [
    # what, the record, its metrics between chunks
    ("two chunks of one token", {"chunks_ms": (50, 60)},
     {"chunk_gap_ms": [10], "itl_ms": [10], "tpot_ms": [10], "tps": [100]}),
    ("two chunks, three tokens in the second", {"chunks_ms": (50, 62), "tokens": (1, 3)},
     {"chunk_gap_ms": [12], "itl_ms": [4, 4, 4], "tpot_ms": [4], "tps": [250]}),
    ("two chunks, three tokens in the first", {"chunks_ms": (50, 62), "tokens": (3, 1)},
     {"chunk_gap_ms": [12], "itl_ms": [12], "tpot_ms": [12], "tps": [1000 / 12]}),
    ("two chunks, and no token in the second", {"chunks_ms": (50, 60), "tokens": (1, 0)},
     {"chunk_gap_ms": [10], "itl_ms": []}),
    ("two chunks half a millisecond apart", {"chunks_ms": (50, 50.5)},
     {"chunk_gap_ms": [0.5], "itl_ms": [0.5], "tpot_ms": [0.5], "tps": [2000]}),
    ("two chunks written at once", {"chunks_ms": (50, 50)},
     {"chunk_gap_ms": [0], "itl_ms": [0], "tpot_ms": [0]}),
    ("three chunks", {"chunks_ms": (50, 60, 90)},
     {"chunk_gap_ms": [10, 30], "itl_ms": [10, 30], "tpot_ms": [20], "tps": [50]}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "reply", "between"), REPLIES, ids=[what for what, _, _ in REPLIES])
def test_the_metrics_between_the_chunks_of_a_short_reply(
    what: str, reply: dict[str, Any], between: dict[str, list[float]]
) -> None:
    found = truth_of(made_record(**reply))
    inside = {metric: found[metric] for metric in found.keys() & {"chunk_gap_ms", "itl_ms", "tpot_ms", "tps"}}
    assert inside == near(between)


def test_where_the_tokens_of_chunks_are_unknown_the_first_has_its_even_share() -> None:
    record = made_record(chunks_ms=(50, 62), tokens=None, n=4)
    found = {m: list(v) for m, v in true_values(Pair(record, made_line(record, chunk_tokens=[3, 1]))).items()}
    assert (found["chunk_gap_ms"], found["itl_ms"], found["tpot_ms"]) == ([12.0], [12.0], [6.0])


def bounded(chunks_ms: tuple[float, ...], bounds_ms: tuple[float | None, ...]) -> RequestRecord:
    bounds = tuple(None if ms is None else round(START_NS + ms * MS) for ms in bounds_ms)
    return made_record(chunks_ms=chunks_ms, chunk_bound_ns=bounds)


def test_three_chunks_in_one_read_came_at_once_or_as_far_apart_as_the_bounds_allow() -> None:
    stamped, least, greatest = stamped_values(bounded((70, 70, 70), (50, 50, None)), [1, 1, 1], 3)
    assert stamped == near(
        {"ttft_ms": [70], "e2el_ms": [70], "ttft_from_intended_ms": [70], "e2el_from_intended_ms": [70],
         "ttfo_ms": [70], "chunk_gap_ms": [0, 0], "itl_ms": [0, 0], "tpot_ms": [0],
         "tps": [100]}  # The least that they allow, as the report counts it.
    )  # fmt: skip
    assert (least["ttft_ms"], greatest["ttft_ms"]) == ([50], [70])
    assert (least["chunk_gap_ms"], greatest["chunk_gap_ms"]) == ([0, 0], [20, 20])
    assert (least["tpot_ms"], greatest["tpot_ms"]) == ([0], [10])
    assert (least["tps"], greatest["tps"]) == ([100], [math.inf])


def test_the_speed_is_least_where_the_time_per_token_is_greatest() -> None:
    stamped, least, greatest = stamped_values(bounded((50, 70, 90), (None, None, 80)), [1, 1, 1], 3)
    assert (least["tpot_ms"], stamped["tpot_ms"], greatest["tpot_ms"]) == ([15], [20], [20])
    assert (least["tps"], stamped["tps"], greatest["tps"]) == ([50], [50], [1000 / 15])


def test_one_chunk_with_a_bound_has_a_range_for_its_first_token_alone() -> None:
    stamped, least, greatest = stamped_values(bounded((70,), (50,)), [1], 1)
    assert (least["ttft_ms"], stamped["ttft_ms"], greatest["ttft_ms"]) == ([50], [70], [70])
    assert not stamped.keys() & {"chunk_gap_ms", "itl_ms", "tpot_ms", "tps"}


@pytest.mark.parametrize(
    ("kinds", "tokens"),
    [("r", []), ("rc", [1, 1]), ("cc", [1])],
    ids=["no text", "a chunk of the ledger that the record lacks", "a chunk that the ledger lacks"],
)
def test_chunks_that_do_not_pair_up_have_no_values(kinds: str, tokens: list[int]) -> None:
    record = made_record(chunks_ms=(50.0, 60.0)[: len(kinds)], kinds=kinds)
    assert stamped_values(record, tokens, sum(tokens)) == ({}, {}, {})


def test_exact_stamps_allow_one_value_only() -> None:
    stamped, least, greatest = stamped_values(made_record(), [1, 1, 1], 3)
    assert stamped["tpot_ms"] == [10]
    assert stamped == least == greatest


@pytest.mark.parametrize("shared_clock", [True, False])
def test_a_request_that_was_sent_twice_counts_from_its_first_send(shared_clock: bool) -> None:
    detour_ns = 750 * MS
    once = made_record(chunks_ms=(50, 60))
    line = made_line(once)
    # The ledger's line belongs to the second attempt. The first attempt was sent 750 ms earlier.
    sent_ns = (once.sent_ns or 0) - detour_ns
    twice = replace(once, attempts=2, sent_ns=sent_ns, resent_ns=once.sent_ns, intended_ns=sent_ns, eligible_ns=sent_ns)
    before = true_values(Pair(once, line), shared_clock=shared_clock)
    after = true_values(Pair(twice, line), shared_clock=shared_clock)
    for metric, values in before.items():
        later = 750 if metric in FROM_SENT else 0
        assert list(after[metric]) == pytest.approx([value + later for value in values]), metric
    stamped, _, _ = stamped_values(twice, (1, 1), 2)
    assert stamped["ttft_ms"] == [800]
    assert ttft_ms(twice) == 800  # bench.metrics gives this value; bench/accuracy computes it independently.
    assert send_lateness_ms(twice) == 0
