"""The pages about the mock match the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.accuracy.join import OUTCOME_OF_FAULT
from mockserver.cli import read_arguments
from mockserver.dialect.responses import ResponsesFrames
from mockserver.dialect.socket_responses import SocketFrames
from mockserver.faults import FAULTS
from mockserver.presets import PRESETS
from mockserver.record.ledger import FIELDS, LedgerEntry
from tests.support.patience import PATIENCE_S

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "mock.md").read_text(encoding="utf-8")
LINES = [line.removeprefix("$ ") for line in TEXT.splitlines()]
COMMANDS = sorted({line for line in LINES if line.startswith("python -m mockserver")})


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mock.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    read_arguments(shlex.split(command)[3:])


def test_there_are_commands_and_a_file() -> None:
    assert len(COMMANDS) >= 4
    assert len(blocks("yaml")) == 1


CI_PAGE = (DOCS / "ci.md").read_text(encoding="utf-8")


@pytest.mark.processes
def test_the_tests_of_the_page_on_ci_pass_with_the_fixture(tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", CI_PAGE, re.DOTALL)
    (tests,) = [program for program in programs if "mock_llm" in program]
    (ini,) = re.findall(r"```text\n(\[pytest\].*?)```", CI_PAGE, re.DOTALL)
    (tmp_path / "test_page.py").write_text(tests)
    # pytest.ini holds for all tests of a project. The example on the page relies on the fixture's own settings.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert "ttft = 20ms" in ini
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{tests.count('def test_')} passed" in ran.stdout


def test_each_preset_that_the_page_names_exists() -> None:
    section = TEXT[TEXT.index("A preset imitates") : TEXT.index("## Use a file")]
    named = set(re.findall(r"`((?:qwen|llama|gpt|mlperf)[\w.-]+)`", section))
    assert len(named) > 4
    assert named <= set(PRESETS)


def test_the_page_says_the_outcome_that_calibration_expects_of_each_fault() -> None:
    section = TEXT[TEXT.index("### What a client should conclude") : TEXT.index("### When several")]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    outcomes = {name: row[3] for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert outcomes.keys() <= FAULTS.keys()
    for name in FAULTS.keys() - {"refuse"}:
        assert f"`{OUTCOME_OF_FAULT[name]}`" in outcomes.get(name, "`ok`"), name


def test_each_key_of_a_line_of_the_ledger_is_described() -> None:
    entry = LedgerEntry(
        id=None, index=None, attempt=1, received_ns=0, handled_ns=0, plan=None, write_ns=(), chunk_tokens=[], chunk_kind="",
        blocked=[], end_ns=0, input_tokens=None, output_tokens=0, finished="stop", status=200, fault=None, bytes_in=0,
        bytes_out=0, engine={}, first_ns=0, audio_in_ns=0, audio_out_bytes=[],
            audio_bytes_per_s=1, chunk_choice=[], traceparent="",
    )  # fmt: skip
    assert [*json.loads(entry.to_line())] == [*FIELDS]


def test_the_page_on_faults_says_which_faults_a_websocket_ignores() -> None:
    page = (DOCS / "dev" / "mock-design.md").read_text(encoding="utf-8")
    section = page[page.index("## On a WebSocket") :]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    ignored = {name for row in rows if "ignored" in row[2] for name in re.findall(r"`(\w+)`", row[1])}
    assert ignored == SocketFrames.ignores - ResponsesFrames.ignores
