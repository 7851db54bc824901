"""What commands print: results in each form, problems, and the signs of a plain locale."""

from __future__ import annotations

import errno
import io
import os
import socket
import sys
import webbrowser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import cli
from bench.commands import console as console_command
from bench.commands import output, plan
from bench.commands.console import _listen
from bench.console.address import keep
from bench.documents.document import Banner, Document, Level
from bench.errors import Exit, UsageError
from bench.load.live import LoadGoal
from bench.run_files.run_directory import held_alone
from bench.terminal import Terminal, _Writer
from tests.support.console_process import TOKEN
from tests.support.made_records import made_record
from tests.unit.bench.test_terminal import drawn, sent


@pytest.mark.parametrize(
    ("utf8_mode", "environment", "is_c"),
    [
        (0, {}, False),
        (0, {"LANG": "C"}, False),
        (1, {}, True),
        (1, {"LANG": "C"}, True),
        (1, {"LANG": "POSIX"}, True),
        (1, {"LC_CTYPE": "C.UTF-8"}, True),  # Python sets it in the locale C.
        (1, {"LC_CTYPE": "C.UTF-8", "LANG": "POSIX"}, True),
        (1, {"LANG": "de_DE.UTF-8"}, False),
        (1, {"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, True),
        (1, {"LC_ALL": "de_DE.UTF-8", "LANG": "C"}, False),
        (1, {"LC_CTYPE": "de_DE.UTF-8", "LANG": "C"}, False),
        (1, {"PYTHONUTF8": "1", "LANG": "C"}, False),
        (1, {"PYTHONUTF8": "1"}, False),
    ],
)
def test_the_locale_is_c_if_python_chose_utf_8_for_it(
    utf8_mode: int, environment: dict[str, str], is_c: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "flags", SimpleNamespace(utf8_mode=utf8_mode))
        found = output._is_locale_c()
    assert found is is_c


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("is_c", "stream", "written"),
    [
        (True, _Terminal, "50-51 =- läufe\n".encode()),
        (False, _Terminal, "50–51 ━─ läufe\n".encode()),
        (True, io.TextIOWrapper, "50–51 ━─ läufe\n".encode()),
    ],
)
def test_only_a_terminal_of_the_locale_c_gets_plain_signs(
    is_c: bool, stream: type[io.TextIOWrapper], written: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_is_locale_c", lambda: is_c)
    raw = io.BytesIO()
    text = stream(raw, encoding="utf-8", newline="\n")
    output.never_too_narrow(text)
    text.write("50–51 ━─ läufe\n")
    text.flush()
    assert raw.getvalue() == written


def test_a_stream_that_replaces_letters_already_is_left_as_it_is() -> None:
    text = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    output.never_too_narrow(text)
    assert text.errors == "backslashreplace"


def test_stdout_that_is_broken_is_noticed_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(output, "_forget_output", lambda: forgotten.append("it"))

    class Broken(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    for stream, lost in ((io.StringIO(), False), (Broken(), True)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            found = output.output_is_lost()
        assert found is lost
    assert forgotten == ["it"]


def test_output_that_is_forgotten_goes_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as stream:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            output._forget_output()
        stream.write("lost")
    assert (tmp_path / "out").read_text() == ""


def test_the_warnings_of_a_run_come_before_its_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []

    def print_result(result: object, form: str, *, quiet: bool, details: bool) -> int:
        asked.append((form, quiet, details))
        return 7

    monkeypatch.setattr(output, "print_result", print_result)
    config: Any = SimpleNamespace(format="csv", quiet=True, details=False)
    result: Any = SimpleNamespace(problems=("one\x1b[2J", "two"))
    assert output.finish(config, result) == 7
    assert (capsys.readouterr().err, asked) == ("warning: one [2J\nwarning: two\n", [("csv", True, False)])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "the memory of this machine is full: lower the load, or use a machine with more memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"),
         "/a/b: No space left on device: make room, or name another directory with --out"),
        (OSError(errno.EMFILE, "Too many open files"),
         "Too many open files: raise the limit of open files (ulimit -n 4096), or lower the load"),
        (OSError(errno.ENOENT, "No such file or directory"), None),
        (ValueError("x"), None),
    ],
)  # fmt: skip
def test_an_error_of_the_machine_comes_with_advice(error: Exception, message: str | None) -> None:
    assert output.problem_of_the_machine(error) == message


