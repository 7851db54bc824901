"""Answers of the simulating processes, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest

from bench.capacity_plan.simulators import Simulated, Simulators, running
from bench.errors import BenchError, UsageError


def answers(said: bytes, jobs: int = 1) -> list[Simulated]:
    process: Any = SimpleNamespace(stdin=BytesIO(), stdout=BytesIO(said))
    simulators = Simulators([process])
    try:
        return simulators.answers([{"job": n} for n in range(jobs)])
    finally:
        simulators.close()
        assert process.stdin.getvalue() == b"".join(b'{"job":%d}\n' % n for n in range(jobs))


def test_answers_come_in_the_order_of_the_jobs() -> None:
    lines = b"".join(b'{"sent_us":[%d],"first_us":[2],"last_us":[3],"replica":[0]}\n' % n for n in range(2))
    assert [answer.sent_us for answer in answers(lines, 2)] == [[0], [1]]


def test_no_job_is_taken_after_the_end() -> None:
    simulators = Simulators([SimpleNamespace()])  # type: ignore[list-item]
    simulators.close()
    with pytest.raises(RuntimeError):
        simulators.answers([{}])


def test_a_process_that_ended_and_one_that_refuses_are_told_apart() -> None:
    with pytest.raises(BenchError, match="ended early, without an answer"):
        answers(b"")
    with pytest.raises(UsageError, match="the simulation refuses this server or load: no memory"):
        answers(b'{"error":"no memory"}\n')


def test_ctrl_c_does_not_reach_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = []

    def popen(command: Sequence[str], *, start_new_session: bool, **pipes: int) -> SimpleNamespace:
        sessions.append(start_new_session)
        return SimpleNamespace(stdin=BytesIO(), stdout=BytesIO(), kill=int, wait=int)

    monkeypatch.setattr("bench.capacity_plan.simulators.subprocess.Popen", popen)
    with running(2):
        pass
    assert sessions == [True, True]
