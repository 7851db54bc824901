"""Compiled parts that do not belong to the source beside them are left aside."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import bench.native
import mockserver.native

ROOT = Path(__file__).parents[2]
PARTS = {
    "bench/native/_core.c": bench.native.is_stale,
    "mockserver/native/_sender.c": mockserver.native.is_stale,
}


@pytest.mark.parametrize(("source", "is_stale"), PARTS.items(), ids=PARTS)
def test_a_binary_of_another_source_is_stale(source: str, is_stale: Callable[[int], bool]) -> None:
    of_this = zlib.crc32((ROOT / source).read_bytes())
    assert not is_stale(of_this)
    assert is_stale(of_this ^ 1)
    assert not is_stale(0)  # Of a build that does not say.


def test_the_parts_that_are_here_know_their_source() -> None:
    """Those that hatch_build.py has made."""
    if bench.native.core is None or mockserver.native.sender() is None:
        pytest.skip("no C compiler was there, or TRUELOAD_PURE is set")
    from bench.native import _core
    from mockserver.native import _sender

    assert _core.SOURCE != 0
    assert _sender.SOURCE != 0
