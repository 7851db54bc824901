"""Search directories are compared by capacity, sweep directories load by load."""

from __future__ import annotations

import math
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench.comparison.capacities import difference_of
from bench.comparison.kinds import compare_directories
from bench.errors import UsageError
from bench.results.base import to_plain
from tests.support.made_runs import made_run, made_side
from tests.support.rendered import comparison_markdown, comparison_page, comparison_text

SCHEMA = Draft202012Validator(orjson.loads(files("bench.report").joinpath("compare.schema.json").read_bytes()))


def compared(*paths: Path, **options: Any) -> dict[str, Any]:
    """The comparison. Checks that it matches its schema and can be rendered."""
    content: dict[str, Any] = to_plain(compare_directories(paths, **{"margin": 0.05, **options}))
    assert [error.message for error in SCHEMA.iter_errors(content)] == []
    text = comparison_text(content)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert comparison_markdown(content)
    assert content["versus"][0]["headline"][:20] in comparison_page(content).replace("&#39;", "'")
    return content


def search(
    path: Path, capacity: tuple[float, float, float] | None, slo: str = "ttft:p99<500ms", **changes: Any
) -> Path:
    """A search of two visits, and its answer: the estimate and both ends."""
    for n, rate in enumerate((20.0, 25.0)):
        made_run(path / f"0{n}-visit-{rate:g}", at=n, settings={"rate": rate, "seed": n, "requests": 60 + n}, **changes)
    named = None if capacity is None else dict(zip(("estimate", "low", "high"), capacity, strict=True))
    content = {
        "schema": 1, "load_kind": "rate", "objectives": [{"text": slo, "allowed": 0.01}], "capacity": named,
        "binding": slo, "stopped_by": "budget", "visits": [], "directory": path.name,
    }  # fmt: skip
    (path / "search.json").write_bytes(orjson.dumps(content))
    return path


def test_the_error_of_a_change_is_that_of_both_capacities() -> None:
    a, b = {"estimate": 20.0, "low": 19.0, "high": 21.0}, {"estimate": 24.0, "low": 22.0, "high": 26.0}
    found = difference_of(a, b)
    error = math.hypot(math.log(21 / 19), math.log(26 / 22)) / (2 * 1.6448536269514722)
    assert found.change == pytest.approx(0.2)
    assert math.log1p(found.high) == pytest.approx(math.log(1.2) + 1.959963984540054 * error)
    assert math.log1p(found.low) == pytest.approx(math.log(1.2) - 1.959963984540054 * error)


@pytest.mark.parametrize(
    ("capacity", "headline", "answer"),
    [
        ((15.0, 14.5, 15.5), "These two searches differ: B found less load, -25.0% [", "these two differ"),
        ((25.0, 24.0, 26.0), "These two searches differ: B found more load, +25.0% [", "these two differ"),
        ((20.1, 20.0, 20.2), "These two searches agree within 5%: +0.5% [", "these two agree"),
        ((22.0, 15.0, 30.0), "No difference of capacity is shown between these two searches: +10.0% [", "not shown"),
    ],
)
def test_capacity_against_capacity(
    tmp_path: Path, capacity: tuple[float, float, float], headline: str, answer: str
) -> None:
    a, b = search(tmp_path / "a", (20.0, 19.8, 20.2)), search(tmp_path / "b", capacity)
    content = compared(a, b)
    (versus,) = content["versus"]
    assert (content["kind"], versus["method"]) == ("searches", "searches")
    assert versus["headline"].startswith(headline)
    assert "A change of the setup from A to B is not shown: the spread between searches is not" in versus["headline"]
    assert versus["warnings"][0].startswith("one search each: the spread between searches is not known")
    (row,) = versus["numbers"]
    assert (row["spread_known"], row["worse"]) == (False, None)
    assert (row["name"], row["unit"], row["answer"]) == ("capacity", "requests/s", answer)
    assert content["variations"] == []


def test_a_search_without_an_answer_says_so(tmp_path: Path) -> None:
    content = compared(search(tmp_path / "a", (20.0, 19.0, 21.0)), search(tmp_path / "b", None))
    (versus,) = content["versus"]
    assert versus["numbers"] == []
    assert versus["headline"] == "A and B cannot be compared: one of the searches has no answer."
    assert versus["warnings"] == ["B: the search found no capacity (budget): give it more time, or other loads"]


def test_searches_for_other_things_are_refused(tmp_path: Path) -> None:
    a = search(tmp_path / "a", (20.0, 19.0, 21.0))
    with pytest.raises(UsageError, match=r"searched for other objectives \(ttft:p99<500ms against tpot:p99<50ms\)"):
        compared(a, search(tmp_path / "b", (20.0, 19.0, 21.0), "tpot:p99<50ms"))
    with pytest.raises(UsageError, match=r"differ in model \(made against other\)"):
        compared(a, search(tmp_path / "c", (20.0, 19.0, 21.0), model="other"))
    with pytest.raises(UsageError, match=r"--allow modle: not a setting that must be equal"):
        compared(a, tmp_path / "c", allow=["modle"])
    assert compared(a, tmp_path / "c", allow=["model"])["variations"][0]["name"] == "model"


def test_a_copy_of_a_search_or_of_a_sweep_is_refused(tmp_path: Path) -> None:
    measured = {"searches": search(tmp_path / "a", (20.0, 19.0, 21.0)), "sweeps": sweep(tmp_path / "s", {1: 5.0})}
    for kind, original in measured.items():
        copied = tmp_path / f"copied-{kind}"
        shutil.copytree(original, copied)
        with pytest.raises(UsageError, match=f"^{copied} is a copy of {original}: use only one of them"):
            compare_directories([original, copied], margin=0.05)


