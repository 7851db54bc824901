"""The ledger's file: complete lines with any number of writers. If it is unwritable, nothing is lost that can be kept."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
from pathlib import Path

import pytest

from mockserver.record import ledger_file
from mockserver.record.ledger_file import LedgerFile, open_file


class FullDisk:
    """A file that takes `room` bytes in all, and reports it as disks do: a short write, then an error."""

    def __init__(self, path: Path, room: int) -> None:
        self._file = path.open("a+b", buffering=0)
        self.room = room

    def write(self, data: memoryview) -> int:
        room = self.room - self._file.seek(0, os.SEEK_END)
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data[:room])

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


class Dribble:
    """A file that takes a little at a time, so that only a lock keeps lines whole."""

    def __init__(self, path: Path | None) -> None:
        self._file = open_file(path)

    def write(self, data: memoryview) -> int:
        return self._file.write(data[:1000])

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each append retries waiting lines."""
    monkeypatch.setattr(ledger_file, "RETRY_S", 0)


def line(i: int) -> bytes:
    return b'{"index":%d}\n' % i


def lines(*numbers: int) -> bytes:
    return b"".join(map(line, numbers))


@pytest.mark.usefixtures("at_once")
def test_a_full_disk_takes_whole_lines_and_the_rest_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(path := tmp_path / "ledger", room=len(lines(0, 1)) + 5)
    file = LedgerFile(disk)  # type: ignore[arg-type]
    file.append([line(i) for i in range(4)])
    assert path.read_bytes() == lines(0, 1)
    assert file.state() == {"unwritten": 2, "lost": 0, "error": "No space left on device"}
    assert (file.lines, file.read(), file.read(1), file.read(3)) == (2, lines(0, 1, 2, 3), lines(1, 2, 3), lines(3))
    for more in ([], [line(4)]):  # The first failure is reported.
        assert caplog.text.count("cannot write the ledger (No space left on device)") == 1
        file.append(more)
    disk.room = 10_000
    file.append()
    assert path.read_bytes() == lines(0, 1, 2, 3, 4)
    assert file.state() == {"unwritten": 0, "lost": 0, "error": None}
    assert file.read(2) == lines(2, 3, 4)
    file.close()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("room", range(len(lines(0, 1, 2)) + 1))
def test_a_line_is_in_the_file_whole_or_not_at_all(tmp_path: Path, room: int) -> None:
    disk = FullDisk(path := tmp_path / "ledger", room)
    file = LedgerFile(disk)  # type: ignore[arg-type]
    file.append([line(0), line(1), line(2)])
    whole = room // len(line(0))
    assert path.read_bytes() == lines(*range(whole))
    assert (file.lines, file.unwritten) == (whole, 3 - whole)
    disk.room = 10_000
    file.close()
    assert path.read_bytes() == lines(0, 1, 2)


def test_a_file_that_fails_is_not_tried_with_each_line(tmp_path: Path) -> None:
    disk = FullDisk(tmp_path / "ledger", room=0)
    file = LedgerFile(disk)  # type: ignore[arg-type]
    file.append([line(0)])
    disk.room = 10_000
    file.append([line(1)])
    assert file.unwritten == 2
    file.close()
    assert (tmp_path / "ledger").read_bytes() == lines(0, 1)


def test_lines_beyond_what_memory_keeps_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_file, "KEEP_BYTES", 3 * len(line(0)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = LedgerFile(FullDisk(tmp_path / "ledger", room=0))  # type: ignore[arg-type]
    file.append([line(i) for i in range(5)])
    assert (file.unwritten, file.lost) == (3, 2)
    file.close()
    assert "2 lines of the ledger are lost" in caplog.text


def test_more_at_once_than_memory_keeps_is_all_written_to_a_good_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_file, "KEEP_BYTES", 3 * len(line(0)))
    file = LedgerFile(open_file(tmp_path / "ledger"))
    file.append([line(i) for i in range(10)])
    assert (file.unwritten, file.lost, file.lines) == (0, 0, 10)
    file.close()
    assert (tmp_path / "ledger").read_bytes() == lines(*range(10))


def test_what_is_unwritten_at_the_end_goes_into_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = LedgerFile(FullDisk(tmp_path / "ledger", room=0))  # type: ignore[arg-type]
    file.append([line(0), line(1)])
    file.close()
    (other,) = tmp_path.glob("ledger-*.jsonl")
    assert other.read_bytes() == lines(0, 1)
    assert f"2 lines of the ledger are in {other}" in caplog.text


def test_a_line_that_a_killed_mock_left_unfinished_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(line(0) + line(1)[:-3])
    file = LedgerFile(open_file(path))
    file.append([line(2)])
    assert file.read() == line(2)
    file.close()
    assert path.read_bytes() == line(0) + line(1)[:-3] + b"\n" + line(2)


def test_a_good_end_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        file = LedgerFile(open_file(tmp_path / "ledger"))
        file.append([line(0)])
        file.close()
    assert caplog.text == ""


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
@pytest.mark.parametrize("named", [True, False])
def test_processes_append_whole_lines_to_one_file_and_each_reads_them_all(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "ledger" if named else None
    if path is not None:
        path.write_bytes(b"a line of an earlier run\n")
    file = LedgerFile(Dribble(path), shared=True)  # type: ignore[arg-type]
    children = []
    gate, opened = os.pipe()
    for child in range(3):
        if (pid := os.fork()) == 0:
            good = False
            try:
                os.close(opened)
                os.read(gate, 1)  # All processes begin at once, when the parent closes its end.
                for i in range(40):
                    file.append([b"%d %d %s\n" % (child, i, b"x" * (100_000 if i % 8 == 0 else 10))])
                good = file.read(file.lines - 1).endswith(b"x\n")
            finally:
                os._exit(0 if good else 1)
        children.append(pid)
    os.close(gate)
    os.close(opened)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert file.lines == 120
    rows = [row.split() for row in file.read().splitlines()]
    for name in (b"0", b"1", b"2"):
        assert [int(i) for who, i, _ in rows if who == name] == list(range(40))
    assert {len(text) for _, _, text in rows} == {10, 100_000}
    assert file.read(100).splitlines() == file.read().splitlines()[100:]
    file.close()


def test_a_line_longer_than_a_slice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "_SLICE_BYTES", 16)
    file = LedgerFile(open_file(None), shared=True)
    file.append([b"a\n", b"b" * 40 + b"\n", b"c\n" * 1, b"d\n", b"e" * 15 + b"\n"])
    assert file.lines == 5
    assert file.read(1) == b"b" * 40 + b"\nc\nd\n" + b"e" * 15 + b"\n"
    file.append([b"f" * 40 + b"\n"])
    assert (file.lines, file.read(5)) == (6, b"f" * 40 + b"\n")
    file.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there the mock is one process")
@pytest.mark.parametrize("shared", [False, True])
def test_only_a_file_of_several_processes_is_locked_while_it_is_written(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    asked: list[int] = []
    monkeypatch.setattr(fcntl, "lockf", lambda file, operation: asked.append(operation))
    with open_file(tmp_path / "ledger") as file:
        LedgerFile(file, shared=shared).append([b"{}\n"])
    assert asked == ([fcntl.LOCK_EX, fcntl.LOCK_UN] if shared else [])
