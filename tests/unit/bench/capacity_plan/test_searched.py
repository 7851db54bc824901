"""A plan from a search: the replicas that keep the day's rates, and what it does not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

import bench.report
from bench.cli import main
from bench.documents.document import Level
from bench.documents.plan_document import plan_document
from bench.errors import Exit
from bench.report import text
from bench.results.plan import PlanContent

SCHEMA = Path(bench.report.__file__).parent / "plan.schema.json"
DAY = "00:00,8\n08:00,50\n14:00,70\n20:00,30\n"


def searched(folder: Path, **changes: Any) -> Path:
    """A search that found 20 requests a second, 18 to 23."""
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
    # Three keep 54 to 69 requests a second.
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
    # Four keep 64 to 100.
    assert [hour["breaks"] for hour in content["hours"]] == ["no", "no", "perhaps", "no"]
    assert content["breaks_first_s"] is None
    assert "perhaps 14:00, or none" in text.render(plan_document(msgspec.convert(content, PlanContent)), Level.USUAL)


def test_of_a_search_that_nothing_broke_only_a_lower_bound_is_known(tmp_path: Path) -> None:
    status, content = plan(searched(tmp_path, capacity=None, conclusion="at least", at_least=30.0))
    assert (status, content["replicas"], content["interval"]) == (Exit.GOOD, 3, [1, 3])
    assert content["not_shown"][0] == "whether fewer would do: no load of the search broke"
    assert content["headroom_interval"] is None


def test_a_range_that_is_too_small_has_no_answer(tmp_path: Path) -> None:
    status, content = plan(searched(tmp_path), "--replicas", "1..2")
    assert (status, content["replicas"], content["interval"]) == (Exit.OBJECTIVE_FAILED, None, [3, 3])
    assert [hour["breaks"] for hour in content["hours"]] == ["no", "yes", "yes", "no"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"load_kind": "concurrency"}, "it varied concurrency, and a plan needs requests per second"),
        ({"capacity": None, "conclusion": "no load held"}, "its conclusion: no load held"),
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
