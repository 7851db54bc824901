"""Messages name only existing flags, commands, and pages of docs/ with their headings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from bench.commands.parsers import parser_of, parsers
from mockserver import cli as mock
from promptset import cli as promptset
from tests.support.documentation import anchors

ROOT = Path(__file__).parents[3]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w-])")
COMMAND = re.compile(
    r"(python -m (?:bench [a-z][\w-]*|mockserver|promptset))\b((?:(?!\.\s|, | and | or |(?<![\n ]) {3})(?:\\\n|[^;()`\n]))*)"
)
"""The words that start a program, and the rest of its command line."""
NAMED = re.compile(r"--[a-z]|python -m |docs/")
NOT_OURS = {
    "bench/imports/": "flags of the tools that wrote the files",
    "bench/commands/import_result.py": "likewise",
    "bench/verdict/advice.py: --cpus": "of Docker",
    "bench/process/priority.py: --ulimit": "of Docker",
    "bench/limits/": "of a program that only this room starts",
    "bench/process/mock_process.py: --scratch": "of a process that only this file starts",
    "bench/commands/set_load.py: --users": "refused, with what to write",
    "datasets/promptset/loaders/curl.py": "of curl",
    "datasets/promptset/cli.py: --isl --osl --num --num-prompts --output": "refused, with what to write",
    "mockserver/cli.py: --latency --context-length --max-tokens": "likewise",
    "mockserver/child.py: --scratch": "of a process that only the mock starts",
}
"""Places with flags of other programs, or only the flags, and their owners."""


@cache
def flags() -> Mapping[str, frozenset[str]]:
    """The flags of each program, by the words that start it."""
    programs = {f"python -m bench {name}": parser for name, parser in parsers().items()}
    programs |= {"python -m mockserver": parser_of(mock.main), "python -m promptset": parser_of(promptset.main)}
    return {
        words: frozenset(option for action in parser._actions for option in action.option_strings)
        for words, parser in programs.items()
    }


@cache
def every_flag() -> frozenset[str]:
    return frozenset[str]().union(*flags().values())


@cache
def messages() -> tuple[tuple[str, str], ...]:
    """Every string of the product, except docstrings, that contains such a name, with its file."""
    return tuple(
        (str(path.relative_to(ROOT)), text)
        for room in ("bench", "mockserver", "datasets/promptset")
        for path in sorted((ROOT / room).rglob("*.py"))
        if NAMED.search(source := path.read_text(encoding="utf-8"))  # Most files have none, and need not be parsed.
        for text in strings(source)
        if NAMED.search(text)
    )


def strings(source: str) -> Iterator[str]:
    nodes = list(ast.walk(ast.parse(source)))
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def is_of_another(file: str, flag: str) -> bool:
    places = (place.partition(": ") for place in NOT_OURS)
    return any(file.startswith(where) and (not named or flag in named.split()) for where, _, named in places)


def wrong_flags(file: str, text: str) -> list[str]:
    """Flags that no program has, and flags after a command that does not have them."""
    wrong = [flag for flag in FLAG.findall(text) if flag not in every_flag() and not is_of_another(file, flag)]
    for words, behind in COMMAND.findall(re.sub(r'"[^"]*"', "", text)):
        own = flags().get(words)
        wrong += [words] if own is None else [f"{words} {flag}" for flag in FLAG.findall(behind) if flag not in own]
    return wrong


def wrong_pages(text: str) -> list[str]:
    """Pages that do not exist, and headings that do not exist on their page."""
    wrong = []
    for page, heading in re.findall(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+))?", text):
        path = ROOT / page
        if not path.is_file() or (heading and heading not in anchors(path.read_text(encoding="utf-8"))):
            wrong.append(f"{page}#{heading}")
    return wrong


def test_messages_name_flags_and_commands_that_exist() -> None:
    assert [(file, wrong) for file, text in messages() for wrong in wrong_flags(file, text)] == []


def test_messages_name_pages_that_exist() -> None:
    assert [(file, wrong) for file, text in messages() for wrong in wrong_pages(text)] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("leave --rate out, or see docs/search.md", []),
        ("add --ratte 5", ["--ratte"]),
        ("write python -m bench swep --loads rate=1", ["python -m bench swep"]),
        ("write python -m bench gate --loads rate=1", ["python -m bench gate --loads"]),
        ("python -m mockserver --ttft 5ms; then python -m bench run --ttft 5ms", ["python -m bench run --ttft"]),
        (
            "python -m bench sweep --url http://127.0.0.1:8 --loads rate=1,2 \\\n  --budget 5m",
            ["python -m bench sweep --budget"],
        ),
        ("see docs/serch.md", ["docs/serch.md#"]),
        ("see docs/search.md#nowhere", ["docs/search.md#nowhere"]),
    ],
)
def test_a_planted_word_is_found(text: str, wrong: list[str]) -> None:
    assert wrong_flags("bench/x.py", text) + wrong_pages(text) == wrong


def test_each_exception_is_needed() -> None:
    named = [(file, flag) for file, text in messages() for flag in FLAG.findall(text)]
    for place in NOT_OURS:
        where, _, only = place.partition(": ")
        used = {flag for file, flag in named if file.startswith(where) and flag not in every_flag()}
        assert used, place
        assert used >= set(only.split()), place