@pytest.mark.parametrize("length", [3_999, 4_000, 4_001])
def test_a_problem_has_4000_characters_at_most(length: int, capsys: pytest.CaptureFixture[str]) -> None:
    output.complain(["x" * length])
    end = " … (4,001 characters)" if length > 4_000 else ""
    assert capsys.readouterr().err == f"error: {'x' * min(length, 4_000)}{end}\n"


DOCUMENT = Document("a plan", (Banner("Four", " replicas", "good"),), ())


def test_a_document_is_shown_up_to_a_level_with_what_stands_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    levels: list[Level] = []
    monkeypatch.setattr("bench.report.text.show", lambda document, level: levels.append(level))
    output.show({}, DOCUMENT, "text")
    assert capsys.readouterr().out == ""
    output.show({}, DOCUMENT, "text", Level.USUAL, "page: x")
    assert (capsys.readouterr().out, levels) == ("\npage: x\n", [Level.FIRST, Level.USUAL])
    output.show({"a": 1}, DOCUMENT, "json", below="page: x")
    assert (capsys.readouterr().out.split(), len(levels)) == (["{", '"a":', "1", "}"], 2)


# The command `console`.


def test_a_second_console_of_a_folder_opens_the_page_of_the_first_or_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(Path(url.removeprefix("file://")).read_text()))
    (tmp_path / ".console").mkdir()
    words = ["console", "--runs", str(tmp_path), "--token", TOKEN]
    with held_alone(tmp_path / ".console"):
        assert cli.main(words) == Exit.USAGE
        assert capsys.readouterr().err == (
            f"error: another console of {tmp_path} is starting or ending: try again in a moment\n"
        )
        keep(tmp_path, "http://127.0.0.1:8600/?token=of-the-first")
        assert cli.main([*words, "--no-browser"]) == Exit.USAGE
        already = f"a console of {tmp_path} already runs at http://127.0.0.1:8600: "
        assert (capsys.readouterr().err, opened) == (f"error: {already}use it, or end it first\n", [])
        assert cli.main(words) == Exit.GOOD
    assert capsys.readouterr().out == f"{already}this opens its page\n"
    (page,) = opened
    assert 'url=http://127.0.0.1:8600/?token=of-the-first"' in page


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use (while binding)"), "Address already in use"),
        (OSError(errno.EPERM, "odd"), "Operation not permitted"),
        (socket.gaierror(-2, "Name or service not known"), "[Errno -2] Name or service not known"),
        (OSError("odd"), "odd"),
    ],
)
def test_an_address_that_cannot_be_listened_on_says_why(
    error: OSError, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise error

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(UsageError) as refused:
        _listen("lab", 80)
    assert str(refused.value) == f"cannot listen on lab:80 ({why}): choose another --port"


def test_a_console_listens_on_an_address_of_either_family_without_delay() -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        try:
            listening = _listen(host, 0)
        except UsageError:  # This machine has no IPv6.
            assert host == "::1"
            continue
        with listening:
            assert (listening.family, listening.proto) == (family, socket.IPPROTO_TCP)
    with pytest.raises(UsageError) as refused:
        _listen("a..b", 0)
    assert str(refused.value) == ("--host a..b: not a valid host name (a part of it is empty, or over 63 characters)")


@pytest.mark.parametrize(
    ("words", "variables", "problem"),
    [
        (["--token", "short"], {}, "--token needs at least 12 characters (given: 5)"),
        ([], {"TRUELOAD_TOKEN": "short"}, "the token in TRUELOAD_TOKEN needs at least 12 characters (given: 5)"),
        (["--read-token", "short"], {}, "--read-token needs at least 12 characters (given: 5)"),
        ([], {"TRUELOAD_READ_TOKEN": "short"}, "the token in TRUELOAD_READ_TOKEN needs at least 12 characters (given: 5)"),
        (["--token", TOKEN, "--read-token", f" {TOKEN}"], {},
         "--read-token is the token that may change everything: choose another"),
        (["--read-token", TOKEN], {"TRUELOAD_TOKEN": f"{TOKEN}\n"},
         "--read-token is the token that may change everything: choose another"),
        (["--token", TOKEN], {"TRUELOAD_READ_TOKEN": TOKEN},
         "the token in TRUELOAD_READ_TOKEN is the token that may change everything: choose another"),
        (["--host", "0.0.0.0"], {},
         "--host 0.0.0.0 lets other machines in: choose the token that they need, with --token or TRUELOAD_TOKEN"),
        (["--port", "65536"], {}, "--port must be from 0 to 65535 (given: '65536')"),
        (["--tls-key", "k"], {}, "--tls-key needs --tls-cert, the certificate that it belongs to"),
    ],
)  # fmt: skip
def test_a_console_with_a_wrong_flag_is_refused(
    words: list[str], variables: dict[str, str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("TRUELOAD_TOKEN", "TRUELOAD_READ_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["console", "--runs", str(tmp_path / "runs"), *words]) == Exit.USAGE
    assert capsys.readouterr().err == f"error: {problem}\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        ([], None),
        (["--host", "localhost"], None),
        (["--host", "0.0.0.0"],
         "warning: 0.0.0.0 can be reached from other machines, without encryption: anyone with the token can send load from "
         "this machine\n"),
        (["--host", "lab", "--tls-cert", "c"],
         "warning: lab can be reached from other machines: anyone with the token can send load from this machine\n"),
    ],
)  # fmt: skip
def test_a_console_that_others_can_reach_warns_of_it(
    words: list[str], warning: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    args = console_command._parser().parse_args([*words, "--token", f" {TOKEN} "])
    assert console_command._token(args) == TOKEN
    assert capsys.readouterr().err == (warning or "")


def test_the_flags_of_a_console_have_their_usual_values() -> None:
    args = vars(console_command._parser().parse_args([]))
    assert args == {
        "host": "127.0.0.1", "port": "8600", "runs": "runs", "token": None, "read_token": None, "trust_user_header": None,
        "trusted_proxy": None, "tls_cert": None, "tls_key": None, "key_env": [], "allow_local_data": False,
        "no_browser": False,
    }  # fmt: skip
    given = console_command._parser().parse_args(["--key-env", "A", "--key-env", "B", "--allow-local-data"])
    assert (given.key_env, given.allow_local_data) == (["A", "B"], True)


# The command `plan`.


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ([], {"--rates is missing: give a file of times and requests per second"}),
        (["--trace", "t"], {"--trace needs --profile: a search knows only Poisson arrivals; give --rates"}),
        (["--rates", "none", "--slo", "x", "--draws", "5"],
         {"--slo needs --profile: a search has its own objectives",
          "--draws needs --profile: a search has its own interval"}),
    ],
)  # fmt: skip
def test_a_plan_of_a_search_needs_rates_and_refuses_what_only_a_profile_knows(
    words: list[str], problems: set[str], tmp_path: Path
) -> None:
    args = plan._parser().parse_args(["--search", str(tmp_path), *words])
    found: list[str] = []
    with pytest.raises(UsageError) as refused:
        plan._of_search(args, plan._asked(args, words, found), found)
    # It also says that this directory is no search, and for rates that their file cannot be read.
    assert problems < {*refused.value.problems}
    assert len(refused.value.problems) == len(problems) + (2 if "none" in words else 1)


# The lines of a load in a terminal.


@pytest.mark.parametrize(
    ("goal", "tokens", "rates"),
    [
        (LoadGoal(), 100, "  2.0 requests/s  0 tokens/s"),
        (LoadGoal(inputs_are="texts"), 100, "  2.0 requests/s  2.0 texts/s  200 input tokens/s"),
        (LoadGoal(inputs_are="texts"), 0, "  2.0 requests/s  2.0 texts/s"),
        (LoadGoal(inputs_are="requests"), 100, "  2.0 requests/s"),
    ],
)
def test_a_load_without_text_shows_its_inputs_and_one_without_tokens_its_requests(
    goal: LoadGoal, tokens: int, rates: str
) -> None:
    records = [made_record(number, chunks_ms=(), inputs=1, input_tokens=tokens) for number in range(4)]
    ((way, _, line, *_),) = drawn(goal, [(2.0, sent(4), records)])
    assert (way, line) == ("  2 s", rates)


def test_lines_are_wiped_if_they_were_drawn() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        terminal = Terminal(stream)
        terminal.wipe()
        terminal._writer = _Writer(stream)
        terminal._lines_drawn = 3
        terminal.wipe()
        terminal.wipe()
        assert terminal._writer.columns == 80  # A pipe has no width.
        terminal.load_ended()
        stream.close()
        assert reader.read() == "\x1b[3A\x1b[J"


@pytest.mark.parametrize("quiet", [True, False])
def test_the_end_of_a_load_by_a_signal_is_acknowledged_unless_quiet(quiet: bool) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        Terminal(stream, quiet=quiet)._acknowledge()
        stream.close()
        said = "" if quiet else "the load is over: making the report (Ctrl-C again gives it up)\n"
        assert reader.read() == said
