"""Directories taken as sides, which of their settings must be equal, and how setting values are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.comparison.margin import share_of
from bench.comparison.settings import (
    must_be_equal,
    refuse_other_loads,
    refuse_several_loads,
    text_of,
    variations,
)
from bench.comparison.sides import (
    MeasuredRun,
    Side,
    UnusableRuns,
    copies,
    read_run,
    read_side,
    read_sides,
    run_directories,
    usable,
)
from bench.errors import Exit, UsageError
from bench.evaluate import evaluate
from bench.results.base import to_plain
from bench.run_files.run_directory import MANIFEST, REQUESTS, SUMMARY, RunDirectory
from tests.support.made_gate import run_of
from tests.support.made_runs import made_run, made_side


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("99.9%", 0.999), ("1%", 0.01), ("0.999", 0.999)]
)
def test_a_share_is_written_in_percent_or_as_a_number(text: str, share: float) -> None:
    assert share_of("--margin", text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "0%", "1", "100%", "1.5", "5", "-5%", "x", "", "%", "nan"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--margin .*: not a share between 0 and 1; write 5% or 0\.05$"):
        share_of("--margin", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not set"),
        ([], "none"),
        ((), "none"),
        ([1, "a"], "1, a"),
        (("a",), "a"),
        (10.0, "10"),
        (0.125, "0.125"),
        ({"a": 1.0, "b": [2, 3]}, "a=1, b=2, 3"),
        (True, "True"),
        ("text", "text"),
        (3, "3"),
    ],
)
def test_a_value_of_a_setting_is_written_for_people(value: object, text: str) -> None:
    assert text_of("name", value) == text


@pytest.mark.parametrize(
    ("pages", "text"), [([], "auto"), (["off"], "off"), (["http://a", "http://b"], "http://a, http://b")]
)
def test_server_metrics_that_name_no_page_are_auto(pages: list[str], text: str) -> None:
    assert text_of("server_metrics", pages) == text


def test_what_makes_the_load_must_be_equal() -> None:
    classes = [{"name": "chat", "share": 2, "slo": ["ttft<1s"], "headers": {"a": "b"}}, {"name": "batch", "share": 1}]
    settings = {"rate": 10.0, "url": "http://a", "seed": 3, "name": "x", "mix": {"classes": classes}}
    assert must_be_equal(settings) == {"rate": 10.0, "mix": {"chat": {"share": 2}, "batch": {"share": 1}}}
    assert must_be_equal({"mix": None, "rate": 1.0}) == {"mix": None, "rate": 1.0}


def side_of(name: str, *settings: dict[str, Any], **fields: Any) -> Side:
    runs = tuple(run_of(run_id=f"{name}{k}", settings=one, **fields) for k, one in enumerate(settings))
    return Side(name, Path(name), runs)


def found(*sides: Side, allow: Sequence[str] = ()) -> list[tuple[str, str, tuple[str, ...], bool]]:
    return [(one.group, one.name, one.values, one.refused) for one in variations(sides, allow)]


def test_what_differs_is_listed_what_must_be_equal_first() -> None:
    a = side_of("A", {"rate": 10.0, "url": "http://a", "seed": 1, "timeout": 5.0})
    b = side_of("B", {"rate": 20.0, "url": "http://b", "seed": 1, "timeout": 6.0}, manifest={"host": {"processors": 4}})
    assert found(a, b) == [
        ("workload", "rate", ("10", "20"), True),
        ("target", "url", ("http://a", "http://b"), False),
        ("configuration", "timeout", ("5", "6"), False),
        ("machine", "processors", ("2", "4"), False),
    ]
    assert found(a, b, allow=["rate"])[0] == ("workload", "rate", ("10", "20"), False)
    assert found(a, a) == []


@pytest.mark.parametrize(
    ("name", "values", "shown"),
    [
        ("rate", (100.0001, 100.0004), ("100.0001", "100.0004")),
        ("extra_body", ({"top_k": 1}, {"top_k": "1"}), ("{'top_k': 1}", "{'top_k': '1'}")),
        ("extra_body", ({"stop": None}, {"stop": "not set"}), ("{'stop': None}", "{'stop': 'not set'}")),
    ],
)
def test_values_that_would_look_the_same_differ_in_every_digit_and_quote(
    name: str, values: tuple[object, object], shown: tuple[str, str]
) -> None:
    a, b = (side_of(letter, {name: value}) for letter, value in zip("AB", values, strict=True))
    assert found(a, b) == [("workload", name, shown, True)]


def test_runs_of_one_side_must_be_of_one_load_and_may_differ_otherwise() -> None:
    several = side_of("A", {"rate": 10.0, "seed": 1}, {"rate": 20.0, "seed": 2})
    assert found(several, several) == [("workload", "rate", ("10 | 20", "10 | 20"), True)]
    same = side_of("A", {"rate": 10.0, "seed": 1}, {"rate": 10.0, "seed": 2})
    assert found(same, same) == []
    assert found(same, side_of("B", {"rate": 10.0, "seed": 1})) == [("configuration", "seed", ("1 | 2", "1"), False)]


def test_a_load_that_is_refused_is_named_once_where_all_sides_have_it() -> None:
    several = side_of("A", {"rate": 10.0}, {"rate": 20.0})
    other = side_of("B", {"rate": 30.0, "input_tokens": "5"})
    with pytest.raises(
        UsageError, match=r"^A and B cannot be compared: they differ in rate \(10 \| 20 against 30\), inp"
    ):
        refuse_other_loads(variations([several, other]), [several, other])
    with pytest.raises(UsageError) as caught:
        refuse_other_loads(variations([several, several]), [several, several])
    assert caught.value.problems == [
        "A and A cannot be compared: they differ in rate (10 | 20). If you mean to measure this change, add --allow rate"
    ]
    refuse_other_loads(variations([several, several], ["rate"]), [several, several])


A, B, FILE, OTHER = "a" * 64, "b" * 64, "data.jsonl", "copy.jsonl"


@pytest.mark.parametrize(
    ("a", "b", "shown"),
    [
        ((FILE, A), (FILE, A), None),
        ((FILE, A), (OTHER, A), None),
        ((FILE, A), (FILE, B), (f"{FILE} with sha256 {A[:12]}", f"{FILE} with sha256 {B[:12]}")),
        ((FILE, A), (OTHER, B), (FILE, OTHER)),
        ((FILE, None), (FILE, B), None),
        ((FILE, None), (OTHER, B), (FILE, OTHER)),
    ],
    ids=["same", "copied", "other content", "other file", "older run", "older run of another file"],
)
def test_files_of_data_are_the_same_if_their_content_is(
    a: tuple[str, str | None], b: tuple[str, str | None], shown: tuple[str, str] | None
) -> None:
    for setting in ("dataset", "mix"):
        sides = []
        for name, (path, digest) in zip("AB", (a, b), strict=True):
            mix = {"classes": [{"name": "chat", "share": 1, "dataset": path}]}
            settings = {setting: path if setting == "dataset" else mix}
            sides.append(side_of(name, settings, manifest={"data_sha256": {} if digest is None else {path: digest}}))
        in_mix = "chat=share=1, dataset={}" if setting == "mix" else "{}"
        told = None if shown is None else ("workload", setting, tuple(map(in_mix.format, shown)), True)
        assert found(*sides) == ([] if told is None else [told])


def test_runs_that_are_judged_together_are_of_one_load() -> None:
    several = side_of("A", {"rate": 10.0, "seed": 1}, {"rate": 20.0, "seed": 2}).runs
    with pytest.raises(UsageError, match=r"they differ in rate \(10 \| 20\); give runs of one load$"):
        refuse_several_loads(several)
    refuse_several_loads(side_of("A", {"seed": 1}, {"seed": 2, "url": "http://b"}).runs)


def run_files(path: Path) -> Path:
    """The files that make a directory a run, without content."""
    path.mkdir(parents=True)
    for name in (MANIFEST, REQUESTS):
        (path / name).touch()
    return path


def test_the_runs_of_a_directory_are_those_inside_it_that_are_whole(tmp_path: Path) -> None:
    runs = [run_files(tmp_path / name) for name in ("1", "10", "2")]
    for name in (".hidden", "1-cut-off-1"):
        run_files(tmp_path / name)
    for name, file in (("no-requests", MANIFEST), ("no-manifest", REQUESTS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    (tmp_path / "file").touch()
    assert run_directories(tmp_path) == runs
    assert run_directories(runs[1]) == runs[1:2]
    # A directory that is named explicitly is read, even if hidden.
    assert run_directories(tmp_path / ".hidden") == [tmp_path / ".hidden"]
    with pytest.raises(UsageError, match="file holds no run"):
        run_directories(tmp_path / "file")


def test_the_runs_of_a_side_are_in_the_order_of_their_start(tmp_path: Path) -> None:
    for name, at in (("a", 2), ("b", 0), ("c", 1)):
        made_run(tmp_path / name, at=at, requests=2)
    assert [run.directory.name for run in read_side("A", tmp_path).runs] == ["b", "c", "a"]


def test_a_copy_is_a_directory_with_the_id_and_the_start_of_another() -> None:
    first, again, later = (
        run_of(run_id="a", directory=Path(path), started=started)
        for path, started in (("x", "2026-11-01"), ("y", "2026-11-01"), ("z", "2026-11-02"))
    )
    assert copies([first, later, first]) == []
    assert copies([first, later, again]) == ["y is a copy of x, the same run: use only one of them"]


def test_a_summary_that_can_be_used_is_read_as_it_is(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", requests=2)
    summary = orjson.loads((path / SUMMARY).read_bytes())
    summary["stalls"]["stalls"] = 1_234
    (path / SUMMARY).write_bytes(orjson.dumps(summary))
    assert (to_plain(read_run(path).summary), read_run(path).notes) == (summary, [])


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two requests with the summary of its records."""
    path = made_run(tmp_path_factory.mktemp("evaluated") / "run", requests=2)
    evaluate(RunDirectory.open(path))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"schema": "trueload/summary/0"},
        {"verdict": ["VALID"]},
        {"verdict": {"status": "FINE", "reasons": []}},
        {"verdict": {"status": "VALID", "reasons": "none"}},
        {"latency": "of another hand"},
        {"counts": {}},
    ],
)
def test_a_summary_of_another_format_or_a_damaged_one_is_made_again(evaluated: Path, change: dict[str, object]) -> None:
    path, whole = evaluated, orjson.loads((evaluated / SUMMARY).read_bytes())
    (path / SUMMARY).write_bytes(orjson.dumps(whole | change))
    run = read_run(path)
    assert to_plain(run.summary) == whole
    assert orjson.loads((path / SUMMARY).read_bytes()) == whole
    (note,) = run.notes
    assert note.startswith(f"{path / SUMMARY} could not be read (")
    assert note.endswith("): it was made again from the records of the run")


