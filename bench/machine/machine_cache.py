"""Results that a machine keeps from run to run: files in the user's cache, with one entry per machine.

Machines may share a home directory, and one machine's ceiling or certificate does not apply to another. Every command
looks up the cache path here, even where Trueload is not installed, so third-party imports are late.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import orjson

from bench.errors import UsageError

SCHEMA = 1
_MACHINE = ("name", "cpu", "processors", "cpu_limit")


def default_path(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The path of a cache file: trueload/NAME in the user's cache.

    A user may have no home, for example in a container with an unknown user id and no HOME. Then the path is one where
    nothing exists and nothing can be written.
    """
    cache = environment.get("XDG_CACHE_HOME")
    try:
        folder = Path(cache) if cache else Path.home() / ".cache"
    except RuntimeError:
        folder = Path(os.devnull)
    return folder / "trueload" / name


def machine_key(host: Mapping[str, object]) -> str:
    """The identity of a machine: its name, its processor, and how many processors may be used."""
    return " | ".join(str(host[key]) for key in _MACHINE if key in host)


def read_entry(path: Path, host: Mapping[str, object]) -> object:
    """This machine's entry. Returns None if the file has no entry or another format."""
    return _machines(path).get(machine_key(host))


def write_entry(path: Path, host: Mapping[str, object], entry: object) -> None:
    """Replace the entry of this machine. Raises UsageError if the file cannot be written."""
    machines = {**_machines(path), machine_key(host): entry}
    content = orjson.dumps({"schema": SCHEMA, "machines": machines}, option=orjson.OPT_INDENT_2)
    draft = path.with_name(f".{path.name}.{os.getpid()}")  # Another process may write an entry at the same time.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content + b"\n")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as e:
        raise UsageError(
            f"{path}: cannot be written ({e.strerror}): make it writable, or keep nothing (--no-store)"
        ) from e


def _machines(path: Path) -> dict[str, object]:
    try:
        content = orjson.loads(path.read_bytes())
        return dict(content["machines"]) if content["schema"] == SCHEMA else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
