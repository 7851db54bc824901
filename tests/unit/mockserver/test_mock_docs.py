"""docs/mock.md and the code say the same."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.calibrate.join import OUTCOME_OF_FAULT
from mockserver.cli import read_arguments
from mockserver.faults import FAULTS, parse_rule

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


def test_each_fault_and_each_option_is_in_the_table() -> None:
    section = TEXT[TEXT.index("## Faults") : TEXT.index("## The ledger")]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    documented = {name: row for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert documented.keys() == FAULTS.keys()
    for name, kind in FAULTS.items():
        for option in kind.options:
            assert f"`{option.name}" in documented[name], (name, option.name)
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
    section = TEXT[TEXT.index("## The ledger") : TEXT.index("## How it keeps time")]
    names = re.findall(
        r"`(\w+)(?:\[\])?`", " ".join(line.split("|")[1] for line in section.splitlines() if "|" in line)
    )
    assert names == [
        "id", "index", "attempt", "received_ns", "handled_ns", "planned", "write_ns", "chunk_tokens", "chunk_kind",
        "blocked", "end_ns", "input_tokens", "status", "fault", "bytes_in", "bytes_out", "engine",
    ]  # fmt: skip
