"""The parts of a comparison by hand: statistics missing on one side, what bounds allow, rates, the network, causes."""

from __future__ import annotations

from typing import Any

import pytest

from bench.accuracy.compare import (
    AVERAGED,
    FAILED_COUNTED,
    TRUNCATED,
    WARMUP_COUNTED,
    _allowed,
    _averaged,
    _causes_of_rates,
    _metrics,
    _network,
    _numbers_of_values,
    _spread,
    _throughput,
    _truncated,
)
from bench.accuracy.distribution import Distribution
from bench.accuracy.join import Pair
from bench.accuracy.pair_statistics import PairStatistics
from bench.results.base import to_plain
from bench.results.certificate import METRICS
from bench.results.numbers import Metric, Throughput
from tests.support.made_ledger import made_line
from tests.support.made_records import START_NS, made_record
from tests.support.results import filled

EXACT = filled(Metric, quantiles="exact")


def statistics() -> PairStatistics:
    return PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=60.0)


def of(*values: float) -> Distribution:
    made = Distribution()
    made.add(values)
    return made


def test_a_statistic_is_compared_where_both_sides_have_it() -> None:
    pairs = statistics()
    pairs.true["ttft_ms"].add([10.0, 20.0, 30.0])
    found: dict[str, dict[str, Any]] = {
        "ttft_ms": {"n": 3, "mean": 21.0, "p50": 22.0, "p999": 30.0, "max": None},
        "tpot_ms": {"n": 3, "mean": 5.0},
    }
    rows = _metrics({metric: filled(Metric, row) for metric, row in found.items()}, pairs, "chat")
    assert [(row.metric, row.stat, row.unit, row.measured, row.true) for row in rows] == [
        ("ttft_ms", "mean", "ms", 21.0, 20.0), ("ttft_ms", "p50", "ms", 22.0, 20.0),
    ]  # fmt: skip
    # From the median to the 99th percentile: 20 to 29.8.
    assert [row.share_of_spread for row in rows] == [pytest.approx(1 / 9.8), pytest.approx(2 / 9.8)]
    assert [row.allowed for row in rows] == [None, None]
    assert _metrics({"ttft_ms": filled(Metric)}, pairs, "chat") == _metrics({}, pairs, "chat") == []


def test_stamps_that_are_bounds_allow_what_lies_between_with_all_that_is_exact() -> None:
    pairs = statistics()
    assert _allowed("itl_ms", EXACT, pairs) == {}
    pairs.exact["itl_ms"].add([10.0])
    assert _allowed("itl_ms", EXACT, pairs) == {}
    pairs.least["itl_ms"].add([2.0])
    pairs.greatest["itl_ms"].add([6.0])
    allowed = _allowed("itl_ms", EXACT, pairs)
    assert allowed["mean"] == (6.0, 8.0)
    assert allowed["p50"] == (6.0, 8.0)
    assert allowed["max"] == (10.0, 10.0)
    rough = _allowed("itl_ms", filled(Metric, quantiles="log histogram"), pairs)
    assert rough["mean"] == (6.0, 8.0)
    assert rough["p50"] == (6.0 * (1 - 2**-10), 8.0 * (1 + 2**-10))
    assert _allowed("itl_ms", EXACT, pairs) == allowed
    # Bounds equal to the values count as no bounds.
    same = statistics()
    for side in (same.least, same.greatest):
        side["itl_ms"].add([4.0])
    assert _allowed("itl_ms", EXACT, same) == {}


def sent(pairs: PairStatistics) -> PairStatistics:
    """A run with two seconds from the first send to the last end."""
    record = made_record(0, chunks_ms=(2_000,), end_ns=START_NS + 2_000_002_000)
    pairs.add(Pair(record, made_line(record)))
    return pairs


def test_rates_are_amounts_of_the_ledger_over_the_span() -> None:
    pairs = sent(statistics())
    assert pairs.span_s == 2.0
    pairs.served, pairs.output_tokens, pairs.input_tokens, pairs.inputs = 10, 60, 40, 14
    found = dict.fromkeys(("requests_per_s", "output_tokens_per_s", "input_tokens_per_s", "total_tokens_per_s"), 1.0)
    rows = _throughput(filled(Throughput, {**found, "inputs_per_s": None}), pairs, "chat")
    assert {row.metric: row.true for row in rows} == {
        "requests_per_s": 5.0, "output_tokens_per_s": 30.0, "input_tokens_per_s": 20.0, "total_tokens_per_s": 50.0
    }  # fmt: skip
    [inputs] = _throughput(filled(Throughput, inputs_per_s=3.0), pairs, "chat")
    assert (inputs.metric, inputs.true) == ("inputs_per_s", 7.0)
    assert _throughput(filled(Throughput, found), statistics(), "chat") == []
    # If the server reports no input tokens, they are not compared.
    rows = _throughput(filled(Throughput, found), pairs, "tei-rerank")
    assert [row.metric for row in rows] == ["requests_per_s", "output_tokens_per_s"]


