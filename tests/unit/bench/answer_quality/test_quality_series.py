"""The runs of `quality`: which are made and reported, the file after each run, and how a series resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.answer_quality.measure import QualityResult, exit_of, measure
from bench.answer_quality.options import MOST_ALONE, Plan, plan
from bench.answers.compared import Compared
from bench.answers.probe_set import write_probes
from bench.config import RunConfig, resolve
from bench.errors import Exit, UsageError
from bench.evaluate import Result
from bench.results.quality import QualityCrossTalk, QualityDifference, QualityMeasure, QualityRun
from bench.run_files.run_directory import REQUESTS, RunDirectory
from bench.statistics.paired_shares import MARGIN
from promptset.probes import Probe, make_probes, parse_probes
from tests.support.made_runs import made_run
from tests.support.made_series import MadeSeries, Noting
from tests.support.results import filled

GIVEN: dict[str, Any] = {
    "url": "http://127.0.0.1:8000",
    "concurrency": 2,
    "requests": 100,
    "probes": "canary=40",
    "seed": 7,
}
PROBES = make_probes(parse_probes("canary=40"), seed=7)


def resolved(given: Mapping[str, Any]) -> RunConfig:
    return resolve({**GIVEN, **given})


def planned(own: Mapping[str, str] | None = None, *, strict: bool = False, **given: Any) -> Plan:
    return plan({**GIVEN, **given}, own or {}, lambda more: resolved({**given, **more}), strict=strict)


class Answering(MadeSeries):
    """`texts`: a run's answer to a probe instead of the right text, by run name. `ends`: its status, by name.
    `unanswered`: probes without an answer, by name."""

    texts: Mapping[str, Any] = {}
    ends: Mapping[str, tuple[str, list[str]]] = {}
    unanswered: Mapping[str, int] = {}
    asked: Mapping[str, int] = {}

    def run(self, name: str, config: RunConfig) -> Result:
        result = super().run(name, config)
        path = self.path / name
        path.mkdir()
        directory = RunDirectory(path)
        write_probes(directory, PROBES)
        lines = []
        for number in range(len(PROBES) * (2 if name == "alone" else 1))[: self.asked.get(name)]:
            probe: Probe = PROBES[number % len(PROBES)]
            answer = {"content": self.texts.get(name, lambda probe: probe.answer)(probe)}
            row: dict[str, Any] = {"id": f"{name}-{number}", "phase": "run", "probe": number}
            failed = number < self.unanswered.get(name, 0)
            row |= {"outcome": "http_error", "error": "busy"} if failed else {"outcome": "ok", "answer": answer}
            lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        (path / REQUESTS).write_bytes(b"".join(lines))
        status, reasons = self.ends.get(name, ("VALID", []))
        verdict = filled(type(result.summary.verdict), {"status": status, "reasons": reasons})
        summary = filled(type(result.summary), {**{f: getattr(result.summary, f) for f in result.summary.__struct_fields__},
                                                "verdict": verdict})  # fmt: skip
        return replace(result, directory=directory, summary=summary)


def asked(series: Answering, plan: Plan, *, resume: bool = False) -> QualityResult:
    return measure(plan, series, resume=resume)


def wrong(probe: Probe) -> str:
    return "no"


def test_three_runs_are_made_said_and_kept(tmp_path: Path) -> None:
    noting = Noting()
    series = Answering(tmp_path, observer=noting)
    found = asked(series, planned({"alone": "2"}))
    assert noting.lines == [
        "alone: each probe alone, 80 requests one after another", "  VALID, 80 answers",
        "loaded: the same probes under load", "  VALID, 40 answers",
        "back: each probe alone again, 40 requests one after another", "  VALID, 40 answers",
    ]  # fmt: skip
    assert [Path(str(config.out)).name for config in series.made] == ["alone", "loaded", "back"]
    content = found.content
    assert [(run.name, run.phase, run.status, run.answers, run.failed) for run in content.runs] == [
        ("alone", "alone", "VALID", 80, 0), ("loaded", "loaded", "VALID", 40, 0), ("back", "back", "VALID", 40, 0),
    ]  # fmt: skip
    assert (found.exit, content.exit, content.ended, found.changed) == (Exit.GOOD, 0, None, False)
    assert (content.probes, content.asked_alone, content.margin, content.strict) == (40, 2, MARGIN, False)
    assert {row.decision for row in content.measures} == {"not shown"}
    assert content.cross_talk is not None
    assert (content.cross_talk.answers, content.cross_talk.found, list(content.notes)) == (40, 0, [])
    assert found.page == tmp_path / "quality.html"
    assert found.page.is_file()


def test_what_load_changes_is_found_and_strict_asks_for_more(tmp_path: Path) -> None:
    series = Answering(tmp_path / "a")
    series.texts = {"loaded": wrong}
    found = asked(series, planned())
    assert (found.exit, found.changed) == (Exit.OBJECTIVE_FAILED, True)
    assert found.content.examples
    # Neither shown nor excluded.
    assert asked(Answering(tmp_path / "b"), planned(strict=True)).exit is Exit.OBJECTIVE_FAILED


def test_its_notes_say_what_was_not_asked_or_not_answered(tmp_path: Path) -> None:
    series = Answering(tmp_path)
    series.asked = {"loaded": 30}
    series.unanswered = {"alone": 1, "back": 2}
    series.ends = {"loaded": ("INVALID", ["the client was busy", "and more"]), "back": ("FAILED", [])}
    found = asked(series, planned())
    assert found.exit is Exit.TARGET
    assert list(found.content.notes) == [
        "under load 30 of 40 probes were asked: a longer load or a greater --share asks all of them",
        "alone: 1 probe failed, and are not counted: http_error: busy",
        "loaded is INVALID: the client was busy",
        "back: 2 probes failed, and are not counted: http_error: busy",
        "back is FAILED: no reason",
    ]
    assert [run.failed for run in found.content.runs] == [1, 0, 2]


def test_ctrl_c_keeps_what_is_done_and_the_series_goes_on(tmp_path: Path) -> None:
    found = asked(Answering(tmp_path, at={"loaded": KeyboardInterrupt()}), planned())
    assert (found.exit, found.content.ended, len(found.content.runs)) == (Exit.INTERRUPTED, "interrupted", 1)
    assert ([*found.content.measures], found.content.cross_talk, found.content.difference) == ([], None, None)
    noting = Noting()
    again = Answering(tmp_path, before=["alone"], observer=noting)
    assert asked(again, planned(), resume=True).exit is Exit.GOOD
    assert noting.lines[0] == "alone: measured already"
    assert [Path(str(config.out)).name for config in again.made] == ["loaded", "back"]


def test_a_series_that_is_killed_says_nothing_yet(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        asked(Answering(tmp_path, at={"back": SystemExit()}), planned())
    content = json.loads((tmp_path / "quality.json").read_text())
    assert (content["exit"], content["ended"], content["measures"]) == (0, None, [])


@pytest.mark.parametrize(
    ("resume", "given", "said"),
    [
        (False, {}, "already holds a result of quality: go on with --resume, or name another --out"),
        (True, {"concurrency": 3, "seed": 8},
         r"its runs were made with other settings \(--concurrency, --seed\): give the same flags"),
        (True, {"probes": "canary=41"}, r"its runs were made with other settings \(--probes\)"),
        (True, {"extra_body": '{"temperature": 1}'}, r"\(--extra-body\)"),
        (True, {"own": {"alone": "3", "share": "9%"}}, r"\(--share, --alone\)"),
    ],
)  # fmt: skip
def test_a_series_goes_on_only_as_it_was_begun(resume: bool, given: dict[str, Any], said: str, tmp_path: Path) -> None:
    asked(Answering(tmp_path, at={"loaded": KeyboardInterrupt()}), planned())
    series = Answering(tmp_path)
    with pytest.raises(UsageError, match=said):
        asked(series, planned(given.pop("own", None), **given), resume=resume)
    assert series.made == []


def test_a_series_goes_on_with_the_probes_that_it_began_with(tmp_path: Path) -> None:
    asked(Answering(tmp_path, at={"loaded": KeyboardInterrupt()}), planned())
    lines = (tmp_path / "alone" / "probes.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "alone" / "probes.jsonl").write_bytes(b"".join(lines[::-1]))
    with pytest.raises(UsageError, match="the probes are not those of its runs: a file of --probes has changed since"):
        asked(Answering(tmp_path), planned(), resume=True)


def test_a_series_does_not_go_on_with_changed_data(tmp_path: Path) -> None:
    asked(Answering(tmp_path, at={"loaded": KeyboardInterrupt()}), planned())
    (tmp_path / "rows.jsonl").write_text("{}")
    made_run(tmp_path / "before", data_sha256={str(tmp_path / "rows.jsonl"): "0" * 64})
    with pytest.raises(UsageError, match=r"another content of .*rows\.jsonl: give the same data"):
        asked(Answering(tmp_path), planned(), resume=True)


def test_there_must_be_a_series_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it holds no result of quality \(no quality.json\)"):
        asked(Answering(tmp_path), planned(), resume=True)


# ---- Options and the exit status -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "times", "margin"),
    [
        ({}, 2, MARGIN),
        ({"alone": " 2 "}, 2, MARGIN),
        ({"alone": str(MOST_ALONE), "margin": "2%"}, MOST_ALONE, 0.02),
        ({"margin": "0.99"}, 2, 0.99),
        ({"margin": "99.5%"}, 2, 0.995),
    ],
)
def test_own_flags_have_their_values(own: dict[str, str], times: int, margin: float) -> None:
    found = planned(own)
    assert (found.times, found.margin, found.probes, found.strict) == (times, pytest.approx(margin), 40, False)
    assert planned(strict=True).strict


@pytest.mark.parametrize("text", ["1", "100%", "0", "0%", "-0.1", "much", "5"])
def test_a_margin_is_a_share(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        planned({"margin": text})
    assert list(refused.value.problems) == [f"--margin {text}: not a share between 0 and 1; write 1% or 0.01"]


@pytest.mark.parametrize("text", ["1", "101", "-2", "2.5", "x"])
def test_each_probe_is_asked_twice_at_least(text: str) -> None:
    with pytest.raises(UsageError, match=f"--alone {text}: give a whole number from 2 to 100"):
        planned({"alone": text})


def test_problems_that_are_known_come_first_with_the_flag_that_was_given() -> None:
    with pytest.raises(UsageError) as refused:
        plan({"check_answers": "5%"}, {"share": "200%"}, resolved, ["known before"])
    first, second, third, *_ = refused.value.problems
    assert first == "known before"
    assert second == "--check-answers cannot be combined with quality: --share says how many requests are probes"
    assert third.startswith("--share")


def judged(decision: str, *, is_fault: bool, fall: float) -> Compared:
    row = filled(QualityMeasure, name="right", decision=decision, is_fault=is_fault, fall=fall)
    return Compared([row], [], filled(QualityDifference), None, None)


@pytest.mark.parametrize(
    ("decision", "is_fault", "fall", "usual", "strict"),
    [
        ("changed", True, 0.1, Exit.OBJECTIVE_FAILED, Exit.OBJECTIVE_FAILED),
        ("changed", True, 0.0, Exit.GOOD, Exit.OBJECTIVE_FAILED),
        ("changed", True, -0.1, Exit.GOOD, Exit.OBJECTIVE_FAILED),
        ("changed", False, 0.1, Exit.GOOD, Exit.OBJECTIVE_FAILED),
        ("not shown", True, 0.0, Exit.GOOD, Exit.OBJECTIVE_FAILED),
        ("not shown", False, 0.0, Exit.GOOD, Exit.GOOD),
        ("within the margin", True, 0.0, Exit.GOOD, Exit.GOOD),
    ],
)
def test_a_fault_that_load_makes_more_frequent_fails(
    decision: str, is_fault: bool, fall: float, usual: Exit, strict: Exit
) -> None:
    compared = judged(decision, is_fault=is_fault, fall=fall)
    assert exit_of(planned(), [], compared, None) is usual
    assert exit_of(planned(strict=True), [], None, None) is Exit.OBJECTIVE_FAILED  # Nothing was compared.
    assert exit_of(planned(strict=True), [], compared, None) is strict


@pytest.mark.parametrize(
    ("talk", "statuses", "found"),
    [
        ((1, 0), ["FAILED"], Exit.OBJECTIVE_FAILED),
        ((0, 1), ["INVALID"], Exit.OBJECTIVE_FAILED),
        ((0, 0), ["INVALID", "FAILED"], Exit.TARGET),
        ((0, 0), ["INVALID", "VALID"], Exit.INVALID),
        ((0, 0), ["SUSPECT", "VALID"], Exit.GOOD),
        (None, ["VALID"], Exit.GOOD),
    ],
)
def test_cross_talk_comes_before_the_status_of_the_runs(
    talk: tuple[int, int] | None, statuses: list[str], found: Exit
) -> None:
    said = None if talk is None else filled(QualityCrossTalk, found=talk[0], found_alone=talk[1])
    runs = [filled(QualityRun, name="a", phase="alone", status=status) for status in statuses]
    assert exit_of(planned(), runs, None, said) is found
