"""A plan from a search: the replicas that hold the day's rates, and its limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

import bench.report
from bench.capacity_plan.plan import Asked
from bench.capacity_plan.searched import planned_of_search, read_search
from bench.capacity_plan.traffic import Hour
from bench.cli import main
from bench.documents.document import Level
from bench.documents.plan_document import plan_document
from bench.errors import Exit
from bench.report import text
from bench.results.plan import PlanContent, SearchedRate

SCHEMA = Path(bench.report.__file__).parent / "plan.schema.json"
DAY = "00:00,8\n08:00,50\n14:00,70\n20:00,30\n"


def searched(folder: Path, **changes: Any) -> Path:
    """A search whose capacity is 20 requests per second, 18 to 23."""
    content = {
        "schema": 1, "load_kind": "rate", "objectives": [{"text": "ttft:p99<500ms", "allowed": 0.01}],
        "config_sha256": "0" * 64,
        "settings": {"start": 1, "least": 0.1, "most": 1000, "precision": 0.1, "budget_s": 900, "judged_after_s": 0},
        "visits": [], "capacity": {"estimate": 20.0, "low": 18.0, "high": 23.0}, "held": None, "failed": None,
        "binding": None, "conclusion": "up to", "at_least": None, "below": None, "required": None,
        "stopped_by": "precision", "seconds": 900.0,
    }  # fmt: skip
    (folder / "search.json").write_text(json.dumps(content | changes))
    (folder / "day.csv").write_text(DAY)
    return folder


def plan(folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    words = ["--search", str(folder), "--rates", str(folder / "day.csv"), "--out", str(folder / "plan"), *more]
    status = main(["plan", *words])
    content = json.loads((folder / "plan" / "plan.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(content)
    return status, content


def test_replicas_keep_the_busiest_hour_at_the_low_end_of_the_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, content = plan(searched(tmp_path), "--price", "2")
    assert (status, content["replicas"], content["interval"]) == (Exit.GOOD, 4, [4, 4])  # 70 / 18 = 3.9, 70 / 23 = 3.04
    assert (content["headroom"], content["headroom_interval"]) == (1.143, [1.029, 1.314])
    # Three replicas hold 54 to 69 requests per second.
    assert [hour["breaks"] for hour in content["hours"]] == ["no", "no", "yes", "no"]
    assert (content["breaks_first_s"], content["cost_a_day"]) == (50_400, 192)
    assert (content["draws"], content["lost"], content["at_peak"]) == (None, None, [])
    shown = capsys.readouterr().out
    assert "4 replicas hold the objectives, $192 a day" in shown
    assert "Not shown: what a router does" in shown
    printed = text.render(plan_document(msgspec.convert(content, PlanContent)), Level.USUAL, width=80)
    assert max(map(len, printed.splitlines())) <= 80
    assert "<html" in (tmp_path / "plan" / "plan.html").read_text()


def test_hours_within_the_interval_break_perhaps(tmp_path: Path) -> None:
    _, content = plan(searched(tmp_path, capacity={"estimate": 20.0, "low": 16.0, "high": 25.0}))
    assert (content["replicas"], content["interval"]) == (5, [3, 5])
    # Four replicas hold 64 to 100.
    assert [hour["breaks"] for hour in content["hours"]] == ["no", "no", "perhaps", "no"]
    assert content["breaks_first_s"] is None
    assert "perhaps 14:00, or none" in text.render(plan_document(msgspec.convert(content, PlanContent)), Level.USUAL)


@pytest.mark.parametrize(("held", "sure"), [(30.0, True), (29.0, False), (None, False)])
def test_of_a_search_that_nothing_broke_only_a_lower_bound_is_known(
    held: float | None, sure: bool, tmp_path: Path
) -> None:
    known = None if held is None else {"load": held, "probability": 0.96}
    status, content = plan(searched(tmp_path, capacity=None, conclusion="at least", at_least=30.0, held=known))
    assert (status, content["replicas"], content["interval"]) == (Exit.GOOD if sure else Exit.INVALID, 3, [1, 3])
    said = " ".join(text.render(plan_document(msgspec.convert(content, PlanContent))).split())
    unknown = "Not known: 3 replicas, if each keeps 30/s, of which the search is less than 95% sure"
    assert ("3 replicas hold the objectives" if sure else unknown) in said
    assert content["not_shown"][0] == "whether fewer would do: no load of the search broke"
    unsure = "that a replica keeps this rate: the search is less than 95% sure of it"
    assert (unsure in content["not_shown"]) is not sure
    assert content["headroom_interval"] is None


def test_of_one_replica_nobody_asks_whether_fewer_would_do(tmp_path: Path) -> None:
    held = {"load": 90.0, "probability": 0.96}
    _, content = plan(searched(tmp_path, capacity=None, conclusion="at least", at_least=90.0, held=held))
    assert content["replicas"] == 1
    assert not any("fewer" in line for line in content["not_shown"])


def test_a_range_that_is_too_small_has_no_answer(tmp_path: Path) -> None:
    status, content = plan(searched(tmp_path), "--replicas", "1..2")
    assert (status, content["replicas"], content["interval"]) == (Exit.OBJECTIVE_FAILED, None, [3, 3])
    assert [hour["breaks"] for hour in content["hours"]] == ["no", "yes", "yes", "no"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"load_kind": "concurrency"}, "it varied concurrency, and a plan needs requests per second"),
        ({"capacity": None, "conclusion": "no load held"}, "its conclusion: no load held"),
        ({"capacity": {"estimate": 1.0, "low": 0.0, "high": 2.0}}, "it does not say which rate a server keeps"),
        ({"capacity": None, "at_least": 0.0}, "it does not say which rate a server keeps"),
        ({"visits": 3}, "is not the search.json of `python -m bench search`"),
    ],
)
def test_a_search_that_does_not_say_a_rate_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path, **changes)
    assert main(["plan", "--search", str(tmp_path), "--rates", str(tmp_path / "day.csv")]) == Exit.USAGE
    assert message in capsys.readouterr().err


def test_what_a_search_does_not_say_is_refused_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--slo", "--router", "--input-tokens", "--output-tokens", "--draws", "--cold-start")
    values = ("ttft:p99<1s", "prefix", "64", "64", "3", "90s")
    given = [word for pair in zip(flags, values, strict=True) for word in pair]
    assert main(["plan", "--search", str(tmp_path / "none"), "--rates", "none.csv", *given]) == Exit.USAGE
    said = capsys.readouterr().err
    assert all(f"{flag} needs --profile" in said for flag in flags)
    assert "none: cannot be read" in said
    assert "--rates none.csv: cannot be read" in said


@pytest.mark.parametrize(
    ("rate", "least", "most", "replicas", "interval", "headroom", "cost", "breaks"),
    [
        # The busiest hour has 60 requests per second, the other hour 40.
        ((20, 15, 25), 1, 9, 4, [3, 4], (1.333, [1.0, 1.667]), (192, [144, 192]), ["no", "perhaps"]),
        ((20, 20, 20), 1, 3, 3, [3, 3], (1.0, [1.0, 1.0]), (144, [144, 144]), ["no", "yes"]),
        ((20, 20, 20), 1, 2, None, [3, 3], (None, None), (None, None), ["no", "yes"]),
        ((20, 10, 30), 1, 5, None, [2, 6], (None, None), (None, None), ["no", "perhaps"]),
        ((20, 10, 12), 1, 3, None, [4, 4], (None, None), (None, None), ["yes", "yes"]),
        ((20, 15, 25), 6, 9, 6, [6, 6], (2.0, [1.5, 2.5]), (288, [288, 288]), ["no", "no"]),
        ((None, 15, None), 2, 9, 4, [2, 4], (1.0, None), (192, [96, 192]), ["no", "perhaps"]),
        ((None, 8, None), 1, 9, 8, [1, 8], (1.067, None), (384, [48, 384]), ["no", "perhaps"]),
    ],
)
def test_the_low_end_of_a_search_says_how_many_and_its_high_end_how_few(
    rate: tuple[float | None, float, float | None], least: int, most: int, replicas: int | None, interval: list[int],
    headroom: tuple[object, object], cost: tuple[object, object], breaks: list[str], tmp_path: Path,
) -> None:  # fmt: skip
    estimate, low, high = rate
    hours = [Hour(0, 3_600, 40), Hour(3_600, 7_200, 60)]
    asked = Asked(least, most, 1, price=2.0, cold_start_s=None, command=[], date="", settings={})
    searched_rate = SearchedRate(estimate=estimate, low=low, high=high)
    found = planned_of_search(read_search(searched(tmp_path)), searched_rate, hours, asked)
    assert (found.replicas, found.interval) == (replicas, interval)
    assert (found.headroom, found.headroom_interval) == headroom
    assert (found.cost_a_day, found.cost_interval) == cost
    assert [hour.breaks for hour in found.hours] == breaks
    broken = [hour.start_s for hour, how in zip(hours, breaks, strict=True) if how == "yes"]
    assert found.breaks_first_s == next(iter(broken), None)
    # The search of the file is not 95% sure of such rates.
    assert (found.known, [hour.duration_s for hour in found.hours]) == (estimate is not None, [3_600, 7_200])
