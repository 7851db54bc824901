"""`bench gate` as tests call it, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from bench import cli
from bench.run_files.run_directory import SUMMARY


def gate(*words: str | Path) -> int:
    return cli.main(["gate", *map(str, words)])


def judged(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit status and what is printed as JSON."""
    capsys.readouterr()
    status = gate(*words, "--format", "json")
    return status, orjson.loads(capsys.readouterr().out)


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["verdict"] for row in (*document["objectives"], *document["metrics"])}


def spoil(run: Path, status: str) -> None:
    summary = orjson.loads((run / SUMMARY).read_bytes())
    summary["verdict"] = {"status": status, "reasons": ["the clock was <set> \x01"]}
    (run / SUMMARY).write_bytes(orjson.dumps(summary))
