"""The result of each known mistake for one request, all by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bench.accuracy import known_mistakes as of
from bench.accuracy.join import Pair
from bench.accuracy.known_mistakes import mistaken_values
from tests.support.made_ledger import LAG_NS, WAY_IN_NS, made_line
from tests.support.made_records import MS, START_NS, made_record

LAG, WAY_IN = LAG_NS / MS, WAY_IN_NS / MS


def given(shared_clock: bool = True, **changes: Any) -> dict[tuple[str, str], list[float]]:
    """Role at 5; reasoning of 2 tokens at 50, text of 3 and 1 at 60 and 90; usage at 100, [DONE] at 110; due 20 ms
    before; 7 ms to connect. The server reports 8 tokens, and sent 6."""
    fields: dict[str, Any] = {
        "sent_ms": 20, "chunks_ms": (5, 50, 60, 90, 100, 110), "kinds": "rtccuo", "tokens": (0, 2, 3, 1, 0, 0),
        "intended_ns": START_NS, "connect_ns": 7 * MS, "n": 8, "end_ns": START_NS + 20 * MS + 120 * MS,
    }  # fmt: skip
    record = made_record(0, **(fields | changes))
    pair = Pair(record, made_line(record))
    rows = [
        (metric, mistake, list(values)) for metric, mistake, values in mistaken_values(pair, shared_clock=shared_clock)
    ]
    assert len({row[:2] for row in rows}) == len(rows)
    return {(metric, mistake): values for metric, mistake, values in rows}


# In ms on the client's clock. The mock wrote each chunk 0.002 ms earlier.
FROM_SENT = {
    ("ttft_ms", of.ROLE): 5,
    ("ttft_ms", of.FIRST_CHUNK): 5,
    ("ttft_ms", of.REASONING_IGNORED): 60,
    ("ttft_ms", of.CONNECT): 57,
    ("ttft_ms", of.FROM_DUE): 70,
    ("ttfo_ms", of.REASONING_COUNTED): 50,
    ("ttft_from_intended_ms", of.FROM_SENT): 50,
    ("e2el_from_intended_ms", of.FROM_SENT): 90,
    ("e2el_ms", of.FROM_DUE): 110,
    ("e2el_ms", of.USAGE): 100,
    ("e2el_ms", of.LAST_CHUNK): 110,
    ("e2el_ms", of.END): 120,
    ("e2el_ms", of.CONNECT): 97,
}


def test_mistakes_of_where_a_latency_begins_and_ends() -> None:
    found = given()
    assert {row: found[row] for row in FROM_SENT} == {row: [pytest.approx(at - LAG)] for row, at in FROM_SENT.items()}
    # Without a shared clock all times count from the arrival of the request at the mock.
    apart = given(shared_clock=False)
    assert {row: apart[row] for row in FROM_SENT} == {
        row: [pytest.approx(at - LAG - WAY_IN)] for row, at in FROM_SENT.items()
    }


def test_mistakes_of_what_a_time_per_token_is_divided_by() -> None:
    found = given()
    e2el = 90 - LAG
    times = {
        of.TTFT_IN_TPOT: (e2el, 6), of.TTFT_IN_TPOT_LESS_ONE: (e2el, 5), of.FIRST_CHUNK_AS_ONE: (40, 5), of.CHUNKS: (40, 2),
        of.REASONING_TWICE: (40, 6), of.REASONING_NO_TOKENS: (40, 3), of.USAGE_IN_TPOT: (50, 4), of.SERVERS_COUNT: (40, 6),
    }  # fmt: skip
    for mistake, (ms, tokens) in times.items():
        assert found["tpot_ms", mistake] == [pytest.approx(ms / tokens)], mistake
        assert found["tps", mistake] == [pytest.approx(1000 * tokens / ms)], mistake
    # If the server reports no count, the number of tokens that it sent counts.
    assert given(output_tokens=None)["tpot_ms", of.SERVERS_COUNT] == [pytest.approx(10)]


def test_mistakes_of_the_gaps() -> None:
    found = given()
    assert found["itl_ms", of.NO_SHARING] == pytest.approx([10, 30])
    assert (
        found["itl_ms", of.EVERY_CHUNK] == found["chunk_gap_ms", of.EVERY_CHUNK] == pytest.approx([45, 10, 30, 10, 10])
    )
    assert found["chunk_gap_ms", of.SHARED] == pytest.approx([10 / 3] * 3 + [30])
    assert found["itl_ms", of.BURSTS] == pytest.approx([10, 0, 0, 30])
    # A chunk of two tokens holds several; chunks of one token do not.
    two = given(chunks_ms=(50, 60), kinds="cc", tokens=(1, 2))
    assert (two["itl_ms", of.BURSTS], two["chunk_gap_ms", of.SHARED]) == (pytest.approx([10, 0]), pytest.approx([5, 5]))
    one = given(chunks_ms=(50, 60), kinds="cc", tokens=(1, 1))
    assert not one.keys() & {("itl_ms", of.BURSTS), ("chunk_gap_ms", of.SHARED)}
    # The gap before a chunk without a token stays as it is.
    empty = given(tokens=(0, 2, 0, 4, 0, 0))
    assert empty["chunk_gap_ms", of.SHARED] == pytest.approx([10, *[7.5] * 4])
    assert empty["itl_ms", of.BURSTS] == pytest.approx([10, 30, 0, 0, 0])


def test_a_reply_of_one_chunk_or_of_one_instant_has_no_time_per_token() -> None:
    one = given(chunks_ms=(50,), kinds="c", tokens=(4,))
    assert not [row for row in one if row[0] in ("tpot_ms", "tps")]
    assert one["ttft_ms", of.ROLE] == one["e2el_ms", of.USAGE] == [pytest.approx(50 - LAG)]
    at_once = given(chunks_ms=(50, 50), kinds="cc", tokens=(1, 1))
    assert {mistake for metric, mistake in at_once if metric == "tpot_ms"} == {
        of.TTFT_IN_TPOT,
        of.TTFT_IN_TPOT_LESS_ONE,
    }
    assert given(chunks_ms=(5,), kinds="r", tokens=(0,)) == {}


def test_reasoning_alone_has_its_first_token_as_output() -> None:
    found = given(chunks_ms=(50, 60), kinds="tt", tokens=(1, 1), connect_ns=None)
    assert found["ttft_ms", of.REASONING_IGNORED] == found["ttft_ms", of.CONNECT] == [pytest.approx(50 - LAG)]
    # Both tokens are reasoning, so nothing remains without reasoning.
    assert ("tpot_ms", of.REASONING_NO_TOKENS) not in found
    assert found["tpot_ms", of.REASONING_TWICE] == [pytest.approx(10 / 3)]
