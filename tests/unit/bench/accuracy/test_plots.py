"""The data of a certificate's plots, by hand."""

from __future__ import annotations

import pytest

from bench.accuracy import plots
from bench.accuracy.pair_statistics import PairStatistics
from bench.results.base import to_plain
from bench.results.numbers import Metric
from tests.support.made_records import START_NS
from tests.support.results import filled


def statistics() -> PairStatistics:
    return PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=30.0)


def test_errors_over_time_have_a_point_each_half_second_of_half_a_minute_and_gaps_where_nothing_ended() -> None:
    pairs = statistics()
    pairs.over_time["tpot_ms", 2].add([1.0, 3.0])
    pairs.over_time["tpot_ms", 59].add([5.0])
    found = to_plain(plots.build(pairs, {}, 30.0))["over_time"]
    assert found["step_s"] == 0.5
    assert (found["t_s"][0], found["t_s"][2], found["t_s"][59], len(found["t_s"])) == (0.0, 1.0, 29.5, 60)
    assert found.keys() == {"step_s", "t_s", "tpot_ms"}
    assert {name: [row[i] for i in (0, 2, 59)] for name, row in found["tpot_ms"].items()} == {
        "p50": [None, 2.0, 5.0], "p99": [None, pytest.approx(2.98), 5.0], "max": [None, 3.0, 5.0]
    }  # fmt: skip


def test_quantiles_stand_against_each_other_from_the_least_to_the_greatest_in_fortieths() -> None:
    pairs = statistics()
    pairs.true["ttft_ms"].add([0.0, 40.0])
    pairs.measured["ttft_ms"].add([1.0, 41.0])
    pairs.true["e2el_ms"].add([1.0])
    pairs.measured["tpot_ms"].add([1.0])
    found = to_plain(plots.build(pairs, {}, 30.0))["qq"]
    assert found == {"ttft_ms": {"true": [float(i) for i in range(41)], "measured": [float(i + 1) for i in range(41)]}}


def test_quantiles_of_gaps_are_those_that_the_report_and_the_ledger_have() -> None:
    pairs = statistics()
    pairs.true["itl_ms"].add([10.0, 20.0])
    row = filled(Metric, n=2, mean=15.0, p50=16.0, p999=21.0, max=22.0)
    assert to_plain(plots.build(pairs, {"itl_ms": row}, 30.0))["qq"] == {
        "itl_ms": {"true": [15.0, 20.0], "measured": [16.0, 22.0]}
    }
    for missing in ({"itl_ms": filled(Metric)}, {}):
        assert to_plain(plots.build(pairs, missing, 30.0))["qq"] == {}
    assert to_plain(plots.build(statistics(), {"itl_ms": row}, 30.0))["qq"] == {}


def test_each_lag_is_in_one_interval() -> None:
    pairs = statistics()
    pairs.lag.add([-1.0, 0.0, 0.001, 0.0015, 49.9, 50.0, 70.0])
    rows = to_plain(plots.build(pairs, {}, 30.0))["lag"]
    assert [(row["from_ms"], row["to_ms"], row["n"]) for row in rows if row["n"]] == [
        (None, 0.0, 1), (0.0, 0.001, 1), (0.001, 0.002, 2), (10.0, 50.0, 1), (50.0, None, 2)
    ]  # fmt: skip
    assert (len(rows), sum(row["n"] for row in rows)) == (16, 7)
