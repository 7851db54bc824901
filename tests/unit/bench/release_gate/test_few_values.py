"""Objectives on runs with too few values for an interval of the requested quantile."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from bench import cli
from tests.support.made_runs import made_side


def told_of(objective: str, side: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Verdict and reason of one objective."""
    capsys.readouterr()
    cli.main(["gate", str(side), "--slo", objective, "--format", "json"])
    (row,) = orjson.loads(capsys.readouterr().out)["objectives"]
    return row["verdict"], row["why"] or ""


@pytest.mark.parametrize(
    ("objective", "verdict"),
    [
        ("ttft:p90<1ms", "failed"),  # 0.1 ** 2 at most.
        ("ttft:p99<1ms", "failed"),
        ("tpot:p99<1ms", "failed"),
        ("ttft:p50<1ms", "not shown"),  # 0.5 ** 2: two requests may be slow by chance.
        ("tps:p99>0.1", "not shown"),
        ("ttft:p90<10s", "not shown"),
    ],
)
def test_an_objective_that_every_request_of_two_runs_breaks_failed_unless_that_may_be_chance(
    objective: str, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, why = told_of(objective, made_side(tmp_path / "two", 2, requests=4), capsys)
    assert found == verdict
    assert ("every request of every run is beyond the limit" in why) is (verdict == "failed")


def test_two_runs_of_which_one_request_keeps_it_show_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    side = made_side(tmp_path / "two", 2, requests=4, spread=0.2)
    fastest = min(
        orjson.loads((run / "summary.json").read_bytes())["latency"]["ttft_ms"]["min"] for run in side.iterdir()
    )
    assert told_of(f"ttft:p90<{fastest - 0.01:.3f}ms", side, capsys)[0] == "failed"
    assert told_of(f"ttft:p90<{fastest + 0.01:.3f}ms", side, capsys)[0] == "not shown"


def test_more_runs_are_worth_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for runs, verdict in ((5, "not shown"), (6, "failed")):  # 0.5 ** 6 is 1.6%.
        side = made_side(tmp_path / f"{runs}", runs, requests=1)
        assert told_of("ttft:p50<1ms", side, capsys)[0] == verdict
