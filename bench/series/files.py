"""The file of a series: JSON that is replaced atomically, and its first fields (date, version, host)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypedDict

import orjson

from bench.clock import utc_now
from bench.machine import identity
from bench.results.base import Result, to_bytes
from bench.run_files.run_directory import RunDirectory

_LABELS = frozenset({"out", "name", "format", "quiet", "details"})


class Stamp(TypedDict):
    """When, by which version, and on which machine."""

    date: str
    version: str
    host: Mapping[str, str | int]


def stamp() -> Stamp:
    """The stamp of a file written now."""
    return Stamp(
        date=utc_now().isoformat(timespec="seconds"),
        version=identity.versions().get("trueload", ""),
        host=identity.host(),
    )


def other_settings(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The flags whose settings differ from an earlier run's, among those that both versions have. Labels are ignored:
    they do not affect the measurement."""
    was, is_ = (orjson.loads(orjson.dumps(settings, default=str)) for settings in (before, now))
    names = [name for name in was if name in is_ and name not in _LABELS and was[name] != is_[name]]
    return [f"--{name.replace('_', '-')}" for name in names]


def sha256_of(content: object) -> str:
    """A digest of what all runs of a series must share; the order of keys does not matter."""
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def write(folder: Path, name: str, content: Result | Mapping[str, object]) -> None:
    """Write a file with this content to an existing directory."""
    RunDirectory(folder).write(name, to_bytes(content))
