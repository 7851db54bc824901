"""Completions for a shell, by the library shtab, from the parser of a program. The load tester and the mock use it too."""

from __future__ import annotations

import argparse
import re

_CHOICE = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_FILES, _FOLDERS = frozenset({"FILE", "PATH"}), frozenset({"DIR", "RUN", "RUN_DIR"})
SHELLS = ("bash", "zsh", "fish", "tcsh")


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The program of a shell that completes the commands, flags and values of this parser."""
    import shtab

    return shtab.complete(with_values(parser), shell)


def with_values(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, whose flags offer what their metavar names: `auto|off|URL` two words, FILE a file, DIR a folder."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                with_values(command)
        elif action.choices is None and isinstance(action.metavar, str):
            names = action.metavar.split("|")
            if words := [name for name in names if _CHOICE.fullmatch(name)]:
                action.choices = words
            if not _FILES.isdisjoint(names):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif not _FOLDERS.isdisjoint(names):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return parser


class PrintCompletion(argparse.Action):
    """`--print-completion SHELL`: print the completions of the program, and end it."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string: object = None
    ) -> None:
        parser.prog = str(self.const)
        print(completion(parser, str(values)), end="")
        parser.exit()


def add_to(parser: argparse.ArgumentParser, command: str) -> None:
    """Give a program `--print-completion`: of its command, as it is installed."""
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        metavar="SHELL",
        action=PrintCompletion,
        const=command,
        default=argparse.SUPPRESS,
        help="print the completions for a shell and exit",
    )
