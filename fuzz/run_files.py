"""A run directory of which one file is the input: what `report` makes of it is a report, or a sentence."""

from __future__ import annotations

import functools
from pathlib import Path

from bench.errors import BenchError
from bench.evaluate import evaluate
from bench.run_files.run_directory import SUMMARY, RunDirectory
from fuzz.scratch import folder
from fuzz.target import Target

KEPT = Path(__file__).parent / "run"
"""A small run against the mock, calibrated, with the server's metrics."""


@functools.cache
def files() -> dict[str, bytes]:
    """The files of the kept run by their names, with its summary."""
    kept = {path.name: path.read_bytes() for path in KEPT.iterdir()}
    path = folder() / "whole"
    path.mkdir()
    for name, content in kept.items():
        (path / name).write_bytes(content)
    evaluate(RunDirectory.open(path))
    return kept | {SUMMARY: (path / SUMMARY).read_bytes()}


def whole_run() -> Path:
    """The directory of the kept run."""
    files()
    return folder() / "whole"


def run_with(**changes: bytes | None) -> Path:
    """The kept run with other content of some files (a dot in a name is `__`; None: no such file), made anew."""
    path = folder() / "run"
    path.mkdir(exist_ok=True)
    for file in path.iterdir():
        file.unlink()
    for name, content in (files() | {name.replace("__", "."): content for name, content in changes.items()}).items():
        if content is not None:
            (path / name).write_bytes(content)
    return path


def read_run(name: str, data: bytes) -> None:
    """The report of the run whose file of this name holds the data."""
    try:
        evaluate(RunDirectory.open(run_with(**{name.replace(".", "__"): data})))
    except BenchError as e:
        assert str(e)
        assert e.exit_code != 70, e


def target(name: str, *words: bytes) -> Target:
    """The target of a file of run directories."""

    def seeds() -> list[bytes]:
        return [files()[name]] if name in files() else []

    return Target(lambda data: read_run(name, data), "yaml" if name.endswith(".yaml") else "json", words, seeds)
