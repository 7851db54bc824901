"""Writes the manual pages of the three programs to build/man/, from their parsers. A wheel built afterwards contains
them."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from bench import cli
from bench.commands import COMMANDS
from bench.commands.parsers import parser_of, parsers

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "man"
_SHARED = 10
"""A command with this many flags of `run` names them, and does not explain them again."""

_ABOUT = {
    "trueload": "a load tester for LLM inference servers that measures how wrong its numbers are",
    "trueload-mock": "an inference server that plans every latency in advance",
    "trueload-promptset": "data sets of prompts with exact numbers of tokens",
}
_MODULES = {"trueload": "bench", "trueload-mock": "mockserver", "trueload-promptset": "promptset"}
_ENVIRONMENT = {
    "OPENAI_API_KEY": "the API key, where --api-key does not say it",
    "ANTHROPIC_API_KEY": "the same, for the endpoint messages",
    "TRUELOAD_TOKEN": "the token of the console",
    "XDG_CACHE_HOME": "where certificates of calibrations are kept, in the folder trueload (default: ~/.cache)",
}


def pages() -> dict[str, str]:
    """Every page, by file name."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = {
        "trueload.1": "\n".join(
            [*_head("trueload", version), *_commands(), *_exit(), *_environment(), *_see("trueload")]
        )
    }
    for program in ("trueload-mock", "trueload-promptset"):
        parser = parser_of(import_module(f"{_MODULES[program]}.cli").main)
        lines = [*_head(program, version), ".SH OPTIONS", *_flags(_shown(parser)), *_see(program)]
        found[f"{program}.1"] = "\n".join(lines)
    return {name: f"{text}\n" for name, text in found.items()}


def _head(program: str, version: str) -> Iterator[str]:
    yield f'.TH {_text(program.upper())} 1 "" "Trueload {version}" "Trueload"'
    yield ".ad l"  # Long flags leave lines that cannot be adjusted to the right margin.
    yield from (".SH NAME", f"{_text(program)} \\- {_text(_ABOUT[program])}", ".SH SYNOPSIS", f".B {_text(program)}")
    yield r"\fICOMMAND\fR [\fIflags\fR]" if program == "trueload" else r"[\fIflags\fR]"
    yield from (".SH DESCRIPTION", f".B {_text(program)}", f"is the same as \\fBpython \\-m {_MODULES[program]}\\fR.")
    command = r" \fICOMMAND\fR" if program == "trueload" else ""
    yield rf"\fB{_text(program)}\fR{command} \fB\-\-help\fR says the same, with examples."


def _commands() -> Iterator[str]:
    yield ".SH COMMANDS"
    found = parsers()
    usual = {(action.option_strings[-1], action.help) for action in _shown(found["run"])}
    for name, parser in found.items():
        takes = [action for action in parser._actions if not action.option_strings]
        yield f".SS trueload {_text(name)}" + "".join(f" {_text(_value(action))}" for action in takes)
        summary = COMMANDS[name].summary
        yield f"{_text(summary[0].upper() + summary[1:])}."
        shown = _shown(parser)
        shared = [] if name == "run" else [a for a in shown if (a.option_strings[-1], a.help) in usual]
        if len(shared) < _SHARED:
            shared = []
        yield from _flags([action for action in shown if action not in shared])
        if shared:
            names = ", ".join(f"\\fB{_text(action.option_strings[-1])}\\fR" for action in shared)
            yield from (".PP", f"Of \\fBrun\\fR it also takes {names}.")


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The flags that the help shows."""
    return [a for a in parser._actions if a.option_strings and a.help != argparse.SUPPRESS and a.dest != "help"]


def _value(action: argparse.Action) -> str:
    """The placeholder for the value of a flag or argument."""
    if action.metavar is None and action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


def _flags(flags: Sequence[argparse.Action]) -> Iterator[str]:
    for flag in flags:
        value = "" if flag.nargs == 0 else f" \\fI{_text(_value(flag))}\\fR"
        help_text = (flag.help or "") % {"default": flag.default, "prog": ""}
        yield from (".TP", f"\\fB{_text(flag.option_strings[-1])}\\fR{value}", _text(help_text))


def _exit() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        cli.main(["--help"])
    said = " ".join(printed.getvalue().partition("exit status:")[2].split())
    for status, meaning in re.findall(r"(\d+) ([^,]+)", said):
        yield from (".TP", f".B {status}", _text(meaning))


def _environment() -> Iterator[str]:
    yield ".SH ENVIRONMENT"
    for name, meaning in _ENVIRONMENT.items():
        yield from (".TP", f".B {name}", _text(meaning))


def _see(program: str) -> Iterator[str]:
    yield ".SH SEE ALSO"
    yield " ,\n".join(f".BR {_text(other)} (1)" for other in _ABOUT if other != program)


def _text(words: str) -> str:
    """Text escaped for roff: dashes that can be copied, and no line that looks like a request."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def write() -> None:
    """Write the pages."""
    os.environ["XDG_CACHE_HOME"] = "~/.cache"  # A page must not contain the paths of whoever builds it.
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
