"""Replies on a wire that only records: the literal bytes of every fault and shape."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest

from mockserver.dialect.openai import COMPLETION
from mockserver.engine import Work
from mockserver.faults import FAULTS
from tests.support.played_reply import (
    BROKEN,
    CUT,
    DONE,
    ERROR,
    FOUR,
    MS,
    ONE,
    PIECES,
    ROLE,
    THREE,
    TWO,
    USAGE,
    Played,
    c,
    cr,
    crlf,
    halves,
)


def split_character() -> list[object]:
    frame = c(" two\u4e16")
    at = frame.index("\u4e16".encode()) + 1
    return [ROLE, ONE, frame[:at], frame[at:], THREE, FOUR, DONE, "end"]


EVENTS = (ROLE, ONE, TWO, THREE, FOUR, DONE)
COMMENT = b": comment\n\n"

# Fault -> everything written to the wire after the head, and the kinds and tokens of the chunks in the ledger.
WIRE: dict[str, tuple[list[object], str, list[int]]] = {
    "no_headers": ([], "", []),
    "reset:after=1": ([ROLE, ONE, "rst"], "rc", [0, 1]),
    "truncate:after=1": ([ROLE, ONE, "fin"], "rc", [0, 1]),
    "cut_frame:after=1": ([ROLE, ONE, CUT, "fin"], "rc", [0, 1]),
    "error_in_stream:after=1": ([ROLE, ONE, ERROR, DONE, "end"], "rcoo", [0, 1, 0, 0]),
    "no_done": ([ROLE, ONE, TWO, THREE, FOUR, "end"], "rcccc", [0, 1, 1, 1, 1]),
    "malformed:after=1": ([ROLE, ONE, BROKEN, THREE, FOUR, DONE, "end"], "rcocco", [0, 1, 0, 1, 1, 0]),
    "role_early": ([*EVENTS, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "role_with_token": (
        [ROLE.replace(b'"content":""', b'"content":"One"'), TWO, THREE, FOUR, DONE, "end"], "cccco", [1, 1, 1, 1, 0],
    ),
    "role_absent": ([ONE, TWO, THREE, FOUR, DONE, "end"], "cccco", [1, 1, 1, 1, 0]),
    "empty:after=1,chunks=2": (
        [ROLE, ONE, c(""), c(""), TWO, THREE, FOUR, DONE, "end"], "rcooccco", [0, 1, 0, 0, 1, 1, 1, 0],
    ),
    "duplicate:after=1": ([ROLE, ONE, TWO, TWO, THREE, FOUR, DONE, "end"], "rccccco", [0, 1, 1, 0, 1, 1, 0]),
    "reorder:after=1": ([ROLE, ONE, THREE, TWO, FOUR, DONE, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "u2028:after=1": ([ROLE, ONE, c(" two\u2028"), THREE, FOUR, DONE, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "usage_missing": ([*EVENTS, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "usage_wrong:by=3": (
        [*EVENTS[:-1], USAGE.replace(b'9,"completion_tokens":4', b'12,"completion_tokens":7'), DONE, "end"],
        "rccccuo", [0, 1, 1, 1, 1, 0, 0],
    ),
    "usage_twice": ([*EVENTS[:-1], USAGE, USAGE, DONE, "end"], "rccccuuo", [0, 1, 1, 1, 1, 0, 0, 0]),
    "crlf": ([*map(crlf, EVENTS), "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "cr": ([*map(cr, EVENTS), "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "comments": ([COMMENT + event for event in EVENTS] + ["end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "split": ([piece for event in EVENTS for piece in halves(event)] + ["end"], "rcccco", [0, 1, 1, 1, 1, 0]),
    "split_utf8:after=1": (split_character(), "rcccco", [0, 1, 1, 1, 1, 0]),
    "coalesce:chunks=4": ([ROLE + ONE + TWO + THREE, FOUR + DONE, "end"], "rcccco", [0, 1, 1, 1, 1, 0]),
}  # fmt: skip

ELSEWHERE = {
    "400", "401", "403", "404", "413", "429", "500", "502", "503", "504", "529",  # refused: test_mock_fault_outcomes.py
    "lost_response",  # a refusal, or nothing: test_mock_stored_responses.py
    "refuse", "slow_accept",  # connections: test_connection_faults.py
    "stall", "slow", "degrade", "pause", "length",  # in the plan: test_mock_faults.py, test_mock_plan.py
    "gzip", "keepalive", "trickle",  # below
    "cross_talk", "stale_prefix", "wrong_answer", "batch_dependent", "garble", "garble_preempted",  # test_mock_answers.py
    "cut_json",
}  # fmt: skip


def test_every_fault_has_its_bytes() -> None:
    assert {spec.partition(":")[0] for spec in WIRE} | ELSEWHERE == FAULTS.keys(), (
        "each fault needs its bytes in WIRE, or, without bytes (a refusal, a delay), the file of its test in ELSEWHERE"
    )


@pytest.mark.parametrize("spec", WIRE)
def test_the_bytes_of_a_fault_are_these(spec: str) -> None:
    said, kinds, tokens = WIRE[spec]
    name = spec.partition(":")[0]
    played = Played(spec, usage=name.startswith("usage")).play()
    assert played.wire.said == ([] if name == "no_headers" else ["head"]) + said
    assert (played.kinds, played.reply.chunk_tokens) == (kinds, tokens)
    assert (played.reply.writer.struck, played.reply.bytes_out) == (name, sum(map(len, played.writes)))
    assert played.ended == ([] if name == "no_headers" else [played.reply])
    assert played.reply.writer.failed is (name in ("reset", "truncate", "cut_frame", "error_in_stream"))
    # A chunk has the stamp of the write with its last byte.
    ends, whole = [], b""
    blank = {"crlf": b"\r\n\r\n", "cr": b"\r\r"}.get(name, b"\n\n")
    for stamp, write in enumerate(played.writes, 1):
        before, whole = whole.count(blank), whole + write
        found = whole.count(blank) - before - write.count(COMMENT)
        ends += [stamp] * found
    assert played.reply.write_ns == ends
    if played.ended:
        assert played.reply.end_ns == len(played.writes) + (name in ("reset", "truncate", "no_done"))


def test_a_preemption_garbles_that_many_tokens_once() -> None:
    played = Played("garble_preempted:tokens=1", pieces=[*PIECES]).play(1)
    played.reply.writer.work = lambda: Work(preemptions=1)
    assert [delta["content"] for delta in played.play(1, 1, 1).deltas] == ["", "One", "\ufffd", " three", " four"]
    assert played.reply.writer.struck == "garble_preempted"


def test_half_of_a_chunk_is_sent_however_long_its_text_is() -> None:
    chunk = c("a" * 200)
    assert Played("cut_frame:after=0", pieces=["a" * 200, "b"]).play(1).wire.said == [
        "head",
        chunk[: len(chunk) // 2],
        "fin",
    ]


def test_a_role_that_comes_early_comes_before_any_token() -> None:
    assert Played("role_early").wire.said == ["head", ROLE]
    assert Played().wire.said == ["head"]


# ---- Compressed, slow and interleaved replies --------------------------------------------------------------------------


def test_gzip_is_flushed_with_each_chunk_and_says_so_in_the_head() -> None:
    played = Played("gzip").play()
    assert played.wire.headers == (("content-encoding", "gzip"),)
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert [unpack.decompress(write) for write in played.writes] == list(EVENTS)
    assert unpack.eof
    assert played.reply.bytes_out == sum(map(len, played.writes)) != sum(map(len, EVENTS))
    assert (played.kinds, played.reply.write_ns) == ("rcccco", [1, 2, 3, 4, 5, 6])


def test_gzip_ends_well_without_done() -> None:
    played = Played("gzip;no_done").play()
    assert gzip.decompress(b"".join(played.writes)) == b"".join(EVENTS[:-1])


def test_half_of_a_compressed_chunk_is_sent() -> None:
    pack = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    role, one, two = (pack.compress(event) + pack.flush(zlib.Z_SYNC_FLUSH) for event in (ROLE, ONE, TWO))
    assert Played("gzip;cut_frame:after=1").play().writes == [role, one, two[: len(two) // 2]]


def test_a_trickle_leaves_a_gap_between_two_writes_and_the_last_piece_has_the_stamp() -> None:
    played = Played("trickle:pieces=2,gap=2ms", endpoint=COMPLETION)
    played.play(1)
    assert (len(played.writes), played.kinds) == (1, "")
    played.timer.move_to(2 * MS - 1)
    assert len(played.writes) == 1
    played.timer.move_to(2 * MS)
    assert (len(played.writes), played.kinds, played.reply.write_ns) == (2, "c", [2])
    played.timer.move_to(10 * MS)
    played.play(1, 1, 1)  # All at once: each token waits for the previous one.
    assert len(played.writes) == 3
    played.timer.move_to(10 * MS + 7 * 2 * MS - 1)
    assert (played.kinds, played.ended) == ("cccc", [])
    played.timer.move_to(10 * MS + 7 * 2 * MS)
    assert (played.kinds, played.ended, played.wire.said[-1]) == ("cccco", [played.reply], "end")
    assert played.reply.writer.struck == "trickle"


def test_what_trickles_is_dropped_when_the_client_leaves() -> None:
    played = Played("trickle:pieces=2,gap=2ms", endpoint=COMPLETION)
    played.reply.take(1)
    written = len(played.writes)
    played.reply.close("the client left")
    played.timer.move_to(10 * MS)
    assert len(played.writes) == written


def test_what_trickles_is_dropped_by_a_reset() -> None:
    played = Played("trickle;reset:after=1", endpoint=COMPLETION).play(1, 1)
    assert (played.wire.said[-1], played.kinds, len(played.writes)) == ("rst", "", 1)
    played.timer.move_to(100 * MS)
    assert len(played.writes) == 1
    assert played.reply.bytes_out == len(played.writes[0])


def test_comments_keep_a_quiet_stream_alive_and_a_busy_one_needs_none() -> None:
    played = Played("keepalive:period=10ms")
    played.timer.move_to(25 * MS)
    assert played.writes == [b": keep-alive\n\n"] * 2
    assert played.reply.writer.struck == "keepalive"
    played.wire.said.clear()
    for at in range(30, 60, 5):
        played.timer.move_to(at * MS)
        played.reply.last_ns = at * MS  # PaperWire's stamps are not times.
    assert played.writes == [b": keep-alive\n\n"]  # At 30 ms, 10 ms after the last write.
    before = played.reply.bytes_out
    played.play()
    said = len(played.wire.said)
    played.timer.move_to(1000 * MS)
    assert len(played.wire.said) == said
    assert (before, played.kinds) == (3 * 14, "rcccco")


def test_a_reply_without_a_head_waits_for_the_client_or_for_its_end() -> None:
    waits = Played("no_headers").play()
    assert (waits.reply.writer.status, waits.reply.writer.struck, waits.wire.said) == (None, "no_headers", [])
    assert waits.wire.on_lost is not None
    waits.wire.on_lost("client_closed")
    assert (waits.ended, waits.reply.cut) == ([waits.reply], "client_closed")
    for stream in (True, False):
        closes = Played("no_headers:for=5ms", stream=stream).play()
        closes.timer.move_to(5 * MS - 1)
        assert closes.wire.said == []
        closes.timer.move_to(5 * MS)
        assert (closes.wire.said, closes.ended, closes.reply.writer.failed) == (["fin"], [closes.reply], True)


# ---- Several faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "kinds", "struck"),
    [
        ("crlf;reset:after=1", "rc", "crlf+reset"),
        ("malformed:after=1;error_in_stream:after=3", "rcocoo", "malformed+error_in_stream"),
        ("malformed:after=3;reset:after=1", "rc", "reset"),
        ("duplicate:after=2;empty:after=0;usage_twice", "roccccco", "duplicate+empty"),
        ("role_with_token;empty:after=0", "rcccco", "role_with_token+empty"),
        ("reorder:after=1;duplicate:after=2", "rccccco", "reorder+duplicate"),
        ("stall;length;comments;split", "rcccco", "stall+length+comments+split"),
        ("slow;coalesce:chunks=3;truncate:after=3", "rcc", "slow+coalesce+truncate"),
    ],
)
def test_faults_combine(faults: str, kinds: str, struck: str) -> None:
    played = Played(faults).play()
    assert (played.kinds, played.reply.writer.struck) == (kinds, struck)
    assert played.ended == [played.reply]


@pytest.mark.parametrize("faults", ["usage_twice", "usage_wrong", "usage_missing", "reorder:after=3", "keepalive"])
def test_what_finds_nothing_to_do_has_not_struck(faults: str) -> None:
    played = Played(faults).play()
    if faults.startswith("reorder"):
        assert played.kinds == "rcccco"
    assert played.reply.writer.struck is None


@pytest.mark.parametrize("fault", ["role_early", "role_with_token", "role_absent"])
def test_a_dialect_without_a_role_has_no_fault_of_it(fault: str) -> None:
    played = Played(fault, endpoint=COMPLETION).play()
    assert (played.kinds, played.reply.writer.struck) == ("cccco", None)


def test_a_fault_of_the_bytes_has_not_struck_where_none_were_sent() -> None:
    for faults in ("crlf;reset:after=0", "comments;truncate:after=0"):
        played = Played(faults, endpoint=COMPLETION).play(1)
        assert (played.writes, played.reply.writer.struck) == ([], faults.partition(";")[2].partition(":")[0])


def test_the_last_two_change_places_where_there_is_no_later_one() -> None:
    assert Played("reorder:after=2").play().writes[3:5] == [FOUR, THREE]
    assert Played("reorder").play(4).kinds == "rco"


def test_a_token_without_text_is_the_later_one_too() -> None:
    played = Played("reorder:after=1", pieces=["One", " two", "", " four"]).play()
    assert [delta.get("content") for delta in played.deltas] == ["", "One", "", " two", " four"]
    assert (played.kinds, played.reply.chunk_tokens) == ("rcocco", [0, 1, 0, 1, 2, 0])


@pytest.mark.parametrize(("fault", "ended"), [("crlf", crlf), ("cr", cr)])
def test_a_character_is_cut_with_other_line_ends_and_comments_too(fault: str, ended: Callable[[bytes], bytes]) -> None:
    played = Played(f"split_utf8:after=0;{fault};comments").play()
    first = played.writes[1]
    assert first.startswith(ended(COMMENT))
    assert first.endswith("\u4e16".encode()[:1])


def test_two_chunks_come_in_one_write_unless_a_rule_says_how_many() -> None:
    played = Played("coalesce").play()
    assert played.writes == [ROLE + ONE, TWO + THREE, FOUR + DONE]


def test_a_character_is_cut_where_its_own_bytes_begin() -> None:
    played = Played("split_utf8:after=1", pieces=["One", " \u00e9t\u00e9", " four"]).play()
    before, after = next((a, b) for a, b in pairwise(played.writes) if b.startswith(b"\xb8\x96"))
    assert before.endswith(" \u00e9t\u00e9".encode() + b"\xe4")  # U+4E16 is E4 B8 96.
    chunk = json.loads((before + after).decode().removeprefix("data: "))
    assert chunk["choices"][0]["delta"]["content"] == " \u00e9t\u00e9\u4e16"
