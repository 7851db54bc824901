"""Totals do not depend on the order of the records: in one table, one by one, or in reverse order; and ties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.metrics.arrivals import FINEST_NS, Arrivals
from bench.metrics.cache_plan import CachePlan
from bench.metrics.cancelled import Cancelled
from bench.metrics.catalog import OF_FEW, request_values
from bench.metrics.chosen_requests import ChosenRequests, ShownRequest
from bench.metrics.columns import NONE, Columns, happened
from bench.metrics.inputs import Inputs
from bench.metrics.job_numbers import FreshTokens
from bench.records import Outcome, RequestRecord
from bench.results.base import to_plain
from tests.support.made_records import MS, START_NS, made_record
from tests.support.tables import ints, table_of


def columns_of(tables: Sequence[Sequence[RequestRecord]]) -> Columns:
    columns = Columns(START_NS)
    for records in tables:
        table = table_of(*records)
        columns.add(table, request_values(table), table.ints("index") % 2 == 0)
    columns.sort()
    return columns


def shown(tables: Sequence[Sequence[RequestRecord]]) -> dict[str, Any]:
    columns = columns_of(tables)
    fields = {**vars(columns), **columns.metrics}
    return {name: str(list(of)) for name, of in fields.items() if hasattr(of, "__len__") and len(of) == len(columns)}


def folded(made: Any, tables: Sequence[Sequence[RequestRecord]], *args: Any) -> Any:
    for records in tables:
        made.add(table_of(*records))
    return to_plain(made.describe(*args))


def plan(tables: Sequence[Sequence[RequestRecord]]) -> Any:
    made = CachePlan()
    for records in tables:
        made.add(table_of(*records))
    return made.against(0.3)


KINDS: list[tuple[Outcome, dict[str, Any]]] = [
    (Outcome.OK, {"input_tokens": 90, "cached_tokens_planned": 40, "cached_tokens": 30, "inputs": 2, "dimensions": 8}),
    (Outcome.RESET, {"status": 200, "inputs": 3, "eligible_ns": None}),
    (Outcome.CANCELLED, {"bytes_received": 70}),
    (Outcome.OK, {"input_tokens": 50, "cached_tokens_planned": 10, "inputs": 5, "bytes_sent": 20}),
    (Outcome.OK, {"input_tokens": 70, "cached_tokens_planned": 5, "cached_tokens": 25, "dimensions": 8}),
    (Outcome.DROPPED, {"sent_ns": None, "chunks_ms": (), "input_tokens": None}),
    (Outcome.CANCELLED, {"bytes_received": 30}),
    (Outcome.OK, {"input_tokens": 80}),
]
MIXED = [
    made_record(index, sent_ms=7 * index, outcome=outcome, **{"chunks_ms": (5, 9 + index)} | fields)
    for index, (outcome, fields) in enumerate(KINDS)
]


@pytest.mark.parametrize(
    "numbers",
    [
        shown,
        plan,
        lambda tables: folded(Cancelled(), tables, 2.0),
        lambda tables: folded(Inputs(), tables, "images"),
        lambda tables: folded(FreshTokens(), tables, [], 2.0),
    ],
    ids=["columns", "cache plan", "cancelled", "inputs", "fresh tokens"],
)
def test_tables_add_up(numbers: Callable[[Sequence[Sequence[RequestRecord]]], Any]) -> None:
    whole = numbers([MIXED])
    assert numbers([[record] for record in MIXED]) == whole
    assert numbers([[record] for record in MIXED[::-1]]) == whole
    assert numbers([MIXED[5:], MIXED[:5]]) == whole


def test_columns_have_what_happened_since_the_start_of_the_run() -> None:
    columns = columns_of([MIXED])
    assert [bytes(of) for of in (columns.ok, columns.failed, columns.good)] == [
        bytes(map(int, of)) for of in ("10011001", "01000000", "10101010")
    ]  # fmt: skip
    assert [round(at / MS) for at in columns.intended] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert [round(at / MS) for at in happened(columns.eligible)] == [0, 14, 21, 28, 35, 42, 49]
    assert [round(at / MS) for at in happened(columns.sent)] == [0, 7, 14, 21, 28, 42, 49]
    assert list(columns.output_tokens) == [2, 0, 0, 2, 2, 0, 0, 2]
    assert list(columns.status) == [200, 200, 0, 200, 200, -1, 0, 200]
    assert {outcome: rows.tolist() for outcome, rows in columns.failed_rows().items()} == {Outcome.RESET: [1]}
    assert happened([1.0, NONE, 2.0]) == [1.0, 2.0]
    # All stamps are exact.
    assert (columns.bounded, columns.least, columns.greatest) == (False, {}, {})


# ---- Requests of a page ----------------------------------------------------------------------------------------------


def chosen(tables: Sequence[Sequence[RequestRecord]]) -> dict[str, list[ShownRequest]]:
    made = ChosenRequests(START_NS)
    for records in tables:
        table = table_of(*records)
        made.add(table, request_values(table))
    found = made.describe()
    assert found.failures == 103
    return {"slowest": list(found.slowest), "failed": list(found.failed), "sample": list(found.sample)}


def test_of_equal_requests_those_with_the_lowest_index_are_chosen_however_they_come() -> None:
    # All requests except two are equally slow.
    times = {150: 90.0, 60: 30.0}
    records = [made_record(i, chunks_ms=(10, times.get(i, 50.0))) for i in range(260)]
    records += [made_record(i, outcome=Outcome.RESET, chunks_ms=()) for i in range(300, 403)]
    whole = chosen([records])
    assert [row.index for row in whole["slowest"]] == [150, *(i for i in range(201) if i not in (60, 150))]
    assert [row.index for row in whole["failed"]] == list(range(300, 400))
    assert [row.index for row in whole["sample"]] == sorted({row.index for row in whole["sample"]})
    for other in ([[one] for one in records], [[one] for one in records[::-1]], [records[100:], records[:100]]):
        assert chosen(other) == whole


# ---- Amounts over time -----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-200, 400), st.integers(1, 9)), max_size=30),
    st.integers(1, 40),
    st.integers(-150, 300),
    st.integers(1, 90),
    st.integers(0, 12),
)
@example([(3, 4), (3, 5)], 9, 0, 10, 2)  # A slot ends one ns before a step.
def test_the_amounts_of_steps_are_those_between_their_ends(
    came: list[tuple[int, int]], width: int, start: int, step: int, steps: int
) -> None:
    whole, each = Arrivals(width), Arrivals(width)
    for some in (came[: len(came) // 2], came[len(came) // 2 :]):
        whole.add(ints(*(at for at, _ in some)), ints(*(amount for _, amount in some)))
    for at, amount in came:
        each.add(ints(*[at] * amount))
    assert whole.slots == each.slots
    # By ns: an amount is spread evenly over the ns of its slot.
    of_ns = {
        at: amount / width for slot, amount in whole.slots.items() for at in range(slot * width, (slot + 1) * width)
    }
    ends = [(start + k * step, start + (k + 1) * step) for k in range(steps)]
    by_hand = [sum(of_ns.get(at, 0.0) for at in range(*each_end)) for each_end in ends]
    assert whole.per_step(start, step, steps) == pytest.approx(by_hand)
    assert [whole.between(*each_end) for each_end in ends] == pytest.approx(by_hand)


@given(st.lists(st.tuples(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 50)), max_size=6))
@example([([5, 6], 10), ([7, 8], 30)])
def test_a_spread_amount_is_at_each_of_its_times_in_turn(rows: list[tuple[list[int], int]]) -> None:
    at_once, by_hand = Arrivals(10), dict[int, int]()
    times = [sorted(of) for of, _ in rows]
    starts = [sum(map(len, times[:k])) for k in range(len(rows))]
    at_once.spread(ints(*(at for of in times for at in of)), ints(*starts), ints(*(amount for _, amount in rows)))
    for of, amount in zip(times, (amount for _, amount in rows), strict=True):
        for k, at in enumerate(of):
            share = amount * (k + 1) // len(of) - amount * k // len(of)
            by_hand[at // 10] = by_hand.get(at // 10, 0) + share
    assert {slot: amount for slot, amount in at_once.slots.items() if amount} == {
        slot: amount for slot, amount in by_hand.items() if amount
    }
    assert FINEST_NS == 1_000_000_000 / 128


def test_the_metrics_of_few_endpoints_are_those_of_audio_and_images() -> None:
    assert {"ttfa", "rtf", "playback_stall", "playback_stalls", "audio", "wer", "ttfi"} == OF_FEW
    assert np.isnan(NONE)
