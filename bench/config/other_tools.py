"""What to write in place of a flag, a value or a command of another load tester: the table is other_tools.yaml.

docs/comparison.md has its most frequent rows. It is imported only when a word is wrong.
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
    """Flags of another tool, what to write here (empty for nothing), and what differs."""

    theirs: str
    ours: str
    differs: str = ""

    def spellings(self) -> list[tuple[str, str | None]]:
        """Each flag, with the word for its value; None for a switch."""
        parts = [part.partition(" ") for part in self.theirs.split(", ")]
        return [(flag, value or None) for flag, _, value in parts]


class Value(NamedTuple):
    """A value that other tools take and the setting `key` does not, and what to write."""

    key: str
    pattern: str
    sentence: str


class Table(NamedTuple):
    """The whole table: rows by tool, values, and commands of ours by theirs."""

    tools: Mapping[str, Sequence[Row]]
    values: Sequence[Value]
    commands: Mapping[str, str]


@cache
def table() -> Table:
    """The table, read once."""
    content = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    tools = {tool: [Row(*row) for row in rows] for tool, rows in content["tools"].items()}
    return Table(tools, [Value(*row) for row in content["values"]], content["commands"])


_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NUMBERS = re.compile(r"\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)+")
_TIME = re.compile(r"\d+(?:\.\d+)?(?:ms|s|m|h)")


def about_flag(flag: str, value: str | None, known: Sequence[str]) -> str | None:
    """What to write in place of a flag of another tool; None if no tool has it. `known` are the flags of the command."""
    ranked = [
        (_rank(wanted, value), tool, row)
        for tool, rows in table().tools.items()
        for row in rows
        for spelled, wanted in row.spellings()
        if spelled == flag
    ]
    by_ours: dict[str, tuple[str, Row]] = {}
    for rank, tool, row in ranked:
        if rank == min(ranked)[0]:
            by_ours.setdefault(row.ours, (tool, row))
    if not by_ours:
        return None
    if len(by_ours) == 1:
        ((_, row),) = by_ours.values()
        said = _to_write(row, flag, value, known)
        return f"{said}. {row.differs}" if row.differs else said
    tool_of: dict[str, str] = {}
    for tool, row in by_ours.values():
        tool_of.setdefault(_to_write(row, flag, value, known), tool)
    return "; or ".join(
        f"{write} (in place of {tool}'{'' if tool[-1] == 's' else 's'})" for write, tool in tool_of.items()
    )


def _rank(wanted: str | None, value: str | None) -> int:
    """How well a row with this word for its value fits the value that was given: 0 is best, 4 does not fit."""
    if value is None:
        return 1 if wanted is None else 2 if wanted.isupper() else 4
    if wanted is None:
        return 3
    if wanted == "N":
        return 1 if _NUMBER.match(value) else 4
    if wanted == "URL":
        return 1 if "://" in value or value.startswith("localhost") else 4
    if wanted.islower():
        return 0 if value in (wanted, f"kind={wanted}") or value.startswith(f"kind={wanted},") else 4
    return 2


_PLACEHOLDERS = {
    "--model my-model": r"\S+",
    "--dataset rows.jsonl": r"\S+\.\w+",  # A file, and not the name of a split.
    "--tokenizer /models/qwen": r"\S+",
    "--name my-run": r"[\w.-]+",
    "--out runs/mine": r"[^\s.]+",  # A directory, and not a file.
}
"""Examples whose value is replaced by the given one, if it has this form."""


def _to_write(row: Row, flag: str, value: str | None, known: Sequence[str]) -> str:
    """What to write in place of `flag` for one row: its example, with the value that was given if that has the same form."""
    if not row.ours:
        return "leave it out"
    spelled = flag
    flag, _, example = row.ours.partition(" ")
    if value is not None and (dict(row.spellings()).get(spelled) or "").isupper():
        field = re.fullmatch(r"'{\"(\w+)\": [\d.]+}'", example)
        if re.fullmatch(_PLACEHOLDERS.get(row.ours, ""), value):
            return _with_command(f"{flag} {shlex.quote(value)}", known)
        if row.ours == "--url http://127.0.0.1:8000" and (address := _address(value)) is not None:
            return _with_command(f"{flag} {address}", known)
        # The example of a row is a field that one of its flags sets; the others set fields of their own names.
        if field and _NUMBER.fullmatch(value) and f"--{field[1].replace('_', '-')}" in dict(row.spellings()):
            return _with_command(f"{flag} '{{\"{spelled.strip('-').replace('-', '_')}\": {value}}}'", known)
    if value is not None and flag in ("--concurrency", "--rate") and _NUMBERS.fullmatch(value):
        return f"write python -m bench sweep --loads {flag.removeprefix('--')}={value}"
    if value is not None and any(form.fullmatch(value) and form.fullmatch(example) for form in (_NUMBER, _TIME)):
        return _with_command(f"{flag} {value}", known)
    if value is not None and "://" in value and "://" in example:
        return _with_command(f"{flag} {shown_url(value)}", known)
    return _with_command(row.ours, known)


def _address(value: str) -> str | None:
    """The URL of a host, a port or both; None for anything else."""
    if re.fullmatch(r"\d{1,5}", value):
        return f"http://127.0.0.1:{value}"
    if re.fullmatch(r"[\w.-]+(:\d{1,5})?", value):
        return f"http://{value}" if ":" in value else f"http://{value}:8000"
    return None


def _with_command(ours: str, known: Sequence[str]) -> str:
    words = shlex.split(ours)
    if not words[0].startswith("-"):
        return f"write python -m bench {ours}"
    missing = next((word for word in words if word.startswith("--") and word not in known), None)
    return f"write {ours}" + ("" if missing is None else f" with the command run: this one has no {missing}")


def about_value(key: str, value: object) -> tuple[str, str] | None:
    """A value that another tool takes, as it was typed, and what to write; None if there is nothing to say."""
    for text in value if isinstance(value, list | tuple) else (value,):
        for row in table().values:
            if row.key == key and (match := re.fullmatch(row.pattern, str(text).strip(), re.IGNORECASE)):
                typed = match[0].partition("=")[0] + "=..." if key == "header" else match[0]
                return typed, row.sentence.format(re.sub(r"[ ,]+", ",", match[0]), *match.groups())
    return None


def about_command(word: str) -> str | None:
    """What to write in place of a command of another tool; None if there is nothing to say."""
    ours = table().commands.get(word.lower())
    if ours is None:
        return None
    if not ours:
        return "the mock is a program of its own: python -m mockserver"
    return f"write python -m bench {ours}" + (" --url http://127.0.0.1:8000" if ours.startswith("run") else "")
