"""What was run: the settings that differ from their defaults, and the texts that start the same run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from bench.documents import details
from bench.documents.document import Fact
from bench.results.base import to_plain
from bench.results.run import RunOrigin

UNITS = {
    "rate": "requests/s", "concurrency": "users", "max_concurrency": "requests in flight", "requests": "requests",
    "ramp_up": "s", "duration": "s", "input_tokens": "tokens", "output_tokens": "tokens",
    "timeout": "s", "connect_timeout": "s", "first_byte_timeout": "s", "idle_timeout": "s", "probe_timeout": "s",
    "wait_for_server": "s",
}  # fmt: skip
"""Units of settings that are numbers."""

_SECRETS = ("api_key", "header")
_APART = ("config", "changed", "command", "notes")


@dataclass(frozen=True, slots=True)
class Configuration:
    """`changed`: settings that differ from their defaults; `whole`: all of them; `run`: what, where and when.

    `to_copy`: (title, text) of what starts such a run again.
    """

    changed: list[Fact]
    whole: list[Fact]
    run: list[Fact]
    to_copy: list[tuple[str, str]]


def configuration(run: RunOrigin) -> Configuration:
    """The configuration of a summary's `run` block."""
    rows = {
        ("URL" if key == "url" else key.replace("_", " ").capitalize()): value
        for key, value in to_plain(run).items()
        if key not in _APART
    }
    return Configuration(_with_units(run.changed), _with_units(run.config), details.joined(rows), _to_copy(run))


def _with_units(settings: Mapping[str, object]) -> list[Fact]:
    # A distribution (uniform:8..16) and a time that is written as a text (8s) say it themselves.
    units = {name: f" {unit}" for name, unit in UNITS.items()}
    mix = settings.get("mix")
    shown = settings
    if isinstance(mix, Mapping):
        shown = {**settings, "mix": {row["name"]: _class(row) for row in mix["classes"]}}
    return [
        Fact(row.name, row.value + (units.get(row.name, "") if row.value.replace(".", "").isdecimal() else ""))
        for row in details.joined(shown)
    ]


def _class(row: Mapping[str, object]) -> str:
    """The keys of a class of traffic, in one line."""
    return ", ".join(f"{key}={value}" for key, value in row.items() if key != "name")


def _to_copy(run: RunOrigin) -> list[tuple[str, str]]:
    found = []
    if command := run.command:
        found.append(("Command line", command if isinstance(command, str) else shlex.join(command)))
    if run.changed:
        kept = {key: value for key, value in run.changed.items() if key not in _SECRETS}
        lost = [key for key in _SECRETS if run.config.get(key)]
        head = f"# Never stored, so give them again: {', '.join(lost)}\n" if lost else ""
        text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)
        found.append(("YAML, for --config", head + text.rstrip()))
    return found
