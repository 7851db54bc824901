"""What to write in place of a flag, a value or a command of another load tester. The table is other_tools.yaml.

docs/comparison.md has its most frequent rows. The module is imported only when a word is wrong.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.secrets import shown_url


class Row(NamedTuple):
    """Flags of another tool, our equivalent (empty for none), and the differences."""

    theirs: str
    ours: str
    differs: str = ""

    def spellings(self) -> list[tuple[str, str | None]]:
        """Each flag, with the word for its value; None for a switch."""
        parts = [part.partition(" ") for part in self.theirs.split(", ")]
        return [(flag, value or None) for flag, _, value in parts]


class Value(NamedTuple):
    """A value that other tools accept but our setting `key` does not, and what to write instead."""

    key: str
    pattern: str
    sentence: str


class Form(NamedTuple):
    """A pattern for our example, a pattern for a given value that replaces the example's, and the resulting text."""

    ours: str
    value: str
    write: str


class Answer(NamedTuple):
    """What to write in place of a word, and the flags in it."""

    sentence: str
    flags: frozenset[str]


class Table(NamedTuple):
    """The whole table: rows by tool and by flag, forms, values, and our commands by the other tools' commands."""

    tools: Mapping[str, Sequence[Row]]
    flags: Mapping[str, Sequence[tuple[str, Row, str | None]]]
    """The tool, the row, and the word for the flag's value."""
    forms: Sequence[Form]
    values: Sequence[Value]
    commands: Mapping[str, str]


@cache
def table() -> Table:
    """The table, read once."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # Python's loader takes ten times as long: 50 ms.
    content = yaml.load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"), Loader=loader)
    tools = {tool: [Row(*row) for row in rows] for tool, rows in content["tools"].items()}
    flags: dict[str, list[tuple[str, Row, str | None]]] = {}
    for tool, rows in tools.items():
        for row in rows:
            for flag, wanted in row.spellings():
                flags.setdefault(flag, []).append((tool, row, wanted))
    forms, values = [Form(*row) for row in content["forms"]], [Value(*row) for row in content["values"]]
    return Table(tools, flags, forms, values, content["commands"])


def about_flag(flag: str, value: str | None, known: Sequence[str]) -> Answer | None:
    """What to write in place of a flag of another tool; None if no tool has it. `known` are the flags of the command."""
    ranked = [(_rank(wanted, value), tool, row) for tool, row, wanted in table().flags.get(flag, ())]
    by_ours: dict[str, tuple[str, Row]] = {}
    for rank, tool, row in ranked:
        if rank == min(ranked)[0]:
            by_ours.setdefault(row.ours, (tool, row))
    if not by_ours:
        return None
    if len(by_ours) == 1:
        ((_, row),) = by_ours.values()
        answer = _to_write(row, flag, value, known)
        return answer._replace(sentence=f"{answer.sentence}. {row.differs}") if row.differs else answer
    tool_of: dict[Answer, str] = {}
    for tool, row in by_ours.values():
        tool_of.setdefault(_to_write(row, flag, value, known), tool)
    sentences = (f"{a.sentence} (in place of {tool}'{'' if tool[-1] == 's' else 's'})" for a, tool in tool_of.items())
    return Answer("; or ".join(sentences), frozenset().union(*(answer.flags for answer in tool_of)))


def _rank(wanted: str | None, value: str | None) -> int:
    """How well a row with this word for its value fits the given value: 0 is best, 4 does not fit."""
    if value is None:
        return 1 if wanted is None else 2 if wanted.isupper() else 4
    if wanted is None:
        return 3
    if wanted == "N":
        return 1 if re.match(r"\d", value) else 4
    if wanted == "URL":
        return 1 if "://" in value or value.startswith("localhost") else 4
    if wanted.islower():
        return 0 if value in (wanted, f"kind={wanted}") or value.startswith(f"kind={wanted},") else 4
    return 2


def _to_write(row: Row, flag: str, value: str | None, known: Sequence[str]) -> Answer:
    """What to write in place of `flag` for one row: its example, with the given value if a form matches both."""
    if not row.ours:
        return Answer("leave it out", frozenset())
    replacement = row.ours
    # The word after a switch is not its value.
    value = (value if (dict(row.spellings())[flag] or "").isupper() else None) or ""
    for form in table().forms:
        example = re.fullmatch(form.ours, replacement)
        if example and re.fullmatch(form.value, value):
            replacement = form.write.format(shlex.quote(shown_url(value)), *example.groups())
            break
    words = shlex.split(replacement)
    if not words[0].startswith("-"):
        return Answer(f"write python -m bench {replacement}", frozenset())
    flags = [word for word in words if word.startswith("--")]
    missing = next((flag for flag in flags if flag not in known), None)
    elsewhere = "" if missing is None else f" with the command run: this one has no {missing}"
    return Answer(f"write {replacement}{elsewhere}", frozenset(flags))


def about_value(key: str, value: object) -> tuple[str, str] | None:
    """A value that another tool accepts, as typed, and what to write; None if there is no advice."""
    for text in value if isinstance(value, list | tuple) else (value,):
        for row in table().values:
            if row.key == key and (match := re.fullmatch(row.pattern, str(text).strip(), re.IGNORECASE)):
                typed = match[0].partition("=")[0] + "=..." if key == "header" else match[0]
                return typed, row.sentence.format(re.sub(r"[ ,]+", ",", match[0]), *match.groups())
    return None


def about_command(word: str) -> str | None:
    """What to write in place of a command of another tool; None if there is no advice."""
    replacement = table().commands.get(word.lower())
    if replacement is None:
        return None
    if not replacement:
        return "the mock is a program of its own: python -m mockserver"
    return f"write python -m bench {replacement}" + (
        " --url http://127.0.0.1:8000" if replacement.startswith("run") else ""
    )
