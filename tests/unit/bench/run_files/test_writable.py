"""Unwritable paths: every command refuses one before its work, in one sentence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.errors import UsageError
from bench.run_files.writable import (
    directory_problem,
    file_problem,
    make_directory,
    not_removed,
    refuse_file,
    write_file,
)

UNWRITABLE = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs /proc, where root can write nothing either"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


def test_a_new_directory_and_one_that_is_there_can_be_written(tmp_path: Path) -> None:
    assert directory_problem(tmp_path) is None
    assert directory_problem(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == [], "the check leaves nothing behind"


def test_a_file_is_no_directory_and_has_nothing_below_it(file: Path) -> None:
    assert directory_problem(file) == "it is a file"
    assert directory_problem(file / "below" / "it") == f"{file} is a file"


def test_a_name_that_the_system_does_not_take_is_told_by_each_version_of_python(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    assert directory_problem(path) == directory_problem(path / "below") == file_problem(path) == "File name too long"


@UNWRITABLE
def test_a_file_that_is_there_can_be_written_even_if_its_directory_takes_no_new_one() -> None:
    assert file_problem(Path("/proc/self/comm")) is None
    assert file_problem(Path("/proc/self/new")) is not None


@UNWRITABLE
def test_a_directory_in_which_even_root_can_make_no_file_is_told() -> None:
    problem = directory_problem(Path("/proc/new"))
    assert problem is not None
    assert "/proc" in problem


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_directory_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert directory_problem(tmp_path / "new") == f"{tmp_path} is closed to us"
    tmp_path.chmod(0o755)


def test_what_its_rights_close_is_told(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert directory_problem(tmp_path / "new") == f"{tmp_path} is closed to us"
    assert file_problem(file) == f"{file} is closed to us"


def test_a_file_needs_its_directory_unless_the_writer_makes_it(tmp_path: Path, file: Path) -> None:
    assert file_problem(tmp_path / "new") is None
    assert file_problem(file) is None
    assert file_problem(tmp_path) == "it is a directory"
    assert file_problem(tmp_path / "a" / "new") == f"there is no directory {tmp_path / 'a'}"
    assert file_problem(tmp_path / "a" / "new", makes_directories=True) is None
    assert file_problem(file / "new", makes_directories=True) == "it is a file"


def test_what_fails_all_the_same_is_the_same_sentence(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"--out .*link cannot be written \(File exists\): name another directory"):
        make_directory("--out", tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*file cannot be written \(it is a file\): name another directory"):
        make_directory("--out", tmp_path / "file")
    for write in (refuse_file, lambda flag, path: write_file(flag, path, b"")):
        with pytest.raises(
            UsageError, match=r"--junit .* cannot be written \((it i|I)s a directory\): name another file"
        ):
            write("--junit", tmp_path)
    with pytest.raises(UsageError, match=r"\(there is no directory .*gone\): name another file"):
        refuse_file("--junit", tmp_path / "gone" / "new")
    write_file("--junit", tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_write_that_ends_in_its_middle_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(b"old")
    (tmp_path / "link.json").symlink_to(path)

    def full(draft: Path, content: bytes) -> int:
        with draft.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "write_bytes", full)
        with pytest.raises(UsageError, match=r"--out .*profile.json cannot be written \(No space left"):
            write_file("--out", path, b"new")
    assert path.read_bytes() == b"old"
    write_file("--out", tmp_path / "link.json", b"new")
    assert path.read_bytes() == b"new"
    write_file("--out", Path(os.devnull), b"new")
    assert not Path(os.devnull).is_file()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.json", "profile.json"]


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_file_that_is_replaced_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.touch()
    path.chmod(mode)
    write_file("--out", path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", mode)


URL = "http://127.0.0.1:1"
OF_DIRECTORIES = {
    "run": ["run", "--url", URL],
    "repeats": ["run", "--url", URL, "--repeats", "2"],
    "search": ["search", "--url", URL, "--slo", "ttft:p99<1s"],
    "sweep": ["sweep", "--url", URL, "--loads", "concurrency=1,2", "--duration", "1s"],
    "calibrate": ["calibrate"],
    "calibrate a sweep": ["calibrate", "--sweep", "concurrency=1"],
    "compare": ["compare", "a", "b"],
    "compare --run": ["compare", "--run", "a.yaml", "b.yaml"],
}
OF_FILES = {
    "limits": ["limits"],
    "fit": ["fit", "a"],
}
OF_THE_GATE = {"--junit": ["--slo", "ttft:p99<1s"], "--summary": ["--slo", "ttft:p99<1s"], "--baseline": ["--update"]}


@pytest.mark.parametrize("command", [*OF_DIRECTORIES, *OF_FILES])
@pytest.mark.parametrize("place", ["below a file", pytest.param("/proc/new", marks=UNWRITABLE)])
def test_every_command_refuses_an_out_that_cannot_be_written_before_its_work(
    command: str, place: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = file / "new" if place == "below a file" else Path(place)
    assert cli.main([*(OF_DIRECTORIES | OF_FILES)[command], "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f" --out {out}" in said
    assert " cannot be written (" in said


@pytest.mark.parametrize("flag", OF_THE_GATE)
def test_the_gate_refuses_files_that_cannot_be_written_before_it_reads_a_run(
    flag: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["gate", "no-such-run", *OF_THE_GATE[flag], flag, str(file / "new")]) == 2
    assert f" {flag} {file / 'new'} cannot be written (it is a file)" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["it is a file", pytest.param("/proc/new", marks=UNWRITABLE)])
def test_the_console_refuses_a_folder_of_runs_that_cannot_be_written(
    place: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = file if place == "it is a file" else Path(place)
    assert cli.main(["console", "--no-browser", "--port", "0", "--runs", str(runs)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("error", [FileNotFoundError("a file of it"), UsageError("a file of it cannot be written")])
def test_a_directory_that_is_removed_meanwhile_is_named_as_the_cause(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error), match="a file of it"), not_removed(tmp_path):
        raise error
    tmp_path.rmdir()
    with pytest.raises(UsageError) as told, not_removed(tmp_path):
        raise error
    assert told.value.problems == [
        f"{tmp_path} was removed while results were written to it: they are lost. Measure again, and leave it until the end"
    ]
