"""Writes every request of a run to a table next to its records: requests.csv or requests.parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from bench import manifest
from bench.damage import explained
from bench.errors import UsageError
from bench.metrics.request_rows import request_rows
from bench.report.metric_table import inert
from bench.run_facts import run_start_ns
from bench.run_files.run_directory import RunDirectory

Row = dict[str, object]
_ROWS_AT_ONCE = 20_000


@explained
def write(directory: RunDirectory, form: str) -> Path:
    """Write the table; an older one is replaced. Raises UsageError if a package for the format is missing, or if a
    record is damaged."""
    start_ns = run_start_ns(manifest.read(directory), directory)
    path = directory.path / f"requests.{form}"
    draft = path.with_name(f".{path.name}.new")
    try:
        rows = chain.from_iterable(request_rows(table, start_ns) for table in directory.record_tables())
        FORMATS[form](draft, rows)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _csv(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(inert(row))


def _parquet(path: Path, rows: Iterable[Row]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as e:
        raise UsageError("--requests parquet needs pyarrow: pip install pyarrow, or use csv") from e
    texts = {"id", "phase", "session", "outcome", "error", "clock"}
    whole = {
        "index",
        "worker",
        "status",
        "attempts",
        "token_chunks",
        "bytes_sent",
        "bytes_received",
        "reasoning_tokens",
        "tool_calls",
        "inputs",
        "dimensions",
    }

    def kind(name: str) -> object:
        # Types are declared, not guessed: a column that is empty in the first rows would have no type.
        if name in texts:
            return pa.string()
        return pa.int64() if name in whole or name.partition("_tokens")[1] else pa.float64()

    writer = None
    for batch in _batches(rows):
        schema = pa.schema([(name, kind(name)) for name in batch[0]])
        if writer is None:
            writer = parquet.ParquetWriter(path, schema)
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    if writer is None:
        raise UsageError("the run has no request: there is nothing to write")
    writer.close()


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while batch := list(islice(left, _ROWS_AT_ONCE)):
        yield batch


FORMATS: dict[str, Callable[[Path, Iterable[Row]], None]] = {"csv": _csv, "parquet": _parquet}
