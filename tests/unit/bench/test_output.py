"""What a command does when its result cannot be printed."""

import errno
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import cli
from bench.commands import output
from bench.documents.document import Banner, Document
from bench.errors import Exit
from bench.load_search.render import Rendered
from promptset import closed_pipe
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen
from tests.support.terminal_output import written

Start = Callable[..., "subprocess.Popen[str]"]

# A result with the exit status 1 of a missed objective, and more text than fits into a buffer.
PROGRAM = """
import sys
from types import SimpleNamespace
from bench.commands import output
from bench.documents.document import Banner, Document
from bench.errors import Exit
result = SimpleNamespace(
    summary={"many": ["words"] * 100_000},
    exit=Exit(int(sys.argv[1])), directory=SimpleNamespace(path="runs/a"), problems=()
)
sys.exit(output.finish(SimpleNamespace(format="json", quiet=False, details=False), result))
"""


def ran(words: str, start: Start = popen, **streams: Any) -> tuple[int, str, str]:
    """The status of a command, and its output to pipes. By default the command runs in a forked copy of this process."""
    with start([sys.executable, "-m", *words.split()], text=True, **streams) as running:
        out, err = running.communicate(timeout=PATIENCE_S)
    return running.returncode, out or "", err or ""


class _Interrupted(io.StringIO):
    """A stream that is interrupted by Ctrl-C when it is written to."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt


def test_ctrl_c_while_a_result_is_printed_does_not_deny_the_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", _Interrupted())
    assert cli.main(["--help"]) == Exit.INTERRUPTED
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_problem_that_quotes_a_long_value_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain(["--mix: " + "x" * 1_000_000, "--rate: -1"])
    said = capsys.readouterr().err
    assert len(said) < 5_000
    assert said.endswith("x … (1,000,007 characters)\n  - --rate: -1\n")


def test_what_a_server_said_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain(["it lists evil\x1b[2J\x1b]0;owned\x07\r\u202e\x9b, läufe – and more:\n  - a line of ours"])
    said = capsys.readouterr().err
    assert said == "error: it lists evil [2J ]0;owned    , läufe – and more:\n  - a line of ours\n"


def test_a_locale_without_our_signs_gets_plain_ones() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="surrogateescape")
    output.never_too_narrow(stream)
    stream.write("1.0–2.0 ± 3 · läufe/\udcfc\n")
    stream.flush()
    assert raw.getvalue() == b"1.0-2.0 +- 3 | l?ufe/\xfc\n"


@pytest.mark.parametrize(("missed", "status"), [(Exit.GOOD, Exit.USAGE), (Exit.INTERRUPTED, Exit.INTERRUPTED)])
def test_a_result_that_a_full_disk_does_not_take_is_found_in_its_directory(
    missed: Exit, status: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    result = SimpleNamespace(exit=missed, directory=SimpleNamespace(path="runs/a"))
    monkeypatch.setattr(output, "_write", full)
    monkeypatch.setattr(output, "_forget_output", lambda: None)
    assert output.print_result(result, "text", quiet=False) == status  # type: ignore[arg-type]
    assert capsys.readouterr().err == (
        "error: the result cannot be printed (No space left on device): it is in runs/a\n"
    )


@pytest.mark.processes
@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ({"LANG": "C"}, "50.0-50.1 =- \u6a21\u578b"),
        ({}, "50.0-50.1 =- \u6a21\u578b"),
        ({"LC_ALL": "C.UTF-8"}, "50.0\u201350.1 \u2501\u2500 \u6a21\u578b"),
    ],
    ids=["C", "none", "UTF-8"],
)
def test_a_terminal_of_the_locale_c_gets_plain_signs_and_names_as_they_are(locale: dict[str, str], shown: str) -> None:
    text = "50.0\\u201350.1 \\u2501\\u2500 \\u6a21\\u578b"
    program = f"import sys; from bench import cli; cli._help = lambda: '{text}'; sys.argv[1:] = ['-h']; cli.command()"
    left_out = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE")
    env = {name: value for name, value in os.environ.items() if name not in left_out} | locale
    leader, follower = os.openpty()
    done = subprocess.run([sys.executable, "-c", program], env=env, stdout=follower, stderr=follower, check=False)
    os.close(follower)
    assert (done.returncode, written(leader)) == (0, f"{shown}\r\n")


@pytest.mark.processes
def test_a_command_ends_well_in_a_locale_that_is_not_utf_8() -> None:
    program = (
        "import sys; from bench import cli; cli._help = lambda: '50.0\\u201350.1'; sys.argv[1:] = ['-h']; cli.command()"
    )
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ascii_only.pop("PYTHONIOENCODING", None)
    done = subprocess.run([sys.executable, "-c", program], env=ascii_only, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"50.0-50.1\n", b"")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "status", "stderr_too", "start"),
    [
        ("bench --help", 0, False, subprocess.Popen),  # Also with the normal end of an interpreter.
        ("bench run --help-all", 0, True, popen),
        ("bench --version", 0, False, popen),
        ("bench run --rate x", 2, True, popen),
        ("bench dataset --count 1000000", 0, False, popen),
        ("mockserver --help", 0, False, popen),
        ("mockserver --version", 0, True, subprocess.Popen),
        ("mockserver --preset list", 0, False, popen),
        ("mockserver --print-completion bash", 0, False, popen),
        ("mockserver --ttft x", 2, True, popen),
    ],
)
def test_a_command_whose_reader_has_gone_ends_quietly_with_its_own_status(
    words: str, status: int, stderr_too: bool, start: Start
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended, _, err = ran(words, start, stdout=writer, stderr=writer if stderr_too else subprocess.PIPE)
    os.close(writer)
    assert ended == status
    assert status or not err


@pytest.mark.processes
def test_a_reader_that_has_gone_does_not_hide_a_missed_objective() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = f"from promptset import closed_pipe\nclosed_pipe.survive()\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program, "1"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_what_was_printed_before_a_stream_may_lose_its_reader_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w", buffering=1_000_000, encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        print("before")
        closed_pipe.survive()
        print("after", flush=True)
        assert (tmp_path / "out").read_text(encoding="utf-8") == "before\nafter\n"


def test_what_no_reader_takes_costs_no_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        closed_pipe.survive()
        next_free = os.dup(writer)
        os.close(next_free)
        print("dropped", flush=True)
        print("dropped", flush=True)
        assert os.dup(writer) == next_free
        os.close(next_free)


@pytest.mark.processes
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("status", "left"), [(0, 2), (3, 2), (130, 130)])
def test_a_result_that_finds_no_room_is_said_with_where_it_lies(status: int, left: int) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(status)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == left
    assert done.stderr == "error: the result cannot be printed (No space left on device): it is in runs/a\n"


@pytest.mark.processes
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "start"), [("--help", subprocess.Popen), ("run --help", popen), ("--version", popen)]
)
def test_an_output_that_takes_no_more_is_one_sentence_and_no_traceback(words: str, start: Start) -> None:
    with Path("/dev/full").open("wb") as full:
        status, _, err = ran(f"bench {words}", start, stdout=full, stderr=subprocess.PIPE)
    assert status == 2
    assert err == "error: the output cannot be written (is the disk full?): send it to another file\n"


@pytest.mark.processes
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "stream", "status", "start"),
    [
        ("bench run --rate x", "stderr", 2, subprocess.Popen),
        ("mockserver --ttft x", "stderr", 2, popen),
        # A serving mock prints only its address there.
        ("mockserver --version", "stdout", 0, popen),
    ],
)
def test_a_log_that_finds_the_disk_full_does_not_change_the_exit_status(
    words: str, stream: str, status: int, start: Start
) -> None:
    with Path("/dev/full").open("wb") as full:
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        assert ran(words, start, **streams) == (status, "", "")


@pytest.mark.processes
def test_a_stdout_that_was_closed_before_the_start_is_no_defect() -> None:
    command = f"{sys.executable} -m bench run --help >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, "Too many open files", "a"), "a: Too many open files: raise the limit of open files"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on device: make room, or name another directory",
        ),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), "a: File name too long: use a shorter path"),
        (MemoryError(), "the memory of this machine is full"),
    ],
)
def test_what_the_machine_refuses_is_no_defect_of_ours(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr("bench.commands.run.main", refuse)
    assert cli.main(["run"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"error: {told}")
    assert "Traceback" not in said


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "Bad file descriptor"), ZeroDivisionError("planted")])
def test_another_error_is_a_defect(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr("bench.commands.run.main", refuse)
    assert cli.main(["run"]) == Exit.DEFECT == 70
    said = capsys.readouterr().err
    assert str(error) in said
    assert "this is a defect of Trueload" in said


@pytest.mark.parametrize(("form", "quiet"), [("text", False), ("text", True), ("json", False)])
def test_a_search_is_as_wide_as_its_terminal(form: str, quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    document = Document("t", (Banner("holds 20/s", ", " + "as was asked for " * 9, "good"),), ())
    found = Rendered(document=document, page=Path("a/search.html"), brief="brief\n", json="{}\n", exit=Exit.GOOD)
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert output.print_search(found, form, quiet=quiet) is Exit.GOOD
    lines = re.sub("\x1b\\[[0-9;]*m", "", written(leader)).splitlines()
    if quiet or form == "json":
        assert lines == ["brief" if quiet else "{}"]
    else:
        assert (lines[0][:12], lines[-1]) == ("holds 20/s, ", "page: a/search.html")
        assert 40 < max(map(len, lines)) <= 50
        assert "\npage: a/search.html\n" in found.text
