"""Every `--help` fits a terminal of 80 columns."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys

import pytest
import yaml

import mockserver.cli
import promptset.cli
from bench import cli
from bench.commands import COMMANDS
from bench.commands.parsers import parser_of, parsers
from promptset.help_text import fitted

NARROW = 80


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(NARROW))
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((NARROW, 24)))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def every_parser() -> dict[str, argparse.ArgumentParser]:
    mock = mockserver.cli._parser()
    return {**parsers(), "the mock": mock, "promptset": parser_of(promptset.cli.main)}


@pytest.mark.usefixtures("narrow")
def test_no_line_of_a_help_is_wider_than_the_terminal() -> None:
    for name, parser in every_parser().items():
        wide = [line for line in parser.format_help().splitlines() if len(line) > NARROW]
        assert wide == [], name


def test_the_list_of_commands_is_not_wider_than_80_columns() -> None:
    assert [line for line in cli._help().splitlines() if len(line) > NARROW] == []
    assert len(COMMANDS) > 1


@pytest.mark.usefixtures("narrow")
def test_an_example_that_is_broken_over_lines_is_the_same_command_to_a_shell() -> None:
    seen = 0
    for name, parser in parsers().items():
        for example in (parser.epilog or "").splitlines():
            if example.startswith("  python -m bench ") and len(example) > NARROW and "  " not in example.strip():
                broken = fitted(example, NARROW)
                assert shlex.split(broken.replace("\\\n", " ")) == shlex.split(example), name
                seen += 1
    assert seen > 5


@pytest.mark.usefixtures("narrow")
def test_paragraphs_are_not_joined_and_comments_remain_comments() -> None:
    for name, parser in every_parser().items():
        text = parser.format_help()
        assert re.search(r"\S +exit status:", text) is None, name
        sources = [line for text in (parser.description, parser.epilog) for line in (text or "").splitlines()]
        comments = [line.strip().lstrip("# ") for line in sources if line.lstrip().startswith("# ")]
        shown = " ".join(line.strip().lstrip("# ") for line in text.splitlines() if line.lstrip().startswith("# "))
        assert [comment for comment in comments if comment not in shown] == [], name


@pytest.mark.usefixtures("narrow")
def test_the_file_of_a_race_in_its_help_is_yaml() -> None:
    text = parsers()["tune"].format_help().partition("For example:\n")[2].partition("\npositional")[0]
    assert yaml.safe_load(text)["goal"] == "tokens_per_s"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It is short.\nSo is this.", "It is short.\nSo is this."),
        (
            # The first line has the maximum length of a source line, so its sentence continues on the next.
            "A sentence " * 10 + "that goes on\nin the next line.\n\nAnother one.",
            "A sentence A sentence A sentence A sentence\nA sentence A sentence A sentence A sentence\n"
            "A sentence A sentence that goes on in the\nnext line.\n\nAnother one.",
        ),
        (
            "  name   says something that is long of it and more",
            "  name   says something that is long of it\n         and more",
        ),
        (
            "  trueload run --url http://host:8000 --rate 5 --out runs/one   # a comment",
            "  # a comment\n  trueload run --url http://host:8000 \\\n    --rate 5 --out runs/one",
        ),
        ("name of it: one (--flag: two) three four five", "name of it: one (--flag: two) three four\n            five"),
        (
            "  # a comment above an example that is much too long\n  command",
            "  # a comment above an example that is much\n  # too long\n  command",
        ),
        ("see http://a-host-that-is-much-longer-than-it-may-be.example/", None),
    ],
)
def test_what_does_not_fit_is_broken_where_it_reads_well(text: str, shown: str | None) -> None:
    assert fitted(text, 44) == (text.replace("see ", "see\n") if shown is None else shown)
