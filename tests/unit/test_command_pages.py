"""docs/commands.md and docs/man/ say what the commands say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.commands import COMMANDS

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
REMEDY = "docs/commands.md is old: run scripts/command-pages"


@pytest.fixture(scope="module")
def made_anew() -> str:
    program = "import sys; sys.path.insert(0, 'scripts'); from command_pages import page; print(page(), end='')"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout


def test_the_page_is_what_the_commands_say(made_anew: str) -> None:
    # Versions of Python break the line of the usage in other places.
    page = (ROOT / "docs" / "commands.md").read_text()
    assert made_anew.split() == page.split(), REMEDY


@pytest.fixture(scope="module")
def manual() -> dict[str, str]:
    program = (
        "import json, sys; sys.path.insert(0, 'scripts'); import command_pages, man_pages; command_pages.page(); "
        "print(json.dumps(man_pages.pages()))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    pages: dict[str, str] = json.loads(ran.stdout)
    return pages


def test_the_manual_pages_are_what_the_commands_say(manual: dict[str, str]) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "man").iterdir()}
    assert manual == written, "docs/man/ is old: run scripts/command-pages"


def test_a_manual_page_explains_each_flag_once_and_can_be_copied_from(manual: dict[str, str]) -> None:
    of_run = manual["trueload.1"].partition(".SS trueload run")[2].partition(".SS")[0]
    assert "\\fB\\-\\-input\\-tokens\\fR \\fIDIST\\fR\ntokens in each prompt: a number or a distribution" in of_run
    assert manual["trueload.1"].count("tokens in each prompt: a number") == 1
    assert "Of \\fBrun\\fR it also takes" in manual["trueload.1"].partition(".SS trueload search")[2]
    # A dash that is not escaped becomes a hyphen, which no shell takes.
    assert not [line for page in manual.values() for line in page.splitlines() if re.search(r"(?<!\\)--", line)]


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here, which reads manual pages")
@pytest.mark.parametrize("name", ["trueload.1", "trueload-mock.1", "trueload-promptset.1"])
def test_a_manual_page_is_read_without_a_warning(name: str) -> None:
    page = ROOT / "docs" / "man" / name
    ran = subprocess.run(["groff", "-ww", "-man", "-Tutf8", page], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert "SYNOPSIS" in ran.stdout


def test_every_command_is_on_the_page() -> None:
    heads = [line for line in (ROOT / "docs" / "commands.md").read_text().splitlines() if line.startswith("## ")]
    named = [f"## trueload {name}" for name in COMMANDS if name != "dataset"]
    assert heads == ["## trueload", *named, "## trueload-mock", "## trueload-promptset"]
