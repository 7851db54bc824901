"""The skill for agents has the format of Agent Skills, and names only existing commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from bench.commands import COMMANDS
from bench.commands.parsers import parsers
from bench.errors import Exit
from bench.load_sweep import visits
from bench.metrics import objectives
from bench.verdict.finding import Status

PATH = Path(__file__).parents[2] / "skills" / "trueload" / "SKILL.md"
_, HEAD, BODY = PATH.read_text(encoding="utf-8").split("---\n", 2)


def test_its_head_is_that_of_a_skill() -> None:
    head = yaml.safe_load(HEAD)
    assert set(head) <= {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
    assert head["name"] == PATH.parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"])
    assert 1 <= len(head["description"]) <= 1024
    assert len(head["compatibility"]) <= 500
    assert len(BODY.splitlines()) < 500


def test_it_names_commands_that_exist_and_every_verdict_and_status() -> None:
    named = set(re.findall(r"`trueload ([a-z-]+)", BODY))
    assert named - set(COMMANDS) == set()
    assert {"run", "calibrate", "search", "sweep", "compare", "gate", "quality", "mcp"} <= named
    assert re.findall(r"^\| ([A-Z]+) \|", BODY, re.MULTILINE) == [str(status) for status in Status]
    statuses = {
        int(number) for number in re.findall(r"\b(\d) [a-zI]", BODY.partition("Exit status:")[2].splitlines()[0])
    }
    assert statuses == {int(status) for status in Exit if status < 10}


def test_its_commands_are_accepted_as_they_stand() -> None:
    known = parsers()
    seen = set()
    for line in re.findall(r"`trueload ([a-z-]+ [^`]+)`", BODY):
        name, *words = shlex.split(line)
        given = vars(known[name].parse_args(words))
        seen.add(name)
        if "loads" in given:
            assert len(visits.parse(given["loads"]).values) > 1
        for objective in given.get("slo") or ():
            objectives.parse_one(objective)
    assert {"run", "search", "sweep", "compare", "gate"} <= seen


def test_flags_outside_of_commands_are_flags_of_a_run() -> None:
    alone = re.sub(r"`trueload [^`]+`", "", BODY)
    assert {*re.findall(r"--[a-z][a-z-]+", alone)} - {*parsers()["run"]._option_string_actions} == set()
