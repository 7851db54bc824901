"""Jobs in a gate, which compares a run with limits, and in a comparison of runs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.comparison.compare import Comparison, compare
from bench.comparison.sides import read_side
from bench.errors import Exit
from bench.records import RequestRecord
from bench.statistics.between_runs import Answer
from tests.support.made_jobs import made_step
from tests.support.made_runs import write_run

SETTINGS: dict[str, Any] = {"rate": None, "mode": "sessions", "concurrency": 4}


def _run(path: Path, *, at: int, mean_ms: float, sessions: int = 160) -> Path:
    """Sessions of two successive jobs each. Job lengths vary by a tenth."""
    chance = random.Random(at)
    records: list[RequestRecord] = []
    for k in range(sessions):
        for job in range(2):
            due = 2000.0 * k + 900 * job
            length = mean_ms * chance.uniform(0.9, 1.1)
            records.append(
                made_step(len(records), due, due + length, turn=job, job=job, job_step=0, session=k, pause="human")
            )
    return write_run(path, records, at=at, settings=SETTINGS)


def _side(path: Path, mean_ms: float, first: int) -> Path:
    for k in range(4):
        _run(path / f"{k + 1}", at=first + 2 * k, mean_ms=mean_ms, sessions=40)
    return path


@pytest.mark.parametrize(
    ("objective", "status", "verdict"),
    [
        ("job:p90<700ms", Exit.GOOD, "held"),
        ("job:p50<400ms", Exit.OBJECTIVE_FAILED, "failed"),
        ("jobs_per_hour_per_user>7000", Exit.GOOD, "held"),
        ("jobs_per_hour_per_user>9000", Exit.OBJECTIVE_FAILED, "failed"),
    ],
)
def test_a_gate_judges_objectives_on_jobs(
    objective: str, status: Exit, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tmp_path / "run", at=0, mean_ms=500)
    assert cli.main(["gate", str(run), "--slo", objective]) == status
    assert verdict in capsys.readouterr().out.lower()


def _compared(a: Path, b: Path) -> Comparison:
    return compare([read_side("A", a), read_side("B", b)])


def test_a_comparison_explores_jobs(tmp_path: Path) -> None:
    a, b = _side(tmp_path / "a", 500, 0), _side(tmp_path / "b", 650, 1)
    found = _compared(a, b).versus[0].of("job:p50")
    assert (found.answer, found.worse, found.primary) == (Answer.DIFFERS, True, False)
    assert found.b / found.a == pytest.approx(1.3, abs=0.03)
    assert (found.number.title, found.number.unit) == ("Job p50", "s")
