"""`bench gate` as tests call it, and its output."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bench import cli
from bench.run_files.run_directory import SUMMARY

SCHEMA = Draft202012Validator(orjson.loads(files("bench.report").joinpath("gate.schema.json").read_bytes()))


def gate(*words: str | Path) -> int:
    return cli.main(["gate", *map(str, words)])


def judged(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    """The exit status and the JSON output, validated against the schema."""
    capsys.readouterr()
    status = gate(*words, "--format", "json")
    document = orjson.loads(capsys.readouterr().out)
    SCHEMA.validate(document)
    return status, document


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["verdict"] for row in (*document["objectives"], *document["metrics"])}


def spoil(run: Path, status: str) -> None:
    summary = orjson.loads((run / SUMMARY).read_bytes())
    summary["verdict"] = {"status": status, "reasons": ["the clock was <set> \x01"]}
    (run / SUMMARY).write_bytes(orjson.dumps(summary))
