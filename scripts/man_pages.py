"""docs/man/: the manual pages of the three programs, made of what they say with `--help`; the wheel has them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from bench import cli
from bench.commands import help_text
from bench.commands.help_text import Flag, Shape

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "man"
_SHARED = 10
"""A command with so many flags of `run` names them, and does not explain them again."""

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
    """Every page, by the name of its file."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = {
        "trueload.1": "\n".join(
            [*_head("trueload", version), *_commands(), *_exit(), *_environment(), *_see("trueload")]
        )
    }
    for program in ("trueload-mock", "trueload-promptset"):
        shape = help_text.read(help_text.help_of_module(_MODULES[program]), _ABOUT[program])
        lines = [*_head(program, version), ".SH OPTIONS", *_flags(shape.flags), *_see(program)]
        found[f"{program}.1"] = "\n".join(lines)
    return {name: f"{text}\n" for name, text in found.items()}


def _head(program: str, version: str) -> Iterator[str]:
    yield f'.TH {_text(program.upper())} 1 "" "Trueload {version}" "Trueload"'
    yield from (".SH NAME", f"{_text(program)} \\- {_text(_ABOUT[program])}", ".SH SYNOPSIS", f".B {_text(program)}")
    yield r"\fICOMMAND\fR [\fIflags\fR]" if program == "trueload" else r"[\fIflags\fR]"
    yield from (".SH DESCRIPTION", f".B {_text(program)}", f"is the same as \\fBpython \\-m {_MODULES[program]}\\fR.")
    command = r" \fICOMMAND\fR" if program == "trueload" else ""
    yield rf"\fB{_text(program)}\fR{command} \fB\-\-help\fR says the same, with examples."


def _commands() -> Iterator[str]:
    yield ".SH COMMANDS"
    shapes = help_text.commands()
    usual = set(shapes["run"].flags)
    for name, shape in shapes.items():
        yield f".SS trueload {name}" + "".join(f" {_text(value.name)}" for value in shape.values)
        yield f"{_text(shape.summary[0].upper() + shape.summary[1:])}."
        yield from _own_flags(name, shape, usual)


def _own_flags(name: str, shape: Shape, usual: set[Flag]) -> Iterator[str]:
    shared = [] if name == "run" else [flag for flag in shape.flags if flag in usual]
    if len(shared) < _SHARED:
        shared = []
    yield from _flags(tuple(flag for flag in shape.flags if flag not in shared))
    if shared:
        yield from (
            ".PP",
            "Of \\fBrun\\fR it also takes " + ", ".join(f"\\fB{_text(flag.name)}\\fR" for flag in shared) + ".",
        )


def _flags(flags: tuple[Flag, ...]) -> Iterator[str]:
    for flag in flags:
        if flag.name == "--help":
            continue
        value = "" if flag.value is None else f" \\fI{_text(flag.value.name)}\\fR"
        yield from (".TP", f"\\fB{_text(flag.name)}\\fR{value}", _text(flag.help))


def _exit() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    said = " ".join(help_text.printed(lambda: cli.main(["--help"])).partition("exit status:")[2].split())
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
    """Words as roff has them: dashes that can be copied, and no line that is taken for a request."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def write() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
