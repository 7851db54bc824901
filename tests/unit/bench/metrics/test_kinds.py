"""Tokens and chunks by the kind of their text, and replies with tool calls."""

from __future__ import annotations

from typing import Any

import pytest

from bench.metrics.kinds import KindTally
from bench.metrics.tally import RecordTally
from bench.metrics.token_gaps import TokenGaps
from bench.results.base import to_plain
from tests.support.made_records import made_record
from tests.support.tables import ints, table_of


def tally(*rows: tuple[dict[str, Any], int]) -> dict[str, Any]:
    """The tally from a table per reply, in either order, and from one table of all replies."""
    records, n = [made_record(**fields) for fields, _ in rows], [n for _, n in rows]
    each = [(table_of(record), ints(own)) for record, own in zip(records, n, strict=True)]
    found = []
    for tables in (each, each[::-1], [(table_of(*records), ints(*n))]):
        folded = KindTally()
        for table, tokens in tables:
            folded.add(table, tokens)
        found.append({"kinds": to_plain(folded.kinds()), "tool_calls": to_plain(folded.tool_calls())})
    assert found[0] == found[1] == found[2]
    return found[0]


def kinds(letters: str, tokens: tuple[int, ...] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "chunks_ms": tuple(float(50 + i) for i in range(len(letters))), "kinds": letters, "tokens": tokens, **fields
    }  # fmt: skip


def test_tokens_go_to_the_kind_of_their_chunk() -> None:
    found = tally((kinds("rttcfu", (0, 1, 2, 3, 4, 0)), 10))["kinds"]
    assert found["reasoning"] == {"chunks": 2, "tokens": 3}
    assert found["content"] == {"chunks": 1, "tokens": 3}
    assert found["tool_calls"] == {"chunks": 1, "tokens": 4}
    assert found["requests_with_unknown_tokens"] == 0
    both = tally((kinds("tc", (1, 2)), 3), (kinds("tcc", (4, 8, 16)), 28), (kinds("c"), 32))["kinds"]
    assert (both["reasoning"], both["content"]) == ({"chunks": 2, "tokens": 5}, {"chunks": 4, "tokens": 58})


def test_a_reply_of_one_kind_needs_no_tokens_a_chunk() -> None:
    found = tally((kinds("ff"), 9), (kinds("tc"), 7), (kinds("ccc"), 5))["kinds"]
    assert (found["tool_calls"], found["content"]) == ({"chunks": 2, "tokens": 9}, {"chunks": 4, "tokens": 5})
    assert found["reasoning"] == {"chunks": 1, "tokens": 0}
    assert found["requests_with_unknown_tokens"] == 1


def test_what_usage_says_of_reasoning_is_null_where_it_says_nothing() -> None:
    assert tally((kinds("c"), 1))["kinds"]["reasoning_by_usage"] is None
    rows = [(kinds("c", reasoning_tokens=said), 9) for said in (0, 4, None)]
    assert tally(*rows)["kinds"]["reasoning_by_usage"] == 4


def test_replies_that_call_tools_are_those_of_apis_that_have_them() -> None:
    found = tally(*((kinds("c", tool_calls=calls), 1) for calls in (None, 0, 1, 3)))["tool_calls"]
    assert found == {"judged": 3, "replies": 2, "share": pytest.approx(2 / 3), "calls": 4, "calls_per_reply": 2}
    none = tally((kinds("c", tool_calls=0), 1))["tool_calls"]
    assert (none["share"], none["calls_per_reply"]) == (0, None)


@pytest.mark.parametrize(
    ("fields", "compared"),
    [
        ({"tool_calls": 0}, 1),
        ({"tool_calls": 1}, 0),
        ({"reasoning_tokens": 2}, 0),
        ({"reasoning_tokens": 2, "kinds": "tcc"}, 1),
        ({"reasoning_tokens": 0}, 1),
    ],
)
def test_usage_is_compared_with_the_text_only_where_all_tokens_show(fields: dict[str, Any], compared: int) -> None:
    found = RecordTally()
    table = table_of(made_record(output_tokens_counted=2, **fields))
    found.add_texts(table, ints(3), TokenGaps(table).gaps)
    assert found.tokens().mismatch.compared == compared
