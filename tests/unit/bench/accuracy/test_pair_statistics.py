"""The values that a certificate takes from each pair, computed by hand for single pairs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.accuracy.distribution import Distribution
from bench.accuracy.join import Pair
from bench.accuracy.pair_statistics import PairStatistics
from bench.records import Outcome, RequestRecord
from tests.support.changed import replace
from tests.support.made_ledger import made_line
from tests.support.made_records import MS, START_NS, made_record

WAY_IN_MS, LAG_MS = 0.010, 0.002


def taken(*pairs: Pair, shared_clock: bool = True, duration_s: float = 60.0, **options: Any) -> PairStatistics:
    found = PairStatistics(shared_clock=shared_clock, start_ns=START_NS, duration_s=duration_s, **options)
    for pair in pairs:
        found.add(pair)
    return found


def pair(record: RequestRecord | None = None, /, line: dict[str, Any] | None = None, **fields: Any) -> Pair:
    made = made_record(0, **fields) if record is None else record
    return Pair(made, made_line(made) | (line or {}))


def values(of: Distribution) -> tuple[int, Any, Any]:
    return of.n, pytest.approx(of.min), pytest.approx(of.max)


# ---- Lags over time ------------------------------------------------------------------------------------------------


def test_each_chunk_has_its_lag_in_the_sixtieth_of_the_run_in_which_it_was_seen() -> None:
    # 60 s, in slices of a second. A value on a border belongs to the later slice, a value after the end to the last
    # one.
    seen_ms = (500, 900, 999, 1_000, 1_500, 30_000, 58_500, 59_000, 59_999, 61_000, 75_000)
    found = taken(pair(chunks_ms=seen_ms))
    counted = {place: of.n for (metric, place), of in found.over_time.items() if metric == "lag_ms" and of.n}
    assert counted == {0: 3, 1: 2, 30: 1, 58: 1, 59: 4}
    assert values(found.lag) == (11, LAG_MS, LAG_MS)
    early = taken(pair(sent_ms=-100.0))
    assert {place: of.n for (_, place), of in early.over_time.items()} == {0: 3}


def test_a_run_of_no_length_has_a_thousandth_of_a_second() -> None:
    found = taken(pair(chunks_ms=(0.505, 0.905, 50)), duration_s=0.0)
    assert {place: of.n for (_, place), of in found.over_time.items()} == {30: 1, 54: 1, 59: 1}


def test_the_lag_of_a_chunk_is_known_where_both_stamps_are_exact() -> None:
    record = made_record(0, chunks_ms=(10, 20, 30, 40))
    late = made_line(record)
    late["write_ns"] = [at - place * MS for place, at in enumerate(record.chunk_ns)]
    assert values(taken(Pair(record, late)).lag) == (4, 0.0, 3.0)
    assert values(taken(Pair(record, late | {"blocked": [0, 3]})).lag) == (2, 1.0, 2.0)
    bounded = replace(record, chunk_bound_ns=(None, START_NS, None, None))
    assert values(taken(Pair(bounded, late)).lag) == (3, 0.0, 3.0)
    assert values(taken(Pair(bounded, late | {"blocked": [0]})).lag) == (2, 2.0, 3.0)
    assert taken(Pair(record, late), shared_clock=False).lag.n == 0


# ---- From the client to the mock -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connect_ns", "way_in_ns", "before_connecting"),
    [
        (1_000_000, 999_999, False),
        (1_000_000, 1_000_000, True),
        (1_000_000, 1_200_000, True),  # More than a tenth, and a tenth of a millisecond, longer.
        (1_000_000, 1_200_001, False),
        (None, 100_000, False),
        (None, 100_001, False),
        (100_000, 100_000, False),  # Too little to notice.
        (100_000, 100_001, True),
    ],
)
def test_a_send_that_is_stamped_before_its_connection_stands_is_told_by_the_way_in(
    connect_ns: int | None, way_in_ns: int, before_connecting: bool
) -> None:
    record = made_record(0, connect_ns=connect_ns)
    assert record.sent_ns is not None
    found = taken(pair(record, {"received_ns": record.sent_ns + way_in_ns}))
    assert values(found.way_in) == (1, way_in_ns / MS, way_in_ns / MS)
    assert found.sent_before_connecting.n == int(before_connecting)
    assert not before_connecting or found.sent_before_connecting.max == pytest.approx(way_in_ns / MS)


def test_a_request_that_was_never_sent_or_never_read_has_no_way_in() -> None:
    lost = made_record(0, outcome=Outcome.RESET, chunks_ms=())
    line = made_line(lost) | {
        "received_ns": None,
        "write_ns": [],
        "chunk_tokens": [],
        "chunk_kind": "",
        "fault": "reset",
    }
    found = taken(Pair(lost, line), Pair(replace(lost, sent_ns=None), made_line(lost) | {"fault": "reset"}))
    assert (found.way_in.n, found.lag.n, found.served) == (0, 0, 0)
    assert taken(pair(), shared_clock=False).way_in.n == 0


# ---- Sums and spans ------------------------------------------------------------------------------------------------


def test_the_way_in_of_a_request_that_was_sent_twice_is_that_of_the_second_attempt() -> None:
    once = made_record(0)
    twice = replace(once, attempts=2, sent_ns=once.sent_ns - 300 * MS, resent_ns=once.sent_ns)  # type: ignore[operator]
    assert values(taken(Pair(twice, made_line(once))).way_in) == (1, WAY_IN_MS, WAY_IN_MS)


def test_what_was_served_is_summed_by_the_ledger() -> None:
    whole = made_record(2, chunks_ms=(), n=7)
    found = taken(
        pair(line={"input_tokens": 30, "inputs": 2}),
        pair(line={"input_tokens": None, "inputs": None}, tokens=(1, 4, 1)),
        Pair(whole, made_line(whole) | {"input_tokens": 5}),
    )
    assert (found.served, found.input_tokens, found.inputs, found.output_tokens) == (3, 35, 2, 3 + 6 + 7)
    assert (found.warmup, found.failed) == ((0, 0, 0), (0, 0, 0))


def test_warm_up_and_failures_are_summed_apart() -> None:
    found = taken(
        pair(phase="warmup", line={"input_tokens": 30}),
        pair(phase="warmup", outcome=Outcome.RESET),
        pair(outcome=Outcome.MALFORMED, line={"fault": "malformed", "input_tokens": 4}),
        pair(outcome=Outcome.MALFORMED, line={"input_tokens": 5}),
        pair(line={"fault": "reset"}),
    )
    # The ledger decides whether a request was served, not the client's record. The client recorded the last request as
    # a success, which the ledger rules out.
    assert (found.warmup, found.failed, found.served) == ((1, 3, 30), (1, 3, 4), 1)


def test_the_span_runs_from_the_first_send_to_the_last_end_of_the_run() -> None:
    first, second = made_record(0, sent_ms=100, end_ns=START_NS + 900 * MS), made_record(1, sent_ms=40)
    before = made_record(2, sent_ms=0, phase="warmup")
    pairs = [pair(first), pair(second), pair(before)]
    assert taken(*pairs).span_s == pytest.approx((900 - 40 - LAG_MS) / 1000)
    assert taken(*pairs[::-1]).span_s == taken(*pairs).span_s
    # With two clocks, the end by the client's clock counts.
    assert taken(*pairs, shared_clock=False).span_s == pytest.approx((900 - 40) / 1000)
    assert taken().span_s is taken(pair(before)).span_s is None
    nothing = made_record(0, end_ns=START_NS)
    assert taken(pair(nothing), shared_clock=False).span_s is None
    assert taken(pair(replace(nothing, end_ns=START_NS + 1)), shared_clock=False).span_s == 1e-9


# ---- The mock's own errors -----------------------------------------------------------------------------------------


def test_the_mock_s_own_latencies_run_from_its_receipt() -> None:
    found = taken(pair(chunks_ms=(5, 50, 62), kinds="rcc", tokens=(0, 1, 3)))
    first = 50 - WAY_IN_MS - LAG_MS
    assert {name: values(of) for name, of in found.mock.items()} == {
        "ttft_ms": (1, first, first),
        "e2el_ms": (1, first + 12, first + 12),
        "output_tokens": (1, 4, 4),
        "tpot_ms": (1, 4, 4),
        "itl_ms": (3, 4, 4),
    }
    assert values(found.mock_error) == (2, 0.0, 0.0)
    one = taken(pair(chunks_ms=(50,)))
    assert ("tpot_ms" in one.mock, one.mock["itl_ms"].n, one.mock["ttft_ms"].n) == (False, 0, 1)


def test_what_the_mock_planned_and_did_differs_by_how_late_it_wrote() -> None:
    record = made_record(0, chunks_ms=(50, 60, 90), tokens=(1, 2, 1))
    line = made_line(record)
    planned = line["planned"] | {"ttft_ns": line["planned"]["ttft_ns"] - MS, "gaps_ns": [4 * MS, 4 * MS, 30 * MS]}
    found = taken(Pair(record, line | {"planned": planned}))
    # The chunks were due at 49, 57 (with the second of its two tokens) and 87.
    assert (values(found.mock_error), found.mock_error.mean) == ((3, 1.0, 3.0), pytest.approx(7 / 3))
    for change in ({"blocked": [1]}, {"planned": planned | {"gaps_ns": [4 * MS, 4 * MS]}}, {"chunk_tokens": [1, 3, 0]}):
        assert taken(Pair(record, line | {"planned": planned} | change)).mock_error.n == 0


@pytest.mark.parametrize(
    "change",
    [{"fault": "stall"}, {"received_ns": None}, {"planned": {"ttft_ns": None, "gaps_ns": [], "output_tokens": 3}}],
)
def test_a_reply_with_a_fault_or_without_a_plan_says_nothing_of_the_mock(change: dict[str, Any]) -> None:
    # Requests of the warm-up are not checked for anything else.
    assert not taken(pair(phase="warmup", line=change)).mock
    assert taken(pair(phase="warmup")).mock
    assert not taken(pair(phase="warmup", chunks_ms=(50,), kinds="r")).mock


# ---- Errors --------------------------------------------------------------------------------------------------------


def test_errors_over_time_stand_where_the_request_ended_and_those_of_workers_apart() -> None:
    measured = {"ttft_ms": 60.0, "e2el_ms": math.nan, "other": 1.0, "itl_ms": 9.0}
    found = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=60.0)
    found.add(pair(sent_ms=1_950, worker=3), measured)
    assert [key for key in found.over_time if key[0] != "lag_ms"] == [("ttft_ms", 2)]
    assert values(found.over_time["ttft_ms", 2]) == (1, 10 + LAG_MS, 10 + LAG_MS)
    assert {name: of.max for name, of in found.measured.items()} == {"ttft_ms": 60.0, "itl_ms": 9.0}
    assert sorted(found.of_worker) == [("e2el_ms", 3), ("tpot_ms", 3), ("ttft_ms", 3)]
    (worst,) = found.worst()
    assert (worst.id, worst.metric, worst.measured) == ("made-0", "ttft_ms", 60.0)
    assert (worst.true, worst.error) == (pytest.approx(50 - LAG_MS), pytest.approx(10 + LAG_MS))


def test_of_errors_alike_the_last_by_name_are_kept() -> None:
    found = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=60.0)
    for number in (3, 8, 1, 9, 2, 7, 6):
        found.add(pair(made_record(number)), {"ttft_ms": 50.0})
    assert [row.id for row in found.worst()] == [f"made-{n}" for n in (9, 8, 7, 6, 3)]


def test_a_request_with_two_records_is_among_the_worst_twice() -> None:
    found = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=60.0)
    record = made_record(0)
    line = made_line(record) | {"write_ns": [*record.chunk_ns]}
    for ttft in [40.0, 60.0] * 4:  # The errors are symmetric around 50.
        found.add(Pair(record, line), {"ttft_ms": ttft})
    assert [(row.id, row.error) for row in found.worst()] == [("made-0", 10.0)] * 4 + [("made-0", -10.0)]


def test_values_of_exact_stamps_and_of_bounds_are_apart() -> None:
    record = made_record(0, chunks_ms=(50, 60, 60))
    bounded = replace(record, chunk_bound_ns=(None, START_NS + 55 * MS, None))
    exact, bounds = taken(pair(record)), taken(pair(bounded))
    assert (exact.exact["ttft_ms"].n, exact.bounded["ttft_ms"].n, exact.least["ttft_ms"].n) == (1, 0, 0)
    assert (bounds.exact["ttft_ms"].n, bounds.bounded["ttft_ms"].n) == (0, 1)
    assert values(bounds.bounded["chunk_gap_ms"]) == (2, 0.0, 10.0)
    assert values(bounds.least["chunk_gap_ms"]) == (2, 0.0, 5.0)
    assert values(bounds.greatest["chunk_gap_ms"]) == (2, 5.0, 10.0)
