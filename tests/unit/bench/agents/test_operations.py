"""The guard of what an agent may do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.agents.operations import GateRules, Operations
from bench.console.errors import ConsoleError, Refused
from bench.console.service import Console
from bench.errors import BenchError
from tests.support.made_runs import made_run

HERE = "http://127.0.0.1:8000"
LOAD = {"concurrency": 1, "requests": 1}


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    console = Console(tmp_path / "runs")
    yield Operations(console, ["http://gpu-box:8000/v1"])
    console.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"url": HERE},
        {"url": "http://localhost:9/v1"},
        {"url": "http://[::1]:9"},
        {"url": "http://gpu-box:8000"},
        {"url": "http://gpu-box:8000/other/path"},
    ],
)
def test_this_machine_and_allowed_servers_may_be_loaded(operations: Operations, settings: dict[str, Any]) -> None:
    assert list(operations.address_problems({**LOAD, **settings})) == []


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"url": "http://10.0.0.1:8000"}, "10.0.0.1 is not an allowed target"),
        ({"url": "http://gpu-box:8001"}, "gpu-box is not an allowed target"),
        ({"url": "https://gpu-box:8000"}, "gpu-box is not an allowed target"),
        ({"url": "http://127.0.0.1@evil:8000"}, "evil is not an allowed target"),
        ({"url": "http://127.0.0.1.evil.com"}, "127.0.0.1.evil.com is not an allowed target"),
        ({"url": "10.0.0.1:8000"}, "write it whole"),
        ({"url": HERE, "server_metrics": "http://10.0.0.1/metrics"}, "10.0.0.1 is not an allowed target"),
        ({"url": HERE, "slo": ["x", {"y": "see wss://evil/x"}]}, "evil is not an allowed target"),
        ({"url": HERE, "cluster": "10.0.0.1:6379"}, "cluster"),
        ({"url": HERE, "cluster": "ray://10.0.0.1:10001"}, "10.0.0.1 is not an allowed target"),
    ],
)
def test_another_address_is_refused_whatever_setting_names_it(
    operations: Operations, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        operations.start({**LOAD, **settings}, kind="run", target=None, key_variable=None, title=None)
    assert operations.tasks() == []


def test_a_saved_server_is_no_way_around_the_guard(operations: Operations) -> None:
    operations.console.save_target({"name": "far", "url": "http://10.0.0.1:8000"})
    with pytest.raises(Refused, match=r"10\.0\.0\.1 is not an allowed target"):
        operations.start(LOAD, kind="run", target="far", key_variable=None, title=None)


def test_a_key_must_be_in_a_variable_that_is_allowed(operations: Operations) -> None:
    with pytest.raises(Refused, match="HOME may not be used as a key"):
        operations.start({"url": HERE, **LOAD}, kind="run", target=None, key_variable="HOME", title=None)


def test_a_key_typed_by_an_agent_and_a_file_of_this_machine_are_refused(operations: Operations) -> None:
    for settings in ({"api_key": "secret"}, {"dataset": "/etc/passwd"}, {"out": "/tmp/elsewhere"}):
        with pytest.raises(BenchError):
            operations.start({"url": HERE, **LOAD, **settings}, kind="run", target=None, key_variable=None, title=None)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "", ".x", "x" * 65])
def test_a_baseline_has_a_name_and_no_path(operations: Operations, name: str) -> None:
    with pytest.raises(ConsoleError, match="give it a name"):
        operations.gate([], GateRules(baseline=name))


@pytest.mark.processes
def test_the_gate_says_what_the_command_says(operations: Operations) -> None:
    for n in range(3):
        made_run(operations.console.runs / f"r{n}", at=n, seed=n, ttft_ms=50.0 + n)
    names = ["r0", "r1", "r2"]
    held = operations.gate(names, GateRules(["ttft:p90<10s"], baseline="main", update=True))
    assert held["exit_status"] == 0
    assert isinstance(held["gate"], dict)
    assert len(held["gate"]["objectives"]) == 1
    assert (operations.console.runs / ".console" / "baselines" / "main.json").is_file()
    assert operations.gate(names, GateRules(["ttft:p90<1ms"]))["exit_status"] == 1
    with pytest.raises(ConsoleError, match="nothing to check the runs against: give objectives"):
        operations.gate(names, GateRules())
    with pytest.raises(ConsoleError, match="ttft:p9x"):
        operations.gate(names, GateRules(["ttft:p9x<1ms"]))
