"""Comparisons of hand-made runs: the answer, the chosen test, and what cannot be compared."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench.comparison.batches import SPREAD_UNKNOWN
from bench.comparison.compare import NOT_INTERLEAVED, Comparison, Method, compare
from bench.comparison.document import result_of
from bench.comparison.kinds import compare_directories
from bench.comparison.sides import UnusableRuns, read_sides
from bench.errors import Exit, UsageError
from bench.results.base import to_bytes, to_plain
from bench.results.certificate import LedgerCalibration
from bench.run_files.run_directory import SUMMARY
from bench.statistics.between_runs import Answer
from tests.support.made_records import made_record
from tests.support.made_runs import made_run, made_side, write_run
from tests.support.rendered import comparison_markdown, comparison_page, comparison_text
from tests.support.results import filled

SCHEMA = Draft202012Validator(orjson.loads(files("bench.report").joinpath("compare.schema.json").read_bytes()))


def plain(comparison: Comparison) -> dict[str, Any]:
    """compare.json, as the pages use it."""
    return to_plain(result_of(comparison))


def compared(*paths: Path, **options: Any) -> Comparison:
    return compare(read_sides(paths), **options)


def pairs(tmp_path: Path, n: int = 4, **b: Any) -> tuple[Path, Path]:
    """Two sides of runs made in turn: A at even minutes, B at odd ones."""
    return made_side(tmp_path / "a", n, step=2), made_side(tmp_path / "b", n, first=1, step=2, seed=1, **b)


def test_a_real_change_is_found_and_its_interval_holds_it(tmp_path: Path) -> None:
    (versus,) = compared(*pairs(tmp_path, tpot_ms=5.5)).versus
    found = versus.of("tpot:p50")
    assert versus.method is Method.PAIRS
    assert (found.answer, found.worse) == (Answer.DIFFERS, True)
    assert found.difference is not None
    assert found.difference.low < 0.10 < found.difference.high
    assert [c.number.name for c in versus.differing] == ["tpot:p50"]


def test_the_same_thing_is_the_same_within_the_margin(tmp_path: Path) -> None:
    content = plain(compared(*pairs(tmp_path)))
    (versus,) = content["versus"]
    answers = {row["name"]: row["answer"] for row in versus["numbers"] if row["primary"]}
    assert answers["tpot:p50"] == "same within the margin"
    assert versus["headline"].startswith("B is the same as A within 5%. No request failed, which leaves room for")


def test_a_change_that_is_better_is_called_better(tmp_path: Path) -> None:
    (versus,) = plain(compared(*pairs(tmp_path, tpot_ms=4.5)))["versus"]
    assert versus["headline"].startswith("B is better than A: TPOT p50 -")


def test_a_change_below_the_margin_does_not_differ(tmp_path: Path) -> None:
    sides = pairs(tmp_path, tpot_ms=5.2)
    assert compared(*sides).versus[0].of("tpot:p50").answer is not Answer.DIFFERS
    assert compared(*sides, margin=0.03).versus[0].of("tpot:p50").answer is Answer.DIFFERS


def test_a_sure_change_that_may_be_below_the_margin_is_said_to_be_one(tmp_path: Path) -> None:
    content = plain(compared(*pairs(tmp_path, tpot_ms=5.24)))
    (row,) = [row for row in content["versus"][0]["numbers"] if row["name"] == "tpot:p50"]
    assert row["answer"] == "not shown"
    assert row["p"] < 0.05
    assert content["versus"][0]["headline"].startswith("B changed against A, by about the margin of 5%: TPOT p50 +4.")
    (line,) = [line for line in comparison_text(content).splitlines() if line.startswith("TPOT p50 (ms)")]
    assert line.endswith("at margin")


@pytest.mark.parametrize(
    ("runs_a", "runs_b", "in_turn", "method"),
    [
        (1, 1, True, Method.BATCHES),
        (2, 2, True, Method.RUNS),
        (3, 3, True, Method.PAIRS),
        (3, 3, False, Method.RUNS),
        (3, 4, True, Method.RUNS),
        (5, 1, True, Method.ONE_AGAINST_MANY),
        (1, 5, True, Method.ONE_AGAINST_MANY),
    ],
)
def test_the_test_follows_from_the_runs(
    tmp_path: Path, runs_a: int, runs_b: int, in_turn: bool, method: Method
) -> None:
    step, first = (2, 1) if in_turn else (1, 10)
    a = made_side(tmp_path / "a", runs_a, step=step, requests=30)
    b = made_side(tmp_path / "b", runs_b, step=step, first=first, requests=30)
    (versus,) = compared(a, b).versus
    assert versus.method is method
    assert (NOT_INTERLEAVED in versus.warnings) == (method in (Method.RUNS, Method.ONE_AGAINST_MANY) and runs_a != 2)


def test_one_run_against_five_reads_the_same_from_either_side(tmp_path: Path) -> None:
    many, one = made_side(tmp_path / "a", 5), made_run(tmp_path / "b", at=9, tpot_ms=6.0)
    there = compared(many, one).versus[0].of("tpot:p50")
    back = compared(one, many).versus[0].of("tpot:p50")
    assert there.answer is back.answer is Answer.DIFFERS
    assert there.difference is not None
    assert back.difference is not None
    assert 1 + back.difference.change == pytest.approx(1 / (1 + there.difference.change))
    assert 1 + back.difference.low == pytest.approx(1 / (1 + there.difference.high))
    assert (there.worse, back.worse) == (True, False)


def test_pairs_take_a_drift_out_which_a_block_after_a_block_takes_for_a_change(tmp_path: Path) -> None:
    few: dict[str, Any] = {"drift": 1.03, "requests": 20}
    in_turn = [made_side(tmp_path / "turn" / side, 6, first=i, step=2, **few) for i, side in enumerate("ab")]
    assert compared(*in_turn).versus[0].of("tpot:p50").answer is not Answer.DIFFERS
    a = made_side(tmp_path / "block" / "a", 6, **few)
    b = made_side(tmp_path / "block" / "b", 6, first=6, tpot_ms=5.0 * 1.03**6, **few)
    (versus,) = compared(a, b).versus
    assert versus.of("tpot:p50").answer is Answer.DIFFERS
    assert NOT_INTERLEAVED in versus.warnings


def test_three_sides_are_each_compared_with_the_first_under_one_correction(tmp_path: Path) -> None:
    a = made_side(tmp_path / "a", 4, step=3, requests=20)
    b = made_side(tmp_path / "b", 4, first=1, step=3, seed=1, requests=20)
    c = made_side(tmp_path / "c", 4, first=2, step=3, seed=2, tpot_ms=6.0, requests=20)
    whole = compared(a, b, c)
    assert [(v.a.name, v.b.name, v.method) for v in whole.versus] == [("A", "B", "pairs"), ("A", "C", "pairs")]
    both = compared(a, c).versus[0].of("tpot:p50")
    among = whole.versus[1].of("tpot:p50")
    assert both.p is not None
    assert among.p is not None
    assert among.p > both.p
    assert among.answer is Answer.DIFFERS


def test_one_run_each_claims_nothing_of_what_two_runs_cannot_show(tmp_path: Path) -> None:
    a = made_run(tmp_path / "a", requests=400, spread=0.3)
    b = made_run(tmp_path / "b", at=1, requests=400, spread=0.3, tpot_ms=5.5)
    (versus,) = plain(compared(a, b))["versus"]
    assert versus["headline"].startswith(
        "The runs of A and B differ by more than chance within a run: TPOT p50 +10.0% ["
    )
    assert versus["headline"].endswith(
        "A change of the setup from A to B is not shown: the spread between runs is not known (make several runs of each: "
        "run --repeats, or compare --run A.yaml B.yaml --pairs 5)."
    )
    assert versus["warnings"][0].startswith("one run each: the spread between runs is not known")
    rows = {row["name"]: row for row in versus["numbers"]}
    answers = {
        (row["answer"], row["spread_known"], row["worse"]) for row in versus["numbers"] if row["change"] is not None
    }
    assert rows["tpot:p50"]["answer"] == "these two differ"
    assert answers <= {(answer, False, None) for answer in ("these two differ", "these two agree", "not shown")}
    assert rows["e2el:p99"]["missing"].startswith("too few independent values: the run of A has 400 values, and ten")
    assert rows["itl:p50"]["change"] is None


def test_every_form_of_one_run_each_says_two_and_none_says_worse_better_or_same(tmp_path: Path) -> None:
    # TPOT changes by 10%, E2EL by 4%: with several runs the decisions are "worse" and "at margin".
    a = made_run(tmp_path / "a", requests=1_000)
    content = plain(compared(a, made_run(tmp_path / "b", at=1, requests=1_000, tpot_ms=5.2, ttft_ms=60.0)))
    forms = (comparison_text(content), comparison_markdown(content), comparison_page(content))
    for form in forms:
        assert "two differ" in form
        assert "is not shown: the spread between runs" in " ".join(form.split())
        assert not re.search(r"(> *|[%s]  +|\| )(worse|better|same|differs|at margin) *(<|\||\n)", form)
    assert 'class="verdict warn"' in forms[2]


def test_what_concerns_several_sides_is_said_once(tmp_path: Path) -> None:
    sides = [made_run(tmp_path / "a", requests=50)]
    sides += [made_run(tmp_path / name, at=1, seed=at, requests=50) for at, name in enumerate("bcd")]
    content = plain(compared(*sides))
    content["versus"][0]["warnings"] += ["B: of one"]
    for versus in content["versus"][1:]:
        versus["warnings"] += ["of two"]
    once = (
        SPREAD_UNKNOWN,
        "B: of one",
        "C, D against A: of two",
        "a run 4 times as long would do",
        "Corrected for the",
    )
    for form in (comparison_text(content), comparison_markdown(content), comparison_page(content)):
        words = " ".join(re.sub(r"\\(.)", r"\1", re.sub(r"<[^>]*>", " ", form)).split())
        assert {text: words.count(text) for text in once} == dict.fromkeys(once, 1)
        assert words.count("Welch's t over ten batches") <= 1


@pytest.mark.parametrize(("runs", "requests"), [(1, 1_000), (3, 100)])
def test_the_values_shown_are_those_whose_ratio_is_the_change(tmp_path: Path, runs: int, requests: int) -> None:
    sides = pairs(tmp_path, runs, requests=requests, spread=0.4, tpot_ms=5.5)
    rows = plain(compared(*sides))["versus"][0]["numbers"]
    changed = [row for row in rows if row["change"] is not None]
    assert {"ttft:mean", "tpot:p50", "error_rate"} <= {row["name"] for row in changed}
    for row in changed:
        shown = row["b"] / row["a"] - 1 if row["ratio"] else row["b"] - row["a"]
        assert shown == pytest.approx(row["change"], abs=1e-9)


def test_few_values_say_how_long_a_run_would_do(tmp_path: Path) -> None:
    a, b = made_run(tmp_path / "a", requests=50), made_run(tmp_path / "b", at=1, requests=50)
    found = compared(a, b).versus[0].of("ttft:p90")
    assert found.answer is None
    assert found.missing == (
        "too few independent values: the run of A has 50 values, and ten batches take 200: a run 4 times as long would do"
    )


def test_a_number_that_decides_and_that_one_side_lacks_is_named(tmp_path: Path) -> None:
    a = made_side(tmp_path / "a", 3, step=2)
    for i in range(3):
        # Each reply comes in one chunk, so there is no time between tokens.
        whole = [made_record(n, sent_ms=100.0 * n, chunks_ms=(50.0 + n % 3,)) for n in range(60)]
        write_run(tmp_path / "b" / f"{i}", whole, at=1 + 2 * i, run_id=f"b-{i}")
    for sides, lacks in (((a, tmp_path / "b"), "B"), ((tmp_path / "b", a), "A")):
        found = compared(*sides).versus[0]
        assert found.warnings == (f"TPOT p50 is not compared: 3 of 3 runs of {lacks} have none",)
        assert "tpot:p50" not in [row.number.name for row in found.numbers]


def test_a_change_of_a_share_that_is_beyond_all_of_it_would_not_have_been_found(tmp_path: Path) -> None:
    a, b = made_run(tmp_path / "a", requests=3), made_run(tmp_path / "b", at=1, requests=3)
    document = plain(compared(a, b))["versus"][0]
    assert document["headline"].startswith("No difference is shown between the runs of A and B. Not compared: ")
    text = " ".join(comparison_text(plain(compared(a, b))).split())
    assert "[-100, +100] – not shown" in text


def test_no_error_on_either_side_is_not_said_to_be_the_same_when_few_requests_were_sent(tmp_path: Path) -> None:
    for requests, answer in ((60, Answer.NOT_SHOWN), (400, Answer.SAME)):
        side = tmp_path / f"{requests}"
        made = [made_side(side / name, 2, first=i, step=2, requests=requests) for i, name in enumerate("ab")]
        found = compared(*made).versus[0].of("error_rate")
        assert found.answer is answer
        assert found.difference is not None
        independent = 2 * requests / 1.5
        assert 3 / independent <= found.difference.high < 1.4 * 3 / independent


@pytest.mark.parametrize("runs", [{"A": 2, "B": 2}, {"A": 3, "B": 3}, {"A": 5, "B": 1}])
def test_one_failed_request_a_run_shows_no_change(tmp_path: Path, runs: dict[str, int]) -> None:
    sides = [
        made_side(tmp_path / name, n, first=i, step=2, requests=60, failed=i)
        for i, (name, n) in enumerate(runs.items())
    ]
    assert compared(*sides).versus[0].of("error_rate").answer is Answer.NOT_SHOWN


def test_errors_are_compared_in_points(tmp_path: Path) -> None:
    a, b = pairs(tmp_path, requests=100, failed=8, settings={"max_errors": "50%", "requests": 60})
    found = compared(a, b).versus[0].of("error_rate")
    assert found.difference is not None
    assert (found.answer, found.worse) == (Answer.DIFFERS, True)
    assert found.difference.change == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("settings", "told", "sentence"),
    [
        ({"rate": 20.0}, {}, "they differ in rate (10 against 20)"),
        ({"rate": None, "concurrency": 4}, {}, "they differ in mode (rate against concurrency)"),
        ({"output_tokens": "20"}, {}, "they differ in output_tokens (4 against 20)"),
        ({"same_prompts": True}, {}, "they differ in same_prompts (False against True)"),
        ({"url": "http://127.0.0.1:8000/v1/completions"}, {}, "they differ in endpoint (chat against completions)"),
        ({}, {"model": "another"}, "they differ in model (made against another)"),
    ],
)
def test_another_load_is_refused_with_what_differs(
    tmp_path: Path, settings: dict[str, Any], told: dict[str, Any], sentence: str
) -> None:
    a, b = made_run(tmp_path / "a"), made_run(tmp_path / "b", at=1, settings=settings, **told)
    with pytest.raises(UsageError) as caught:
        compared(a, b)
    (problem,) = caught.value.problems
    assert problem.startswith("A and B cannot be compared: ")
    assert sentence.partition("(")[2].rstrip(")") in problem
    assert "--allow" in problem


def test_runs_of_another_mix_are_refused_and_other_objectives_of_a_class_are_not(tmp_path: Path) -> None:
    def run(name: str, share: int, slo: str) -> Path:
        chat = {"name": "chat", "share": share, "slo": [slo]}
        return made_run(tmp_path / name, settings={"mix": {"classes": [chat, {"name": "batch", "share": 1}]}})

    first, second, other = run("a", 3, "ttft<1s"), run("b", 3, "ttft<2s"), run("c", 4, "ttft<1s")
    assert not [one for one in compared(first, second).variations if one.refused]
    with pytest.raises(UsageError, match=r"mix \(chat=share=3, .* against chat=share=4"):
        compared(first, other)


def test_what_is_meant_to_be_compared_can_be_allowed_and_is_listed_first(tmp_path: Path) -> None:
    a, b = made_run(tmp_path / "a"), made_run(tmp_path / "b", at=1, model="another")
    found = compared(a, b, allow=["model"])
    assert (found.variations[0].name, found.variations[0].values) == ("model", ("made", "another"))
    with pytest.raises(UsageError, match="--allow colour: not a setting that must be equal"):
        compared(a, b, allow=["colour"])


def test_a_side_of_several_loads_is_refused(tmp_path: Path) -> None:
    side = made_side(tmp_path / "a", 2)
    made_run(side / "3", at=5, settings={"rate": 30.0})
    with pytest.raises(UsageError, match=r"rate \(10 \| 30 against 10\)"):
        compared(side, made_side(tmp_path / "b", 3, first=9))


def test_versions_machine_and_address_are_shown_and_not_refused(tmp_path: Path) -> None:
    a = made_run(tmp_path / "a")
    b = made_run(
        tmp_path / "b", at=1, settings={"url": "http://other:8000", "requests": 90}, requests=60,
        versions={"trueload": "0.2.0", "python": "3.11"}, host={"name": "elsewhere", "processors": 8},
    )  # fmt: skip
    whole = compared(a, b)
    found = {(v.group, v.name): v.values for v in whole.variations}
    assert found[("target", "url")] == ("http://127.0.0.1:8000", "http://other:8000")
    assert found[("versions", "trueload")] == ("0.1.0", "0.2.0")
    assert found[("machine", "name")] == ("somewhere", "elsewhere")
    assert found[("length", "requests")] == ("60", "90")
    assert any("different length" in warning for warning in whole.versus[0].warnings)
    text = comparison_text(plain(whole))
    assert text.index("0.2.0") < text.index("The numbers that decide")


def spoil(run: Path, status: str, reason: str = "the clock was set") -> None:
    """Give a run a bad verdict."""
    summary = orjson.loads((run / SUMMARY).read_bytes())
    summary["verdict"] = {"status": status, "reasons": [reason]}
    (run / SUMMARY).write_bytes(orjson.dumps(summary))


@pytest.mark.parametrize(("status", "code"), [("INVALID", Exit.INVALID), ("FAILED", Exit.TARGET)])
def test_a_side_that_was_not_measured_is_refused(tmp_path: Path, status: str, code: Exit) -> None:
    a, b = made_run(tmp_path / "a"), made_run(tmp_path / "b", at=1)
    spoil(b, status)
    with pytest.raises(
        UnusableRuns, match=rf"B \(.*\) cannot be compared: its run .* is {status} \(the clock"
    ) as caught:
        compared(a, b)
    assert caught.value.exit_code == code


def test_an_invalid_run_among_repeats_is_left_out_and_named(tmp_path: Path) -> None:
    a, b = pairs(tmp_path, 5)
    spoil(b / "2", "INVALID")
    (versus,) = compared(a, b).versus
    assert len(versus.b.runs) == 4
    assert any("2 is left out, INVALID: the clock was set" in warning for warning in versus.warnings)


def test_a_suspect_run_counts_and_is_warned_of(tmp_path: Path) -> None:
    a, b = pairs(tmp_path)
    spoil(b / "1", "SUSPECT", "sends were late")
    assert any("1 of 4 runs SUSPECT" in warning for warning in compared(a, b).versus[0].warnings)


def test_directories_without_a_run_are_all_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError) as caught:
        read_sides([tmp_path / "nowhere", tmp_path / "empty"])
    assert caught.value.problems == [
        f"{tmp_path / 'nowhere'} does not exist: name a run directory, or a directory of run directories",
        f"{tmp_path / 'empty'} holds no run: a run directory has run.yaml and requests.jsonl; name one, or their parent",
    ]


def test_a_run_that_stands_on_two_sides_is_named(tmp_path: Path) -> None:
    a, b = made_side(tmp_path / "a", 2), made_side(tmp_path / "b", 2)
    with pytest.raises(UsageError) as caught:
        read_sides([a, b, sorted(a.iterdir())[0]])
    assert caught.value.problems == [f"{a / '1'} is a run of both A and C: name it on one side"]
    (tmp_path / "link").symlink_to(a)
    for same in (a, tmp_path / "b" / ".." / "a", tmp_path / "link"):
        with pytest.raises(UsageError, match=f"^A and C are both {re.escape(str(same))}: name another directory"):
            compare_directories([a, b, same], margin=0.05)


def test_a_copy_of_a_run_is_named_on_the_other_side_and_on_its_own(tmp_path: Path) -> None:
    a, b = made_run(tmp_path / "a"), made_side(tmp_path / "b", 2)
    copied, beside = tmp_path / "copy", b / "3"
    shutil.copytree(a, copied)
    shutil.copytree(b / "1", beside)
    for sides, copy, original in (([a, copied], copied, a), ([a, b], beside, b / "1")):
        with pytest.raises(UsageError) as caught:
            read_sides(sides)
        said = f"{copy} is a copy of {original}, the same run: use only one of them"
        assert caught.value.problems == [said]


def test_one_run_against_three_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="A has one run and B 3: the spread between runs needs two runs a side, or 5 of one"
    ):
        compared(made_run(tmp_path / "a"), made_side(tmp_path / "b", 3))


def test_numbers_without_a_summary_are_made_from_the_files(tmp_path: Path) -> None:
    a, b = pairs(tmp_path)
    before = plain(compared(a, b))["versus"][0]["numbers"]
    (a / "1" / SUMMARY).unlink()
    (b / "2" / SUMMARY).write_text("{")
    assert plain(compared(a, b))["versus"][0]["numbers"] == before


def test_an_error_that_calibration_found_widens_the_margin(tmp_path: Path) -> None:
    a, b = pairs(tmp_path, tpot_ms=5.5)
    summary = orjson.loads((a / "1" / SUMMARY).read_bytes())
    row = {"metric": "tpot_ms", "stat": "p50", "error_share": -0.2}
    summary["calibration"] = to_plain(filled(LedgerCalibration, metrics=[row]))
    (a / "1" / SUMMARY).write_bytes(orjson.dumps(summary))
    found = compared(a, b).versus[0].of("tpot:p50")
    assert (found.margin, found.answer) == (0.2, Answer.SAME)


@pytest.mark.parametrize("runs", [1, 2, 4])
def test_the_document_keeps_its_schema_and_is_rendered_in_80_columns(tmp_path: Path, runs: int) -> None:
    content = orjson.loads(to_bytes(result_of(compared(*pairs(tmp_path, runs, tpot_ms=5.4)))))
    assert [error.message for error in SCHEMA.iter_errors(content)] == []
    text = comparison_text(content)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert comparison_page(content) == comparison_page(content)


def test_what_came_from_outside_is_escaped(tmp_path: Path) -> None:
    a, b = made_run(tmp_path / "a"), made_run(tmp_path / "b", at=1, model="<script>|alert")
    content = plain(compared(a, b, allow=["model"]))
    assert "<script>|alert" not in comparison_page(content)
    assert "&lt;script>\\|alert" in comparison_markdown(content)


def test_markdown_has_a_row_a_number_that_decides(tmp_path: Path) -> None:
    text = comparison_markdown(plain(compared(*pairs(tmp_path, tpot_ms=5.5))))
    (row,) = [line for line in text.splitlines() if line.startswith("| TPOT p50 (ms)")]
    assert row.endswith("| ❌ worse |")
    assert len(row.split(" | ")) == 7
