"""scripts/test-steadiness: which runs count and which are missing. It stops only the tests' processes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from tests.support import pauses, stopped

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("test_steadiness_script", ROOT / "scripts" / "test_steadiness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(condition: str, *failed: str) -> dict[str, object]:
    return {"condition": condition, "failed": list(failed), "again": [], "seed": 7, "passed": 11_000, "minutes": 9.5}


def test_runs_count_since_the_last_failure_whatever_their_condition(script: ModuleType) -> None:
    lines = [line("quiet"), line("stops", "tests/a.py::b"), line("busy"), line("quiet"), line("quiet")]
    assert script.in_a_row(lines) == lines[2:]
    assert script.in_a_row(lines[:2]) == []
    assert script.in_a_row([]) == []
    assert script.missing({"quiet": 3, "busy": 1, "stops": 2}, lines[2:]) == [("quiet", 1), ("stops", 2)]


def test_a_plan_names_conditions_that_there_are(script: ModuleType) -> None:
    assert script.plan_of("stops=2,quiet=10") == {"stops": 2, "quiet": 10}
    for wrong in ("quit=1", "quiet", "quiet=-1", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="is not CONDITION=N"):
            script.plan_of(wrong)


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_has_its_line_in_the_log_and_a_failure_ends_the_row(
    script: ModuleType, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "runs" / "log.jsonl"

    def run(condition: str, seed: int, _: object) -> dict[str, object]:
        return line(condition, *(["tests/a.py::b"] if fails and seed == 12 else [])) | {"seed": seed}

    monkeypatch.setattr(script, "one_run", run)
    status = script.main(["--plan", "quiet=2,stops=1", "--log", str(log), "--seed", "11"])
    printed = capsys.readouterr().out
    seeds = [(one["condition"], one["seed"]) for one in map(json.loads, log.read_text().splitlines())]
    if fails:
        assert status == 1
        assert seeds == [("quiet", 11), ("quiet", 12)]
        assert "quiet  seed 12      failed: 11,000 in 9.5 min\n  FAILED tests/a.py::b" in printed
        assert script.main(["--log", str(log), "--show"]) == 0
        assert "quiet  0 of 8 in a row without a failure" in capsys.readouterr().out
    else:
        assert status == 0
        assert seeds == [("quiet", 11), ("quiet", 12), ("stops", 13)]
        assert "quiet  2 of 2 in a row" in printed
        assert script.main(["--plan", "quiet=2,stops=1", "--log", str(log)]) == 0  # Nothing is missing.
        assert len(log.read_text().splitlines()) == 3


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in Linux's /proc")
def test_the_processes_of_the_tests_are_stopped_and_go_on_and_others_are_left_alone(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = [sys.executable, "-c", "print('here', flush=True); input()"]
    mark = {script.MARK: str(os.getpid())}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    sent: list[tuple[int, str]] = []
    over = threading.Event()

    def signalled(pid: int, number: signal.Signals) -> bool:
        os.kill(pid, number)
        sent.append((pid, number.name))
        if number.name == "SIGSTOP":  # The signal takes effect with a delay, so the process may still appear to run.
            os.waitid(os.P_PID, pid, os.WSTOPPED)
            assert pid not in script.processes()
        elif len(sent) >= 4:
            over.set()
        return True

    monkeypatch.setattr(script, "signalled", signalled)
    monkeypatch.setattr(script, "SHARE", 1.0)
    with (
        subprocess.Popen(waits, env={**os.environ, **mark}, **pipes) as ours,  # type: ignore[call-overload]
        subprocess.Popen(waits, env={**os.environ, script.MARK: "1"}, **pipes) as other,  # type: ignore[call-overload]
    ):
        for process in (ours, other):
            assert process.stdout.readline() == "here\n"
        assert script.processes() == [ours.pid]
        script.stop_some(over, random.Random(1), tmp_path)
        assert sent == 2 * [(ours.pid, "SIGSTOP"), (ours.pid, "SIGCONT")]
        for process in (ours, other):
            process.communicate("\n")
    assert (ours.returncode, other.returncode) == (0, 0)


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in Linux's /proc")
def test_what_a_test_has_stopped_is_not_woken(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(stopped.LEFT_ALONE, str(tmp_path))
    assert script.LEFT_ALONE == stopped.LEFT_ALONE
    over = threading.Event()
    mark = {**os.environ, script.MARK: str(os.getpid())}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=mark, stdin=subprocess.PIPE, text=True) as ours:

        def signalled(pid: int, number: signal.Signals) -> bool:
            os.kill(pid, number)
            stopped.stop(pid)  # A test may do this while it is already stopped.
            over.set()
            return True

        monkeypatch.setattr(script, "signalled", signalled)
        monkeypatch.setattr(script, "SHARE", 1.0)
        script.stop_some(over, random.Random(1), tmp_path)
        assert stopped.state(ours.pid) == "T"
        stopped.go_on(ours.pid)
        assert list(tmp_path.iterdir()) == []
        ours.communicate("\n")
    assert ours.returncode == 0


def paused(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object], folder: Path) -> list[float]:
    """The pauses of a call whose tests are in this folder, if there is one before every line."""
    slept: list[float] = []
    monkeypatch.setattr(pauses, "PAUSING", (f"{folder}/",))
    monkeypatch.setattr(pauses, "SHARE", 1.0)
    monkeypatch.setattr(time, "sleep", slept.append)
    sections: list[tuple[str, str, str]] = []
    item = SimpleNamespace(
        path=Path(__file__), nodeid="a", add_report_section=lambda *section: sections.append(section)
    )
    running = pauses.Pauses("1").pytest_runtest_call(cast(pytest.Item, item))
    next(running)
    try:
        call()
    finally:
        with contextlib.suppress(StopIteration):
            running.send(None)
    assert bool(slept) == (sections != [] and "test_steadiness.py:" in sections[0][2])
    return slept


def three_lines() -> int:
    one = 1
    two = one + 1
    return two


async def three_lines_of_a_loop() -> int:
    return three_lines()


def in_a_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_the_code_of_a_test_pauses_between_its_lines_in_each_thread_and_not_in_an_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Path(__file__).parent
    slept = paused(monkeypatch, three_lines, here)
    assert len(slept) == 3
    assert all(pauses.SHORTEST_S <= pause_s <= pauses.LONGEST_S for pause_s in slept)
    assert slept == paused(monkeypatch, three_lines, here), "the seed and the test decide"
    assert len(paused(monkeypatch, lambda: in_a_thread(three_lines), here)) > 3
    assert len(paused(monkeypatch, lambda: asyncio.run(three_lines_of_a_loop()), here)) == 1
    assert paused(monkeypatch, three_lines, here / "elsewhere") == []
    monkeypatch.setattr(pauses, "MOST_S", pauses.SHORTEST_S)
    assert len(paused(monkeypatch, three_lines, here)) == 1


@pytest.mark.processes
def test_the_seed_of_pauses_reaches_the_tests(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "scripts").mkdir()
    program = tmp_path / "scripts" / "test"
    program.write_text(f'#!/bin/sh\necho "${{{pauses.PAUSES}-0}} passed"\n')
    program.chmod(0o755)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "commit", lambda: "a")
    assert script.one_run("pauses", 41, [])["passed"] == 41
    assert script.one_run("quiet", 41, [])["passed"] == 0
