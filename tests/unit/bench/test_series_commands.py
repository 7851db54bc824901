"""How the commands and functions of several runs end: what they print, and what they raise. No run is made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import cli
from bench.answer_quality.stored import PAGE
from bench.api import searches, tunes
from bench.commands import compare, options, quality, report, search, set_load
from bench.config import RunConfig, resolve
from bench.control import PresentLoad
from bench.documents import load_curves
from bench.documents.document import Level
from bench.errors import TargetError, UsageError


@pytest.mark.parametrize(
    ("ended", "words", "level", "below", "after"),
    [
        (None, [], Level.FIRST, True, False),
        ("interrupted", [], Level.FIRST, True, True),
        ("interrupted", ["--quiet"], Level.BRIEF, False, True),
        ("interrupted", ["--format", "json"], Level.FIRST, True, False),
    ],
)
def test_checked_answers_that_ended_too_soon_say_how_to_continue_except_in_json(
    ended: str | None, words: list[str], level: Level, below: bool, after: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "answers"
    shown: list[tuple[object, ...]] = []
    result = SimpleNamespace(content=SimpleNamespace(ended=ended), exit=7)
    monkeypatch.setattr("bench.answer_quality.measure.measure", lambda made, series, *, resume: result)
    monkeypatch.setattr(quality, "quality_document", lambda content: "document")
    monkeypatch.setattr(quality, "show", lambda *of: shown.append(of))
    flags = ["--url", "http://127.0.0.1:9", "--requests", "100", "--out", str(folder), *words]
    assert cli.main(["quality", *flags]) == 7
    form = "json" if "json" in words else "text"
    page = f"answers side by side: {folder / PAGE}" if below else ""
    assert shown == [(result.content, "document", form, level, page)]
    again = f"to continue, run the same command with --resume {folder}\n" if after else ""
    assert capsys.readouterr().out == again


@pytest.mark.parametrize(
    ("error", "results", "raised"),
    [
        (None, [], False),
        (None, ["a visit"], False),
        (TargetError("gone"), ["a visit"], False),
        (TargetError("gone"), [], True),
    ],
)
def test_a_search_from_python_raises_only_if_nothing_was_measured(
    error: TargetError | None, results: list[str], raised: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    search = SimpleNamespace(results=results)
    made = SimpleNamespace(base="base", search=search, wanted="wanted", require=None)
    end = SimpleNamespace(error=error)
    monkeypatch.setattr(searches, "plan", lambda *of: made)
    monkeypatch.setattr(searches, "new_directory", lambda base, command: SimpleNamespace(path=tmp_path))
    monkeypatch.setattr(searches, "RunSeries", lambda *of, **more: "runs")
    monkeypatch.setattr(searches, "carry_out", lambda *of, require: (end, "rendered"))
    monkeypatch.setattr(searches, "search_result", lambda *of: of)
    if raised:
        with pytest.raises(TargetError, match="gone"):
            searches.search(slo=["ttft:p99<1s"])
    else:
        found: Any = searches.search(slo=["ttft:p99<1s"])
        assert found[1:] == (search, end, "rendered")


@pytest.mark.parametrize("from_file", [True, False])
@pytest.mark.parametrize("out", [None, "here"])
def test_a_race_from_python_takes_a_file_or_its_content(
    from_file: bool, out: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunes, "read", lambda path: {"read": str(path)})
    monkeypatch.setattr(tunes, "spec_of", lambda content, resolved, *, budget: (content, budget))
    monkeypatch.setattr("bench.load_test.default_directory", lambda name: Path("runs") / name)
    monkeypatch.setattr(tunes, "RunSeries", lambda folder, *, command, observer: (folder, command))
    monkeypatch.setattr(tunes, "race", lambda whole, series, resolved, watched, *, resume: (whole, series, resume))
    spec: Any = "flags.yaml" if from_file else {"server": {}}
    found: Any = tunes.tune(spec, budget="9m", out=out, resume=out is not None)
    content = {"read": "flags.yaml"} if from_file else spec
    folder = Path("runs/tune") if out is None else Path(out)
    assert found == ((content, "9m"), (folder, ("bench.tune",)), out is not None)


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_comparison_is_printed_in_its_form_and_names_its_page_if_it_has_one(
    form: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "comparison_document", lambda result: "document")
    monkeypatch.setattr(compare, "to_bytes", lambda result: b"{}\n")
    monkeypatch.setattr("bench.report.html.render", lambda page: "<html>")
    monkeypatch.setattr("bench.report.markdown.render", lambda page: "# page\n")
    monkeypatch.setattr("bench.report.text.show", lambda page, level, *, width: print("page"))
    out = tmp_path / "out" if kept else None
    result: Any = "result"
    assert compare.finish(result, form, out) == 0
    below = f"\npage: {tmp_path / 'out' / 'compare.html'}\n" if kept else ""
    assert capsys.readouterr().out == {"text": f"page\n{below}", "json": "{}\n", "markdown": "# page\n"}[form]
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} if kept else {}
    assert files == ({"compare.json": "{}\n", "compare.html": "<html>"} if kept else {})


@pytest.mark.parametrize(
    ("words", "at_s", "asked", "said"),
    [
        ([], None, None, "20 users\n"),
        (["20"], 2.46, 20.0, "20 users from 2.5 s after the start on\n"),
    ],
)
def test_a_load_that_is_set_is_told_with_its_time_and_one_that_is_asked_for_without(
    words: list[str], at_s: float | None, asked: float | None, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given: list[tuple[Path, float | None, str]] = []

    def ask(path: Path, load: float | None, by: str) -> PresentLoad:
        given.append((path, load, by))
        return PresentLoad(20.0, "users", at_s)

    monkeypatch.setattr(set_load, "ask", ask)
    assert set_load.main(["runs/mine", *words]) == 0
    assert (given, capsys.readouterr().out) == ([(Path("runs/mine"), asked, "terminal")], said)


@pytest.mark.parametrize("flag", ["--rate", "--concurrency=5", "--users", "--load"])
def test_a_load_is_no_flag_of_set_load(flag: str) -> None:
    with pytest.raises(UsageError) as refused:
        set_load.main(["runs/mine", flag])
    assert str(refused.value) == f"{flag} is not a flag here: write the load after the directory: set-load runs/mine 20"


def test_a_configuration_of_a_race_is_resolved_as_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RunConfig] = []
    monkeypatch.setattr(
        tunes, "spec_of", lambda content, resolved, *, budget: made.append(resolved({"url": "http://h"}))
    )
    monkeypatch.setattr(tunes, "race", lambda *of, resume: "result")
    found: object = tunes.tune({})
    assert (found, made[0].url) == ("result", "http://h")


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"concurrency": 10, "requests": 10}, ""),
        ({"concurrency": 10}, ""),
        ({"rate": 10, "requests": 3}, ""),
        ({"concurrency": 2_000, "requests": 9},
         "note: 2,000 users with --requests 9: only 9 users send, one request each. For 2000 in flight, give --requests "
         "20000 (ten for each user) or --duration 60s\n"),
        ({"concurrency": 2, "requests": 1},
         "note: 2 users with --requests 1: only 1 user sends, one request each. For 2 in flight, give --requests 20 (ten for "
         "each user) or --duration 60s\n"),
        ({"concurrency": 2, "requests": 1, "quiet": True}, ""),
    ],
)  # fmt: skip
def test_users_who_never_send_are_told_of(
    settings: dict[str, object], note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options.note_idle_users(resolve({"url": "http://h", **settings}))
    assert capsys.readouterr().err == note


@pytest.mark.parametrize("more", [0, 1])
def test_a_page_has_only_so_many_sweeps(more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / str(number) for number in range(load_curves.MOST_SWEEPS + more)]

    def read(path: Path) -> None:
        raise UsageError(f"{path.parent.name} is read")

    monkeypatch.setattr("bench.load_sweep.stored.read", read)
    with pytest.raises(UsageError) as refused:
        report._sweeps(paths, tmp_path / "sweeps.html", "text")
    most = load_curves.MOST_SWEEPS
    too_many = f"{most + 1} sweeps are too many for one page: name at most {most}"
    assert str(refused.value) == (too_many if more else "0 is read")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["a", "b"], "a does not exist: name the directory of a result; b does not exist: name the directory of a result"),
        (["a", "--out", "x.html"],
         "--out is for the page of several sweeps: the page of one result is in its directory"),
        (["a", "b", "--format", "csv"],
         "--format csv, --format markdown, --requests, --shards and --server-chart work with one run: name its directory"),
    ],
)  # fmt: skip
def test_what_a_report_is_asked_for_and_cannot_be_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        report.main(words)
    assert "; ".join(refused.value.problems) == problem


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (None, ""),
        (TargetError("the server is gone"), "error: the server is gone\n"),
        (UsageError(["one", "two"]), "error: 2 problems\n  - one\n  - two\n"),
    ],
)
def test_a_search_prints_what_ended_it_after_its_answer(
    error: Exception | None,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = SimpleNamespace(quiet=True, format="json")
    made = SimpleNamespace(base=base, search="search", wanted="wanted", require=None)
    monkeypatch.setattr(search, "_plan", lambda argv, command: (made, SimpleNamespace(path=tmp_path)))
    monkeypatch.setattr(search, "carry_out", lambda *of, require: (SimpleNamespace(error=error), "rendered"))
    monkeypatch.setattr(search, "print_search", lambda rendered, form, *, quiet: 7)
    assert search.main(["--url", "http://h"]) == 7
    assert capsys.readouterr().err == printed
