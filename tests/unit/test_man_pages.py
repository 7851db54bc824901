"""The manual pages that scripts/man-pages makes: every flag once, with dashes that can be copied."""

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


@pytest.fixture(scope="module")
def manual() -> dict[str, str]:
    program = "import json, sys; sys.path.insert(0, 'scripts'); import man_pages; print(json.dumps(man_pages.pages()))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    pages: dict[str, str] = json.loads(ran.stdout)
    return pages


def test_each_program_has_a_page_and_each_command_a_section(manual: dict[str, str]) -> None:
    assert list(manual) == ["trueload.1", "trueload-mock.1", "trueload-promptset.1"]
    heads = re.findall(r"^\.SS trueload ([\w\\-]+)", manual["trueload.1"], re.MULTILINE)
    assert heads == [name.replace("-", "\\-") for name in COMMANDS]


def test_a_manual_page_explains_each_flag_once_and_can_be_copied_from(manual: dict[str, str]) -> None:
    of_run = manual["trueload.1"].partition(".SS trueload run")[2].partition(".SS")[0]
    assert "\\fB\\-\\-input\\-tokens\\fR \\fIDIST\\fR\ntokens in each prompt: a number or a distribution" in of_run
    assert manual["trueload.1"].count("tokens in each prompt: a number") == 1
    assert "Of \\fBrun\\fR it also takes" in manual["trueload.1"].partition(".SS trueload search")[2]
    # An unescaped dash becomes a hyphen, which no shell accepts as a dash.
    assert not [line for page in manual.values() for line in page.splitlines() if re.search(r"(?<!\\)--", line)]


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here, which reads manual pages")
@pytest.mark.parametrize("name", ["trueload.1", "trueload-mock.1", "trueload-promptset.1"])
def test_a_manual_page_is_read_without_a_warning(name: str, manual: dict[str, str]) -> None:
    # Without the category `break`: whether a line can be filled depends on the version of groff, not on the page.
    words = ["groff", "-ww", "-Wbreak", "-man", "-Tutf8", "-K", "utf8"]
    ran = subprocess.run(words, input=manual[name], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert "SYNOPSIS" in ran.stdout
