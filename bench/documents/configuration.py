"""The configuration of a run: the settings that differ from their defaults, and the texts that repeat the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

import yaml

from bench.documents import details
from bench.documents.document import Block, Code, Fact, Facts, Level, Section
from bench.results.base import to_plain
from bench.results.run import RunOrigin

UNITS = {
    "rate": "requests/s", "concurrency": "users", "max_concurrency": "requests in flight", "requests": "requests",
    "ramp_up": "s", "duration": "s", "input_tokens": "tokens", "output_tokens": "tokens",
    "timeout": "s", "connect_timeout": "s", "first_byte_timeout": "s", "idle_timeout": "s", "probe_timeout": "s",
    "wait_for_server": "s",
}  # fmt: skip
"""Units of numeric settings."""

_SECRETS = ("api_key", "header")
_APART = ("config", "changed", "command", "notes")


def configuration(run: RunOrigin) -> Section:
    """From a summary's `run` block: the settings that differ from the defaults, what ran, where and when, all settings,
    and the texts that repeat such a run."""
    rows = {
        ("URL" if key == "url" else key.replace("_", " ").capitalize()): value
        for key, value in to_plain(run).items()
        if key not in _APART
    }
    blocks: list[Block] = [
        Facts("Settings that differ from the defaults", _with_units(run.changed), none="None.", half=True,
              level=Level.DETAILS),
        Facts("The run", tuple(details.joined(rows)), none="The run recorded nothing about itself.", half=True,
              level=Level.PAGE),
    ]  # fmt: skip
    if whole := _with_units(run.config):
        blocks.append(Facts(f"All settings ({len(whole)})", whole, folded=True, level=Level.PAGE))
    return Section("Configuration and versions", (*blocks, *_to_copy(run)), folded=True, level=Level.DETAILS)


def _with_units(settings: Mapping[str, object]) -> tuple[Fact, ...]:
    # A distribution (uniform:8..16) or a time written as text (8s) needs no unit.
    units = {name: f" {unit}" for name, unit in UNITS.items()}
    mix = settings.get("mix")
    shown = settings
    if isinstance(mix, Mapping):
        shown = {**settings, "mix": {row["name"]: _class(row) for row in mix["classes"]}}
    return tuple(
        Fact(row.name, row.value + (units.get(row.name, "") if row.value.replace(".", "").isdecimal() else ""))
        for row in details.joined(shown)
    )


def _class(row: Mapping[str, object]) -> str:
    """The keys of a class of traffic, in one line."""
    return ", ".join(f"{key}={value}" for key, value in row.items() if key != "name")


def _to_copy(run: RunOrigin) -> Iterator[Code]:
    if command := run.command:
        yield Code("Command line", command if isinstance(command, str) else shlex.join(command), Level.PAGE)
    if run.changed:
        settings = {key: value for key, value in run.changed.items() if key not in _SECRETS}
        lost = [key for key in _SECRETS if run.config.get(key)]
        head = f"# Never stored, so give them again: {', '.join(lost)}\n" if lost else ""
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)
        yield Code("YAML, for --config", head + text.rstrip(), Level.PAGE)
