"""What is wrong with the files of a run directory that cannot be evaluated.

Records are checked as they are read, and the first damaged one ends the computation. Samples and ledgers are not
checked; damage in them makes the computation fail somewhere. In either case every file is then checked line by line,
and the error lists the damaged lines and what is wrong with each. If no file is damaged, the error is a defect of ours
and is raised as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson
from pydantic import ValidationError

from bench.config.renamed import renewed
from bench.config.run_config import SECRETS
from bench.config.sentences import sentences
from bench.config.settings import Settings
from bench.errors import BenchError, RecordError, UsageError
from bench.records import checked, from_line
from bench.run_files.run_directory import LEDGER, MANIFEST, MOCK, REQUESTS, SAMPLES, RunDirectory, whole_lines
from bench.run_files.shape import misfits

P = ParamSpec("P")
T = TypeVar("T")
OF_WRONG_VALUES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""Errors that a computation raises if a value is missing, of the wrong type, or far too large. Any other error is ours."""
_OF_FILES = frozenset(
    {"body", "body_template", "ca_file", "client_cert", "client_key", "dataset", "mix", "tokenizer", "tools"}
)
"""Settings that name files. The files may be gone by now, and are not needed."""
_SHOWN = 10
_MOST_MEASURED = 1e12
"""Upper bound for a share of a processor, or a time in ms (30 years)."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The fields of a line of samples.jsonl that are used."""

    t_ns: int
    worker: int = 0
    in_flight: int | None = None
    in_flight_ns: int | None = None
    sent: int | None = None
    done: int | None = None
    planned: int | None = None
    pause_ns: tuple[int, ...] | None = None
    cpu: float | None = None
    run_queue_share: float | None = None
    used_s: float | None = None
    stolen_s: float | None = None
    loop_lag_ms: tuple[float, ...] | dict[str, float | None] | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a mock planned for a request."""

    ttft_ns: int | None
    gaps_ns: tuple[int, ...]
    output_tokens: int | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class _LedgerLine:
    """The fields of a ledger line that are used."""

    id: str | None
    received_ns: int
    planned: _Plan | None
    write_ns: tuple[int, ...]
    chunk_tokens: tuple[int, ...]
    chunk_kind: str
    blocked: tuple[Any, ...]
    end_ns: int
    input_tokens: int | None
    status: int | None
    fault: str | None
    bytes_in: int
    bytes_out: int
    engine: dict[str, object]
    attempt: int = 1
    inputs: int | None = None


@dataclass(frozen=True, slots=True)
class _Mock:
    """mock.json."""

    clock: str | None = None
    truth: dict[str, Any] | None = None


def explained(
    work: Callable[Concatenate[RunDirectory, P], T],
) -> Callable[Concatenate[RunDirectory, P], T]:
    """Wraps work on a run directory: if it fails because a file is damaged, it raises a RecordError that lists the
    damage."""

    def explaining(directory: RunDirectory, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(directory, *args, **kwargs)
        except RecordError as e:
            if problems := _first(directory, _wrong_records(directory)):
                raise RecordError(problems) from e
            raise
        except (BenchError, OSError):
            raise
        except OF_WRONG_VALUES as e:
            if problems := problems_of(directory):
                raise RecordError(problems) from e
            raise

    functools.update_wrapper(explaining, work)
    return explaining


def problems_of(directory: RunDirectory) -> list[str]:
    """A sentence for each problem with the files of a run: the first ten, and a note if there are more."""
    return _first(directory, _all_problems(directory))


def _first(directory: RunDirectory, problems: Iterator[str]) -> list[str]:
    first = list(islice(problems, _SHOWN + 1))
    return first if len(first) <= _SHOWN else [*first[:_SHOWN], f"{directory.path}: more lines are damaged"]


def _all_problems(directory: RunDirectory) -> Iterator[str]:
    yield from _wrong_records(directory)
    for path in (directory.path / SAMPLES, *directory.shards(SAMPLES)):
        yield from _lines(path, _wrong_sample)
    yield from _lines(directory.path / LEDGER, _wrong_ledger_line)
    path = directory.path / MOCK
    if path.exists():
        yield from misfits(_decoded(path.read_bytes()), _Mock, f"{path}:")
    with suppress(UsageError):  # Reading the manifest reports that.
        config = directory.manifest()["config"]
        if isinstance(config, dict):
            yield from wrong_values(renewed(config), f"{directory.path / MANIFEST}: config:")


def _wrong_records(directory: RunDirectory) -> Iterator[str]:
    for path in (directory.path / REQUESTS, *directory.shards(REQUESTS)):
        for number, line in whole_lines(path) if path.exists() else ():
            try:
                checked(from_line(line))
            except RecordError as e:
                yield f"{path}, line {number}: {e}"


def _lines(path: Path, wrong: Callable[[Any, str], Iterator[str]]) -> Iterator[str]:
    if not path.exists():
        return
    for number, line in whole_lines(path):
        where = f"{path}, line {number}:"
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as e:
            yield f"{where} {e}"
            continue
        yield from wrong(row, where)


def _decoded(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as e:
        return f"not JSON: {e}"


def _wrong_sample(row: dict[str, Any], where: str) -> Iterator[str]:
    problems = [*misfits(row, _Sample, where, least=0)]
    yield from problems
    if problems:
        return
    if row.get("pause_ns") is not None and len(row["pause_ns"]) != 2:
        yield f"{where} pause_ns must hold two times"
    for name in ("cpu", "run_queue_share", "used_s", "stolen_s", "loop_lag_ms"):
        entry = row.get(name)
        values = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else (entry,)
        if any(value is not None and abs(value) > _MOST_MEASURED for value in values):
            yield f"{where} {name} holds more than any clock measures"
    if (row.get("sent") is None) != (row.get("done") is None):
        yield f"{where} sent and done stand together"


def _wrong_ledger_line(row: dict[str, Any], where: str) -> Iterator[str]:
    problems = [*misfits(row, _LedgerLine, where, least=0)]
    yield from problems
    if problems:
        return
    for name in ("chunk_kind", "chunk_tokens"):
        if len(row[name]) != len(row["write_ns"]):
            yield f"{where} {name} has {len(row[name])} entries, and write_ns has {len(row['write_ns'])}"


def wrong_values(config: Mapping[str, object], where: str) -> Iterator[str]:
    """A sentence, beginning with `where`, for each setting with an invalid value. RunConfig checks `slo`: 0.1.0 allowed
    limits that are refused today."""
    unchecked = SECRETS | _OF_FILES | {"slo"} | (frozenset() if config.get("api") is None else {"endpoint"})
    for name in [name for name in config if name in Settings.model_fields and name not in unchecked]:
        if config[name] is None and Settings.model_fields[name].default is None:
            continue  # Not given.
        try:
            Settings.model_validate({"url": "http://unknown", name: config[name]})
        except ValidationError as e:
            for error in e.errors():
                yield from sentences(error, lambda key: f"{where} {key}")
