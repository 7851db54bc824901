"""Races over sockets with every way to find a server ready, to clear and to keep it, and every goal. No test depends on
which arm wins."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import bench
from bench.cli import main
from bench.errors import Exit
from bench.results.tune import TuneContent
from tests.support.calm import CALM
from tests.support.held_port import held_port
from tests.support.literal_replies import whole
from tests.support.literal_server import LiteralServer, Received, Step
from tests.support.ready_made import run_to_end

MOCK = f"{sys.executable} -m mockserver --port {{port}} --engine batching --step-cost b0=10000,b1=1,b2=100 {{flags}}"

WAITS = "sh -c 'echo up; exec sleep 600' {port} {flags}"


def spec_of(server: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A short race of two arms."""
    load = {"input_tokens": 20, "output_tokens": 8, "seed": 14, **yaml.safe_load(CALM), **changes.pop("load", {})}
    spec = {
        "server": {"command": MOCK, **server},
        "flags": {"max-num-seqs": [2, 8]},
        "objectives": ["error_rate<50%"],
        "loads": "concurrency=8",
        "load": load,
        "visit": "0.5s",
        "warmup": "0.1s",
        "budget": "20s",
    }
    return {**spec, **changes}


def race(folder: Path, server: dict[str, Any], **changes: Any) -> TuneContent:
    return bench.tune(spec_of(server, **changes), out=folder / "race").content


def test_servers_that_run_together_start_once_and_their_caches_are_cleared_by_a_command(tmp_path: Path) -> None:
    cleared = tmp_path / "cleared"
    clear = f"{sys.executable} -c \"print('{{port}}', file=open('{cleared}', 'a'))\""
    with held_port() as first, held_port() as second:
        ports = [first, second]
        content = race(
            tmp_path,
            {"together": True, "ports": ports, "ready": "mockserver ready", "clear_cache": clear},
            goal="dollars_per_million_tokens",
            gpu_hour_cost=2.0,
        )
    assert [turn.why for turn in content.turns] == [None] * len(content.turns)
    # The second round uses the servers of the first.
    logs = sorted(log.name for log in (tmp_path / "race").glob("*.log"))
    assert logs == ["r1-a0.log", "r1-a1.log"]
    assert cleared.read_text().split() == [str(ports[turn.arm]) for turn in content.turns]
    for turn in content.turns:
        (row,) = turn.loads
        assert row.tokens_per_s is not None
        assert turn.value == pytest.approx(2.0 / (row.tokens_per_s * 3600) * 1e6, rel=1e-3)
    assert content.unit == "$ per million tokens"


@pytest.mark.long
def test_energy_is_what_an_exporter_says_and_caches_are_cleared_over_http(tmp_path: Path) -> None:
    def exporter(request: Received) -> Sequence[Step]:
        return whole("200 OK", b'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 300\n')

    with LiteralServer(exporter) as page:
        content = race(
            tmp_path,
            {"ready": "/health", "clear_cache": "/admin/reset"},
            goal="joules_per_million_tokens",
            load={"gpu_metrics": f"{page.url}/metrics"},
            visit="3s",  # The exporter is read once per second.
        )
    assert [turn.why for turn in content.turns] == [None] * len(content.turns)
    for turn in content.turns:
        (row,) = turn.loads
        assert row.joules_per_token is not None
        assert turn.value == pytest.approx(row.joules_per_token * 1e6, rel=1e-3)
        gpu = json.loads((tmp_path / "race" / row.name / "summary.json").read_text())["gpu"]
        assert gpu["levels"]["gpu_power_w"] == {"mean": 300.0, "max": 300.0}
    assert content.unit == "J per million tokens"


@pytest.mark.parametrize(
    ("server", "why"),
    [
        pytest.param(
            {"clear_cache": "/no/such/path"},
            "server.clear_cache: POST /no/such/path gave 404",
            marks=pytest.mark.long,
        ),
        ({"clear_cache": "sh -c 'exit 3'", "command": WAITS, "ready": "up"}, "ended with status 3"),
        ({"ready": "no such line", "start_within": "0.3s", "command": WAITS}, "the server was not ready within 0.3 s"),
    ],
)
def test_a_server_that_is_not_ready_or_not_cleared_is_an_arm_that_failed(
    server: dict[str, Any], why: str, tmp_path: Path
) -> None:
    content = race(tmp_path, server)
    assert (content.ended, content.best) == ("nothing works", None)
    assert all(why in (turn.why or "") for turn in content.turns)


KILL = """
import os, pathlib, signal, sys
calls = pathlib.Path(sys.argv[1])
calls.write_text((calls.read_text() if calls.exists() else "") + "x")
if len(calls.read_text()) == 4:
    os.kill(os.getppid(), signal.SIGKILL)
"""
"""It ends the race on the fourth request to clear a cache: in the middle of the second arm's turn."""


@pytest.mark.long
def test_a_race_that_was_killed_in_the_middle_of_a_turn_goes_on(tmp_path: Path) -> None:
    (tmp_path / "kill.py").write_text(KILL)
    clear = f"{sys.executable} {tmp_path / 'kill.py'} {tmp_path / 'calls'}"
    spec = spec_of({"ready": "/health", "clear_cache": clear}, loads="concurrency=2,8")
    (tmp_path / "flags.yaml").write_text(yaml.safe_dump(spec))
    folder = tmp_path / "race"
    words = ["tune", str(tmp_path / "flags.yaml"), "--quiet"]
    killed = run_to_end([sys.executable, "-m", "bench", *words, "--out", str(folder)])
    assert killed.returncode == -signal.SIGKILL
    before = json.loads((folder / "tune.json").read_text())
    assert ([turn["arm"] for turn in before["turns"]], before["ended"]) == ([0], None)
    finished = (folder / "r1-a1-concurrency-2" / "requests.jsonl").read_bytes()
    assert main([*words, "--resume", str(folder)]) == Exit.GOOD
    after = json.loads((folder / "tune.json").read_text())
    assert [(turn["round"], turn["arm"]) for turn in after["turns"][:3]] == [(1, 0), (1, 1), (2, 1)]
    assert after["turns"][0] == before["turns"][0]
    # The complete part of the turn is kept, the rest is measured.
    assert [row["name"] for row in after["turns"][1]["loads"]] == ["r1-a1-concurrency-2", "r1-a1-concurrency-8"]
    assert (folder / "r1-a1-concurrency-2" / "requests.jsonl").read_bytes() == finished


@pytest.mark.long
def test_a_held_load_is_what_the_search_of_each_turn_found(tmp_path: Path) -> None:
    content = race(
        tmp_path,
        {},
        goal="held_load",
        objectives=["ttft:p90<60s"],
        search={"load": "concurrency", "start": 4, "max": 8, "budget": "10s"},
    )
    assert {turn.round for turn in content.turns} == {1, 2, 3, 4}
    for turn in content.turns:
        (row,) = turn.loads
        found = json.loads((tmp_path / "race" / row.name / "search.json").read_text())
        known = found["at_least"] if found["capacity"] is None else found["capacity"]["estimate"]
        assert turn.value == (None if known is None else pytest.approx(known, rel=1e-3))
        assert row.status == found["conclusion"]
        assert (tmp_path / "race" / row.name / "search.html").is_file()
    assert content.unit == content.load_unit == "users"