def test_a_summary_that_is_not_there_is_made_without_a_note(evaluated: Path) -> None:
    whole = orjson.loads((evaluated / SUMMARY).read_bytes())
    (evaluated / SUMMARY).unlink()
    assert (to_plain(read_run(evaluated).summary), read_run(evaluated).notes) == (whole, [])


def test_a_run_that_lost_records_after_its_summary_has_the_verdict_of_report_and_its_summary_stays(
    tmp_path: Path,
) -> None:
    path = made_run(tmp_path / "run", requests=2, files={REQUESTS: 10_000})
    content = (path / SUMMARY).read_bytes()
    assert orjson.loads(content)["verdict"]["status"] == "VALID"
    run = read_run(path)
    assert "files" in (run.summary.verdict.signs or ())
    assert "of the 10,000 bytes that the run wrote" in " ".join(run.summary.verdict.reasons)
    assert [file.name for file in path.iterdir() if file.read_bytes() == content] == [SUMMARY]
    assert evaluate(RunDirectory.open(path)).summary == run.summary == read_run(path).summary


def judged_run(name: str, status: str, *reasons: str) -> MeasuredRun:
    return run_of(run_id=name, status=status, reasons=reasons)


def test_a_side_keeps_the_runs_that_may_be_used_and_names_the_others() -> None:
    runs = (
        judged_run("1", "INVALID", "the clock was set", "and more"), judged_run("2", "VALID"),
        judged_run("3", "FAILED"), judged_run("4", "SUSPECT", "late"),
    )  # fmt: skip
    found = usable(Side("A", Path("a"), runs))
    assert found.runs == (runs[1], runs[3])
    assert found.left_out == (
        (Path("runs/1"), "INVALID: the clock was set"),
        (Path("runs/3"), "FAILED: no reason was recorded"),
    )


