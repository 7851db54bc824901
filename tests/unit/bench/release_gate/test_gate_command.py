"""`bench gate` over runs made by hand: its exit status, its output, and its refusals."""

from __future__ import annotations

import shutil
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import orjson
import pytest
from jsonschema import Draft202012Validator

from tests.support.gating import gate, judged, spoil, verdicts
from tests.support.made_records import MS, START_NS, made_record
from tests.support.made_runs import made_run, made_side, write_run

if TYPE_CHECKING:
    from xmlschema import XMLSchema

BASELINE = Draft202012Validator(orjson.loads(files("bench.report").joinpath("baseline.schema.json").read_bytes()))


@cache
def junit() -> XMLSchema:
    """Imported only by the tests that need it, because every process collects all tests."""
    from xmlschema import XMLSchema

    return XMLSchema(str(files("bench.report").joinpath("junit.xsd")))


@pytest.fixture(scope="module")
def made_baseline(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A baseline of five runs of 240 requests."""
    folder = tmp_path_factory.mktemp("baseline")
    path = folder / "baseline.json"
    assert gate(made_side(folder / "before", 5, requests=240), "--baseline", path, "--update") == 0
    return path.read_bytes()


@pytest.fixture
def baseline(made_baseline: bytes, tmp_path: Path) -> Path:
    """The baseline, in a file that a test may modify."""
    path = tmp_path / "baseline.json"
    path.write_bytes(made_baseline)
    return path


def test_a_baseline_is_begun_grows_and_keeps_its_schema_and_twenty_runs(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "baseline.json"
    for group in range(4):
        runs = made_side(tmp_path / f"runs-{group}", 6, first=10 * group, requests=20)
        for n in range(6):
            (runs / f"{n + 1}").rename(runs / f"{group}-{n}")
        manifest_ids(runs)
        assert gate(runs, "--baseline", path, "--update") == 0
        content = orjson.loads(path.read_bytes())
        assert [error.message for error in BASELINE.iter_errors(content)] == []
        assert len(content["runs"]) == min(20, 6 * (group + 1))
    assert [entry["id"] for entry in content["runs"]][-6:] == [f"3-{n}" for n in range(6)]
    assert gate(runs, "--baseline", path, "--update") == 0
    assert len(orjson.loads(path.read_bytes())["runs"]) == 20


def manifest_ids(runs: Path) -> None:
    """Give each run the id of its directory."""
    for run in runs.iterdir():
        text = (run / "run.yaml").read_text()
        old = next(line for line in text.splitlines() if "run_id" in line)
        (run / "run.yaml").write_text(text.replace(old, f"  run_id: {run.name}"))


def test_unchanged_code_passes_and_a_slower_build_fails(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = made_side(tmp_path / "same", 3, first=20, seed=3, requests=240)
    slow = made_side(tmp_path / "slow", 3, first=30, seed=4, requests=240, tpot_ms=5.6)
    fast = made_side(tmp_path / "fast", 3, first=40, seed=5, requests=240, tpot_ms=4.0)
    status, document = judged(capsys, same, "--baseline", baseline)
    assert (status, verdicts(document)["tpot:p50"]) == (0, "held")
    status, document = judged(capsys, slow, "--baseline", baseline)
    assert status == 1
    assert verdicts(document) == {
        "ttft:p90": "held", "tpot:p50": "failed", "ttft:p99": "held", "tpot:p99": "failed",
        "output_tokens_per_s": "held", "error_rate": "held",
    }  # fmt: skip
    (row,) = [row for row in document["metrics"] if row["name"] == "tpot:p50"]
    assert row["low"] < 0.12 < row["high"]
    assert judged(capsys, fast, "--baseline", baseline)[0] == 0
    assert gate(slow, "--baseline", baseline, "--margin", "20%") == 0


def test_one_run_is_held_to_the_spread_of_five(tmp_path: Path, baseline: Path) -> None:
    assert gate(made_run(tmp_path / "same", at=9, requests=240), "--baseline", baseline) == 0
    assert gate(made_run(tmp_path / "slow", at=9, requests=240, tpot_ms=6.0), "--baseline", baseline) == 1


def test_a_run_is_not_held_to_itself_nor_counted_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, side = tmp_path / "baseline.json", made_side(tmp_path / "a", 6, requests=240)
    assert gate(side, "--baseline", path, "--update") == 0
    copied = tmp_path / "copied"
    shutil.copytree(side / "2", copied)
    capsys.readouterr()
    assert gate(copied, "--baseline", path) == 2
    said = "is in --baseline " + str(path) + " already, itself or as a copy, and nothing differs from itself"
    assert f"{copied} {said}" in capsys.readouterr().err
    # An update compares the run with the others, so that the same command can be repeated.
    status, document = judged(capsys, copied, "--baseline", path, "--update")
    assert (status, document["metrics"] != []) == (0, True)
    assert any("it is compared with the other runs there" in note for note in document["notes"])
    assert gate(side, copied, "--slo", "error_rate<5%") == 2
    assert f"{copied} is a copy of {side / '2'}" in capsys.readouterr().err


def test_a_change_under_the_floor_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert gate(made_side(tmp_path / "a", 5, tpot_ms=0.2, requests=40), "--baseline", path, "--update") == 0
    assert gate(made_side(tmp_path / "b", 3, tpot_ms=0.23, requests=40), "--baseline", path) == 0
    assert gate(made_side(tmp_path / "c", 3, tpot_ms=0.30, requests=40), "--baseline", path) == 1


def test_more_errors_than_the_baseline_fail(tmp_path: Path, baseline: Path) -> None:
    side = tmp_path / "errors"
    for n in range(3):
        made_run(side / f"{n}", at=20 + n, seed=n, requests=240, failed=14 + n)
    assert gate(side, "--baseline", baseline) == 1


def test_three_failed_requests_of_one_run_fail_no_gate_and_sixty_do(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for failed, verdict in ((3, "not shown"), (60, "failed")):
        run = made_run(tmp_path / f"{failed}", at=20, requests=240, failed=failed)
        assert verdicts(judged(capsys, run, "--baseline", baseline)[1])["error_rate"] == verdict


def test_update_leaves_the_baseline_alone_where_something_failed(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = baseline.read_bytes()
    slow = made_side(tmp_path / "slow", 3, first=30, requests=240, tpot_ms=6.0)
    status, document = judged(capsys, slow, "--baseline", baseline, "--update")
    assert (status, baseline.read_bytes()) == (1, before)
    assert "is unchanged, because something failed" in document["notes"][-1]
    new = tmp_path / "new.json"
    status, document = judged(capsys, slow, "--slo", "ttft:p90<1us", "--baseline", new, "--update")
    assert (status, new.exists()) == (1, False)
    assert document["notes"][-1] == f"{new} was not written, because something failed"


def test_runs_that_lack_a_number_of_the_baseline_are_not_added(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    young = tmp_path / "young.json"
    assert gate(made_run(tmp_path / "one", requests=30), "--baseline", young, "--update") == 0
    whole = [made_record(i, sent_ms=100 * i, chunks_ms=()) for i in range(30)]
    for n in range(3):
        write_run(tmp_path / "whole" / f"{n}", whole, at=20 + n)
    for path in (baseline, young):
        before = path.read_bytes()
        status, document = judged(capsys, tmp_path / "whole", "--baseline", path, "--update")
        assert (status, path.read_bytes()) == (0, before)
        assert document["notes"][0].startswith("TTFT p90 is not compared: the baseline has it, and 3 of 3 runs")
        assert document["notes"][-1] == (
            f"{path} is unchanged, because a number of it cannot be compared. To accept the change, begin another file"
        )


def test_a_strict_gate_that_fails_adds_nothing(tmp_path: Path, baseline: Path) -> None:
    before = baseline.read_bytes()
    runs = made_side(tmp_path / "runs", 3, first=20, requests=240)
    unsure = ("--slo", "ttft:p90<60ms", "--slo", "error_rate<0.1%")
    assert gate(runs, "--baseline", baseline, "--update", "--strict", *unsure) == 1
    assert baseline.read_bytes() == before
    assert gate(runs, "--baseline", baseline, "--update", *unsure) == 0
    assert baseline.read_bytes() != before


def test_a_young_baseline_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = tmp_path / "baseline.json", made_run(tmp_path / "run")
    status, document = judged(capsys, run, "--baseline", path, "--update")
    assert (status, document["notes"]) == (0, [f"{path} now holds 1 run"])
    second = made_run(tmp_path / "second", at=1)
    assert gate(second, "--baseline", path) == 2
    assert "1 candidate run against 1 of the baseline cannot be told from chance" in capsys.readouterr().err
    status, document = judged(capsys, second, "--baseline", path, "--update")
    assert status == 0
    assert document["notes"][0].startswith("nothing is compared yet: 1 candidate run against 1 of the baseline")
    assert document["notes"][-1] == f"{path} now holds 2 runs"


def test_a_baseline_of_another_workload_is_refused_with_what_differs(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = made_run(tmp_path / "other", settings={"rate": 20.0, "input_tokens": "64"}, model="another")
    assert gate(other, "--baseline", baseline, "--update") == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: --baseline {baseline} is of another workload: model (made there, another here), rate (10 there, 20 here), "
        "input_tokens (1024 there, 64 here). Send the load of the baseline"
    )


def test_a_baseline_of_a_version_with_fewer_settings_holds_where_these_are_not_used(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = orjson.loads(baseline.read_bytes())
    for name in ("mix", "trace_speed", "extra_body"):
        del older["workload"][name]
    older["workload_sha256"] = "of that version"
    baseline.write_bytes(orjson.dumps(older))
    assert gate(made_run(tmp_path / "same", at=9), "--baseline", baseline) in (0, 1)
    assert "another workload" not in capsys.readouterr().err
    assert gate(made_run(tmp_path / "other", settings={"extra_body": {"top_k": 5}}), "--baseline", baseline) == 2
    said = capsys.readouterr().err
    assert "another workload: extra_body (" in said
    assert " here). Send" in said


def test_another_machine_is_noted(tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(tmp_path / "run", at=9, requests=240, host={"name": "somewhere", "processors": 64})
    _, document = judged(capsys, run, "--baseline", baseline)
    assert document["notes"] == [
        "1 candidate run: the spread between runs is taken from the baseline, so that an unusual run fails like a change; "
        "make 3 to tell them apart",
        "the baseline was made elsewhere: processors (2 there, 64 here); what changed may be the machine",
        "TTFT p99 is not shown to hold: the runs hold 138 independent values together, and p99 takes 368",
        "TPOT p99 is not shown to hold: the runs hold 160 independent values together, and p99 takes 368",
    ]


@pytest.mark.parametrize(("status", "code"), [("INVALID", 3), ("FAILED", 4)])
def test_a_run_that_may_not_be_used_has_its_own_status(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    runs = made_side(tmp_path / "runs", 4, first=20, requests=240)
    spoil(runs / "2", status)
    assert gate(runs, "--baseline", baseline) == (0 if status == "INVALID" else code)
    assert gate(runs, "--baseline", baseline, "--strict") == code
    before = baseline.read_bytes()
    assert gate(runs / "2", "--baseline", baseline, "--update", "--junit", tmp_path / "gate.xml") == code
    assert baseline.read_bytes() == before
    junit().validate(str(tmp_path / "gate.xml"))
    (error,) = ElementTree.parse(tmp_path / "gate.xml").iter("error")
    assert error.get("message") == f"{status}: the clock was <set> \ufffd"
    printed = capsys.readouterr().out
    said = f"{status}: {runs / '2'} cannot be judged (the clock was <set>"
    assert "".join(said.split()) in "".join(printed.split())  # The output breaks long paths at line ends.
    assert "\x01" not in printed


def test_junit_has_a_case_for_each_verdict(tmp_path: Path, baseline: Path) -> None:
    slow = made_side(tmp_path / "slow", 3, first=30, requests=240, tpot_ms=6.0)
    path = tmp_path / "out" / "gate.xml"
    slos = ("--slo", "ttft:p90<1s", "--slo", "tpot:p50<5ms", "--slo", "ttft:p999<1s")
    assert gate(slow, *slos, "--baseline", baseline, "--junit", path) == 1
    junit().validate(str(path))
    root = ElementTree.parse(path).getroot()
    assert root.attrib == {"name": "trueload", "tests": "12", "failures": "3", "errors": "0"}
    found = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert (found["ttft:p90<1s"], found["tpot:p50<5ms"], found["ttft:p999<1s"]) == ([], ["failure"], ["skipped"])
    (failure,) = [f for case in root.iter("testcase") if case.get("name") == "tpot:p50" for f in case]
    assert str(failure.get("message")).startswith("+20.")
    assert str(failure.get("message")).endswith("], allowed +5%")


def test_the_schema_of_junit_notices_what_is_wrong(tmp_path: Path) -> None:
    for wrong in ("<testsuite/>", '<testsuites name="x" tests="1" failures="many" errors="0"/>'):
        assert not junit().is_valid(ElementTree.ElementTree(ElementTree.fromstring(wrong)))


def test_the_summary_is_appended_and_says_how_to_do_it_again(tmp_path: Path, baseline: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    slow = made_side(tmp_path / "slow", 3, first=30, requests=240, tpot_ms=6.0)
    gate(slow, "--baseline", baseline, "--slo", "tpot:p50<5ms", "--summary", path)
    text = path.read_text()
    assert text.startswith("before\n### ❌ The gate failed: 3 failed, 4 held\n")
    assert "| Against the baseline | Before | Now | Change | 95% interval | Found from | Allowed |  |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| TPOT p50 (ms)")]
    assert row.endswith("| +5% | ❌ failed |")
    assert f"python -m bench gate {slow} --baseline {baseline}" in text


def test_the_terminal_gets_80_columns(tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = made_side(tmp_path / "runs", 3, first=30, requests=240, tpot_ms=6.0)
    capsys.readouterr()
    gate(runs, "--baseline", baseline, "--slo", "output_tokens_per_s>1000")
    printed = capsys.readouterr().out
    assert printed.startswith("The gate failed: 3 failed, 4 held\n")
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed


def test_every_problem_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert (
        gate(
            tmp_path / "empty", "--slo", "ttft:max<1s", "--slo", "speed<3", "--margin", "0", "--alpha", "x", "--update"
        )
        == 2
    )
    said = capsys.readouterr().err
    assert said.startswith("error: 6 problems\n")
    for sentence in ("holds no run", "one request decides max", "no metric is called 'speed'", "--margin 0: not a share",
                     "--alpha x: not a share", "name it with --baseline FILE"):  # fmt: skip
        assert sentence in said
    assert gate() == 2
    assert "name the runs to judge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist: begin it with --update"),
        (b"{", "cannot be read"),
        (b'{"schema": "other/1"}', "has schema 'other/1', and this version reads 'trueload/baseline/1'"),
        (b'{"schema": "trueload/baseline/1"}', "is damaged: workload is missing"),
        (b"[]", "is not a baseline: name a file that --update made"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "baseline.json"
    if content is not None:
        path.write_bytes(content)
    assert gate(made_run(tmp_path / "run"), "--baseline", path) == 2
    assert sentence in capsys.readouterr().err


def test_runs_of_two_loads_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = made_run(tmp_path / "a"), made_run(tmp_path / "b", settings={"rate": 20.0})
    assert gate(a, b, "--slo", "ttft:p90<1s") == 2
    assert "the runs cannot be judged together: they differ in rate (10 | 20)" in capsys.readouterr().err


def test_runs_that_did_not_stream_are_held_by_e2el(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "baseline.json"
    for n in range(6):
        records = [
            made_record(i, sent_ms=100 * i, chunks_ms=(), n=4, end_ns=made_record(i, sent_ms=100 * i).end_ns + n * 1000)
            for i in range(30)
        ]
        write_run(tmp_path / f"{n}", records, at=n, settings={"stream": False})
    assert gate(*(tmp_path / f"{n}" for n in range(5)), "--baseline", path, "--update") == 0
    status, document = judged(capsys, tmp_path / "5", "--baseline", path)
    assert status == 0
    assert list(verdicts(document)) == ["e2el:p90", "e2el:p99", "output_tokens_per_s", "error_rate"]


@pytest.mark.parametrize(
    ("endpoint", "rate", "other"),
    [("http", "requests_per_s", "inputs_per_s"), ("images", "inputs_per_s", "requests_per_s")],
)
def test_replies_without_text_are_held_to_e2el_errors_and_their_inputs_or_requests(
    endpoint: str, rate: str, other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"endpoint": endpoint, "output_tokens": None}

    def side(name: str, e2el_ms: float, first: int) -> Path:
        for n in range(4):
            records = [
                made_record(
                    i, sent_ms=100.0 * i, chunks_ms=(), end_ns=round(START_NS + (100.0 * i + e2el_ms + i % 7 + n / 5) * MS),
                    output_tokens=None, output_tokens_from=None, inputs=1, input_tokens=None if endpoint == "http" else 7,
                )
                for i in range(200)
            ]  # fmt: skip
            write_run(tmp_path / name / f"{n}", records, at=first + n, settings=settings, run_id=f"{name}-{n}")
        return tmp_path / name

    path = tmp_path / "baseline.json"
    assert gate(side("before", 50.0, 0), "--baseline", path, "--update") == 0
    assert [error.message for error in BASELINE.iter_errors(orjson.loads(path.read_bytes()))] == []
    status, document = judged(capsys, side("same", 50.1, 10), "--baseline", path)
    assert status == 0
    assert {"e2el:p90", rate, "error_rate"} <= set(verdicts(document))
    assert not {other, "output_tokens_per_s", "ttft:p90"} & set(verdicts(document))
    status, document = judged(capsys, side("slow", 65.0, 20), "--baseline", path)
    assert (status, verdicts(document)["e2el:p90"]) == (1, "failed")
