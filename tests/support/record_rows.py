"""The records of a run as rows, including fields that a line leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from bench.records import from_line


def record_rows(path: Path) -> list[dict[str, Any]]:
    """A dict of every field for each line of a requests.jsonl, in order."""
    return [row_of(line) for line in path.read_bytes().splitlines()]


def written_rows(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file that a run is still writing, unchanged."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def row_of(line: bytes) -> dict[str, Any]:
    """The fields of one line, as JSON values."""
    fields: dict[str, Any] = msgspec.structs.asdict(from_line(line))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
