"""`python -m bench search` as a user runs it, over sockets against the mock: an answer, Ctrl-C, kill -9, --resume."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator

from bench.evaluate import evaluate
from bench.run_files.run_directory import RunDirectory
from bench.verdict.limits import Limits
from tests.support.literal_replies import GOOD, stream
from tests.support.literal_server import LiteralServer, Received, Step, Until
from tests.support.mock_process import mock_process
from tests.support.patience import PATIENCE_S
from tests.support.ready_made import popen, run_to_end
from tests.support.run_process import loaded

SCHEMA = Draft202012Validator(orjson.loads(files("bench.load_search").joinpath("search.schema.json").read_bytes()))


def settings(folder: Path, url: str) -> str:
    """A settings file with which other programs do not affect the verdict. Another test covers that."""
    never = {"suspect": 1e12, "invalid": 1e12}
    content = {
        "url": url, "slo": ["ttft:p90<30s"], "input_tokens": 16, "output_tokens": 4,
        "limits": {name: never for name, field in Limits.model_fields.items() if field.default.invalid is not None},
    }  # fmt: skip
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "bench", "search", *flags]


def kept(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "search.json").read_bytes())
    assert [e.message for e in SCHEMA.iter_errors(content)] == []
    return content


def wait_for_visits(path: Path, n: int, process: subprocess.Popen[str]) -> None:
    """Wait until this many visits have ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not (path / "search.json").exists() or len(kept(path)["visits"]) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_search_gives_an_answer_and_every_visit_is_a_run(tmp_path: Path) -> None:
    out = tmp_path / "search"
    with mock_process("--ttft", "20ms", "--tpot", "5ms") as mock:
        flags = ("--config", settings(tmp_path, mock.url), "--start", "4", "--max", "8", "--budget", "40s")
        ran = run_to_end(command(*flags, "--out", str(out), "--require", "6"))
    content = kept(out)
    # Longer visits give more certain answers, and on a busy machine the budget leaves less time for them.
    held = content["required"]["held"]
    assert ran.returncode == (0 if held else 1), ran.stdout + ran.stderr
    assert f"required: 6/s is {'held' if held else 'not shown to be held'}" in ran.stdout
    assert max(map(len, ran.stdout.splitlines()[:-1])) <= 80
    assert "visit 1: 4/s did not clearly break" in ran.stderr
    visits = content["visits"]
    assert {visit["verdict"] for visit in visits} <= {"VALID", "SUSPECT"}
    for visit in visits:
        result = evaluate(RunDirectory.open(out / visit["run_dir"]))
        assert result.summary.counts.succeeded == visit["requests"]
        assert result.summary.run.config["rate"] == visit["load"]
    seeds = {yaml.safe_load((out / v["run_dir"] / "run.yaml").read_text())["config"]["seed"] for v in visits}
    assert len(seeds) == len(visits)
    assert content["conclusion"] in ("at least", "up to")
    assert ran.stdout.splitlines()[0][:40] in (out / "search.html").read_text()


class Held:
    """Answers the loads of the first `visits` visits that it sees, and later visits only once they are among them. So a
    search cannot end before the test has seen what it waits for."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.visits: float = 0

    def script(self, request: Received) -> Sequence[Step]:
        """The reply to the load."""
        run = request.headers["x-request-id"].split("-")[1]
        if run not in self.seen:
            self.seen.append(run)
        at = self.seen.index(run)
        return [Until(lambda: at < self.visits), *stream(*GOOD)]


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT for a process")
def test_a_search_that_is_interrupted_and_then_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "search"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    held = Held()
    with LiteralServer(loaded(held.script)) as server:
        flags = ("--config", settings(tmp_path, server.url), "--start", "4", "--max", "8", "--budget", "60s")
        held.visits = 1
        begun = popen(
            command(*flags, "--out", str(out)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        wait_for_visits(out, 1, begun)
        begun.send_signal(signal.SIGINT)
        held.visits = math.inf
        printed, said = begun.communicate(timeout=PATIENCE_S)
        assert begun.returncode in (0, 130), said
        assert "ended: interrupted" in printed
        first = kept(out)
        assert first["stopped_by"] == "interrupted"

        held.visits = len(held.seen) + 1
        resumed = popen(
            command("--resume", str(out)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        wait_for_visits(out, len(first["visits"]) + 1, resumed)
        resumed.kill()
        resumed.communicate()
        second = kept(out)
        assert second["stopped_by"] is None
        assert second["visits"][: len(first["visits"])] == first["visits"]

        held.visits = math.inf
        last = run_to_end(command("--resume", str(out), "--budget", "15s"))
        assert last.returncode in (0, 1), last.stderr
    third = kept(out)
    assert third["visits"][: len(second["visits"])] == second["visits"]
    assert third["stopped_by"] in ("never fails", "budget", "precision")
    assert third["settings"]["budget_s"] == 15.0
