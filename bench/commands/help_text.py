"""What a program takes, read from its own `--help`: so completions and docs/commands.md cannot differ from what it says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from bench.commands import COMMANDS
from bench.errors import BenchError

_FLAG = re.compile(r"  (?:-\w(?:, | ))?(?P<name>--[\w-]+)(?: (?P<metavar>\S.*?))?(?:  +(?P<help>\S.*))?$")
_WORD = re.compile(r"  (?P<metavar>[\w{][\w{},.-]*)(?:  +(?P<help>\S.*))?$")
_CHOICE = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_FILES, _FOLDERS = {"FILE", "PATH", "A.yaml", "B.yaml"}, {"DIR", "RUN"}


@dataclass(frozen=True, slots=True)
class Value:
    """What may follow a flag, or stand alone: one of the `choices`, a file, a folder, or anything that `name` says."""

    name: str
    choices: tuple[str, ...] = ()
    files: bool = False
    folders: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag; `value` is None where it is a switch."""

    name: str
    help: str
    value: Value | None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a program or a command takes."""

    summary: str
    flags: tuple[Flag, ...]
    values: tuple[Value, ...] = ()


def commands() -> dict[str, Shape]:
    """The commands of `python -m bench`, by name."""
    return {name: read(help_of(name), command.summary) for name, command in COMMANDS.items()}


def mock() -> Shape:
    """The mock. It is another program, and asked as one."""
    return read(help_of_module("mockserver"), "an inference server that plans every latency in advance")


def help_of(command: str) -> str:
    """What a command of ours says of itself."""
    return printed(lambda: import_module(COMMANDS[command].module).main(["--help"]))


def help_of_module(module: str) -> str:
    """What another program of ours says of itself. Raises BenchError where it does not run."""
    ran = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        env={**os.environ, "COLUMNS": "102"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise BenchError(f"python -m {module} --help fails: {ran.stderr.strip()}")
    return ran.stdout


def printed(call: Callable[[], object]) -> str:
    """What is printed until the call ends, or the program would."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        call()
    return text.getvalue()


def read(text: str, summary: str) -> Shape:
    """The flags and values of a help text, as argparse writes it. Examples and other prose at its end are left alone."""
    flags: list[Flag] = []
    values: list[Value] = []
    section = ""
    last: list[str] = []  # Of the flag whose help goes on.
    for line in text.splitlines():
        if line[:1].strip():
            section, last = line.rstrip(":"), []
        elif section.startswith(("usage", "examples", "Examples")):
            continue
        elif (found := _FLAG.match(line)) is not None:
            last = [found["help"] or ""]
            flags.append(Flag(found["name"], last[0], None if found["metavar"] is None else value_of(found["metavar"])))
        elif section == "positional arguments" and (found := _WORD.match(line)) is not None:
            values.append(value_of(found["metavar"]))
            last = []
        elif last and line.startswith("   ") and line.strip():
            last.append(line.strip())
            flags[-1] = Flag(flags[-1].name, " ".join(last).strip(), flags[-1].value)
        else:
            last = []
    return Shape(summary, tuple(flags), tuple(values))


def value_of(metavar: str) -> Value:
    """What a metavar stands for: `{text,json}` and `auto|off|URL` name words, FILE a file, DIR and RUN a folder."""
    names = re.split(r"[|,]", metavar.strip("{}")) if metavar.startswith("{") else metavar.split("|")
    choices = tuple(name for name in names if _CHOICE.fullmatch(name))
    return Value(metavar, choices, not _FILES.isdisjoint(names), not _FOLDERS.isdisjoint(names))
