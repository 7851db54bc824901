"""The data from which a page computes: histograms per second within 1% of the values, and requests chosen by their
numbers."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from bench.metrics import quantile as exact
from bench.metrics.chosen_requests import ShownRequests
from bench.metrics.facts import RunFacts
from bench.metrics.histogram import bins_of_array
from bench.metrics.page_data import PageData
from bench.metrics.step_histograms import (
    BORDERS,
    MOST_STEPS,
    RELATIVE_ERROR,
    StepHistograms,
    bins_of,
    coarse,
    lower_border,
    quantile,
    representative,
)
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord
from tests.support.made_records import START_NS, made_record
from tests.support.slow_metrics import NS_PER_MS, NS_PER_S
from tests.support.tables import ints, table_of


def _page_data(records: list[RequestRecord]) -> PageData:
    summary = Summary(RunFacts(mode="concurrency", open_loop=False, endpoint="chat", start_ns=START_NS, seed=0))
    summary.add(table_of(*records))
    return summary.page_data()


def test_the_quantiles_of_the_gaps_of_a_second_are_within_one_percent() -> None:
    itl = _page_data([made_record(gap, chunks_ms=(10, 10 + gap)) for gap in (*range(1, 101), 500)]).itl_ms
    assert [of[0] for of in (itl.p50, itl.p90, itl.p99)] == pytest.approx([51, 91, 100], rel=0.02)
    assert itl.mean[0] == pytest.approx(5_550 / 101, rel=0.02)


def test_every_value_lies_in_its_bin_and_within_one_percent_of_its_representative() -> None:
    assert (BORDERS[0], BORDERS[-1]) == (0, 512), "an octave has 512 fine bins"
    chance = random.Random(1)
    for value in [1.0, 2.0, 1e9, *(10 ** chance.uniform(0, 12) for _ in range(2_000))]:
        (number,) = bins_of(bins_of_array(np.array([value]))).tolist()
        assert lower_border(number) <= value * (1 + 1e-7)
        assert value * (1 - 1e-7) < lower_border(number + 1)
        assert representative(number) == pytest.approx(value, rel=RELATIVE_ERROR * 0.97)


def test_quantiles_of_any_period_are_within_one_percent() -> None:
    chance = random.Random(2)
    rows = sorted((chance.uniform(0, 20) * NS_PER_S, chance.lognormvariate(17, 1.5)) for _ in range(5_000))
    histograms = StepHistograms()
    histograms.extend(ints(*(int(at) for at, _ in rows)), np.array([value for _, value in rows]))
    steps = histograms.per_step(0, NS_PER_S, 20)
    for first, last in ((0, 20), (3, 4), (7, 15)):
        merged: Counter[int] = Counter()
        for counts in steps[first:last]:
            merged.update(counts)
        values = sorted(value for at, value in rows if first <= at / NS_PER_S < last)
        assert merged.total() == len(values)
        for p in (0, 0.01, 0.5, 0.9, 0.99, 1):
            assert quantile(merged, p) == pytest.approx(exact.quantile(values, p), rel=RELATIVE_ERROR)


def test_histograms_do_not_depend_on_the_order_and_widen_with_the_run() -> None:
    rows = [(at * NS_PER_S, 1e6 * (1 + at % 7)) for at in range(2 * MOST_STEPS + 10)]
    forth, back = StepHistograms(), StepHistograms()
    for at, value in rows:
        forth.extend(ints(at), np.array([value]))
    for at, value in reversed(rows):
        back.extend(ints(at), np.array([value]))
    assert forth.width_ns == back.width_ns == 4 * NS_PER_S
    found = forth.per_step(0, forth.width_ns, 303)
    assert found == back.per_step(0, back.width_ns, 303)
    assert sum(sum(counts.values()) for counts in found) == len(rows)
    at_once = StepHistograms()
    at_once.extend(np.array([at for at, _ in rows]), np.array([value for _, value in rows]))
    assert at_once.per_step(0, forth.width_ns, 303) == found


def test_a_run_of_up_to_400_s_keeps_its_seconds_and_values_add_up_in_them() -> None:
    for seconds, width_s in ((400, 1), (401, 2)):
        histograms = StepHistograms()
        for _ in range(3):
            histograms.extend(NS_PER_S * np.arange(seconds), np.full(seconds, 1e6))
        assert histograms.width_ns == width_s * NS_PER_S
        steps = histograms.per_step(0, histograms.width_ns, 200)
        assert [list(counts.values()) for counts in steps[:199]] == [[3 * width_s]] * 199


def test_a_value_stands_in_the_second_in_which_it_came() -> None:
    slow = made_record(0, sent_ms=100, chunks_ms=(1_000, 1_750, 2_500, 3_250))
    found = _page_data([slow])
    at = {metric: [sum(counts.values()) for counts in steps] for metric, steps in found.histograms.items()}
    last = [0, 0, 0, 1]
    assert at == {"itl_ms": [0, 1, 1, 1], "ttft_ms": [0, 1, 0, 0], "tpot_ms": last, "e2el_ms": last}
    (ttft,) = found.histograms["ttft_ms"][1]
    assert representative(ttft) / NS_PER_MS == pytest.approx(1_000, rel=RELATIVE_ERROR)
    assert found.itl_ms.p50[1] == pytest.approx(750, rel=RELATIVE_ERROR)
    assert (found.itl_ms.p50[0], found.itl_ms.mean[0]) == (None, None)


def test_the_tokens_of_one_chunk_share_its_time_and_its_gap() -> None:
    record = made_record(0, chunks_ms=(100, 400, 1_200), tokens=(1, 3, 2), n=6)
    found = _page_data([record])
    assert found.itl_ms.mean == [pytest.approx(100, rel=RELATIVE_ERROR), pytest.approx(400, rel=RELATIVE_ERROR)]
    (first, second) = found.histograms["itl_ms"]
    assert list(first.values()) == [3]
    assert [representative(number) / NS_PER_MS for number in first] == [pytest.approx(100, rel=RELATIVE_ERROR)]
    assert list(second.values()) == [2]
    assert [representative(number) / NS_PER_MS for number in second] == [pytest.approx(400, rel=RELATIVE_ERROR)]


def test_a_long_run_has_at_most_400_steps_on_one_grid() -> None:
    found = _page_data([made_record(i, sent_ms=i * 10_000.0) for i in range(150)])
    series = found.series
    assert series.step_s == 4
    assert len(series.t_s) == 373
    assert sum(series.sent) == 150
    for metric, steps in found.histograms.items():
        assert len(steps) == 373
        assert sum(sum(counts.values()) for counts in steps) == (300 if metric == "itl_ms" else 150)


def test_the_slowest_the_failed_and_a_sample_are_chosen_whatever_the_order() -> None:
    records = [made_record(i, sent_ms=i * 3.0, chunks_ms=(10.0, 20.0 + (i * 37) % 1_000)) for i in range(1_000)]
    records += [made_record(i, outcome=Outcome.RESET, chunks_ms=(), error="gone") for i in range(1_000, 1_150)]
    requests = _page_data(records).requests
    assert requests == _page_data(records[::-1]).requests
    times = sorted((20.0 + (i * 37) % 1_000 for i in range(1_000)), reverse=True)
    assert [row.e2el_ms for row in requests.slowest] == times[:200]
    assert [row.index for row in requests.failed] == list(range(1_000, 1_100))
    assert requests.failures == 150
    assert requests.failed[0].error == "gone"
    sample = [row.index for row in requests.sample]
    assert len(sample) == 250
    # Spread evenly over the run: each tenth has about its share.
    assert all(17 <= sum(115 * k <= i < 115 * (k + 1) for i in sample) <= 33 for k in range(10))


def test_a_run_without_requests_has_no_steps() -> None:
    found = _page_data([])
    assert found.histograms["ttft_ms"] == []
    assert found.requests == ShownRequests(slowest=[], failed=[], failures=0, sample=[])


def test_fine_counts_become_those_of_steps() -> None:
    values = np.random.default_rng(1).lognormal(16, 1, 5_000)
    fine, n = np.unique(bins_of_array(values), return_counts=True)
    counted = coarse(dict(zip(fine.tolist(), n.tolist(), strict=True)))
    assert counted == dict(sorted(Counter(bins_of(bins_of_array(values)).tolist()).items()))
    assert list(counted) == sorted(counted)
    assert coarse({}) == {}
