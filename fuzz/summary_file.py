"""summary.json as comparisons and the console read it: it is taken, or made again of the records, or a sentence says what is
wrong with it."""

from __future__ import annotations

from bench.comparison.compare import compare
from bench.comparison.sides import read_sides
from bench.errors import BenchError, Exit
from fuzz.console_tasks import list_with
from fuzz.run_files import files, run_with, whole_run
from fuzz.target import Target


def read(data: bytes) -> None:
    """One input."""
    list_with(summary__json=data)
    try:
        compare(read_sides([whole_run(), run_with(summary__json=data)]))
    except BenchError as e:
        assert e.exit_code != Exit.DEFECT, e


TARGET = Target(
    read,
    form="json",
    words=(b"verdict", b"status", b"schema", b"latency", b"VALID"),
    more_seeds=lambda: [files()["summary.json"]],
)
