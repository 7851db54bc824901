"""The parsers of the commands, from which completions, the reference pages and the manual pages are made."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from bench.commands import COMMANDS


class _Captured(Exception):
    """Carries the parser of a command out of its `--help`."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def parser_of(main: Callable[[Sequence[str]], object]) -> argparse.ArgumentParser:
    """The parser of a command's flags, captured where it would print its help."""

    def caught(self: argparse.ArgumentParser, file: object = None) -> NoReturn:
        raise _Captured(self)

    original = argparse.ArgumentParser.print_help
    argparse.ArgumentParser.print_help = caught  # type: ignore[method-assign]
    try:
        main(["--help"])
    except _Captured as e:
        return e.parser
    finally:
        argparse.ArgumentParser.print_help = original  # type: ignore[method-assign]
    raise AssertionError(f"{main} has no --help of argparse")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command of `python -m bench`, by name."""
    return {name: parser_of(import_module(command.module).main) for name, command in COMMANDS.items()}


def whole() -> argparse.ArgumentParser:
    """One parser with every command, for completions."""
    parser = argparse.ArgumentParser(prog="trueload")
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, of_command in parsers().items():
        commands.add_parser(name, help=COMMANDS[name].summary, parents=[of_command], add_help=False)
    return parser
