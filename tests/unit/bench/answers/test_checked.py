"""The checked answers of a run: read from its files, in its summary, its report, objectives, gates and searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.answers.checked import answer_marks, checked_answers
from bench.answers.probe_set import read_answers, read_probes, write_probes
from bench.comparison.compare import compare
from bench.comparison.sides import read_sides
from bench.config import resolve
from bench.documents.document import Level
from bench.documents.run_document import run_document
from bench.errors import Exit, RecordError, UsageError
from bench.evaluate import Result, evaluate
from bench.load_search.decisions import Search, Settings
from bench.load_search.visit_result import Load, result_of, sought
from bench.load_search.visits import Visit
from bench.metrics import objectives
from bench.records import Outcome, RequestRecord, StoredAnswer
from bench.report import html, text
from bench.run_files.run_directory import PROBES, RunDirectory
from promptset.probes import Pattern, Probe, make_probes, parse_probes
from promptset.probes.values import GraderSettings
from tests.support.gating import judged, verdicts
from tests.support.made_records import START_NS, made_record
from tests.support.made_runs import write_run

SPEC = "canary=30,schema=10"


def _probes() -> list[Probe]:
    return make_probes(parse_probes(SPEC), seed=0)


def _records(probes: Sequence[Probe], wrong: int, times: int = 2, **fields: Any) -> list[RequestRecord]:
    """Each probe is sent `times` times. The first probes get a wrong answer, but only the last time."""
    records = []
    for k in range(times * len(probes)):
        probe = probes[k % len(probes)]
        bad = k >= (times - 1) * len(probes) and k % len(probes) < wrong
        answer = StoredAnswer(content="{no idea" if bad else probe.answer)
        records.append(made_record(2 * k, sent_ms=100.0 * k, probe=k, answer=answer, **fields))
        records.append(made_record(2 * k + 1, sent_ms=100.0 * k + 50))
    return records


def _run(path: Path, records: Sequence[RequestRecord], **settings: Any) -> RunDirectory:
    given = {"check_answers": 0.5, "probes": SPEC, **settings}
    directory = RunDirectory.open(write_run(path, records, settings=given))
    write_probes(directory, _probes())
    return directory


def _evaluated(path: Path, wrong: int, *slo: str) -> Result:
    return evaluate(_run(path, _records(_probes(), wrong), slo=slo))


def test_answers_are_graded_from_the_files_of_a_run(tmp_path: Path) -> None:
    checked = checked_answers(_run(tmp_path / "run", _records(_probes(), 8)))
    assert checked is not None
    assert (checked.probes, checked.answers, checked.failed, checked.foreign) == (40, 80, 0, 0)
    shares = {row.name: (row.probes, row.answers, row.bad, row.share) for row in checked.shares}
    assert shares["accuracy"] == (40, 80, 8, 0.9)
    # Four of the first eight probes have a schema.
    assert shares["valid_json"] == (10, 20, 4, 0.8)
    # Later answers to a probe are compared with the first one.
    assert shares["consistency"] == (40, 40, 8, 0.8)
    assert {row.probe for row in checked.wrong} == {f"{kind}-{k}" for kind in ("canary", "schema") for k in range(4)}
    assert checked.wrong[1].bad == ["accuracy", "valid_json"]
    assert checked.wrong[1].given == "{no idea"


def test_probes_that_failed_and_those_of_the_warm_up_are_no_answers(tmp_path: Path) -> None:
    good = _records(_probes(), 0, times=1)
    refused = made_record(200, probe=40, outcome=Outcome.HTTP_ERROR, chunks_ms=(), error="no tools here")
    empty = made_record(201, probe=41, outcome=Outcome.NO_TOKENS, chunks_ms=(), answer=StoredAnswer())
    warm = made_record(202, probe=42, phase="warmup", answer=StoredAnswer(content="wrong"))
    cut = made_record(203, probe=43, outcome=Outcome.INTERRUPTED, answer=StoredAnswer(content="wro"))
    directory = _run(tmp_path / "run", [warm, *good, refused, empty, cut])
    checked = checked_answers(directory)
    assert checked is not None
    assert (checked.answers, checked.failed) == (41, 1)
    assert read_answers(directory, 40).why == "http_error: no tools here"
    silent = _run(tmp_path / "silent", [*good, made_record(200, probe=40, outcome=Outcome.RESET, chunks_ms=())])
    assert read_answers(silent, 40).why == "reset"
    not_empty = checked.of("not_empty")
    assert not_empty is not None
    assert not_empty.bad == 1


def test_another_requests_code_in_an_answer_is_counted(tmp_path: Path) -> None:
    probes = _probes()
    records = _records(probes, 0, times=1)
    # The text of an ordinary request counts, too, if --store-texts keeps it.
    stray = made_record(200, answer=StoredAnswer(content=f"{probes[3].code} is yours"))
    checked = checked_answers(_run(tmp_path / "run", [*records, stray]))
    assert checked is not None
    assert checked.foreign == 1


def test_a_run_that_checks_nothing_has_no_answers(tmp_path: Path) -> None:
    directory = RunDirectory.open(write_run(tmp_path / "run", [made_record()]))
    assert checked_answers(directory) is None
    assert answer_marks(directory) == {}
    assert evaluate(directory).summary.answers is None


def test_probes_are_read_again_as_they_were_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    directory = _run(tmp_path / "run", _records(_probes(), 0, times=1))
    own = Probe(
        probe_id="own-1",
        kind="own",
        messages=({"role": "user", "content": "?"},),
        answer="x",
        grader="pattern",
        settings=GraderSettings(patterns=(Pattern("x", absent=True, about="no x"),), tolerance=0.5),
        tools=({"type": "function", "function": {"name": "f"}},),
        max_tokens=3,
    )
    write_probes(directory, [*_probes(), own])
    assert read_probes(directory) == [*_probes(), own]
    (directory.path / PROBES).write_text('{"probe_id": "a"}\n')
    with pytest.raises(RecordError, match=r"probes.jsonl, line 1: not a probe"):
        read_probes(directory)


@pytest.mark.parametrize(
    ("slo", "held", "shown"),
    [
        ("accuracy>=80%", True, "not shown"),
        ("accuracy>=99.9%", False, "failed"),
        ("accuracy>0.5", True, "held"),
        ("consistency>=99.9%", False, "failed"),
        ("valid_json>=99.9%", False, "failed"),
        ("valid_json>=90%", False, "not shown"),
    ],
)
def test_an_objective_on_answers_decides_a_run(slo: str, held: bool, shown: str, tmp_path: Path) -> None:
    found = _evaluated(tmp_path / "run", 8, slo)
    (row,) = found.summary.slo.objectives
    assert (row.held, row.shown) == (held, shown)
    assert (found.exit is Exit.OBJECTIVE_FAILED) is not held


def test_a_gate_holds_runs_to_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(2):
        _evaluated(tmp_path / "runs" / f"{k}", 8)
    status, document = judged(capsys, tmp_path / "runs", "--slo", "accuracy>50%", "--slo", "accuracy>99.9%")
    assert status == Exit.OBJECTIVE_FAILED
    assert verdicts(document) == {"accuracy>50%": "held", "accuracy>99.9%": "failed"}


def test_a_comparison_knows_answers(tmp_path: Path) -> None:
    for name, wrong in (("a", 0), ("b", 40)):
        _evaluated(tmp_path / name, wrong)
    compared = compare(read_sides([tmp_path / "a", tmp_path / "b"]))
    (row,) = (row for row in compared.versus[0].numbers if row.number.name == "accuracy")
    assert row.difference is not None
    assert row.difference.change == pytest.approx(-0.5)
    assert row.difference.high < 0


@pytest.mark.parametrize(
    ("slo", "settings", "said"),
    [
        ("accuracy>=80%", {}, "answers are checked with --check-answers 5%: add it"),
        ("accuracy{model=a}>=80%", {"check_answers": "5%"}, "probes are of no class and no model"),
        ("accuracy:p50>=80%", {"check_answers": "5%"}, "accuracy is one number of the run and takes no statistic"),
        ("accuracy>=80ms", {"check_answers": "5%"}, "'ms' is not a unit of accuracy; use 95% or 0.95"),
        ("acuracy>=80%", {"check_answers": "5%"}, "did you mean 'accuracy'?"),
    ],
)
def test_an_objective_on_answers_that_cannot_be_is_refused(slo: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve({"url": "http://h", "slo": [slo], **settings})
    assert said in str(refused.value)


def test_a_search_counts_the_answers_and_not_the_requests(tmp_path: Path) -> None:
    records = _records(_probes(), 8)
    lost = made_record(500, probe=80, outcome=Outcome.RESET, chunks_ms=())
    directory = _run(tmp_path / "run", [*records, lost])
    wanted = sought(objectives.parse(["accuracy>=80%", "error_rate<5%"]))
    search = Search(Settings("rate", tuple(one.goal for one in wanted)))
    load = Load([*records, lost], START_NS, "VALID", "01", answer_marks(directory))
    found = result_of(search, wanted, Visit(n=1, phase="visit", load=1.0, settle_s=0.0, measure_s=20.0), load, 20.0)
    assert (found.judged("accuracy>=80%"), found.violations["accuracy>=80%"]) == (81, 9)
    assert (found.judged("error_rate<5%"), found.violations["error_rate<5%"]) == (161, 1)
    assert wanted[0].goal.allowed == pytest.approx(0.2)


def test_the_report_has_the_shares_and_wrong_answers_side_by_side(tmp_path: Path) -> None:
    summary = _evaluated(tmp_path / "run", 8).summary
    first = text.render(run_document(summary), Level.FIRST, width=120)
    assert "checked answers: 90% are right (76.3% to 97.2%), of 80 answers to 40 probes" in first
    page = html.render(run_document(summary))
    assert "Same text each time" not in page
    for shown in ("<h2>Answers</h2>", "same text each time", "8 of 80", "canary-0 (wrong)", "{no idea"):
        assert shown in page
    assert "cross-talk" not in first


def test_cross_talk_is_on_the_first_screen(tmp_path: Path) -> None:
    probes = _probes()
    records = _records(probes, 0, times=1)
    mixed = made_record(300, probe=40, answer=StoredAnswer(content=probes[5].answer))
    summary = evaluate(_run(tmp_path / "run", [*records, mixed])).summary
    assert "cross-talk: 1 answer has another request's code word" in text.render(run_document(summary), Level.BRIEF)
