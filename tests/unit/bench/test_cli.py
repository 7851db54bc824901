"""The first word of a command line, and the exit status of every possible end."""

from __future__ import annotations

import errno
import json
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import promptset.closed_pipe
from bench import cli, control
from bench.calibrate.measure import anywhere
from bench.commands import COMMANDS, console, report, run, tune
from bench.commands.output import print_result
from bench.errors import Exit, Interrupted, TargetError, UsageError
from bench.evaluate import evaluate
from bench.results.tune import TuneContent
from bench.run_files.run_directory import RunDirectory
from bench.tuning.measure import TuneResult
from bench.tuning.spec import Spec
from tests.support.configurations import resolved
from tests.support.made_runs import made_run
from tests.support.made_tasks import made_tune
from tests.support.results import filled
from tests.unit.bench.load_sweep.test_stored_sweeps import TEXT, WHOLE

LONG = "a-token-that-nobody-guesses-0123456789"


def test_help_is_the_same_however_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in (["--help"], ["-h"], ["help"], []):
        assert cli.main(words) == (Exit.GOOD if words else Exit.USAGE)
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1
    assert all(f"\n  {name} " in shown[0] for name in COMMANDS)
    of_gate = []
    for words in (
        ["gate", "--help"], ["--help", "gate"], ["-h", "gate"], ["help", "gate"], ["help", "gate", "--format", "x"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 0
        of_gate.append(capsys.readouterr().out)
    assert len(set(of_gate)) == 1
    assert of_gate[0].startswith("usage: python -m bench gate")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "'rnu' is not a command: did you mean run?"),
        (["zzzz"], "'zzzz' is not a command: it is one of run, "),
        (["--rate", "5"], "a command comes first, and '--rate' is not one: write python -m bench run --url URL ..."),
        (
            ["http://u:secret@h"],
            "a command comes first, and 'http://***@h' is not one: write python -m bench run --url URL",
        ),
    ],
)
def test_a_first_word_that_is_no_command_is_answered(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == Exit.USAGE
    assert capsys.readouterr().err.startswith(f"error: {said}")


BOTH = "--resume and --out both name the directory: use only one of them"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gate --slo ttft<1s", ["name the runs to judge"]),
        ("gate", ["name the runs to judge", "nothing to check the runs against: give --slo, --baseline, or both"]),
        ("quality --url http://h --resume a --out b", [BOTH]),
        ("sweep --url http://h --loads concurrency=1 --resume a --out b", [BOTH]),
        (
            "calibrate --url http://h --mock x",
            ["--mock is for the mock that calibrate starts, and --url names one that"],
        ),
        ("calibrate --cluster ray", ["--cluster: calibrate starts its mock on this machine, which other nodes cannot"]),
        ("plan --profile a --slo ttft<1s", ["--profile a", "--rates is missing: give a file of times and requests"]),
        ("mcp --allow-url h:8000", ["--allow-url h:8000: write it whole, such as http://host:8000"]),
    ],
)
def test_what_a_command_lacks_or_was_given_twice_is_said_before_it_begins(
    words: str, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words.split()) == Exit.USAGE
    err = capsys.readouterr().err
    assert [sentence in err for sentence in said] == [True] * len(said), err
    assert err.startswith("error: " if len(said) == 1 else f"error: {len(said)} problems"), err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError(["a", "b"]), 2, "error: 2 problems\n  - a\n  - b\n"),
        (TargetError("no server"), 4, "error: no server\n"),
        (Interrupted("interrupted: not complete"), 130, "error: interrupted: not complete\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (KeyboardInterrupt("while it was read"), 130, "error: while it was read\n"),
        (ModuleNotFoundError("no", name="numpy.linalg"), 2, f"error: {sys.executable} has no module 'numpy.linalg': "),
        (ModuleNotFoundError("no", name="bench.gone"), 70, "Traceback"),
        (ModuleNotFoundError("no"), 70, "Traceback"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 2, "error: "),
        (RuntimeError("broken"), 70, "Traceback"),
    ],
)
def test_each_error_has_its_status_and_its_words(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert cli.main(["run"]) == status
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert ("this is a defect of Trueload" in err) is (status == 70)


def test_words_that_are_not_utf8_are_named_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--out", "r\udcff", "--dataset", "ä", "--mix", "\udc80"]) == Exit.USAGE
    error = capsys.readouterr().err
    assert "'r\\udcff' is not UTF-8: give the file or directory another name" in error
    assert "'\\udc80' is not UTF-8" in error
    assert "--url" not in error
    assert "ä" not in error


@pytest.mark.parametrize(("words", "survives"), [(["run"], True), (["dataset", "x"], False), ([], True)])
def test_a_process_of_ours_is_set_up_first(words: list[str], survives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr(cli, "set_up", lambda: done.append("set up"))
    monkeypatch.setattr(cli, "end_as_ctrl_c", lambda: done.append("SIGTERM"))
    monkeypatch.setattr(promptset.closed_pipe, "survive", lambda: done.append("survives"))
    monkeypatch.setattr(cli, "never_too_narrow", done.append)

    def dispatch(words: list[str]) -> int:
        done.append(words)
        return 3

    monkeypatch.setattr(cli, "_dispatch", dispatch)
    assert cli.main() == 3
    assert done == ["set up", "SIGTERM", *(["survives"] if survives else []), sys.stdout, sys.stderr, words]
    done.clear()
    cli.main(words)
    assert done == [words]


@pytest.mark.parametrize(
    ("runs", "form", "shown"), [((), "text", False), ((), "json", True), ((1,), "text", True), ((1,), "json", True)]
)
def test_repeats_of_which_none_was_made_are_shown_only_as_json(
    runs: tuple[int, ...], form: str, shown: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = SimpleNamespace(content=SimpleNamespace(runs=runs), exit=Exit.INTERRUPTED)
    asked: list[Any] = []

    def repeat(config: object, n: int, series: Any) -> SimpleNamespace:
        asked.append((n, series.path))
        return found

    monkeypatch.setattr("bench.load_sweep.repeats.repeat", repeat)
    monkeypatch.setattr("bench.documents.sweep_document.repeats_document", lambda content: "document")
    showed: list[tuple[object, ...]] = []
    monkeypatch.setattr(run, "show", lambda *of, below: showed.append((*of, below)))
    config = resolved(format=form, out=str(tmp_path / "all"), quiet=True)
    assert run._repeat(config, 3, []) == Exit.INTERRUPTED
    assert asked == [(3, tmp_path / "all")]
    assert showed == [(found.content, "document", form, f"repeats: {tmp_path / 'all' / 'repeats.json'}")] * shown


def test_sweeps_share_a_page_and_are_printed_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sweep.json").write_text(TEXT)
    assert report.main(["a", "--format", "json"]) == Exit.GOOD
    assert json.loads(capsys.readouterr().out) == WHOLE
    assert report.main(["a", "b", "--format", "json"]) == Exit.GOOD
    assert json.loads(capsys.readouterr().out) == [WHOLE, WHOLE]
    assert report.main(["a"]) == Exit.GOOD
    lines = capsys.readouterr().out.splitlines()
    assert (lines[-1], "a" in lines) == ("page: a/sweep.html", False)
    assert (tmp_path / "a" / "sweep.html").is_file()
    assert report.main(["a", "b", "--out", "both.html"]) == Exit.GOOD
    lines = capsys.readouterr().out.splitlines()
    assert (lines[-1], lines.count("a"), lines.count("b")) == ("page: both.html", 1, 1)
    assert (tmp_path / "both.html").is_file()
    (tmp_path / "other" / "sweep.json").write_text(json.dumps({**WHOLE, "kind": "rate"}))
    with pytest.raises(UsageError, match="a page has sweeps of one kind"):
        report.main(["a", "other"])


@pytest.mark.parametrize("ended", ["decided", "rounds", "budget", "interrupted"])
def test_a_race_that_more_time_would_take_further_says_how_it_goes_on(
    ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, folder = tmp_path / "flags.yaml", tmp_path / "race"
    spec.write_text("server: {command: 'serve {flags} {port}'}\nflags: {a: [1, 2]}\nloads: concurrency=4\n")
    arm = {"name": "the default", "place": "best", "value": 80.0}
    content = filled(TuneContent, ended=ended, best=0, arms=[arm], unit="tokens/s")
    asked: list[tuple[bool, float]] = []

    def raced(spec: Spec, *_: object, resume: bool) -> TuneResult:
        asked.append((resume, spec.budget_s))
        return TuneResult(folder, content, Exit.OBJECTIVE_FAILED)

    monkeypatch.setattr(tune, "tune", raced)
    words = [str(spec), "--out", str(folder), "--budget", "90s"]
    assert tune.main(words) == Exit.OBJECTIVE_FAILED
    out = capsys.readouterr().out
    more = f"to go on: python -m bench tune {spec} --resume {folder} --budget 2h\n"
    head = "Best so far" if ended == "interrupted" else "Best"
    assert out.splitlines()[1] == f"{head}: the default: 80 tokens/s, which is the default"
    assert out.endswith(f"the race: {folder / 'tune.html'}\n{more if ended in ('budget', 'interrupted') else ''}")
    tune.main([*words, "--quiet"])
    assert len(capsys.readouterr().out) < len(out)
    tune.main([*words, "--format", "json"])
    assert json.loads(capsys.readouterr().out)["ended"] == ended
    assert asked == [(False, 90.0)] * 3
    spec.write_text("flags: 7\n")
    with pytest.raises(UsageError) as refused:
        tune.main([str(spec), "--resume", str(folder)])
    assert len(refused.value.problems) > 1
    assert refused.value.problems[-1] == f"--resume {folder}: there is no race (no tune.json)"


def test_the_report_of_a_race_makes_its_page_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    race = made_tune(tmp_path, "race")
    before = [(race / name).read_bytes() for name in ("tune.json", "tune.html")]
    (race / "tune.html").unlink()
    assert report.main([str(race)]) == Exit.GOOD
    assert capsys.readouterr().out.endswith(f"page: {race / 'tune.html'}\n")
    assert [(race / name).read_bytes() for name in ("tune.json", "tune.html")] == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["a", "--out", "x.html"], "--out is for the page of several sweeps"),
        (["a", "b", "--format", "csv"], "--requests, --shards and --server-chart work with one run"),
        (["a", "b", "--requests", "csv"], "--requests, --shards and --server-chart work with one run"),
        (["a", "b"], "only sweeps can share a page"),
    ],
)
def test_what_a_report_cannot_be_is_refused(
    words: list[str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=problem):
        report.main(words)


@pytest.mark.parametrize("load", [float("nan"), float("inf")])
def test_a_load_that_is_no_number_is_refused_before_the_run_is_looked_for(load: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{load} is not a load: give a number"):
        control.ask(tmp_path / "gone", load, "test")
    with pytest.raises(UsageError, match="gone"):
        control.ask(tmp_path / "gone", None, "test")


def test_the_result_of_a_run_has_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate(RunDirectory.open(made_run(tmp_path / "run")))

    def printed(form: str = "text", *, quiet: bool = False, details: bool = False) -> str:
        assert print_result(result, form, quiet=quiet, details=details) == result.exit
        return capsys.readouterr().out

    assert json.loads(printed("json")) == json.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert printed("markdown").startswith("#")
    assert printed("csv").splitlines()[0].startswith("metric")
    brief, first, details = printed(quiet=True), printed(), printed(details=True)
    assert len(brief) < len(first) < len(details)
    page = f"\nreport: {tmp_path / 'run' / 'report.html'}"
    assert [page in text for text in (brief, first, details)] == [False, True, True]


@pytest.mark.parametrize(
    ("flags", "variables", "problem"),
    [
        ({}, {}, None),
        ({"read_token": LONG}, {}, None),
        ({"read_token": LONG, "token": f"{LONG}-other"}, {"TRUELOAD_TOKEN": LONG}, None),
        ({"read_token": f" {LONG} "}, {"TRUELOAD_TOKEN": f"{LONG} "}, "--read-token is the token that may change"),
        ({"read_token": LONG, "token": LONG}, {}, "--read-token is the token that may change everything"),
        ({"read_token": "short"}, {}, "--read-token "),
        ({"token": LONG}, {"TRUELOAD_READ_TOKEN": LONG}, "the token in TRUELOAD_READ_TOKEN is the token that may"),
    ],
)
def test_the_token_that_only_reads_differs_from_the_other(
    flags: dict[str, str], variables: dict[str, str], problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRUELOAD_TOKEN", "TRUELOAD_READ_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    given = SimpleNamespace(**{"token": None, "read_token": None, **flags})
    if problem is None:
        assert console._read_token(given) == flags.get("read_token")  # type: ignore[arg-type]
    else:
        with pytest.raises(UsageError, match=problem):
            console._read_token(given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "variable", "token"),
    [
        ({}, None, None),
        ({}, f"{LONG}\n", LONG),
        ({"token": LONG}, None, LONG),
        ({"token": LONG}, f"{LONG}-other", LONG),
        ({"token": "short"}, LONG, re.compile("--token ")),
        ({}, "short", re.compile("the token in TRUELOAD_TOKEN ")),
        ({"host": "0.0.0.0"}, None, re.compile("--host 0.0.0.0 lets other machines in: choose the token")),
        ({"host": "0.0.0.0"}, LONG, LONG),
    ],
)
def test_the_token_is_the_flags_then_the_variables_and_other_machines_need_one(
    flags: dict[str, str], variable: str | None, token: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("TRUELOAD_TOKEN", raising=False)
    if variable is not None:
        monkeypatch.setenv("TRUELOAD_TOKEN", variable)
    given: Any = SimpleNamespace(**{"token": None, "host": "127.0.0.1", "tls_cert": None, **flags})
    if isinstance(token, re.Pattern):
        with pytest.raises(UsageError, match=token):
            console._token(given)
    else:
        assert console._token(given) == token
        warns = (
            "host" in flags
            and "0.0.0.0 can be reached from other machines, without encryption: " in capsys.readouterr().err
        )
        assert warns is ("host" in flags)


@pytest.mark.parametrize(
    ("flags", "places"),
    [("", "http://127.0.0.1:1"), ("--replicas 1", "http://127.0.0.1:1"),
     ("--replicas 3", [f"http://127.0.0.1:{port}" for port in (1, 2, 3)])],
)  # fmt: skip
def test_a_mock_that_has_not_begun_has_an_address_for_each_replica(flags: str, places: str | list[str]) -> None:
    assert anywhere(flags) == places


def test_the_status_of_a_command_is_that_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(cli, "main", lambda: 3)
    monkeypatch.setattr(cli, "leave", leave)
    with pytest.raises(SystemExit) as ended:
        cli.command()
    assert ended.value.code == 3
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("bench", run_name="__main__")
    assert ended.value.code == 3
    assert "command" in runpy.run_module("bench.__main__", run_name="bench.__main__")  # Nothing is run on import.


@pytest.mark.parametrize(("version", "old"), [((3, 10, 9), True), ((3, 11, 0), False), ((4, 0, 0), False)])
def test_an_interpreter_that_is_too_old_is_named(
    version: tuple[int, ...], old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    if not old:
        assert "command" in runpy.run_module("bench.__main__", run_name="bench.__main__")
        return
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("bench.__main__", run_name="bench.__main__")
    assert ended.value.code == f"error: Trueload needs Python 3.11 or newer, and {sys.executable} is 3.10"


def test_ctrl_c_while_a_command_is_imported_ends_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "bench.cli", Interrupting("bench.cli"))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("bench.__main__", run_name="bench.__main__")
    assert ended.value.code == 130