@pytest.mark.parametrize(
    ("statuses", "code", "said"),
    [
        (("INVALID",), Exit.INVALID, "its run runs/0 is INVALID (bad)"),
        (("FAILED", "INVALID"), Exit.TARGET, "each of its 2 runs, such as runs/0, is FAILED (bad)"),
    ],
)
def test_a_side_without_a_run_that_may_be_used_is_refused(statuses: tuple[str, ...], code: Exit, said: str) -> None:
    runs = tuple(judged_run(f"{k}", status, "bad") for k, status in enumerate(statuses))
    with pytest.raises(UnusableRuns) as caught:
        usable(Side("A", Path("a"), runs))
    assert str(caught.value) == f"A (a) cannot be compared: {said}"
    assert caught.value.exit_code is code


def test_sides_are_named_in_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    paths = [made_run(tmp_path / name, at=at, requests=2) for at, name in enumerate("xyz")]
    assert [(side.name, side.path) for side in read_sides(paths)] == list(zip("ABC", paths, strict=True))


def test_a_run_that_is_given_twice_is_not_called_a_copy_too(tmp_path: Path) -> None:
    side = made_side(tmp_path / "a", 2, requests=2)
    with pytest.raises(UsageError) as caught:
        read_sides([side, side / "1"])
    assert caught.value.problems == [f"{side / '1'} is a run of both A and B: name it on one side"]
