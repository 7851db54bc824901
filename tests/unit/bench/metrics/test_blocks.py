"""Records that are added in blocks give the numbers that they give one by one."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import RecordError
from bench.metrics.block_times import BlockTimes
from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse
from bench.metrics.per_request import NS_PER_MS
from bench.metrics.summary import Summary
from bench.records import Outcome, RequestRecord, from_line, to_line
from bench.run_files import record_blocks
from bench.run_files.record_blocks import PlainBlock
from bench.server_metrics.client_totals import ClientTotals
from tests.support.made_records import START_NS, made_record

HEADS, TAILS = ("", "r", "ro", "or"), ("", "o", "uo", "ouo", "u")


def facts_of(**fields: Any) -> RunFacts:
    usual: dict[str, Any] = {
        "mode": "concurrency",
        "open_loop": False,
        "endpoint": "chat",
        "start_ns": START_NS,
        "seed": 3,
    }
    return RunFacts(**(usual | fields))


def numbers(lines: Iterable[bytes]) -> Iterable[tuple[int, bytes]]:
    return enumerate(lines, 1)


def drawn(chance: random.Random, index: int, *, plain: bool) -> RequestRecord:
    """A record as a server may leave it: a plain one, or any."""
    tokens = chance.choice([1, 1, 2, 3, 4, 9, 40])
    kinds = chance.choice(HEADS) + "c" * tokens + chance.choice(TAILS)
    at, times = chance.uniform(1, 80), []
    for _ in kinds:
        times.append(at)
        at += chance.choice([0.0, 0.0, 0.4, 10.0, 10.0, 10.3, 150.0, 700.0]) * chance.uniform(0.9, 1.1)
    fields: dict[str, Any] = {}
    said = chance.choice(["usage", "usage", "usage", "tokenizer", "chunks", None])
    fields["output_tokens_from"] = said
    fields["output_tokens"] = chance.choice([None, tokens, tokens, tokens, tokens + 1, max(1, tokens - 1)])
    fields["output_tokens_asked"] = chance.choice([None, tokens, tokens + 2, tokens - 1])
    fields["output_tokens_counted"] = chance.choice([None, None, tokens, tokens + 1])
    fields["input_tokens"] = chance.choice([None, 0, 100, 104])
    fields["input_tokens_asked"] = chance.choice([None, 0, 100])
    fields["cached_tokens"] = chance.choice([None, None, 0, 4, 64])
    fields["reasoning_tokens"] = chance.choice([None, None, 0] if plain else [None, 0, 3])
    fields["tool_calls"] = chance.choice([None, 0, 0, 2])
    fields["usage_contradiction"] = chance.choice([None, None, None, f"said {index}"])
    fields["connect_ns"] = chance.choice([None, 0, 0, 300_000])
    fields["attempts"] = chance.choice([1, 1, 1, 2])
    fields["coalesced"] = chance.choice([0, 0, 3])
    fields["worker"] = chance.choice([0, 0, 1])
    fields["clock"] = chance.choice(["kernel", "user", "mixed"])
    fields["status"] = chance.choice([200, 200, 201, None])
    if not plain:
        other = chance.randrange(6)
        if other == 0:
            return made_record(index, chunks_ms=(), outcome=Outcome.RESET, error="gone")
        if other == 1:
            fields["phase"] = "warmup"
        elif other == 2:
            kinds = kinds.replace("cc", "tc")
        elif other == 3:
            fields |= {"chunk_tokens": None}
        elif other == 4:
            fields |= {"session_number": 1, "session_turns": 2, "turn": 0}
        else:
            return made_record(index, chunks_ms=(), outcome=Outcome.OK, inputs=3, output_tokens=None)
    sent_ms = chance.choice([index * 7.0, chance.uniform(0, 900)])
    sent = round(START_NS + sent_ms * NS_PER_MS)
    given_tokens: Any = fields.pop("chunk_tokens", ())
    record = made_record(
        index, sent_ms=sent_ms, chunks_ms=times, kinds=kinds, tokens=given_tokens,
        intended_ns=sent - chance.choice([0, 20_000]), eligible_ns=sent - chance.choice([0, 10_000]),
        end_ns=sent + round(at * NS_PER_MS), **fields,
    )  # fmt: skip
    if chance.random() < 0.4:
        width = chance.choice([0, 50_000, 3_000_000, 20_000_000])
        often = chance.choice([0.1, 0.5, 1.0])
        bounds = tuple(ns - chance.randint(0, width) if chance.random() < often else None for ns in record.chunk_ns)
        record = from_line(orjson.dumps(orjson.loads(to_line(record)) | {"chunk_bound_ns": bounds}))
    return record


def one_by_one(facts: RunFacts, records: Iterable[RequestRecord]) -> tuple[Summary, ClientTotals]:
    summary, totals = Summary(facts), ClientTotals()
    for record in records:
        summary.add(record)
        totals.add(record)
    return summary, totals


def in_blocks(facts: RunFacts, records: Iterable[RequestRecord]) -> tuple[Summary, ClientTotals, int]:
    summary, totals, taken = Summary(facts), ClientTotals(), 0
    for read in record_blocks.read(numbers(map(to_line, records)), "records"):
        if isinstance(read, PlainBlock):
            times = summary.takes(read)
            assert times is not None
            summary.add_block(times)
            totals.add_block(times)
            taken += len(read)
        else:
            summary.add(read)
            totals.add(read)
    return summary, totals, taken


def whole(summary: Summary, totals: ClientTotals) -> bytes:
    told = {name: getattr(totals, name) for name in ("sent", "succeeded", "unsure", "input_tokens", "output_tokens",
                                                     "cached_tokens", "draft_tokens", "last_end_ns", "ttfts_s")}  # fmt: skip
    return orjson.dumps([summary.close(), summary.page_data(), told], option=orjson.OPT_NON_STR_KEYS)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**9),
    plain_share=st.sampled_from([1.0, 0.8]),
    count=st.sampled_from([1, 3, 40, 300]),
    open_loop=st.booleans(),
    objectives=st.sampled_from([(), ("ttft:p99<60ms",), ("tpot<15ms", "tps>80", "error_rate<1%")]),
)
def test_blocks_give_the_numbers_of_their_records(
    seed: int, plain_share: float, count: int, open_loop: bool, objectives: tuple[str, ...]
) -> None:
    chance, facts = random.Random(seed), facts_of(open_loop=open_loop, objectives=parse(objectives))
    records = [drawn(chance, index, plain=chance.random() < plain_share) for index in range(count)]
    summary, totals, taken = in_blocks(facts, records)

    assert whole(summary, totals) == whole(*one_by_one(facts, records))
    if plain_share == 1.0:
        assert taken == count


def test_blocks_give_the_numbers_of_a_run_whose_gaps_are_no_longer_all_held() -> None:
    chance = random.Random(5)
    facts = facts_of()
    every = [made_record(i, sent_ms=i * 9.0, chunks_ms=[30 + 20 * k + chance.random() for k in range(130)])
             for i in range(1_700)]  # fmt: skip
    summary, totals, taken = in_blocks(facts, every)

    assert taken == len(every)
    assert whole(summary, totals) == whole(*one_by_one(facts, every))
    assert summary.close()["latency"]["itl_ms"]["quantiles"] != "exact"


def test_limits_on_tokens_and_parts_of_a_run_take_their_records_one_by_one() -> None:
    (block,) = record_blocks.read(numbers([to_line(made_record(0))]), "records")
    assert isinstance(block, PlainBlock)
    facts = facts_of()

    assert isinstance(Summary(facts).takes(block), BlockTimes)
    for other in ({"objectives": parse(["itl:p99<60ms"])}, {"classes": ("a", "b")}, {"models": ("a", "b")}):
        assert Summary(facts_of(**other)).takes(block) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"chunk_ns":[', b'"chunk_ns":[x'),
        (b'"sent_ns":', b'"sent_ns":,'),
        (b'"outcome":"ok"', b'"outcome":"fine"'),
        (b'"worker":0', b'"worke":0'),
        (b'"model":null', b'"model":nul'),
        (b'"chunk_kind":"', b'"chunk_kind":"c"'),
    ],
)
def test_a_damaged_line_among_plain_ones_is_named_by_its_number(old: bytes, new: bytes) -> None:
    lines = [to_line(made_record(index)) for index in range(5)]
    lines[3] = lines[3].replace(old, new)

    with pytest.raises(RecordError, match="records, line 4: "):
        list(record_blocks.read(numbers(lines), "records"))


SENT_NS = START_NS
"""When `made_record` is sent, and due."""
LATER = SENT_NS + 10**12
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"sent_ns": 0}, "sent_ns (0) is before eligible_ns"),
    ({"intended_ns": LATER}, "eligible_ns (7000000000000) is before intended_ns (8000000000000)"),
    ({"eligible_ns": LATER}, "sent_ns (7000000000000) is before eligible_ns (8000000000000)"),
    ({"sent_ns": LATER}, "first_byte_ns (7000050000000) is before sent_ns (8000000000000)"),
    ({"sent_ns": LATER, "first_byte_ns": None}, "end_ns (7000070000000) is before sent_ns (8000000000000)"),
    ({"resent_ns": 5}, "resent_ns (5) is before sent_ns (7000000000000)"),
    (
        {"resent_ns": LATER, "end_ns": LATER, "first_byte_ns": LATER},
        "is not between the send (8000000000000) and end_ns",
    ),
    ({"first_byte_ns": 0}, "first_byte_ns (0) is before sent_ns (7000000000000)"),
    ({"end_ns": 0}, "end_ns (0) is before first_byte_ns"),
    ({"chunk_ns": (1, 2, 3)}, "chunk_ns (1 to 3) is not between the send (7000000000000) and end_ns (7000070000000)"),
    ({"chunk_ns": (SENT_NS + 1, SENT_NS + 2, LATER)}, "is not between the send"),
    ({"chunk_ns": (SENT_NS + 1, SENT_NS + 2, 1 << 63)}, "is not between the send"),
    ({"chunk_ns": (SENT_NS + 1, SENT_NS + 5, SENT_NS + 3)}, "chunk_ns does not ascend"),
]


@pytest.mark.parametrize(("other", "said"), IMPOSSIBLE)
def test_a_record_whose_moments_are_in_no_possible_order_is_refused_by_its_line(
    other: dict[str, Any], said: str
) -> None:
    records = [made_record(index) for index in range(5)]
    lines = [to_line(record) for record in records]
    lines[3] = to_line(from_line(orjson.dumps(orjson.loads(lines[3]) | other)))
    with pytest.raises(RecordError, match=f"records, line 4: .*{re.escape(said)}"):
        list(record_blocks.read(numbers(lines), "records"))


@pytest.mark.parametrize("early_ns", [0, 900_000])
def test_a_timer_may_be_a_little_early(early_ns: int) -> None:
    record = from_line(orjson.dumps(orjson.loads(to_line(made_record())) | {"eligible_ns": SENT_NS + early_ns}))
    (block,) = record_blocks.read(numbers([to_line(record)]), "records")
    assert isinstance(block, PlainBlock)


@pytest.mark.parametrize(
    "other",
    [
        {"chunk_ns": (SENT_NS + 1, SENT_NS + 5)},
        {"chunk_bound_ns": (None, None)},
        {"chunk_tokens": (1, 2, 1)},
        {"chunk_kind": "ctc"},
        {"sent_ns": None},
        {"eligible_ns": SENT_NS + 0.5},
        {"session": "a"},
        {"model": "a"},
        {"server_queue_ms": 1.0},
        {"outcome": Outcome.CANCELLED},
    ],
)
def test_what_is_not_quite_plain_comes_as_a_record(other: dict[str, Any]) -> None:
    records = [made_record(index) for index in range(3)]
    records[1] = from_line(orjson.dumps(orjson.loads(to_line(records[1])) | other))
    read = list(record_blocks.read(numbers(map(to_line, records)), "records"))
    found = [one for each in read for one in (each.records() if isinstance(each, PlainBlock) else [each])]

    assert sorted(found, key=lambda record: record.index) == records
    assert records[1] in read
