"""docs/commands.md says what the commands say."""

from __future__ import annotations

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


def test_every_command_is_on_the_page() -> None:
    heads = [line for line in (ROOT / "docs" / "commands.md").read_text().splitlines() if line.startswith("## ")]
    named = [f"## trueload {name}" for name in COMMANDS if name != "dataset"]
    assert heads == ["## trueload", *named, "## trueload-mock", "## trueload-promptset"]
