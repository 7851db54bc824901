"""Flags that several commands share, and the configuration made from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bench.config import RunConfig, Settings, read_yaml, resolve, values
from bench.config.flags import Option, Parser, add_fields, parse
from bench.endpoints import choice
from bench.errors import UsageError
from bench.modes.interface import flag
from bench.run_files.writable import refuse_directory
from bench.terminal import terminal

USAGE = "%(prog)s [--FLAG VALUE]..."


def run_parser(
    name: str, description: str, examples: str, leave_out: Sequence[str] = (), answered: Sequence[str] = ()
) -> Parser:
    """A parser with every setting of a run except those in `leave_out`, and --config. The settings in `answered` are
    parsed but not in the help; the command itself responds to them with a sentence.

    The help begins with the first paragraph of `examples`, because a usage line with eighty flags would help nobody.
    """
    first, _, more = examples.partition("\n\n")
    parser = Parser(prog=f"python -m bench {name}", usage=USAGE, description=f"{description}\n\n{first}", epilog=more)
    add_fields(parser, Settings, (*leave_out, *answered))
    for field_name in answered:
        parser.add_argument(flag(field_name), dest=field_name, help=argparse.SUPPRESS, default=argparse.SUPPRESS)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="settings in YAML, by the names of the flags; flags override them; - reads stdin",
    )
    return parser


def parse_flags(parser: Parser, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The given flags, by the names of their fields, and the problems with them."""
    return parse(parser, argv)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The settings in the file of --config, and its name; empty if there is none."""

    settings: dict[str, Any] = field(default_factory=dict)
    name: str = ""


def read_file(flags: dict[str, Any], problems: list[str]) -> ConfigFile:
    """Read the file that the flags name, and remove it from the flags. Appends its problems to `problems`."""
    name = flags.pop("config", None)
    if name is None:
        return ConfigFile()
    try:
        return ConfigFile(read_yaml(Path(name)), name)
    except UsageError as e:
        problems += e.problems
        flags.setdefault("url", "http://unknown")  # The file may contain it.
        return ConfigFile({}, name)


def own_settings(options: Sequence[Option], flags: dict[str, Any], file: ConfigFile) -> dict[str, str]:
    """A command's own settings: removed from the flags, which override, and from the file."""
    settings: dict[str, str] = {}
    for option in options:
        of_file, of_flags = file.settings.pop(option.name, None), flags.pop(option.name, None)
        value = of_file if of_flags is None else of_flags
        if value is not None:
            settings[option.name] = values.as_text(value)
    return settings


def resolve_flags(flags: dict[str, Any], problems: list[str], file: ConfigFile | None = None) -> RunConfig:
    """The configuration from flags, the file that they name (or the file already read), and the environment.

    Raises UsageError with every problem at once.
    """
    flags, errors = dict(flags), list(problems)
    file = read_file(flags, errors) if file is None else file
    settings = dict(file.settings)
    # A user and password in the URL were given deliberately, so a key in the environment is ignored.
    url = flags.get("url", settings.get("url", ""))
    url = str(url[0] if isinstance(url, list) and url else url)
    credentials = "@" in url.partition("://")[2].partition("/")[0]
    variable = choice.key_variable(url, flags.get("endpoint", settings.get("endpoint")))
    notes = _stripped(flags, settings, file.name)
    if "api_key" not in flags and "api_key" not in settings and not credentials and os.environ.get(variable):
        notes += _stripped({}, {"api_key": os.environ[variable]}, "", variable)
        try:
            settings["api_key"] = values.api_key(SecretStr(os.environ[variable]))
        except ValueError as e:
            errors.append(f"{variable}: {e}")
    out = flags.get("out", settings.get("out"))
    if isinstance(out, str) and out and "\0" not in out:
        try:
            refuse_directory("--out", Path(out))
        except UsageError as e:
            errors += e.problems
    try:
        config = resolve(flags, settings, file.name)
    except UsageError as e:
        errors += e.problems
    if errors:
        raise UsageError(errors)
    if notes:
        say = terminal(config.quiet).say
        for note in notes:
            say(note)
    return config


def note_idle_users(config: RunConfig) -> None:
    """Print a note if there are more users than requests: before loads that print no reports of single runs."""
    users, requests = config.concurrency, config.requests
    if config.mode == "concurrency" and users is not None and requests is not None and requests < users:
        terminal(config.quiet).say(
            f"note: {users:,} users with --requests {requests}: only {requests} user{'' if requests == 1 else 's'} "
            f"send{'s' if requests == 1 else ''}, one request each. For "
            f"{users} in flight, give --requests {10 * users} (ten for each user) or --duration 60s"
        )


def _stripped(
    flags: Mapping[str, Any], settings: Mapping[str, Any], file_name: str, variable: str = "--api-key"
) -> list[str]:
    """A note for each key and header that ends in white space, which is removed."""
    notes = []
    for place, source in (("", flags), (f"{file_name}: " if file_name else "", settings)):
        if isinstance(key := source.get("api_key"), str) and key != key.rstrip():
            shown = "api_key" if place else variable
            notes.append(f"note: {place}{shown}: white space after the key (a line break?) was removed")
        headers = source.get("header")
        for header in [headers] if isinstance(headers, str) else headers if isinstance(headers, list | tuple) else []:
            if isinstance(header, str) and header != header.rstrip():
                shown = "header" if place else "--header"
                name = header.partition(":")[0].strip()
                notes.append(f"note: {place}{shown}: white space after the value of {name} was removed")
    return notes