@pytest.mark.parametrize(("counted", "sentence"), [("warmup", WARMUP_COUNTED), ("failed", FAILED_COUNTED)])
def test_rates_that_count_what_no_rate_may_are_told_by_their_size(counted: str, sentence: str) -> None:
    pairs = sent(statistics())
    pairs.served, pairs.output_tokens, pairs.input_tokens = 100, 600, 400
    setattr(pairs, counted, (20, 90, 70))
    wrong = {
        "requests_per_s": 60.0,
        "output_tokens_per_s": 345.0,
        "input_tokens_per_s": 235.0,
        "total_tokens_per_s": 580.0,
    }
    causes = _causes_of_rates(_throughput(filled(Throughput, wrong), pairs, "chat"), pairs)
    assert [(cause.metric, cause.cause) for cause in causes] == [(name, sentence) for name in wrong]
    right = {
        "requests_per_s": 50.0,
        "output_tokens_per_s": 300.0,
        "input_tokens_per_s": 200.0,
        "total_tokens_per_s": 500.0,
    }
    assert _causes_of_rates(_throughput(filled(Throughput, right), pairs, "chat"), pairs) == []
    assert _causes_of_rates([], statistics()) == []


def test_the_network_is_the_least_difference_of_a_first_token_else_of_an_end() -> None:
    pairs = statistics()
    assert _network(pairs) is None
    pairs.over_time["e2el_ms", 3].add([0.4, 0.9])
    pairs.over_time["tpot_ms", 3].add([0.01])
    assert _network(pairs) == 0.4
    pairs.true["ttft_ms"].add([1.0])
    assert _network(pairs) is None
    pairs.over_time["ttft_ms", 4].add([0.7])
    pairs.over_time["ttft_ms", 5].add([0.6, 0.8])
    assert _network(pairs) == 0.6
    pairs.over_time["ttft_ms", 6].add([-0.1])
    assert _network(pairs) == 0.0


def test_values_that_one_side_lacks_are_a_problem_metric_by_metric() -> None:
    pairs = statistics()
    pairs.true["ttft_ms"].add([1.0, 2.0])
    pairs.true["itl_ms"].add([1.0])
    assert _numbers_of_values({"ttft_ms": filled(Metric, n=2), "itl_ms": filled(Metric, n=3)}, pairs, "chat") == [
        "itl_ms: 3 values measured, and 1 in the ledger"
    ]
    assert _numbers_of_values({}, pairs, "chat") == [
        "ttft_ms: 0 values measured, and 2 in the ledger", "itl_ms: 0 values measured, and 1 in the ledger"
    ]  # fmt: skip
    assert list(METRICS)[:3] == ["ttft_ms", "tpot_ms", "itl_ms"]


def test_a_truncated_quantile_is_the_value_at_its_index() -> None:
    hundred = of(*range(1, 101))
    assert _truncated(hundred) == {
        "mean": 50.5, "max": 100.0, "p50": 51.0, "p75": 76.0, "p90": 91.0, "p95": 96.0, "p99": 100.0, "p999": 100.0
    }  # fmt: skip
    assert _truncated(of(7.0))["p50"] == _truncated(of(7.0))["p999"] == 7.0
    assert _truncated(of(*range(1, 1001)))["p999"] == 1000.0
    assert TRUNCATED == "its quantiles are values at a truncated index, not between neighbours"


def test_an_average_of_workers_is_of_what_all_of_them_have() -> None:
    assert _averaged([{"mean": 1.0, "p50": 2.0, "max": 9.0}, {"mean": 3.0, "p50": 6.0}]) == {"mean": 2.0, "p50": 4.0}
    assert AVERAGED == "quantiles of the workers are averaged"


def test_a_spread_of_nothing_says_so() -> None:
    assert to_plain(_spread(of())) == {"n": 0}
    spread = _spread(of(3.0, 1.0))
    assert (spread.n, spread.min, spread.max, spread.mean) == (2, 1.0, 3.0, 2.0)
