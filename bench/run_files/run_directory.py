"""A run directory: what a run leaves behind, written so that nothing measured is ever lost.

    run.yaml        configuration and manifest
    requests.jsonl  one record a line, handed to the kernel as each request ends (while several workers run, each
                    writes its own requests-<worker>.jsonl; they are merged at the end)
    samples.jsonl   one line a second
    live.jsonl      one line a second for whoever watches; locked (flock) for as long as the run goes on
    server.jsonl    what the server's own metrics said, a line a second, where it has a page of them
    changes.jsonl   one line for each change of the load while the run went on; only where it may be changed
    control.sock    meanwhile, the way in for such changes
    gpu.jsonl       what the GPUs said, likewise
    ledger.jsonl    only where we own the mock; mock.json: what it says of itself
    certificates.json   what calibrations on this machine had found when the run began, where there are some
    summary.json, report.html   made from the above, and made again by `report`
    certificate.json, certificate.html   likewise, where there is a ledger

A line goes to the kernel in one write as its request ends: a killed process loses nothing that had ended, at worst a torn
last line, which readers pass over. Where the disk is full, lines are kept in memory, written when there is room again, and
at the end put into another place rather than dropped.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from bench.errors import RecordError, UsageError
from bench.records import RequestRecord, checked, from_line
from bench.run_files import shape, writable
from bench.run_files.load_change import LoadChange

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from bench.records.record_table import RecordTable

REQUESTS = "requests.jsonl"
SAMPLES = "samples.jsonl"
LIVE = "live.jsonl"
SERVER = "server.jsonl"
GPU = "gpu.jsonl"
CHANGES = "changes.jsonl"
CONTROL = "control.sock"
LEDGER = "ledger.jsonl"
MOCK = "mock.json"
CERTIFICATES = "certificates.json"
PROBES = "probes.jsonl"
MANIFEST = "run.yaml"
SUMMARY = "summary.json"
REPORT = "report.html"
CERTIFICATE = "certificate.json"
CERTIFICATE_PAGE = "certificate.html"

RUN_FILES = (REQUESTS, SAMPLES, LIVE, SERVER, GPU, CHANGES, CONTROL, PROBES, MANIFEST, CERTIFICATES)
"""Files that a run writes before or during its load."""


READ_FILES = (REQUESTS, SAMPLES, SERVER, GPU, CHANGES, PROBES, LEDGER, CERTIFICATES)
"""The files, of a run or a mock, from which numbers are computed."""

_BINARY: int = getattr(os, "O_BINARY", 0)
"""Without it, Windows would write \\r\\n for each \\n."""
_AT_ONCE: int = getattr(os, "O_NONBLOCK", 0)
"""Without it, opening a named pipe in place of a file would wait for a writer."""
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: type[object] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The C versions, if PyYAML was built with them, are ten times as fast."""
_READ_AHEAD = 131_072
"""The buffer size for reading lines: the line of a request with 128 tokens has three thousand bytes."""


class LineLog:
    """Appends whole lines to a file. `problem` describes a disk error; None if everything is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        self._pending = bytearray()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY, 0o644)

    def append(self, line: bytes) -> None:
        """Write the line, including its newline. Never raises: what the disk does not accept stays in memory."""
        self._pending += line
        self._flush()

    def _flush(self) -> None:
        try:
            while self._pending:
                written = os.write(self._fd, self._pending)
                del self._pending[:written]
            self.problem = None
        except OSError as e:
            self.problem = f"{self.path}: {e.strerror}"

    def close(self) -> str | None:
        """Write pending lines, to another file if necessary. Returns a sentence if the file is incomplete."""
        self._flush()
        os.close(self._fd)
        if not self._pending:
            return None
        where = _rescue(self.path.name, bytes(self._pending))
        return f"{self.problem}: {len(self._pending)} bytes of records are in {where} instead; append that file to it"


def _rescue(name: str, content: bytes) -> str:
    # A full disk has no room for temporary files, and a user may have no home.
    for folder in (tempfile.gettempdir, Path.home, partial(Path, "/dev/shm")):
        try:
            fd, path = tempfile.mkstemp(prefix="trueload-", suffix=f"-{name}", dir=str(folder()))
            with os.fdopen(fd, "wb") as file:
                file.write(content)
        except (OSError, RuntimeError):
            continue
        return path
    return "no file: every disk is full"


def shard_names(worker: int | None) -> tuple[str, str]:
    """The files for a worker's records and samples. `worker` is None for the only worker of a run."""
    if worker is None:
        return REQUESTS, SAMPLES
    return _shard(REQUESTS, str(worker)), _shard(SAMPLES, str(worker))


def _shard(name: str, worker: str) -> str:
    stem, _, suffix = name.partition(".")
    return f"{stem}-{worker}.{suffix}"


