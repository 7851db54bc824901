"""Replies without generated text, against the ledger: inputs and input tokens are compared, request by request."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import astuple

from bench.accuracy.join import Join
from bench.accuracy.truth import true_values
from bench.records import RequestRecord
from tests.support.changed import replace
from tests.support.made_ledger import ledger_of, made_line
from tests.support.made_records import made_record

RECORDS = [
    made_record(i, sent_ms=10 * i, chunks_ms=(), output_tokens=None, output_tokens_from=None, inputs=3, dimensions=8,
                bytes_received=400)
    for i in range(4)
]  # fmt: skip
LINES = [made_line(record) for record in RECORDS]


def problems(records: list[RequestRecord], lines: list[dict[str, Any]]) -> list[str]:
    joining = Join(ledger_of(lines))
    assert len(list(joining.pairs(records))) == 4
    return joining.problems()


def test_inputs_and_input_tokens_that_agree_are_counted() -> None:
    joining = Join(ledger_of(LINES))
    pairs = list(joining.pairs(RECORDS))
    assert joining.problems() == []
    assert [astuple(row) for row in joining.agreement()] == [
        ("requests", 4, 4), ("chunks", 0, 0), ("inputs", 12, 12), ("input tokens", 400, 400), ("bytes sent", 2_000, 2_000),
        ("bytes received", 1_600, 1_600), ("outcome ok", 4, 4), ("status 200", 4, 4),
    ]  # fmt: skip
    assert set(true_values(pairs[0])) == {"e2el_ms", "e2el_from_intended_ms"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"inputs": 2}, "requests whose number of inputs differs from the ledger (1): made-2 (2 here, 3 there)"),
        (
            {"input_tokens": 99},
            "requests whose number of tokens differs from the ledger (1): made-2 (99 here, 100 there)",
        ),
    ],
)
def test_a_count_that_differs_is_named(fields: dict[str, int], words: str) -> None:
    wrong = [replace(record, **fields) if record.index == 2 else record for record in RECORDS]
    assert problems(wrong, LINES) == [words]


@pytest.mark.parametrize("fault", ["usage_wrong", "usage_missing"])
def test_usage_that_the_mock_spoilt_on_purpose_is_no_fault_of_the_client(fault: str) -> None:
    record = replace(RECORDS[2], input_tokens=None)
    lines = [*LINES[:2], made_line(RECORDS[2], fault=fault), LINES[3]]
    assert problems([*RECORDS[:2], record, RECORDS[3]], lines) == []


def test_records_of_generated_text_are_compared_as_before() -> None:
    record = made_record(0)
    joining = Join(ledger_of([made_line(record)]))
    list(joining.pairs([record]))
    assert joining.problems() == []
    assert {row.what for row in joining.agreement()}.isdisjoint({"inputs", "input tokens"})
