"""Compiled parts that do not match the source beside them are ignored."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

import bench.native
import mockserver.native
from promptset.compiled import is_stale


def test_a_binary_of_another_source_is_stale(tmp_path: Path) -> None:
    source = tmp_path / "part.c"
    assert not is_stale(source, 7)  # A wheel has no source.
    source.write_bytes(b"int part;\n")
    made_of = zlib.crc32(b"int part;\n")
    assert not is_stale(source, made_of)
    assert is_stale(source, made_of ^ 1)
    assert not is_stale(source, 0)  # The build did not record its source.


def test_the_parts_that_are_here_know_their_source() -> None:
    """The compiled parts made by hatch_build.py."""
    if bench.native.core is None or mockserver.native.sender() is None:
        pytest.skip("no C compiler was there, or TRUELOAD_PURE is set")
    from bench.native import _core
    from mockserver.native import _sender

    for part in (_core, _sender):
        assert part.__file__ is not None
        folder = Path(part.__file__).parent
        assert zlib.crc32((folder / f"{part.__name__.rpartition('.')[2]}.c").read_bytes()) == part.SOURCE


@pytest.mark.parametrize("part", ["bench", "mock"])
def test_a_stale_part_is_left_aside(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if bench.native.core is None or mockserver.native.sender() is None:
        pytest.skip("no C compiler was there, or TRUELOAD_PURE is set")
    module = "bench.native" if part == "bench" else "mockserver.native"
    monkeypatch.setattr(f"{module}.is_stale", lambda source, made_of: source.is_file() and made_of != 0)
    assert (bench.native._load() is None) is (part == "bench")
    assert (mockserver.native.sender() is None) is (part == "mock")
