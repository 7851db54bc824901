"""The first word of a command line, and the exit status of whatever a command meets."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import promptset.closed_pipe
from bench import cli, control
from bench.commands import COMMANDS, report, run
from bench.errors import Exit, Interrupted, TargetError, UsageError
from tests.support.configurations import resolved
from tests.unit.bench.load_sweep.test_stored_sweeps import TEXT, WHOLE


def test_help_is_the_same_however_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in (["--help"], ["-h"], ["help"], []):
        assert cli.main(words) == (Exit.GOOD if words else Exit.USAGE)
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1
    assert all(f"\n  {name} " in shown[0] for name in COMMANDS)
    of_gate = []
    for words in (["gate", "--help"], ["--help", "gate"], ["-h", "gate"], ["help", "gate"]):
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


@pytest.mark.parametrize(("words", "survives"), [(["run"], True), (["dataset", "x"], False), ([], True)])
def test_a_process_of_ours_is_set_up_first(words: list[str], survives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr(cli, "set_up", lambda: done.append("set up"))
    monkeypatch.setattr(promptset.closed_pipe, "survive", lambda: done.append("survives"))
    monkeypatch.setattr(cli, "never_too_narrow", done.append)

    def dispatch(words: list[str]) -> int:
        done.append(words)
        return 3

    monkeypatch.setattr(cli, "_dispatch", dispatch)
    assert cli.main() == 3
    assert done == ["set up", *(["survives"] if survives else []), sys.stdout, sys.stderr, words]
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
    assert report.main(["a", "b", "--out", "both.html"]) == Exit.GOOD
    lines = capsys.readouterr().out.splitlines()
    assert (lines[-1], lines.count("a"), lines.count("b")) == ("page: both.html", 1, 1)
    assert (tmp_path / "both.html").is_file()
    (tmp_path / "other" / "sweep.json").write_text(json.dumps({**WHOLE, "kind": "rate"}))
    with pytest.raises(UsageError, match="a page has sweeps of one kind"):
        report.main(["a", "other"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["a", "--out", "x.html"], "--out is for the page of several sweeps"),
        (["a", "b", "--format", "csv"], "--requests, --shards and --server-chart work with one run"),
        (["a", "b", "--requests", "csv"], "--requests, --shards and --server-chart work with one run"),
        (["a", "b"], "only sweeps can share a page"),
    ],
)
def test_what_a_report_cannot_be_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        report.main(words)


@pytest.mark.parametrize("load", [float("nan"), float("inf")])
def test_a_load_that_is_no_number_is_refused_before_the_run_is_looked_for(load: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{load} is not a load: give a number"):
        control.ask(tmp_path / "gone", load, "test")
    with pytest.raises(UsageError, match="gone"):
        control.ask(tmp_path / "gone", None, "test")
