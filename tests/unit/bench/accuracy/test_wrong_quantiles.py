"""Reports with correct values but wrong quantiles, for which a certificate names the mistake; and identical loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from bench.accuracy import coverage, plots
from bench.accuracy.compare import AVERAGED, TRUNCATED
from bench.accuracy.coverage import CertificateBrief
from bench.accuracy.pair_statistics import PairStatistics
from bench.results.base import to_plain
from tests.support.certified_run import LATENCY, RECORDS, certified, latency_of
from tests.support.changed import replace
from tests.support.made_ledger import made_line
from tests.support.made_records import MS, START_NS
from tests.unit.bench.accuracy.test_coverage import CERTIFICATE, SHAPE

ORDERS = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def ttfts(records: Any) -> list[float]:
    """Times to the first text, which is the second chunk."""
    return sorted((record.chunk_ns[1] - record.sent_ns) / MS for record in records)


def test_quantiles_at_a_truncated_index_are_named(tmp_path: Path) -> None:
    ordered = ttfts(RECORDS)
    row = LATENCY["ttft_ms"] | {stat: ordered[int(100 * p)] for stat, p in ORDERS.items()}
    found = certified(tmp_path, latency=LATENCY | {"ttft_ms": row})
    assert [cause["cause"] for cause in found["causes"] if cause["metric"] == "ttft_ms"] == [TRUNCATED]


def test_quantiles_that_are_means_of_those_of_the_workers_are_named(tmp_path: Path) -> None:
    # One worker's first tokens come 40 ms later than the other's.
    def later(record: Any) -> Any:
        first, *rest = record.chunk_ns
        moved = (first, *(at + 40 * MS for at in rest))
        return replace(record, worker=1, chunk_ns=moved, end_ns=record.end_ns + 40 * MS)

    records = [record if record.index % 2 else later(record) for record in RECORDS]
    workers = [ttfts(record for record in records if record.worker == number) for number in (0, 1)]
    latency = latency_of(records)
    means = {stat: float(numpy.mean([numpy.quantile(one, p) for one in workers])) for stat, p in ORDERS.items()}
    wrong = latency | {"ttft_ms": latency["ttft_ms"] | means}
    found = certified(tmp_path, records, [made_line(record) for record in records], wrong)
    assert [cause["cause"] for cause in found["causes"] if cause["metric"] == "ttft_ms"] == [AVERAGED]


def test_the_intervals_of_lags_are_one_two_and_five_times_the_powers_of_ten() -> None:
    pairs = PairStatistics(shared_clock=True, start_ns=START_NS, duration_s=30.0)
    borders = [0.0, *(float(f"{m}e{power}") for power in range(-3, 1) for m in (1, 2, 5)), 10.0, 50.0]
    pairs.lag.add([-1.0, *(border * 1.01 for border in borders[1:]), 0.0001])
    rows = to_plain(plots.build(pairs, {}, 30.0))["lag"]
    assert [(row["from_ms"], row["to_ms"], row["n"]) for row in rows] == [
        (low, high, 1) for low, high in zip([None, *borders], [*borders, None], strict=True)
    ]


@pytest.mark.parametrize(("factor", "kept"), [(1.099, 1), (1.1, 2), (1.101, 2)])
def test_loads_are_of_one_shape_where_their_sizes_are_less_than_a_tenth_apart(factor: float, kept: int) -> None:
    one = CertificateBrief.from_json(CERTIFICATE | {"shape": SHAPE | dict.fromkeys(coverage.SIZE, 1.0)})
    other = CertificateBrief.from_json(CERTIFICATE | {"shape": SHAPE | dict.fromkeys(coverage.SIZE, factor)})
    assert len(coverage.kept_with([other], one)) == kept
    # If a size is missing or zero on one side, the other sizes are still compared.
    unknown = CERTIFICATE | {"shape": SHAPE | dict.fromkeys(coverage.SIZE, 1.0) | {"chunks_per_s": None}}
    assert len(coverage.kept_with([one], CertificateBrief.from_json(unknown))) == 2
