"""docs/mock.md and the code say the same."""

from __future__ import annotations

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
from mockserver.faults import FAULTS, parse_rule
from mockserver.presets import PRESETS
from tests.support.patience import PATIENCE_S

TEXT = (Path(__file__).parents[3] / "docs" / "mock.md").read_text(encoding="utf-8")
COMMANDS = [line.removeprefix("$ ") for line in TEXT.splitlines() if line.startswith("$ python -m mockserver")]


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


CI_PAGE = (Path(__file__).parents[3] / "docs" / "ci.md").read_text(encoding="utf-8")


@pytest.mark.processes
def test_the_tests_of_the_page_on_ci_pass_with_the_fixture(tmp_path: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", CI_PAGE, re.DOTALL)
    (tests,) = [program for program in programs if "mock_llm" in program]
    (ini,) = re.findall(r"```text\n(\[pytest\].*?)```", CI_PAGE, re.DOTALL)
    (tmp_path / "test_page.py").write_text(tests)
    # Its settings are for all tests of a project; those of the page count on the fixture's own.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert "ttft = 20ms" in ini
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{tests.count('def test_')} passed" in ran.stdout


def test_each_preset_is_on_the_page() -> None:
    section = TEXT[TEXT.index("| presets |") : TEXT.index("## What it serves")]
    named = set(re.findall(r"`([\w.-]+)`", section))
    also = {name.replace("-server", "-interactive") for name in named if name.endswith("-server")}
    assert (named | also) - {"-interactive"} == set(PRESETS)


def test_each_fault_and_each_option_is_in_the_table() -> None:
    section = TEXT[TEXT.index("## Faults") : TEXT.index("## The ledger")]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    documented = {name: row for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert documented.keys() == FAULTS.keys(), (
        "each fault has a row in docs/mock.md, Faults: what it does, options, outcome"
    )
    for name, kind in FAULTS.items():
        for option in kind.options:
            assert f"`{option.name}" in documented[name], f"the row of {name} in docs/mock.md lacks {option.name}"
    for name, row in documented.items():
        for option, value in re.findall(r"`(\w+)=(\w+)`", row.split("|")[3]):
            assert parse_rule(f"{name}:{option}={value}").fault == parse_rule(name).fault, (
                "a default is not as documented"
            )


def test_the_outcomes_in_the_table_are_those_of_calibration() -> None:
    section = TEXT[TEXT.index("## Faults") : TEXT.index("## The ledger")]
    for row in (line for line in section.splitlines() if line.startswith("| `")):
        names, outcomes = (re.findall(r"`(\w+)`", row.split("|")[column]) for column in (1, 4))
        for name in set(names) - {"refuse"}:
            assert str(OUTCOME_OF_FAULT[name]) in outcomes, name


def test_each_field_of_the_ledger_is_in_the_table() -> None:
    section = TEXT[TEXT.index("## The ledger") : TEXT.index("## Priority")]
    names = re.findall(
        r"`(\w+)(?:\[\])?`", " ".join(line.split("|")[1] for line in section.splitlines() if "|" in line)
    )
    assert names == [
        "id", "index", "attempt", "received_ns", "handled_ns", "planned", "write_ns", "chunk_tokens", "chunk_kind",
        "blocked", "end_ns", "input_tokens", "inputs", "status", "fault", "bytes_in", "bytes_out", "engine",
    ]  # fmt: skip


def test_the_page_says_which_faults_a_websocket_ignores() -> None:
    section = TEXT[TEXT.index("## WebSocket") : TEXT.index("## Plans")]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    ignored = {name for row in rows if "ignored" in row[2] for name in re.findall(r"`(\w+)`", row[1])}
    assert ignored == SocketFrames.ignores - ResponsesFrames.ignores
