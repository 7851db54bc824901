"""Certificates at their borders: causes, joins, distributions and rules, with numbers computed by hand."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from bench.accuracy import plots
from bench.accuracy.closed_form import MockSeries, against_closed_form
from bench.accuracy.distribution import Distribution
from bench.accuracy.join import Join, Pair
from bench.accuracy.known_mistakes import (
    BURSTS,
    CONNECT,
    FROM_DUE,
    REASONING_NO_TOKENS,
    REASONING_TWICE,
    SERVERS_COUNT,
    SHARED,
    TTFT_IN_TPOT_LESS_ONE,
    mistaken_values,
)
from bench.accuracy.ledger import Ledger
from bench.accuracy.metamorphic import CHECKS, Observation, bursts, expectations, near, slow_reader
from bench.accuracy.pair_statistics import PairStatistics
from bench.accuracy.truth import stamped_values, true_values, was_served
from bench.errors import RecordError
from bench.records import Outcome
from bench.results.base import to_plain
from bench.results.summary import RunSummary
from tests.support.certified_run import LATENCY, LINES, RECORDS, certified
from tests.support.changed import replace
from tests.support.made_ledger import LAG_NS, ledger_of, made_line
from tests.support.made_records import MS, START_NS, made_record
from tests.support.results import filled
from tests.support.tables import measured_of
from tests.unit.bench.accuracy.test_metamorphic import RIGHT

# ---- Joins ---------------------------------------------------------------------------------------------------------


def test_a_pair_has_the_endpoint_of_its_request_else_that_of_the_run() -> None:
    records = [made_record(0), made_record(1, endpoint="chat")]
    joining = Join(ledger_of([made_line(record) for record in records]), "messages")
    assert [pair.endpoint for pair in joining.pairs(records)] == ["messages", "chat"]


def test_what_was_confused_is_counted_with_its_fault() -> None:
    records = [made_record(0), made_record(1), made_record(2, outcome=Outcome.CANCELLED, first_byte_ns=None)]
    lines = [made_line(records[0], fault="reset"), made_line(records[1], status=429)]
    joining = Join(ledger_of(lines))
    list(joining.pairs(records))
    assert joining.confused() == {("ok", "reset", "reset"): 1, ("ok", "http_error", ""): 1}
    # The third request was cancelled before any byte came, so the ledger needs no line for it.
    assert not any("without a line" in problem for problem in joining.problems())
    assert any("without a line" in problem for problem in unmatched(made_record(2, outcome=Outcome.CANCELLED)))


def unmatched(*records: Any) -> list[str]:
    joining = Join(ledger_of([]))
    list(joining.pairs(records))
    return joining.problems()


def test_five_of_a_kind_are_named_and_the_others_counted() -> None:
    records = [made_record(i) for i in range(7)]
    assert unmatched(*records[:5]) == [
        "records without a line in the ledger (5): made-0, made-1, made-2, made-3, made-4"
    ]
    assert unmatched(*records) == [
        "records without a line in the ledger (7): made-0, made-1, made-2, made-3, made-4 and 2 more"
    ]


@pytest.mark.parametrize(("went_on_ms", "named"), [(150.0, False), (150.1, True)])
def test_a_mock_sees_within_a_tenth_of_a_second_that_a_user_left(went_on_ms: float, named: bool) -> None:
    record = made_record(0, outcome=Outcome.CANCELLED, end_ns=START_NS + 50 * MS, status=200)
    line = made_line(record)
    line["end_ns"] = line["received_ns"] + round(went_on_ms * MS)
    joining = Join(ledger_of([line]))
    list(joining.pairs([record]))
    assert bool(joining.problems()) is named


def test_a_ledger_is_read_as_far_as_its_lines_are_whole() -> None:
    text = b'{"id":"a","attempt":2}\n{"id":"a","attempt":1}\n\n{"id":"b"}\n{"id":"a","attempt":2,"x":1}\n{"id":"c"'
    ledger = Ledger(BytesIO(text))
    assert list(ledger) == ["a", "b"]
    # If two lines have the same attempt, the last one counts.
    assert ledger.line("a") == {"id": "a", "attempt": 2, "x": 1}
    assert ledger.line("c") is None
    for bad in (b'{"id":"a"}\n{"id"\n', b'{"id":"a"}\n[1]\n', b'{"id":"a"}\n{"x":1}\n'):
        with pytest.raises(RecordError, match="the ledger, line 2: "):
            Ledger(BytesIO(bad))


# ---- Distributions and series --------------------------------------------------------------------------------------


def test_a_distribution_may_be_infinite_and_is_folded_beyond_its_limit_alone() -> None:
    endless = Distribution()
    endless.add([1.0, math.inf, math.inf])
    assert (endless.quantile(0.5), endless.quantile(1.0), endless.max) == (math.inf, math.inf, math.inf)
    assert endless.quantile(0.25) == math.inf
    held = Distribution(exact=3)
    held.add([1.1, 2.2, 3.3])
    assert held.quantile(0.5) == 2.2
    held.add([4.4])
    assert held.quantile(1 / 3) == pytest.approx(2.2, rel=2**-15)
    assert held.quantile(1 / 3) != 2.2
    assert (held.count_below(1.0), held.count_below(3.0)) == (0, 2)
    a, b = Distribution(exact=2), Distribution(exact=9)
    a.add([1.0, 2.0, 3.0])
    b.add([10.0])
    b.add_all(a)
    assert (b.n, b.min, b.max, b.mean) == (4, 1.0, 10.0, 4.0)
    assert b.quantile(0.5) == pytest.approx(2.5, rel=2**-14)


def test_a_mock_is_held_against_what_it_publishes_where_lengths_are_as_it_chose_them() -> None:
    def done(**values: list[float]) -> dict[str, Distribution]:
        found = {}
        for name, of_it in values.items():
            found[name] = Distribution()
            found[name].add(of_it)
        return found

    truth = {
        "expected": {
            "e2el_ms": {"mean": 100.0, "p50": True},
            "ttft_ms": {"p50": 48.0},
            "output_tokens": {"mean": 100.0},
        }
    }
    rows = against_closed_form(truth, done(e2el_ms=[103.0], ttft_ms=[50.0], output_tokens=[102.0]), MockSeries())
    assert [(row.metric, row.stat, row.difference, row.noise) for row in rows] == [
        ("ttft_ms", "p50", 2.0, None), ("e2el_ms", "mean", 3.0, None), ("output_tokens", "mean", 2.0, None),
    ]  # fmt: skip
    other = against_closed_form(truth, done(e2el_ms=[103.0], ttft_ms=[50.0], output_tokens=[102.1]), MockSeries())
    assert [row.metric for row in other] == ["ttft_ms"]
    assert against_closed_form(truth, done(e2el_ms=[103.0]), MockSeries()) == []
    for nothing in (None, {}, {"expected": None}, {"expected": 7}):
        assert against_closed_form(nothing, done(ttft_ms=[50.0]), MockSeries()) == []
    assert against_closed_form(None, {}, MockSeries()) == []


# ---- The results of known mistakes ----------------------------------------------------------------------------------


def test_each_mistake_gives_its_own_number() -> None:
    # Role at 5; reasoning of 2 tokens at 50, text of 3 and 1 at 60 and 90; usage at 100; due 20 ms before; 7 ms to connect.
    record = made_record(
        0, sent_ms=20, chunks_ms=(5, 50, 60, 90, 100), kinds="rtccu", tokens=(0, 2, 3, 1, 0),
        intended_ns=START_NS, connect_ns=7 * MS, n=8,
    )  # fmt: skip
    found = {
        (metric, mistake): list(values) for metric, mistake, values in mistaken_values(Pair(record, made_line(record)))
    }
    lag = LAG_NS / MS
    assert found["ttft_ms", CONNECT] == pytest.approx([57 - lag])
    assert found["ttft_ms", FROM_DUE] == pytest.approx([70 - lag])
    assert found["e2el_ms", FROM_DUE] == pytest.approx([110 - lag])
    # 40 ms between first and last text; 6 tokens, 2 of them in the first chunk, and 2 of them reasoning.
    assert found["tpot_ms", TTFT_IN_TPOT_LESS_ONE] == pytest.approx([(90 - lag) / 5])
    assert found["tpot_ms", REASONING_TWICE] == pytest.approx([40 / 6])
    assert found["tpot_ms", REASONING_NO_TOKENS] == pytest.approx([40 / 3])
    assert found["tps", REASONING_NO_TOKENS] == pytest.approx([3 / 0.04])
    assert found["tpot_ms", SERVERS_COUNT] == pytest.approx([40 / 6])
    assert found["chunk_gap_ms", SHARED] == pytest.approx([10 / 3] * 3 + [30])
    assert found["itl_ms", BURSTS] == pytest.approx([10, 0, 0, 30])
    # If every chunk has its own token, shared gaps are no mistake.
    plain = {row[:2] for row in mistaken_values(Pair(made_record(2), made_line(made_record(2))))}
    assert not plain & {("itl_ms", BURSTS), ("chunk_gap_ms", SHARED)}
    alone = made_record(1, chunks_ms=(50,))
    assert ("tpot_ms", REASONING_TWICE) not in {row[:2] for row in mistaken_values(Pair(alone, made_line(alone)))}


def test_a_reply_of_one_read_has_times_of_nothing_and_no_speed() -> None:
    record = made_record(0, chunks_ms=(50, 50, 50))
    values = true_values(Pair(record, made_line(record)))
    assert (values["tpot_ms"], values["itl_ms"], values["chunk_gap_ms"]) == ([0.0], [0.0, 0.0], [0.0, 0.0])
    assert "tps" not in values
    bounded = replace(record, chunk_bound_ns=(START_NS + 30 * MS, START_NS + 40 * MS, None))
    stamped, least, greatest = stamped_values(bounded, [1, 1, 1], 3)
    assert (stamped["tpot_ms"], least["tpot_ms"], greatest["tpot_ms"]) == ([0.0], [0.0], [10.0])
    assert (least["tps"], greatest["tps"]) == ([100.0], [math.inf])
    assert (least["ttft_ms"], greatest["ttft_ms"]) == ([30.0], [50.0])
    assert stamped_values(record, [1, 1], 3) == ({}, {}, {})
    assert stamped_values(made_record(1, chunks_ms=(5,), kinds="r"), [], 0) == ({}, {}, {})


def test_the_worst_requests_are_the_five_with_the_largest_errors_of_either_sign() -> None:
    statistics = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=2.0)
    for record in RECORDS[:9]:
        off = (-1) ** record.index * (record.index + 1) * MS
        line = made_line(record)
        late = replace(record, chunk_ns=tuple(at + off for at in record.chunk_ns), end_ns=record.end_ns + off)
        statistics.add(Pair(late, line), measured_of(late))
    worst = statistics.worst()
    assert [row.id for row in worst][:4] == ["made-8", "made-8", "made-7", "made-7"]
    assert len(worst) == 5
    assert worst[0].error == pytest.approx(9 + LAG_NS / MS)
    assert worst[2].error == pytest.approx(-8 + LAG_NS / MS)


# ---- Certificates --------------------------------------------------------------------------------------------------


def test_chunks_that_one_side_lacks_are_told_by_how_many_most_requests_lack(tmp_path: Path) -> None:
    def without(n: int, record: Any) -> Any:
        return replace(
            record, chunk_ns=record.chunk_ns[n:], chunk_kind=record.chunk_kind[n:], chunk_tokens=record.chunk_tokens[n:]
        )

    lost = [without(1, RECORDS[0]), without(2, RECORDS[1]), without(1, RECORDS[2]), *RECORDS[3:]]
    (cause,) = [c for c in certified(tmp_path / "a", lost)["causes"] if c["metric"] == "chunks"]
    assert (cause["size"], cause["cause"]) == (
        -4.0, "chunks are lost in 3 requests, mostly 1 in each: at the borders of buffers, or read as something else",
    )  # fmt: skip
    more = [made_line(without(1, RECORDS[0])), *LINES[1:]]
    (cause,) = [c for c in certified(tmp_path / "b", lines=more)["causes"] if c["metric"] == "chunks"]
    assert (cause["size"], cause["cause"].split(":")[0]) == (
        1.0, "the client reports chunks that the mock never wrote in 1 requests, mostly 1 in each",
    )  # fmt: skip


def test_a_metric_that_the_report_lacks_is_compared_with_nothing(tmp_path: Path) -> None:
    whole = certified(tmp_path / "a")
    latency = dict(LATENCY)
    del latency["tpot_ms"]
    latency["itl_ms"] = {"n": 0}
    rows = certified(tmp_path / "b", latency=latency)
    assert {row["metric"] for row in whole["metrics"]} - {row["metric"] for row in rows["metrics"]} == {
        "tpot_ms",
        "itl_ms",
    }
    assert len(rows["problems"]) == 2
    assert "itl_ms" not in rows["plots"]["qq"]


# ---- Metamorphic rules ----------------------------------------------------------------------------------------------


def test_a_time_is_near_within_half_a_millisecond_or_a_fiftieth() -> None:
    pairs = ((10.5, 10.0), (10.51, 10.0), (102.0, 100.0), (102.1, 100.0), (98.0, 100.0))
    assert [near("x", *pair).held for pair in pairs] == [True, False, True, False, True]
    assert not near("x", None, 1.0).held
    assert not near("x", 1.0, None).held


def seen(**plan: Any) -> Observation:
    whole = {"dispersion_sent": 2.0, "dispersion_ratio": 1.04, "sent_rps": 61.1, "planned_rps": 60.0}
    latency = {name: {"p50": 30.0, "mean": 30.0} for name in ("ttft_ms", "tpot_ms")}
    return Observation(filled(RunSummary, {"latency": latency, "load": {"plan": whole | plan}}), blocked_slow=1)


def test_bursts_are_at_least_twice_as_bursty_as_chance_and_as_planned() -> None:
    def held(**plan: Any) -> list[bool]:
        return [row.held for row in bursts(seen(**plan), seen())]

    assert held() == [True] * 5
    assert held(dispersion_sent=1.99) == [False, *[True] * 4]
    assert held(dispersion_sent=None) == [False, *[True] * 4]
    assert held(dispersion_ratio=1.06) == [True, False, *[True] * 3]
    assert held(dispersion_ratio=0.94) == [True, False, *[True] * 3]
    assert held(dispersion_ratio=None) == [True, False, *[True] * 3]
    assert held(sent_rps=61.3) == [True, True, False, True, True]


def test_a_slow_reader_has_a_chunk_that_waited_and_no_other_has() -> None:
    def held(slow: int | None, others: int = 0) -> list[bool]:
        return [row.held for row in slow_reader(replace(seen(), blocked_slow=slow, blocked=others), seen())]

    assert held(1) == [True] * 4
    assert held(0) == held(None) == [False, True, True, True]
    assert held(1, 1) == [True, False, True, True]


# ---- Served requests, and sums of both sides ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "served"),
    [
        ({}, True),
        ({"phase": "warmup"}, False),
        ({"sent_ns": None}, False),
        ({"outcome": Outcome.CANCELLED}, False),
        ({"outcome": Outcome.TIMEOUT_TOTAL}, False),
        # The ledger shows that the server served the reply. How the client judged it does not matter here.
        ({"outcome": Outcome.MALFORMED}, True),
    ],
)
def test_a_request_was_served_by_the_ledger_unless_the_client_cut_it(change: dict[str, Any], served: bool) -> None:
    record = made_record(0)
    line = made_line(record)
    assert was_served(Pair(replace(record, **change), line)) is served
    assert not was_served(Pair(record, line | {"fault": "reset"}))
    assert not was_served(Pair(record, line | {"status": 500}))


def test_sums_of_inputs_leave_out_usage_that_is_wrong_or_missing() -> None:
    records = [
        made_record(i, chunks_ms=(), inputs=3, input_tokens=tokens) for i, tokens in enumerate((30, None, 99, 40, None))
    ]
    lines = [made_line(record) for record in records]
    lines[1] |= {"input_tokens": 25, "fault": "usage_missing"}
    lines[2] |= {"input_tokens": 31, "fault": "usage_wrong"}
    lines[3] |= {"inputs": None, "input_tokens": 41}
    lines[4] |= {"input_tokens": None}  # Neither side counted the input tokens.
    joining = Join(ledger_of(lines))
    list(joining.pairs(records))
    sums = {row.what: (row.here, row.there) for row in joining.agreement()}
    assert sums["inputs"] == (15, 12)
    assert sums["input tokens"] == (70, 71)
    assert [problem.split(":")[0] for problem in joining.problems()] == [
        "requests whose number of tokens differs from the ledger (1)",
        "requests whose number of inputs differs from the ledger (1)",
    ]


def test_tokens_are_added_up_of_streams_that_ended_well_and_chunks_of_all_but_resets() -> None:
    records = [
        made_record(0),
        made_record(1, outcome=Outcome.MALFORMED, status=200),
        made_record(2, outcome=Outcome.RESET, status=200),
        made_record(3, outcome=Outcome.INTERRUPTED, status=200),
        made_record(4, n=9),
    ]
    lines = [made_line(record) for record in records]
    lines[4] |= {"fault": "usage_wrong", "chunk_tokens": [1, 1, 1]}
    joining = Join(ledger_of(lines))
    list(joining.pairs(records))
    sums = {row.what: (row.here, row.there) for row in joining.agreement()}
    assert (sums["tokens"], sums["chunks"], sums["requests"]) == ((3, 3), (9, 9), (4, 4))
    assert (sums["bytes sent"], sums["bytes received"]) == ((2_000, 2_000), (1_800, 1_800))
    assert (sums["outcome ok"], sums["outcome malformed"], sums["status 200"]) == ((2, 4), (1, 0), (4, 4))
    assert joining.chunks_off() == {}


def test_quantiles_of_a_report_s_histogram_may_be_off_by_its_resolution(tmp_path: Path) -> None:
    folded = LATENCY | {"itl_ms": LATENCY["itl_ms"] | {"quantiles": "log histogram"}}
    rows = {row["stat"]: row for row in certified(tmp_path, latency=folded)["metrics"] if row["metric"] == "itl_ms"}
    for stat in ("p50", "p99"):
        true = rows[stat]["true"]
        assert rows[stat]["allowed"] == pytest.approx([true * (1 - 1 / 1024), true * (1 + 1 / 1024)])
    # The mean and the maximum are exact in a folded distribution, too.
    assert rows["mean"]["allowed"] == pytest.approx([rows["mean"]["true"]] * 2)
    assert rows["max"]["allowed"] == pytest.approx([rows["max"]["true"]] * 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fast", {"median TTFT": 30, "median TPOT": 6, "mean ITL": 6, "median E2EL": 30 + 31 * 6}),
        ("slow", {"median TTFT": 300, "median TPOT": 40, "mean ITL": 40, "median E2EL": 300 + 15 * 40}),
        ("stream-interval", {"median chunk gap": 4 * 6, "median TPOT": 6, "mean ITL": 6}),
        ("reasoning", {"median TTFO": 30 + 10 * 6}),
    ],
)
def test_what_must_follow_from_the_flags_of_a_mock(name: str, expected: dict[str, float]) -> None:
    rows = {row.what: row.expected for row in expectations(CHECKS[name], RIGHT[name], RIGHT["fast"])}
    assert {what: rows[f"{what} (ms)"] for what in expected} == expected
    refused = expectations(CHECKS["refused"], RIGHT["refused"], RIGHT["fast"])
    assert refused[1].expected == {"ok": 56, "http_error": 8}


def test_lags_are_counted_between_borders_that_rise() -> None:
    pairs = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=2.0)
    empty = to_plain(plots.build(pairs, {}, None))
    assert (empty["qq"], empty["lag"], empty["over_time"].keys()) == ({}, [], {"step_s", "t_s"})
    assert empty["over_time"]["t_s"] == pytest.approx([i / 60 for i in range(60)])
    pairs.lag.add([-0.5, 0.0005, 0.0015, 0.3, 0.3, 60.0])
    rows = [(row["from_ms"], row["to_ms"], row["n"]) for row in to_plain(plots.build(pairs, {}, 2.0))["lag"]]
    assert [row for row in rows if row[2]] == [
        (None, 0.0, 1), (0.0, 0.001, 1), (0.001, 0.002, 1), (0.2, 0.5, 2), (50.0, None, 1),
    ]  # fmt: skip
    borders = [begin for begin, _, _ in rows[1:]]
    assert borders == sorted(borders)