def _try_lock(fd: int) -> bool:
    """Lock the file until it is closed. Returns False if another process holds it, and True on systems without such
    locks.

    A check (`is_locked`) takes a shared lock for a moment, so only a holder can prevent a shared lock. If only such
    checks are in the way, the lock is tried again.
    """
    if sys.platform == "win32":
        return True
    while not _locked(fd, fcntl.LOCK_EX):
        if not _locked(fd, fcntl.LOCK_SH):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.sched_yield()
    return True


def _locked(fd: int, how: int) -> bool:
    """Whether the file could be locked without waiting; True on systems without such locks."""
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def series_held(path: Path) -> Iterator[None]:
    """Keep the directory of a search or a sweep locked, also between its runs."""
    with held_alone(path):
        yield


@contextmanager
def held_alone(path: Path) -> Iterator[bool]:
    """Keep a directory locked. Yields False if another process holds it."""
    if sys.platform == "win32":  # Windows cannot open directories, and has no such locks.
        yield True
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        yield _try_lock(fd)
    finally:
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock on a file, or on the directory of a search or a sweep."""
    try:
        fd = os.open(path, os.O_RDONLY | _AT_ONCE)
    except OSError:
        return False
    try:
        return sys.platform != "win32" and not _locked(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def refuse_used(path: Path) -> None:
        """Raises UsageError if the path holds a run already, is a file, or cannot be written."""
        writable.refuse_directory("--out", path)
        if (path / REQUESTS).exists() or (path / MANIFEST).exists():
            raise UsageError(f"--out {path} already holds a run: name another directory, or remove it first")

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Create a run directory. Raises UsageError if it holds a run already, or cannot be created."""
        cls.refuse_used(path)
        writable.make_directory("--out", path)
        try:
            (path / REQUESTS).touch()
        except OSError as e:
            raise UsageError(f"--out {path} cannot be written ({e.strerror}): name another directory") from e
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open an existing run directory. Raises UsageError if it is not one."""
        if not path.is_dir():
            why = "it is a file: name its directory" if path.exists() else "it does not exist"
            raise UsageError(f"{path} is not a run directory: {why}")
        for name in (MANIFEST, REQUESTS):
            if not (path / name).is_file():
                inner = min(path.glob(f"*/{MANIFEST}"), default=None)
                more = "" if inner is None else f". It holds runs: name one of them, such as {inner.parent}"
                raise UsageError(f"{path} is not a run directory: it has no {name}{more}")
        return cls(path)

    def discard(self) -> None:
        """Remove the files of a run that sent nothing. Other files stay, and with them the directory."""
        files = [self.path / name for name in (*RUN_FILES, *(f".{name}.new" for name in RUN_FILES))]
        for path in (*files, *self._every_shard(REQUESTS), *self._every_shard(SAMPLES)):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep live.jsonl locked. The kernel releases the lock when the process ends, however it ends."""
        fd = os.open(self.path / LIVE, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            _try_lock(fd)
            yield
        finally:
            os.close(fd)

    @property
    def is_held(self) -> bool:
        return is_locked(self.path / LIVE)

    def clear_drafts(self) -> None:
        """Remove files that a killed process left: drafts that were not put in place, and shards that are already
        merged.

        Does nothing during the run.
        """
        if not self.is_held:
            for left in (*self.path.glob(".*.new"), *self.old_shards()):
                left.unlink(missing_ok=True)

    def old_shards(self) -> list[Path]:
        """The workers' files that were merged but not yet removed."""
        return [path for name in (REQUESTS, SAMPLES) if self._is_whole(name) for path in self._every_shard(name)]

    def shards(self, name: str) -> list[Path]:
        """The workers' files of one kind that have not been merged, by worker.

        A merge writes the whole file before it removes them, so if that file has content, the shards are old.
        """
        return [] if self._is_whole(name) else self._every_shard(name)

    def sizes(self) -> dict[str, int]:
        """The size in bytes of each file from which numbers are computed, including the workers' own files."""
        return {name: size for name in READ_FILES if (size := self._size(name)) is not None}

    def _size(self, name: str) -> int | None:
        there = [path for path in (self.path / name, *self.shards(name)) if path.is_file()]
        return sum(path.stat().st_size for path in there) if there else None

    def lost(self, sizes: Mapping[str, int]) -> list[str]:
        """A sentence for each file that is missing, or smaller than in `sizes`. Lines may have been added."""
        problems = []
        for name in [name for name in READ_FILES if name in sizes]:
            size, before = self._size(name), sizes[name]
            if size is None:
                problems.append(f"{name} is missing, which the run wrote")
            elif size < before:
                problems.append(f"{name} has {size:,} of the {before:,} bytes that the run wrote")
        return problems

    def _is_whole(self, name: str) -> bool:
        path = self.path / name
        return path.is_file() and bool(path.stat().st_size)

    def _every_shard(self, name: str) -> list[Path]:
        shards = ((path.name.partition("-")[2].partition(".")[0], path) for path in self.path.glob(_shard(name, "*")))
        return [
            path
            for _, path in sorted(
                (int(worker), path) for worker, path in shards if worker.isdecimal() and path.is_file()
            )
        ]

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file atomically: readers see the old or the new content, never part of it."""
        self.write_parts(name, [content])

    def write_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """The same for a file that is generated in pieces."""
        draft = self.path / f".{name}.new"
        try:
            with draft.open("wb") as file:
                file.writelines(parts)
            draft.replace(self.path / name)
        except OSError:  # A full disk: part of a file is useless and takes room.
            draft.unlink(missing_ok=True)
            raise

    def write_manifest(self, manifest: Mapping[str, object]) -> bytes:
        """Write run.yaml atomically, and return its content."""
        text: str = yaml.dump(dict(manifest), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120)
        content = text.encode()
        self.write(MANIFEST, content)
        return content

    def manifest(self) -> dict[str, Any]:
        """The content of run.yaml. Raises UsageError if it is damaged."""
        path = self.path / MANIFEST
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
        except (yaml.YAMLError, ValueError) as e:
            raise UsageError(f"{path} cannot be read: {' '.join(str(e).split())}") from e
        except RecursionError:
            raise UsageError(f"{path} is damaged: it is nested too deeply") from None
        if not isinstance(content, dict) or "manifest" not in content or "config" not in content:
            raise UsageError(f"{path} is not the run.yaml of a run: it needs the keys config and manifest")
        if (problem := shape.unlike_json(content)) is not None:
            raise UsageError(f"{path} is damaged: {problem}")
        return content

    @property
    def has_records(self) -> bool:
        return any(path.is_file() and path.stat().st_size for path in (self.path / REQUESTS, *self.shards(REQUESTS)))

    def records(self) -> Iterator[RequestRecord]:
        """Every complete record. Raises RecordError, with the line number, if a record in the middle is damaged."""
        for path in (self.path / REQUESTS, *self.shards(REQUESTS)):
            for number, line in whole_lines(path):
                try:
                    yield checked(from_line(line))
                except RecordError as e:
                    raise RecordError(f"{path}, line {number}: {e}") from e

    def record_tables(self) -> Iterator[RecordTable]:
        """Every complete record, in tables of many. Raises RecordError."""
        from bench.records.record_table import tables

        for path in (self.path / REQUESTS, *self.shards(REQUESTS)):
            yield from tables(whole_lines(path), str(path))

    def samples(self) -> Iterator[dict[str, Any]]:
        """Every complete line of samples.jsonl; none if the file does not exist."""
        for path in (self.path / SAMPLES, *self.shards(SAMPLES)):
            yield from _rows(path)

    def scraped_lines(self, name: str) -> Iterator[bytes]:
        """Every complete line of server.jsonl or gpu.jsonl; none if the file does not exist."""
        if (self.path / name).is_file():
            yield from (line for _, line in whole_lines(self.path / name))

    def changes(self) -> list[LoadChange] | None:
        """The changes of the load during the run, in order; None if the load could not be changed."""
        path = self.path / CHANGES
        if not path.is_file():
            return None
        try:
            return [LoadChange.of_row(row) for row in _rows(path)]
        except (KeyError, TypeError, ValueError) as e:
            raise RecordError(f"{path}: a line is not a change of the load ({e})") from e

    def mock(self) -> dict[str, Any]:
        """What is known about the mock apart from its ledger: `clock` (shared or other), `truth`, and the addresses of
        its `replicas` if it has several; empty if there is no mock."""
        content = self._json(MOCK)
        return content if isinstance(content, dict) else {}

    def certificates(self) -> list[dict[str, object]]:
        """The certificates that this machine had when the run began."""
        content = self._json(CERTIFICATES)
        return content if isinstance(content, list) else []

    def _json(self, name: str) -> object:
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as e:
            raise RecordError(f"{path}: {e}") from e


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for number, line in whole_lines(path):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as e:
            raise RecordError(f"{path}, line {number}: {e}") from e
        if not isinstance(row, dict):
            raise RecordError(f"{path}, line {number}: not a JSON object")
        yield row


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number, line) of every complete line."""
    with path.open("rb", buffering=_READ_AHEAD) as file:
        for number, line in enumerate(file, 1):
            # A line without an end was being written when the process was killed: its request has no record.
            if line.endswith(b"\n") and len(line) > 1:
                yield number, line
