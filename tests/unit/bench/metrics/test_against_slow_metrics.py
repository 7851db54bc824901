"""Every metric of a table equals the slow computation for each of its records, for any records."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrics import loose_gaps, request_metrics, token_gaps
from bench.metrics.catalog import REQUEST_METRICS
from bench.metrics.histogram import LogHistogram
from bench.metrics.loose_gaps import LooseGaps, LoosePauses
from bench.metrics.objectives import meet_all, parse
from bench.metrics.tally import RecordTally
from bench.metrics.token_gaps import Pauses, TokenGaps
from bench.records import RequestRecord
from bench.records.record_table import Floats, RecordTable
from tests.support import slow_metrics
from tests.support.wild_records import wild_records

SEEDS, COUNTS = st.integers(0, 10**9), st.sampled_from([0, 1, 2, 30])


def drawn(seed: int, count: int) -> RecordTable:
    return RecordTable(wild_records(random.Random(seed), count))


def listed(values: Floats) -> list[float | None]:
    return [value if value == value else None for value in values.tolist()]


def of_rows(pauses: Pauses, rows: int) -> list[list[tuple[float, int]]]:
    """The pauses of each row, with the instant at which each ended."""
    found: list[list[tuple[float, int]]] = [[] for _ in range(rows)]
    for row, ns, end_ns in zip(pauses.row.tolist(), pauses.ns.tolist(), pauses.end_ns.tolist(), strict=True):
        found[row].append((ns, end_ns))
    borders = pauses.starts(rows).tolist()
    assert [len(of_row) for of_row in found] == [end - begin for begin, end in pairwise(borders)]
    assert pauses.row.tolist() == sorted(pauses.row.tolist())
    return found


def times(rows: list[list[tuple[float, int]]]) -> list[list[float]]:
    return [[ns for ns, _ in row] for row in rows]


MISSING = [metric.key for metric in REQUEST_METRICS.values() if not hasattr(slow_metrics, metric.key)]
"""Metrics of a request without a slow form."""

SLOW: dict[str, Callable[[RequestRecord], float | None]] = {
    **{
        metric.key: getattr(slow_metrics, metric.key)
        for metric in REQUEST_METRICS.values()
        if metric.key not in MISSING
    },
    "send_lateness_ms": slow_metrics.send_lateness_ms,
    "time_until_failure_ms": slow_metrics.time_until_failure_ms,
    "tokens_after_first_chunk": lambda record: (
        None if slow_metrics.first_token(record) is None else slow_metrics.tokens_after_first_chunk(record)
    ),
    "first_open_ms": lambda record: slow_metrics.open_ms(record, slow_metrics.first_token(record)),
    "last_open_ms": lambda record: slow_metrics.open_ms(record, slow_metrics.last_answer(record)),
    "image_open_ms": lambda record: slow_metrics.open_ms(record, slow_metrics.first_image(record)),
    "output_open_ms": lambda record: slow_metrics.open_ms(record, slow_metrics.first_output(record)),
    "output_tokens": slow_metrics.output_tokens,
    "hidden_tokens": slow_metrics.hidden_tokens,
}


FAST = {metric.key: metric.of for metric in REQUEST_METRICS.values()}


def test_every_metric_of_a_request_has_a_slow_form() -> None:
    assert not MISSING, (
        "add a function of this name, which computes the metric of one record, to tests/support/slow_metrics.py"
    )


@given(SEEDS, COUNTS)
def test_metrics_of_requests_are_those_of_the_slow_form(seed: int, count: int) -> None:
    table = drawn(seed, count)
    for name, slow in SLOW.items():
        fast = FAST.get(name) or getattr(request_metrics, name)
        assert listed(fast(table)) == [
            None if value is None else pytest.approx(value, rel=1e-12) for value in map(slow, table.records)
        ], name


@given(SEEDS, COUNTS)
def test_gaps_itl_and_stalls_are_those_of_the_slow_form(seed: int, count: int) -> None:
    table = drawn(seed, count)
    gaps = of_rows(token_gaps.chunk_gap_ns(table), count)
    itl = of_rows(token_gaps.itl_ns(table), count)

    assert times(gaps) == list(map(slow_metrics.chunk_gaps_ns, table.records))
    assert times(itl) == [pytest.approx(slow_metrics.itl_ns(record), rel=1e-12) for record in table.records]
    assert times(of_rows(token_gaps.stalls(token_gaps.TokenGaps(table).gaps), count)) == [
        slow_metrics.stalls_ns(slow_metrics.chunk_gaps_ns(record)) for record in table.records
    ]
    for record, of_gaps, of_itl in zip(table.records, gaps, itl, strict=True):
        arrivals = slow_metrics.token_chunk_ns(record)[1:]
        tokens = slow_metrics.token_chunk_tokens(record)
        assert [end_ns for _, end_ns in of_gaps] == (arrivals if of_gaps else [])
        by = [1] * len(arrivals) if tokens is None else tokens[1:]
        assert [end_ns for _, end_ns in of_itl] == (
            [at for at, n in zip(arrivals, by, strict=True) for _ in range(n)] if of_gaps else []
        )


@given(SEEDS, COUNTS)
def test_widths_of_bounds_are_those_of_the_slow_form(seed: int, count: int) -> None:
    table = drawn(seed, count)
    widths = [width for record in table.records for width in slow_metrics.stamp_bound_widths_ns(record)]
    tally = RecordTally()
    tally.add(table)
    found = tally.stamp_bounds(LogHistogram().snapshot()).width_ms

    assert found.n == len(widths)
    if widths:
        assert (found.min, found.max) == pytest.approx((min(widths) / 1e6, max(widths) / 1e6))
        assert found.mean == pytest.approx(sum(widths) / len(widths) / 1e6)


@given(SEEDS, COUNTS)
def test_what_stamps_leave_open_of_a_table_is_what_they_leave_open_of_each_record(seed: int, count: int) -> None:
    table = drawn(seed, count)
    loose = open_pauses(table)
    for row, record in enumerate(table.records):
        alone = open_pauses(RecordTable([record]))
        for name, own in (("gaps", slow_metrics.chunk_gaps_ns(record)), ("itl", slow_metrics.itl_ns(record))):
            values, least, most = found = pauses_of_row(loose, name, row)
            assert found == pauses_of_row(alone, name, 0)
            # The values are some of the request's pauses, and their sum is within its bounds.
            assert not Counter(values) - Counter(own)
            assert min(least, default=0.0) >= 0
            assert sum(least) * (1 - 1e-9) <= sum(values) <= sum(most) * (1 + 1e-9)


def open_pauses(table: RecordTable) -> LooseGaps | None:
    return loose_gaps.loose_gaps(table, TokenGaps(table))


def pauses_of_row(loose: LooseGaps | None, name: str, row: int) -> tuple[list[float], list[float], list[float]]:
    if loose is None:
        return [], [], []
    pauses: LoosePauses = getattr(loose, name)
    rows = pauses.row == row
    return pauses.values[rows].tolist(), pauses.least[rows].tolist(), pauses.most[rows].tolist()


@given(SEEDS, COUNTS)
def test_a_good_request_keeps_limits_by_its_own_slow_values(seed: int, count: int) -> None:
    table = drawn(seed, count)
    kept = {
        text: [record.outcome == "ok" and keeps(record) for record in table.records] for text, keeps in LIMITS.items()
    }
    for text, good in kept.items():
        assert meet_all(table, parse([text])).tolist() == good, text
    assert meet_all(table, parse(LIMITS)).tolist() == [all(of_record) for of_record in zip(*kept.values(), strict=True)]


def _least(values: Sequence[float | None]) -> float:
    return min((value for value in values if value is not None), default=0.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


LIMITS: dict[str, Callable[[RequestRecord], bool]] = {
    "ttft<40ms": lambda record: _least([slow_metrics.ttft_ms(record)]) < 40,
    "tpot<=12ms": lambda record: _least([slow_metrics.tpot_ms(record)]) <= 12,
    "itl:max<300ms": lambda record: max(slow_metrics.itl_ns(record), default=0.0) < 300e6,
    "chunk_gap{class=a}:mean<50ms": lambda record: (
        record.traffic_class != "a" or _mean(slow_metrics.chunk_gaps_ns(record)) < 50e6
    ),
    "ttft{model=m}<20ms": lambda record: record.model != "m" or _least([slow_metrics.ttft_ms(record)]) < 20,
}
