"""A file that grows while it is read: complete lines, several at once, in pieces of a mebibyte."""

from __future__ import annotations

from pathlib import Path

from bench.run_files.growing_file import GrowingFile

MEBIBYTE = 1_048_576


def test_a_piece_holds_as_many_whole_lines_as_a_mebibyte_takes(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x" * 63 + b"\n")
    with path.open("ab") as file:
        file.write((b"y" * 63 + b"\n") * 2 * 16_384)  # 64 bytes per line, 16,384 lines per mebibyte.
    growing = GrowingFile(path)
    assert growing.unread == 2 * MEBIBYTE + 64
    assert [len(growing.next_piece()) for _ in range(4)] == [MEBIBYTE, MEBIBYTE, 64, 0]


def test_what_follows_the_whole_lines_is_unread_and_a_file_that_is_gone_or_cut_off_has_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    growing = GrowingFile(path)
    assert growing.unread == 0
    path.write_bytes(b"one\ntwo\nto")
    assert growing.unread == 10
    assert growing.next_piece() == b"one\ntwo\n"
    assert growing.unread == 2
    with path.open("ab") as file:
        file.write(b"rn\n")
    assert growing.unread == 5
    assert growing.next_piece() == b"torn\n"
    path.write_bytes(b"cut\n")
    assert growing.unread == 0
