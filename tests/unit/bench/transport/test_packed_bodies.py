"""Compressed replies: gzip, also of several members, and deflate, wherever the reads are cut."""

from __future__ import annotations

import gzip
import zlib

import pytest

from bench.endpoints import ENDPOINTS
from bench.records import Outcome
from bench.transport.exchange import Exchange
from bench.transport.interface import Reading
from bench.transport.unpacking import MOST_INFLATED, Unpacker
from bench.workload import Request
from tests.unit.bench.transport.test_exchange_borders import DONE, END, TOKEN, fed, opened


def _without_head(body: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(TOKEN + END + DONE)),
        ("x-gzip", gzip.compress(TOKEN + END + DONE)),
        ("deflate", zlib.compress(TOKEN + END + DONE)),
        ("deflate", _without_head(TOKEN + END + DONE, 0)),
        ("Deflate", _without_head(TOKEN + END + DONE, 9)),
    ],
)
@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_packed_body_is_unpacked(encoding: str, packed: bytes, cut: int) -> None:
    """Deflate comes with zlib's header, as HTTP specifies, or without it, as from some servers."""
    record = fed(opened(encoding=encoding), packed[:cut], packed[cut:])
    assert (record.outcome, record.chunk_kind, record.bytes_received) == (Outcome.OK, "coo", len(packed))


@pytest.mark.parametrize("cut", [1, 2, 20])
@pytest.mark.parametrize(
    ("first", "size"),
    [
        # The first byte, and the length of the block. 0x0117 is 9 times 31, like a zlib header, but the method is 1.
        (b"\x01", 279),
        # The method would be 8, from bits that pad a stored block. But 0x0800 is no multiple of 31.
        (b"\x08", 256),
    ],
)
def test_a_block_that_is_stored_is_told_from_a_head_of_zlib(first: bytes, size: int, cut: int) -> None:
    body = (TOKEN + END + DONE).ljust(size - 1, b":") + b"\n"
    packed = first + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + body
    if not first[0] & 1:
        packed += b"\x01\x00\x00\xff\xff"  # That was not the last block.
    record = fed(opened(encoding="deflate"), packed[:cut], packed[cut:])
    assert (record.outcome, record.chunk_kind, record.bytes_received) == (Outcome.OK, "coo", len(packed))


def test_a_reply_may_unpack_to_256_mib_and_no_more() -> None:
    packed = gzip.compress(TOKEN)
    for before, outcome in ((2**28 - len(TOKEN), Outcome.TRUNCATED), (2**28 - len(TOKEN) + 1, Outcome.MALFORMED)):
        made = opened(encoding="gzip")
        assert made._unpacker is not None
        made._unpacker.total = before  # As if this much had come already.
        record = fed(made, packed)
        assert record.outcome is outcome
    assert record.error == "the compressed reply unpacks to more than 268435456 bytes"
    assert MOST_INFLATED == 2**28


@pytest.mark.parametrize("size", [1, 3, 18, 10_000])
@pytest.mark.parametrize("behind", [b"", b"\0" * 9, b"what is no member"])
def test_every_member_of_gzip_is_unpacked_wherever_the_reads_are_cut(size: int, behind: bytes) -> None:
    packed = b"".join(map(gzip.compress, [TOKEN, TOKEN, b"", END, DONE])) + behind
    record = fed(opened(encoding="gzip"), *[packed[at : at + size] for at in range(0, len(packed), size)])
    assert (record.outcome, record.chunk_kind, record.error) == (Outcome.OK, "ccoo", None)


@pytest.mark.parametrize("size", [1, 3, 18, 10_000])
@pytest.mark.parametrize("other", [b"\0", b"\x1f", b"\x1f\x8a", b"\x8b", b"no member"])
def test_no_member_is_unpacked_behind_what_is_no_member_wherever_the_reads_are_cut(size: int, other: bytes) -> None:
    whole, behind = gzip.compress(TOKEN + END + DONE), other + gzip.compress(TOKEN)
    pieces = [part[at : at + size] for part in (whole, behind) for at in range(0, len(part), size)]
    for cut in (pieces, [whole, other, gzip.compress(TOKEN)], [whole + behind]):
        record = fed(opened(encoding="gzip"), *cut)
        assert (record.outcome, record.chunk_kind, record.error) == (Outcome.OK, "coo", None)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_body_that_is_cut_off_is_truncated(encoding: str) -> None:
    """Its length and its chunks are right, as from a proxy whose own server died."""
    packed = gzip.compress(b"text " * 99) if encoding == "gzip" else zlib.compress(b"text " * 99)
    for body, outcome in ((packed, Outcome.OK), (packed[:-1], Outcome.TRUNCATED), (packed[:1], Outcome.TRUNCATED)):
        request = Request(id="r", index=0, body=b"", stream=False, input_tokens_asked=None, output_tokens_asked=None)
        made = Exchange(request, 1, 2, Reading(endpoint=ENDPOINTS["http"]), clock="user")
        made.head(200, "text/plain", encoding, None, sized=True)
        assert fed(made, body).outcome is outcome


def test_no_member_is_unpacked_behind_the_one_that_was_too_much() -> None:
    unpacker = Unpacker("gzip")
    unpacker.total = MOST_INFLATED - len(TOKEN) + 1
    assert unpacker.unpack(gzip.compress(TOKEN) * 3) == TOKEN
    assert unpacker.total == MOST_INFLATED + 1
    full = Unpacker("gzip")
    full.total = MOST_INFLATED
    assert (full.unpack(gzip.compress(TOKEN)), full.total) == (TOKEN[:1], MOST_INFLATED + 1)


def test_a_member_of_gzip_that_is_broken_is_malformed() -> None:
    record = fed(opened(encoding="gzip"), gzip.compress(TOKEN), b"\x1f\x8b\x08 broken")
    assert (record.outcome, record.chunk_kind) == (Outcome.MALFORMED, "c")


@pytest.mark.parametrize("encoding", ["GZIP", " Gzip ", "X-GZip"])
def test_the_name_of_an_encoding_is_known_in_all_letters(encoding: str) -> None:
    assert fed(opened(encoding=encoding), gzip.compress(TOKEN + END + DONE)).outcome is Outcome.OK
