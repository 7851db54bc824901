"""The run directory: no measurement is lost, and damage is reported with its line."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import sys
import tempfile
import threading
from pathlib import Path
from typing import NoReturn
from unittest.mock import Mock

import orjson
import pytest

from bench import cli
from bench.calibrate import measure
from bench.errors import RecordError, UsageError
from bench.records import to_line
from bench.run_files.load_change import LoadChange
from bench.run_files.run_directory import LineLog, RunDirectory, held_alone, is_locked, series_held
from tests.support.made_records import made_record
from tests.support.patience import PATIENCE_S


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(tmp_path / "run")
    made.write_manifest({"config": {"seed": 0}, "manifest": {"run_id": "a"}})
    return made


def write_records(directory: RunDirectory, *lines: bytes) -> None:
    (directory.path / "requests.jsonl").write_bytes(b"".join(lines))


def test_a_run_has_records_once_a_file_or_a_shard_holds_one(directory: RunDirectory) -> None:
    found = [directory.has_records]
    for name, content in (
        ("requests.jsonl", b""),
        ("requests-0.jsonl", b""),
        ("requests-0.jsonl", to_line(made_record())),
    ):
        (directory.path / name).write_bytes(content)
        found.append(directory.has_records)
    assert found == [False, False, False, True]
    (directory.path / "requests-0.jsonl").unlink()
    (directory.path / "requests.jsonl").write_bytes(to_line(made_record()))
    assert directory.has_records
    (directory.path / "requests.jsonl").unlink()
    assert not directory.has_records, "without a file there are no records"


def test_a_folder_of_runs_is_refused_with_the_name_of_a_run(directory: RunDirectory) -> None:
    with pytest.raises(
        UsageError, match=re.escape(f"it has no run.yaml. It holds runs: name one of them, such as {directory.path}")
    ):
        RunDirectory.open(directory.path.parent)


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="has no such locks")


@POSIX
def test_a_look_whether_a_directory_is_held_does_not_hold_it(tmp_path: Path) -> None:
    assert [is_locked(tmp_path) for _ in range(2)] == [False, False]
    with series_held(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path / "gone")


@POSIX
def test_a_run_that_begins_while_another_process_looks_is_held(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looks, in_the_way = fcntl.flock, threading.Event(), threading.Event()

    def flock(fd: int, how: int) -> None:
        try:
            real(fd, how)
        except BlockingIOError:
            in_the_way.set()
            raise
        if threading.current_thread() is looker and not looks.is_set():
            looks.set()
            assert in_the_way.wait(PATIENCE_S)

    (directory.path / "live.jsonl").touch()
    seen: list[bool] = []
    looker = threading.Thread(target=lambda: seen.append(directory.is_held))
    monkeypatch.setattr("fcntl.flock", flock)
    looker.start()
    assert looks.wait(PATIENCE_S)
    with directory.held():
        looker.join()
        assert (seen, directory.is_held) == ([False], True)


@POSIX
def test_two_that_look_at_once_do_not_take_each_other_for_the_run(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory.path / "live.jsonl").touch()
    real, inner = fcntl.flock, list[bool]()

    def flock(fd: int, how: int) -> None:
        real(fd, how)
        if not inner:
            inner.append(True)
            inner[0] = directory.is_held

    monkeypatch.setattr("fcntl.flock", flock)
    assert (directory.is_held, inner) == (False, [False])


@POSIX
def test_where_there_are_no_locks_nothing_is_held_and_nothing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_alone(tmp_path), monkeypatch.context() as other:
        other.setattr(sys, "platform", "win32")
        assert not is_locked(tmp_path)
        with held_alone(tmp_path / "gone") as alone:
            assert alone
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    with held_alone(tmp_path) as alone:
        assert alone
        assert not is_locked(tmp_path)


def test_files_can_be_read_by_all_and_written_by_their_user_alone(directory: RunDirectory) -> None:
    before = os.umask(0)
    try:
        LineLog(directory.path / "log").close()
        with directory.held():
            pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE((directory.path / name).stat().st_mode) for name in ("log", "live.jsonl")] == [0o644, 0o644]


def test_a_run_that_sent_nothing_is_taken_away_and_files_of_others_stay(directory: RunDirectory) -> None:
    for name in ("live.jsonl", ".run.yaml.new", "requests-0.jsonl", "samples-1.jsonl", "mine"):
        (directory.path / name).touch()
    directory.discard()
    assert [path.name for path in directory.path.iterdir()] == ["mine"]
    (directory.path / "mine").unlink()
    directory.discard()
    assert not directory.path.exists()


def test_records_come_back_as_they_were_appended(directory: RunDirectory) -> None:
    log = LineLog(directory.path / "requests.jsonl")
    records = [made_record(i) for i in range(3)]
    for record in records:
        log.append(to_line(record))
    assert list(directory.records()) == records  # The records are in the file before close.
    assert log.close() is None


def test_a_torn_last_line_is_passed_over(directory: RunDirectory) -> None:
    whole, torn = made_record(0), made_record(1)
    write_records(directory, to_line(whole), to_line(torn)[:-20])
    assert list(directory.records()) == [whole]


def test_a_last_line_without_its_end_is_passed_over_even_where_it_looks_whole(directory: RunDirectory) -> None:
    write_records(directory, to_line(made_record(0)), to_line(made_record(1)).rstrip())
    assert len(list(directory.records())) == 1


@pytest.mark.parametrize("damage", [b'{"id": "x", \n', b"\x00\x00\x00\n", b"[]\n", b"5\n", b'{"id": "x"}\n'])
def test_a_damaged_line_in_the_middle_is_named_by_its_number(directory: RunDirectory, damage: bytes) -> None:
    write_records(directory, to_line(made_record(0)), damage, to_line(made_record(1)))
    with pytest.raises(RecordError, match=r"requests\.jsonl, line 2: "):
        list(directory.records())


def test_a_damaged_sample_is_named_too(directory: RunDirectory) -> None:
    (directory.path / "samples.jsonl").write_bytes(b'{"t_ns": 1}\n{"t_ns"\n{"t_ns": 3}\n')
    with pytest.raises(RecordError, match=r"samples\.jsonl, line 2: "):
        list(directory.samples())
    (directory.path / "samples.jsonl").write_bytes(b"{}\n[]\n")
    with pytest.raises(RecordError, match=r"samples\.jsonl, line 2: not a JSON object"):
        list(directory.samples())


def test_what_a_server_said_and_changes_of_the_load_come_back_as_they_were_written(directory: RunDirectory) -> None:
    assert [*directory.scraped_lines("gpu.jsonl")] == []
    (directory.path / "gpu.jsonl").write_bytes(b"{1}\n\n{2}\n{torn")
    assert [*directory.scraped_lines("gpu.jsonl")] == [b"{1}\n", b"{2}\n"]
    assert directory.changes() is None
    change = LoadChange(t_ns=5, before=0.5, after=2.0, by="console")
    (directory.path / "changes.jsonl").write_bytes(change.to_line())
    assert directory.changes() == [change]
    (directory.path / "changes.jsonl").write_bytes(b'{"t_ns": 5}\n')
    with pytest.raises(RecordError, match=r"changes\.jsonl: a line is not a change of the load \('from'\)"):
        directory.changes()


def test_samples_and_certificates_are_none_where_there_is_no_file(directory: RunDirectory) -> None:
    assert [*directory.samples(), *directory.certificates(), *directory.mock()] == []


def test_an_empty_line_is_no_record(directory: RunDirectory) -> None:
    write_records(directory, to_line(made_record(0)), b"\n", to_line(made_record(1)))
    assert len(list(directory.records())) == 2


def test_a_directory_that_holds_a_run_is_refused(directory: RunDirectory) -> None:
    for name in ("run.yaml", "requests.jsonl"):  # Either file is enough.
        with pytest.raises(UsageError, match=r"already holds a run: name another directory"):
            RunDirectory.create(directory.path)
        (directory.path / name).unlink()
    RunDirectory.create(directory.path)


def test_an_empty_directory_is_taken_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    RunDirectory.create(tmp_path / "empty")
    RunDirectory.create(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c" / "requests.jsonl").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"\(it is a file\): name another directory"):
        RunDirectory.create(tmp_path / "file")
    with pytest.raises(UsageError, match="cannot be written"):
        RunDirectory.create(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="cannot be written"):
        RunDirectory.refuse_used(tmp_path / "file" / "below")


@pytest.mark.parametrize("more", [[], ["--sweep", "concurrency=1"], ["--full"]])
def test_a_place_that_cannot_be_written_is_told_with_all_else_before_a_mock_starts(
    tmp_path: Path, more: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "running_mock", lambda *_, **__: pytest.fail("a mock was started"))
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    load = [] if more else ["--concurrency", "2"]
    assert cli.main(["calibrate", *load, "--requests", "0", "--out", str(place), *more]) == 2
    said = capsys.readouterr().err
    assert f"--out {place}" in said
    assert f"cannot be written ({tmp_path / 'file'} is a file): name another directory" in said
    assert "error: 2 problems" in said
    assert "--requests" in said


def test_calibrate_refuses_a_place_that_is_taken_before_a_mock_starts(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "running_mock", lambda *_, **__: pytest.fail("a mock was started"))
    assert cli.main(["calibrate", "--concurrency", "2", "--requests", "9", "--out", str(directory.path)]) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["run.yaml", "requests.jsonl"])
def test_what_is_no_run_directory_is_refused(directory: RunDirectory, missing: str) -> None:
    (directory.path / missing).unlink()
    with pytest.raises(UsageError, match=f"is not a run directory: it has no {missing}"):
        RunDirectory.open(directory.path)
    (directory.path / missing).mkdir()
    for path, why in (
        (directory.path, f"it has no {missing}"),
        (directory.path / "gone", "it does not exist"),
        (Path(__file__), "it is a file: name its directory"),
    ):
        with pytest.raises(UsageError, match=f"{path} is not a run directory: {why}"):
            RunDirectory.open(path)


@pytest.mark.parametrize(
    "content",
    [
        "a: [",
        "just words",
        "config: {}",
        "manifest: {}",
        "[config, manifest]",
        "\x00",
        f"config: {{}}\nmanifest: {{planned: {10**30}}}",
        "[" * 100_000,
    ],
)
def test_a_damaged_manifest_is_refused(directory: RunDirectory, content: str) -> None:
    (directory.path / "run.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"run\.yaml"):
        directory.manifest()


def test_the_manifest_comes_back(directory: RunDirectory) -> None:
    content = {"config": {"name": "Prüfung", "slo": ["ttft:p99<500ms"]}, "manifest": {"start_ns": 2**62}}
    assert directory.write_manifest(content).startswith(b"config:\n  name: Pr\xc3\xbcfung\n  slo:"), (
        "fields keep their order"
    )
    assert RunDirectory.open(directory.path).manifest() == content


def test_a_file_is_replaced_as_a_whole(directory: RunDirectory) -> None:
    path = directory.path / "summary.json"
    directory.write("summary.json", b"old")
    with path.open("rb") as reader:  # An open reader keeps the old file.
        directory.write("summary.json", b"new")
        assert (reader.read(), path.read_bytes()) == (b"old", b"new")
    assert sorted(p.name for p in directory.path.iterdir()) == ["requests.jsonl", "run.yaml", "summary.json"]


def test_a_file_that_cannot_even_be_begun_says_why(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(OSError, match="Too many open files"):
        directory.write("summary.json", b"new")


@pytest.fixture
def rescued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where lines go if the disk is full."""
    folder = tmp_path / "rescued"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_loses_no_line_and_says_where_they_are(rescued: Path) -> None:
    log = LineLog(Path("/dev/full"))
    lines = [to_line(made_record(i)) for i in range(3)]
    for line in lines:
        log.append(line)
    assert log.problem == "/dev/full: No space left on device"
    said = log.close()
    (saved,) = rescued.iterdir()
    assert saved.read_bytes() == b"".join(lines)
    assert said is not None
    assert str(saved) in said
    assert "No space left on device" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("at_home", [True, False], ids=["a home", "no home"])
