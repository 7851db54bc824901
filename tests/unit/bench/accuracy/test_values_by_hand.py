"""Numbers of a certificate that can be computed by hand, and missing values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.accuracy import coverage
from bench.accuracy.causes import MetricComparison, cause_of
from bench.accuracy.closed_form import MockSeries
from bench.accuracy.coverage import CertificateBrief
from bench.accuracy.join import expected_outcome
from bench.accuracy.metamorphic import Observation, doubled
from bench.accuracy.pair_statistics import PairStatistics, _with
from bench.records import Outcome
from bench.results.certificate import LoadShape
from bench.results.summary import RunSummary
from tests.support.changed import replace
from tests.support.results import filled
from tests.unit.bench.accuracy.test_coverage import CERTIFICATE, SHAPE


def test_chance_moves_the_mean_gap_by_what_its_requests_vary() -> None:
    # Requests have 9 gaps each. The mean gap is 9 ms in one half of them and 11 ms in the other: 10 ms over all.
    series = MockSeries()
    order = [i * 37 % 100 for i in range(100)]
    for received in order:
        gap = 9.0 if received * 31 % 100 < 50 else 11.0
        series.add(received, {"ttft_ms": 50.0 + gap, "e2el_ms": 140.0}, 9 * gap, 9)
    noise = series.noise("itl_ms")
    assert noise is not None
    # The noise is 1.98 standard errors of 1 / sqrt(100), or more if successive values are correlated.
    assert 0.1 < noise < 0.6
    assert series.noise("ttft_ms") == pytest.approx(noise, rel=0.1)
    assert series.noise("output_tokens") is None
    assert MockSeries().noise("itl_ms") is None


def test_nothing_is_taken_off_the_rates_before_a_warm_up_or_a_failure() -> None:
    statistics = PairStatistics(shared_clock=True, start_ns=0, duration_s=1.0)
    assert statistics.warmup == statistics.failed == (0, 0, 0)
    assert statistics.served == statistics.input_tokens == statistics.output_tokens == statistics.inputs == 0


def test_a_load_of_nothing_is_no_nearer_and_no_further() -> None:
    def brief(date: str, **shape: Any) -> CertificateBrief:
        return CertificateBrief.from_json(CERTIFICATE | {"date": date, "shape": SHAPE | shape})

    idle = LoadShape(**SHAPE | {"streams": 0, "requests_per_s": 0.0, "chunks_per_s": 0.0})
    older, later = brief("2026-01-02T00:00:00+00:00", streams=200), brief("2026-01-03T00:00:00+00:00")
    assert coverage.closest([older, later], idle, "0.1.0") == later


@pytest.mark.parametrize("missing", ["now", "before"])
def test_a_check_without_one_of_its_two_numbers_fails_and_does_not_break(missing: str) -> None:
    def seen(tpot: float | None, ttft: float = 30.0) -> Observation:
        values = {"ttft_ms": ttft, "tpot_ms": tpot, "itl_ms": tpot}
        return Observation(
            filled(RunSummary, {"latency": {name: {"p50": value, "mean": value} for name, value in values.items()}})
        )

    now, before = (None, 6.0) if missing == "now" else (12.0, None)
    rows = doubled(seen(now), seen(before))
    assert [row.held for row in rows if "times the first" in row.what] == [False, False]
    assert all(row.held for row in doubled(seen(12.0), seen(6.0)))


def test_a_definition_that_lacks_a_statistic_is_compared_by_the_others() -> None:
    true = {"mean": 50.0, "p50": 50.2, "p75": 51.4, "p90": 53.2, "p95": 55.9, "p99": 60.6, "max": 71.8}
    measured = {stat: value - 7.3 for stat, value in true.items()}
    other = {stat: value for stat, value in measured.items() if stat != "p75"}
    of = MetricComparison(
        unit="ms", n=9, true_n=9, measured=measured, true=true, recounted=true, mistaken={"it": other}
    )
    found = cause_of("ttft_ms", of)
    assert found is not None
    assert found.cause == "it"
    less = replace(
        of, measured={stat: value for stat, value in measured.items() if stat != "p90"}, mistaken={"it": measured}
    )
    also = cause_of("ttft_ms", less)
    assert also is not None
    assert also.cause == "it"
    assert math.isclose(abs(also.size), 7.3, rel_tol=0.01)


def test_a_request_that_no_rate_may_count_is_one_request_with_its_tokens() -> None:
    lines: list[dict[str, Any]] = [
        {"chunk_tokens": [1, 2, 4, 4], "chunk_kind": "ccca", "input_tokens": 9},
        {"chunk_tokens": [], "chunk_kind": "", "input_tokens": None},
    ]
    counted = (0, 0, 0)
    for line in lines:
        counted = _with(counted, line)
    assert counted == (2, 7, 9)


def test_a_reset_is_a_reset_though_the_last_event_is_missing_too() -> None:
    line: dict[str, Any] = {"status": 200, "write_ns": [1, 2], "engine": {}}
    assert expected_outcome(line | {"fault": "no_done"}, "messages") is Outcome.TRUNCATED
    assert expected_outcome(line | {"fault": "no_done+reset"}, "messages") is Outcome.RESET
    assert expected_outcome(line | {"fault": None}, "messages") is Outcome.OK
