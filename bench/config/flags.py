"""Command line flags made from the fields of a configuration model: one declaration, two ways to write it.

A field `input_tokens` becomes `--input-tokens`; a bool that is off becomes a switch, one that is on a `--no-` switch. All
values stay text here: the model checks them, so that a flag and a YAML key are refused in the same words.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, get_args

from pydantic import BaseModel

from bench.errors import UsageError
from bench.secrets import shown_url

GROUPS = {
    "target": "what to measure",
    "load": "how to load it",
    "data": "what to send",
    "limits": "limits and objectives",
    "engine": "how to measure",
    "output": "what to write",
}
"""The groups of `--help`, in its order. A field of another group (`file`) has no flag."""


USUAL = {
    "-c": "--concurrency",
    "-d": "--duration",
    "-k": "--api-key",
    "-m": "--model",
    "-n": "--requests",
    "-o": "--out",
    "-q": "--quiet",
    "-r": "--rate",
    "-u": "--url",
    "--base-url": "--url",
    "--host": "--url",
    "--target": "--url",
    "--endpoint-url": "--url",
    "--users": "--concurrency",
    "--clients": "--concurrency",
    "--connections": "--concurrency",
    "--parallel": "--concurrency",
    "--num-concurrent-requests": "--concurrency",
    "--num-prompts": "--requests",
    "--num-requests": "--requests",
    "--request-count": "--requests",
    "--number": "--requests",
    "--max-requests": "--requests",
    "--request-rate": "--rate",
    "--qps": "--rate",
    "--rps": "--rate",
    "--max-seconds": "--duration",
    "--time": "--duration",
    "--run-time": "--duration",
    "--input-len": "--input-tokens",
    "--random-input-len": "--input-tokens",
    "--prompt-tokens": "--input-tokens",
    "--output-len": "--output-tokens",
    "--random-output-len": "--output-tokens",
    "--max-tokens": "--output-tokens",
    "--dataset-name": "--dataset",
    "--dataset-path": "--dataset",
    "--goodput": "--slo",
    "--output": "--out",
    "--output-dir": "--out",
    "--result-dir": "--out",
    "--json": "--format",
    "--token": "--api-key",
    "--num-warmups": "--warmup",
    "--warmup-requests": "--warmup",
}
"""Flags that other tools have, and ours of that meaning."""


@dataclass(frozen=True, slots=True)
class Option:
    """A flag that one command has beside the settings of a run: the word for its value, and its help."""

    name: str
    metavar: str
    help: str


def add_options(parser: argparse.ArgumentParser, title: str, options: Iterable[Option]) -> None:
    """Give the parser the flags of a command, in a group of their own."""
    group = parser.add_argument_group(title)
    for option in options:
        group.add_argument(f"--{option.name}", metavar=option.metavar, help=option.help, default=argparse.SUPPRESS)


def _no_choice(said: re.Match[str]) -> str:
    """Versions of Python differ in whether they quote the choices."""
    choices = said[3].replace("'", "")
    return f"{said[1]}: {said[2]} is none of {choices}"


_ARGPARSE_SAYS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^argument (\S+): expected .*$", r"\1 needs a value"),
    (r"^argument (\S+): ignored explicit argument ('.*')$", r"\1 takes no value (given: \2)"),
    (r"^argument (\S+): invalid choice: ('.*?')(?:, maybe you meant .*)? \(choose from (.*)\)$", _no_choice),
    (r"^argument (\S+): not allowed with argument (\S+)$", r"\1 and \2 exclude each other"),
    (r"^the following arguments are required: (.*)$", r"missing: \1"),
    (r"^unrecognized arguments: (.*)$", r"not known: \1"),
)
"""Sentences of argparse, and what a person would say."""


class Parser(argparse.ArgumentParser):
    """argparse that reports instead of exiting, and knows no abbreviations: a script's flag must not change meaning."""

    def __init__(
        self, *, prog: str, description: str | None = None, epilog: str | None = None, usage: str | None = None
    ) -> None:
        width = min(os.get_terminal_size().columns, 110) if sys.stdout.isatty() else 100
        super().__init__(
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=width),
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
        )

    def error(self, message: str) -> NoReturn:
        for pattern, plainly in _ARGPARSE_SAYS:
            message = re.sub(pattern, plainly, message)
        raise UsageError(f"{message} (see {self.prog} --help)")


def add_fields(parser: argparse.ArgumentParser, model: type[BaseModel], leave_out: Iterable[str] = ()) -> None:
    """Give the parser a flag for each field of the model that has a group in GROUPS."""
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict) or extra.get("group") not in groups or name in leave_out:
            continue
        group = groups[str(extra["group"])]
        flag = f"--{name.replace('_', '-')}"
        default = extra.get("otherwise")
        if default is None and field.annotation is not bool and not field.is_required():
            written = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            default = None if field.default in (None, (), "") else written
        help_text = f"{field.description or ''}{'' if default is None else f' (default: {default})'}"
        if field.annotation is bool:
            on = field.default is True
            group.add_argument(
                f"--no-{name.replace('_', '-')}" if on else flag,
                dest=name,
                action="store_const",
                const=not on,
                default=argparse.SUPPRESS,
                help=help_text,
            )
            continue
        repeats = field.default == () and not field.is_required()
        choices = [
            word for part in get_args(field.annotation) or () for word in get_args(part) if isinstance(word, str)
        ]
        choices = choices or [word for word in get_args(field.annotation) if isinstance(word, str)]
        group.add_argument(
            flag,
            dest=name,
            action="append" if repeats else "store",
            default=argparse.SUPPRESS,
            metavar=str(extra.get("metavar") or ("|".join(choices) if choices else name.upper())),
            help=help_text,
        )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags that were given, and a sentence for each word that is none, with the nearest flag."""
    given, unknown = parser.parse_known_args(_with_values(parser, argv))
    known = [option for action in parser._actions for option in action.option_strings]
    problems = []
    for i, word in enumerate(unknown):
        name = word.partition("=")[0]
        if name.startswith("-"):
            near = [USUAL[name]] if USUAL.get(name) in known else _nearest(name, known)
            hint = f"did you mean {near[0]}?" if near else f"{parser.prog} --help lists all"
            problems.append(f"{name} is not a flag: {hint}")
        elif i == 0 or not unknown[i - 1].startswith("-"):  # After a flag it is that flag's value.
            if word.startswith(("http://", "https://")) and "--url" in known and "url" not in vars(given):
                hint, vars(given)["url"] = f"did you mean --url {shown_url(word)}?", word  # The URL is not missing.
            else:
                hint = "values follow a flag"
            problems.append(f"{shown_url(word)!r} was not expected: {hint}")
    return vars(given), problems


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """The flag that was perhaps meant. Dashes do not count: they would make any two short names alike."""
    bare = {option.lstrip("-"): option for option in known}
    begun = [option for option in known if name.startswith("--") and len(name) > 4 and option.startswith(name)]
    return begun[:1] or [bare[word] for word in difflib.get_close_matches(name.lstrip("-"), bare, n=1)]


def _with_values(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """The words, each value that begins with a dash (`--duration -5s`) tied to its flag: argparse takes it for a flag."""
    options = {option: action for action in parser._actions for option in action.option_strings}
    words: list[str] = []
    for word in argv:
        before = options.get(words[-1]) if words else None
        if before is not None and before.nargs is None and word[:1] == "-" and word.partition("=")[0] not in options:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words