def test_where_no_temporary_file_can_be_made_the_lines_are_at_home_or_in_memory(
    at_home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> NoReturn:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    def nobody() -> NoReturn:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setattr(Path, "home", (lambda: tmp_path) if at_home else nobody)
    log = LineLog(Path("/dev/full"))
    log.append(b"first\n")
    said = log.close()
    assert said is not None
    saved = Path(said.partition(" of records are in ")[2].partition(" instead")[0])
    assert saved.parent == (tmp_path if at_home else Path("/dev/shm"))
    assert saved.read_bytes() == b"first\n"
    saved.unlink()


@pytest.mark.parametrize("last", [[b"third\n"], []], ids=["with the next line", "at the end"])
def test_lines_that_waited_are_written_when_there_is_room_again(
    tmp_path: Path, rescued: Path, last: list[bytes]
) -> None:
    path = tmp_path / "requests.jsonl"
    log = LineLog(path)
    log.append(b"first\n")
    good = os.dup(log._fd)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._fd)
    log.append(b"second\n")
    assert log.problem is not None
    os.dup2(good, log._fd)
    for line in last:
        log.append(line)
        assert log.problem is None
    assert log.close() is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(log._fd)
    os.close(good)
    os.close(full)
    assert path.read_bytes() == b"".join([b"first\n", b"second\n", *last])
    assert list(rescued.iterdir()) == []


def test_a_log_appends_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for word in (b"a\n", b"b\n"):
        log = LineLog(path)
        log.append(word)
        log.close()
    assert path.read_bytes() == b"a\nb\n"


def test_what_a_write_leaves_over_is_written_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, bytes(content[:3])))
    log = LineLog(tmp_path / "log")
    log.append(b"a line of many\n")
    assert log.close() is None
    assert log.path.read_bytes() == b"a line of many\n"


def test_a_line_is_one_whole_write(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    line = orjson.dumps({"x": "y" * 100_000}) + b"\n"
    log.append(line)
    assert (tmp_path / "log").read_bytes() == line
    log.close()