def test_a_search_and_a_run_are_not_compared(tmp_path: Path) -> None:
    a, b = search(tmp_path / "a", (20.0, 19.0, 21.0)), made_run(tmp_path / "b")
    with pytest.raises(UsageError, match=r"different things cannot be compared: .*a holds searches, .*b holds runs"):
        compared(a, b)


def sweep(path: Path, tpots: dict[int, float], repeats: int = 3, first: int = 0, **made: Any) -> Path:
    """A sweep over these loads (users: TPOT), each `repeats` times."""
    for at, (users, tpot_ms) in enumerate(tpots.items()):
        settings = {"rate": None, "concurrency": users}
        side = made_side(
            path / f"{users}", repeats, first=first + 100 * at, step=2, tpot_ms=tpot_ms, settings=settings, **made
        )
        for run in list(side.iterdir()):
            run.rename(path / f"concurrency-{users}-{run.name}")
        side.rmdir()
    (path / "sweep.json").write_bytes(orjson.dumps({"date": path.name}))
    return path


def test_curves_differ_where_they_differ(tmp_path: Path) -> None:
    a = sweep(tmp_path / "a", {1: 5.0, 8: 6.0, 64: 9.0}, requests=20)
    b = sweep(tmp_path / "b", {1: 5.0, 8: 6.0, 64: 12.0, 128: 20.0}, first=1, requests=20)
    content = compared(a, b)
    (versus,) = content["versus"]
    worse = [row["name"] for row in versus["numbers"] if row["worse"]]
    assert (content["kind"], worse) == ("sweeps", ["tpot:p50 at 64"])
    assert len(versus["numbers"]) == 12
    assert versus["headline"].startswith(
        "B is worse than A in 1 of 12 numbers over 3 loads; most at 64 users: TPOT p50 +3"
    )


def test_one_run_at_each_load_shows_no_change_of_the_setup(tmp_path: Path) -> None:
    loads = {1: 5.0, 8: 6.0}
    a = sweep(tmp_path / "a", loads, 1, requests=600)
    for name, changed, begins in (
        (
            "b",
            {1: 5.0, 8: 7.0},
            "These two sweeps differ in 1 of 8 numbers over 2 loads, by more than chance within a run; ",
        ),
        ("c", loads, "No difference is shown between A and B at any of 2 loads. "),
    ):
        (versus,) = compared(a, sweep(tmp_path / name, changed, 1, first=1, requests=600))["versus"]
        assert versus["headline"].startswith(begins)
        assert "A change of the setup from A to B is not shown: the spread between sweeps is not" in versus["headline"]
        assert not {row["answer"] for row in versus["numbers"]} & {"differs", "same within the margin"}
        assert versus["warnings"][0].startswith("one run each: the spread between runs is not known")


def test_the_correction_is_over_all_loads(tmp_path: Path) -> None:
    loads = dict.fromkeys((1, 2, 4), 5.0)
    changed = sweep(tmp_path / "b", loads | {4: 6.0}, first=1, requests=20)
    many = compared(sweep(tmp_path / "a", loads, requests=20), changed)
    few = compared(sweep(tmp_path / "c", {4: 5.0}, requests=20), sweep(tmp_path / "d", {4: 6.0}, first=1, requests=20))
    p = {name: row["p"] for content in (few, many) for row in content["versus"][0]["numbers"]
         for name in [f"{len(content['versus'][0]['numbers'])} {row['name']}"]}  # fmt: skip
    assert p["12 tpot:p50 at 4"] > 2 * p["4 tpot:p50 at 4"]


def test_sweeps_without_a_common_load_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no load in common \(A has 1, 2; B has 4 users\): sweep over the same loads"):
        compared(sweep(tmp_path / "a", {1: 5.0, 2: 5.0}, 1), sweep(tmp_path / "b", {4: 5.0}, 1))


def test_three_sweeps_are_each_compared_with_the_first_and_their_length_is_no_variation(tmp_path: Path) -> None:
    a, b = sweep(tmp_path / "a", {1: 5.0}, 2, requests=4), sweep(tmp_path / "b", {1: 5.0}, 2, first=1, requests=5)
    c = sweep(tmp_path / "c", {1: 5.0, 2: 5.0}, 2, first=9, requests=4, host={"processors": 64})
    content = compare_directories([a, b, c], margin=0.05)
    assert [(versus.a, versus.b) for versus in content.versus] == [("A", "B"), ("A", "C")]
    assert [(one.group, one.name) for one in content.variations] == [
        ("machine", "name"),
        ("machine", "processors"),
    ]
    # Not all three sweeps have the second load.
    assert {row.name.partition(" at ")[2] for versus in content.versus for row in versus.numbers} == {"1"}


def test_three_searches_are_each_compared_with_the_first(tmp_path: Path) -> None:
    paths = [search(tmp_path / name, (20.0 + at, 18.0, 24.0), requests=2) for at, name in enumerate("abc")]
    content = compare_directories(paths, margin=0.05)
    assert [(versus.a, versus.b) for versus in content.versus] == [("A", "B"), ("A", "C")]
    assert [versus.numbers[0].b for versus in content.versus] == [21.0, 22.0]
    assert [side.name for side in content.sides] == ["A", "B", "C"]


def test_directories_of_runs_are_compared_as_runs(tmp_path: Path) -> None:
    a, b = made_run(tmp_path / "a", requests=2), made_run(tmp_path / "b", at=1, requests=2, model="other")
    content = compare_directories([a, b], margin=0.25, allow=["model"])
    assert (content.kind, content.margin) == ("runs", 0.25)
    assert [side.name for side in content.sides] == ["A", "B"]
    assert content.variations[0].name == "model"
    with pytest.raises(UsageError, match="a comparison needs two sides"):
        compare_directories([a], margin=0.25)
