"""The flags that several commands share, and a configuration made of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.config.flags import Parser


def run_parser(name: str, description: str, examples: str, leave_out: Sequence[str] = ()) -> Parser:
    """A parser with every setting of a run but those to `leave_out`, and --config."""
    from bench.config import Settings
    from bench.config.flags import Parser, add_fields

    parser = Parser(prog=f"python -m bench {name}", description=description, epilog=examples)
    add_fields(parser, Settings, leave_out)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="settings in YAML, by the names of the flags; flags override them; - reads stdin",
    )
    return parser


def parse_flags(parser: Parser, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags that were given, by the names of their fields, and what is wrong with them."""
    from bench.config.flags import parse

    return parse(parser, argv)


def resolve_flags(flags: dict[str, Any], problems: list[str], leave_out: Collection[str] = ()) -> RunConfig:
    """The configuration from flags, the file that they name but for what is to `leave_out` of it, and the environment.

    Raises UsageError with every problem at once.
    """
    from pathlib import Path

    from bench.config import read_yaml, resolve

    flags = dict(flags)
    file_name = flags.pop("config", None)
    file: dict[str, Any] = {}
    found: list[str] = list(problems)
    if file_name is not None:
        try:
            file = {key: value for key, value in read_yaml(Path(file_name)).items() if key not in leave_out}
        except UsageError as e:
            found += e.problems
            flags.setdefault("url", "http://unknown")  # Perhaps it stands in the file.
    # A user and password in the URL were given on purpose: a key that happens to be in the environment is not meant then.
    url = str(flags.get("url", file.get("url", "")))
    credentials = "@" in url.partition("://")[2].partition("/")[0]
    if "api_key" not in flags and "api_key" not in file and not credentials and os.environ.get("OPENAI_API_KEY"):
        file["api_key"] = os.environ["OPENAI_API_KEY"]
    try:
        config = resolve(flags, file, file_name or "")
    except UsageError as e:
        found += e.problems
    if found:
        raise UsageError(found)
    return config
