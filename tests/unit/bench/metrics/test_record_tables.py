"""Tables of records: their borders affect no number, and their content is consistent."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import RecordError
from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse
from bench.metrics.summary import Summary
from bench.records import MOST_TOKENS, Outcome, RequestRecord, checked, from_line, record_table, to_line
from bench.records.record_table import Ints, RecordTable, tables
from bench.server_metrics.client_totals import ClientTotals
from tests.support.changed import replace
from tests.support.made_records import MS, START_NS, made_record
from tests.support.wild_records import wild_record, wild_records

OBJECTIVES = (
    (),
    ("ttft:p99<60ms",),
    ("tpot<15ms", "tps>80", "error_rate<1%"),
    ("itl:p99<20ms", "goodput>=90%"),
    ("chunk_gap:mean<20ms", "ttft{class=a}<50ms", "goodput{class=a}>=50%", "itl:max<100ms"),
)
PARTS: tuple[dict[str, Any], ...] = ({}, {"models": ("m", "n"), "model": "m"}, {"classes": ("a", "b", "z")})


def facts_of(**fields: Any) -> RunFacts:
    usual: dict[str, Any] = {
        "mode": "concurrency",
        "open_loop": False,
        "endpoint": "chat",
        "start_ns": START_NS,
        "seed": 3,
    }
    return RunFacts(**(usual | fields))


def numbers(facts: RunFacts, pieces: Iterable[Sequence[RequestRecord]]) -> bytes:
    """Everything computed from records that come in these tables."""
    summary, totals = Summary(facts), ClientTotals()
    for piece in pieces:
        table = RecordTable(piece)
        summary.add(table)
        totals.add(table)
    told = {name: getattr(totals, name) for name in ("sent", "succeeded", "unsure", "input_tokens", "output_tokens",
                                                     "cached_tokens", "draft_tokens", "last_end_ns", "ttfts_s")}  # fmt: skip
    plan = summary.cache_plan.against(0.5)
    return msgspec.json.encode([summary.close(), summary.page_data(), plan, told])


def cut(chance: random.Random, records: Sequence[RequestRecord], longest: int) -> Iterator[Sequence[RequestRecord]]:
    """The records in another order, in pieces of any size, some of them empty."""
    left = chance.sample(records, len(records))
    while left:
        size = chance.randint(0, longest)
        yield left[:size]
        left = left[size:]


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10**9),
    count=st.sampled_from([1, 3, 40, 300]),
    open_loop=st.booleans(),
    objectives=st.sampled_from(OBJECTIVES),
    parts=st.sampled_from(PARTS),
)
def test_numbers_depend_neither_on_the_order_of_records_nor_on_the_borders_of_tables(
    seed: int, count: int, open_loop: bool, objectives: tuple[str, ...], parts: dict[str, Any]
) -> None:
    chance, facts = random.Random(seed), facts_of(open_loop=open_loop, objectives=parse(objectives), **parts)
    records = wild_records(chance, count)

    assert numbers(facts, cut(chance, records, longest=40)) == numbers(facts, [records])


def test_nor_do_the_numbers_of_a_run_whose_gaps_are_no_longer_all_held() -> None:
    chance, facts = random.Random(5), facts_of()
    records = [made_record(i, sent_ms=i * 9.0, chunks_ms=[30 + 20 * k + chance.random() for k in range(130)])
               for i in range(1_700)]  # fmt: skip
    found = numbers(facts, [records])

    assert orjson.loads(found)[0]["latency"]["itl_ms"]["quantiles"] != "exact"
    assert found == numbers(facts, cut(chance, records, longest=400))


def test_chunks_are_told_apart_by_their_letters() -> None:
    table = RecordTable(
        [made_record(0, chunks_ms=range(1, 8), kinds="rciaftu"), made_record(1, chunks_ms=[9], kinds="i")]
    )
    of_kinds = {"tokens": table.token_chunks, "images": table.image_chunks, "audio": table.audio_chunks}
    assert {name: chunks.at.tolist() for name, chunks in of_kinds.items()} == {
        "tokens": [1, 4, 5], "images": [2, 7], "audio": [3],
    }  # fmt: skip
    assert table.image_chunks.counts.tolist() == [1, 1]


THREE = RecordTable([
    made_record(0, chunks_ms=[10, 20, 30], kinds="rct", tokens=(0, 2, 300), cached_tokens=7),
    made_record(1, chunks_ms=[], phase="warmup", outcome=Outcome.RESET, tokens=None),
    made_record(2, chunks_ms=[40, 50], kinds="ac", tokens=None, chunk_bound_ns=(None, START_NS + 41 * MS),
                chunk_audio_bytes=(9, 0), outcome=Outcome.CANCELLED),
])  # fmt: skip


def test_columns_hold_what_each_record_says() -> None:
    assert len(THREE) == 3
    assert (THREE.ok.tolist(), THREE.failed.tolist()) == ([True, False, False], [False, True, False])
    assert THREE.ended({Outcome.OK, Outcome.RESET}).tolist() == [True, True, False]
    assert (THREE.is_run.tolist(), THREE.equals("index", 2).tolist()) == ([True, False, True], [False, False, True])
    assert (THREE.has("cached_tokens").tolist(), THREE.has("index").tolist()) == ([True, False, False], [True] * 3)
    assert (THREE.ints("cached_tokens").tolist(), THREE.ints("index").tolist()) == ([7, 0, 0], [0, 1, 2])
    assert [str(value) for value in THREE.floats("cached_tokens")] == ["7.0", "nan", "nan"]
    assert [record.index for record in THREE.where(np.array([True, False, True])).records] == [0, 2]
    assert THREE.where(np.array([True] * 3)) is THREE


def test_chunks_of_all_records_follow_each_other() -> None:
    assert (THREE.sizes.tolist(), THREE.starts.tolist()) == ([3, 0, 2], [0, 3, 3])
    assert THREE.chunk_row.tolist() == [0, 0, 0, 2, 2]
    assert ((THREE.chunk_ns - START_NS) // MS).tolist() == [10, 20, 30, 40, 50]
    assert THREE.chunk_kind.tobytes() == b"rctac"
    assert (THREE.has_chunk_tokens.tolist(), THREE.chunk_tokens.tolist()) == ([True, False, False], [0, 2, 300, 0, 0])
    assert RecordTable(THREE.records[:1]).chunk_tokens.tolist() == [0, 2, 300]
    assert RecordTable([made_record(tokens=(0, 255, 1))]).chunk_tokens.tolist() == [0, 255, 1]
    assert THREE.chunk_bounds[0].tolist() == [False] * 4 + [True]
    assert THREE.chunk_bounds[1].tolist() == [0, 0, 0, 0, START_NS + 41 * MS]
    assert THREE.chunk_audio_bytes.tolist() == [0, 0, 0, 9, 0]
    assert (THREE.has_audio, RecordTable(THREE.records[:2]).has_audio) == (True, False)
    assert THREE.bounded
    assert RecordTable([replace(THREE.records[2], chunk_bound_ns=(None, 0))]).bounded, "0 is a valid instant"
    assert not RecordTable(THREE.records[:2]).bounded
    assert not RecordTable([replace(THREE.records[2], chunk_bound_ns=(None, None))]).bounded


def test_token_chunks_are_summed_and_found_by_row() -> None:
    chunks = THREE.token_chunks
    assert (chunks.at.tolist(), chunks.row.tolist(), chunks.tokens.tolist()) == ([1, 2, 4], [0, 0, 2], [2, 300, 0])
    assert (chunks.counts.tolist(), chunks.starts.tolist()) == ([2, 0, 1], [0, 2, 2])
    assert ((chunks.ns - START_NS) // MS).tolist() == [20, 30, 50]
    assert ((chunks.earliest - START_NS) // MS).tolist() == [20, 30, 41]
    assert (chunks.first(chunks.at).tolist(), chunks.last(chunks.at).tolist()) == ([1, 0, 4], [2, 0, 4])
    assert chunks.sums(chunks.tokens).tolist() == [302, 0, 0]
    later = replace(THREE.records[2], chunk_bound_ns=(None, START_NS + 60 * MS))
    assert ((RecordTable([later]).token_chunks.earliest - START_NS) // MS).tolist() == [50], (
        "a chunk is never later than its stamp"
    )


# ---- Reading -------------------------------------------------------------------------------------------------------


def read(lines: Iterable[bytes]) -> list[RequestRecord]:
    return [record for table in tables(enumerate(lines, 1), "records") for record in table.records]


@pytest.mark.parametrize(("chunks", "records"), [(1, 1_000), (37, 1_000), (1_000_000, 7), (1_000_000, 1_000)])
def test_every_record_of_a_file_is_in_a_table_and_tables_are_bounded(
    monkeypatch: pytest.MonkeyPatch, chunks: int, records: int
) -> None:
    monkeypatch.setattr(record_table, "MOST_CHUNKS", chunks)
    monkeypatch.setattr(record_table, "MOST_RECORDS", records)
    written = wild_records(random.Random(1), 100)
    found = list(tables(enumerate(map(to_line, written), 1), "records"))

    assert [record for table in found for record in table.records] == written
    for table in found:
        # Only the last record of a table may exceed the bound.
        assert entries(table)[:-1].sum() < chunks
        assert 0 < len(table) <= records
    assert all(entries(table).sum() >= chunks or len(table) == records for table in found[:-1])


def entries(table: RecordTable) -> Ints:
    """How many entries each record has in the longest of its columns: one per chunk, and one per token of it."""
    tokens = np.bincount(table.chunk_row, weights=table.chunk_tokens, minlength=len(table))
    return np.maximum(table.sizes, tokens.astype(np.int64))


def test_tokens_that_a_server_claims_fill_a_table_as_chunks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_table, "MOST_CHUNKS", 1_000)
    lines = [to_line(made_record(index, chunks_ms=(50, 60), tokens=(1, 600))) for index in range(6)]
    assert [len(table) for table in tables(enumerate(lines, 1), "records")] == [2, 2, 2]


def test_a_table_holds_4096_records_or_65536_chunks_or_tokens() -> None:
    lines = [to_line(made_record(index, chunks_ms=())) for index in range(4_097)]
    assert [len(table) for table in tables(enumerate(lines, 1), "records")] == [4_096, 1]
    lines = [to_line(made_record(chunks_ms=[50] * size, tokens=tokens))
             for size, tokens in ((1, (65_535,)), (1, (1,)), (65_535, None), (1, None), (1, None))]  # fmt: skip
    assert [len(table) for table in tables(enumerate(lines, 1), "records")] == [2, 2, 1]


def test_a_record_of_the_second_table_is_named_by_its_line_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_table, "MOST_RECORDS", 3)
    lines = [to_line(made_record(index)) for index in range(8)]
    lines[4] = line_of(made_record(4), end_ns=0)
    with pytest.raises(RecordError, match="records, line 5: end_ns"):
        read(lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"chunk_ns":[', b'"chunk_ns":[x'),
        (b'"sent_ns":', b'"sent_ns":,'),
        (b'"outcome":"ok"', b'"outcome":"fine"'),
        (b'"phase":"run"', b'"phase":"walk"'),
        (b'"attempts":1', b'"attemps":1'),
        (b'"status":200', b'"status":"200"'),
        (b'"index":3', b'"index":-3'),
        (b'"chunk_kind":"ccc"', b'"chunk_kind":"c"c"'),
        (b'"chunk_tokens":[1,1,1]', b'"chunk_tokens":[1,-1,1]'),
        (b'"id":"made-3"', b'"id":"\xff"'),
        (b"}\n", b"\n"),
    ],
)
def test_a_damaged_line_is_named_by_its_number(old: bytes, new: bytes) -> None:
    lines = [to_line(made_record(index)) for index in range(5)]
    assert old in lines[3]
    lines[3] = lines[3].replace(old, new)

    with pytest.raises(RecordError, match="records, line 4: "):
        read(lines)


@given(st.integers(0, 10**9), st.randoms(use_true_random=False))
def test_fields_are_read_in_any_order_with_and_without_those_that_have_their_defaults(
    seed: int, order: random.Random
) -> None:
    record = wild_record(random.Random(seed), 0)
    short = orjson.loads(to_line(record))
    long = {name: getattr(record, name) for name in record.__struct_fields__}
    for row in (short, long):
        fields = order.sample(list(row.items()), len(row))
        assert read([msgspec.json.encode(dict(fields))]) == [record]


SENT_NS = START_NS
"""When `made_record` is sent, and due."""
LATER = SENT_NS + 10**12
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"sent_ns": 0}, "sent_ns (0) is before eligible_ns"),
    ({"intended_ns": LATER}, "eligible_ns (7000000000000) is before intended_ns (8000000000000)"),
    ({"eligible_ns": LATER}, "sent_ns (7000000000000) is before eligible_ns (8000000000000)"),
    ({"sent_ns": LATER}, "first_byte_ns (7000050000000) is before sent_ns (8000000000000)"),
    ({"sent_ns": LATER, "first_byte_ns": None}, "end_ns (7000070000000) is before sent_ns (8000000000000)"),
    ({"eligible_ns": SENT_NS + 1_000_001}, "sent_ns (7000000000000) is before eligible_ns (7000001000001)"),
    ({"chunk_ns": (SENT_NS - 1_000_001, SENT_NS, SENT_NS)}, "chunk_ns (6999998999999 to 7000000000000) is not"),
    ({"chunk_ns": (SENT_NS, SENT_NS, SENT_NS + 71_000_001)}, "to 7000071000001) is not between the send"),
    ({"resent_ns": 5}, "resent_ns (5) is before sent_ns (7000000000000)"),
    (
        {"resent_ns": LATER, "end_ns": LATER, "first_byte_ns": LATER},
        "is not between the send (8000000000000) and end_ns",
    ),
    ({"first_byte_ns": 0}, "first_byte_ns (0) is before sent_ns (7000000000000)"),
    ({"end_ns": 0}, "end_ns (0) is before first_byte_ns"),
    ({"chunk_ns": (1, 2, 3)}, "chunk_ns (1 to 3) is not between the send (7000000000000) and end_ns (7000070000000)"),
    ({"chunk_ns": (SENT_NS + 1, SENT_NS + 2, LATER)}, "is not between the send"),
    ({"chunk_ns": (SENT_NS + 1, SENT_NS + 5, SENT_NS + 3)}, "chunk_ns does not ascend"),
    ({"chunk_ns": (SENT_NS + 1, SENT_NS + 5)}, "chunk_kind has 3 entries, and chunk_ns has 2"),
    ({"chunk_kind": "cccc"}, "chunk_kind has 4 entries, and chunk_ns has 3"),
    ({"chunk_tokens": (1, 1)}, "chunk_tokens has 2 entries, and chunk_ns has 3"),
    ({"chunk_bound_ns": (None,) * 4}, "chunk_bound_ns has 4 entries, and chunk_ns has 3"),
    ({"chunk_audio_bytes": (1,)}, "chunk_audio_bytes has 1 entries, and chunk_ns has 3"),
    ({"chunk_kind": "ccx"}, "chunk_kind must hold letters of acfiortu"),
    ({"chunk_kind": "ccé"}, "chunk_kind must hold letters of acfiortu"),
    ({"chunk_tokens": (1, MOST_TOKENS, 0)}, "no reply has more than 10,000,000 tokens"),
]


def line_of(record: RequestRecord, **other: Any) -> bytes:
    return orjson.dumps(orjson.loads(to_line(record)) | other)


@pytest.mark.parametrize(("other", "said"), IMPOSSIBLE)
def test_a_record_whose_parts_cannot_be_of_one_request_is_refused_by_its_line(other: dict[str, Any], said: str) -> None:
    lines = [to_line(made_record(index)) for index in range(5)]
    lines[3] = line_of(made_record(3), **other)
    with pytest.raises(RecordError, match=f"records, line 4: .*{re.escape(said)}"):
        read(lines)


@pytest.mark.parametrize(
    "other",
    [
        {"eligible_ns": SENT_NS + 1_000_000},
        {"end_ns": SENT_NS + 69_000_000},
        {"chunk_ns": (SENT_NS - 1_000_000, SENT_NS + 5, SENT_NS + 5)},
        {"chunk_ns": (SENT_NS, SENT_NS + 5, SENT_NS + 71_000_000)},
        {"chunk_tokens": (0, MOST_TOKENS, 0)},
        {"eligible_ns": None, "sent_ns": None, "first_byte_ns": None},
    ],
)
def test_a_timer_may_be_a_little_early_and_what_did_not_happen_is_in_no_order(other: dict[str, Any]) -> None:
    line = line_of(made_record(), **other)
    assert read([line]) == [from_line(line)]
    assert record_table._fits(RecordTable([from_line(line)])), "the record is not checked on its own"


MOMENTS = ("intended_ns", "eligible_ns", "sent_ns", "resent_ns", "first_byte_ns", "end_ns")


@given(st.integers(0, 10**9), st.integers(1, 12))
def test_a_table_is_refused_for_the_first_of_its_records_that_does_not_fit(seed: int, count: int) -> None:
    chance = random.Random(seed)
    records = wild_records(chance, count)
    for row in chance.sample(range(count), chance.randint(0, min(3, count))):
        others: list[dict[str, Any]] = [
            {chance.choice(MOMENTS): chance.choice([0, SENT_NS, SENT_NS + 10**8, LATER, 1 << 62])},
            {"chunk_ns": chance.sample(records[row].chunk_ns, len(records[row].chunk_ns))},
            {"chunk_ns": [chance.choice([0, LATER]) for _ in records[row].chunk_ns]},
            {chance.choice(["chunk_kind", "chunk_tokens", "chunk_bound_ns", "chunk_ns"]): ()},
        ]
        other = chance.choice(others)
        if other.get("chunk_kind") == ():
            other = {"chunk_kind": chance.choice(["", "c", "ccx"])}
        records[row] = from_line(line_of(records[row], **other))
    expected = next(((number, problem) for number, problem in enumerate(map(problem_of, records), 1) if problem), None)
    lines = list(map(to_line, records))

    # If all records fit, none is checked on its own.
    assert record_table._fits(RecordTable(records)) is (expected is None)
    if expected is None:
        assert read(lines) == records
    else:
        with pytest.raises(RecordError) as raised:
            read(lines)
        assert str(raised.value) == "records, line {}: {}".format(*expected)


def problem_of(record: RequestRecord) -> str | None:
    try:
        checked(record)
    except RecordError as e:
        return str(e)
    return None
