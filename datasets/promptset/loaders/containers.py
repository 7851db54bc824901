"""Files as rows: the position and value of each row, without its meaning.

One pass over a container gives every row with its position. Any row can then be read by its position alone, so a data
set may be larger than memory. A new kind of file is one class and one line in `CONTAINERS`.
"""

from __future__ import annotations

import csv
import io
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from promptset.depth import TOO_DEEP, too_deep
from promptset.errors import SpecError
from promptset.large_numbers import large_number
from promptset.whole_file import ensure_plain, refuse_encoded

_BOM = b"\xef\xbb\xbf"
_SYNTAX = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)
"""Strings, brackets and commas, which determine where an entry of a JSON array ends."""


class Entry(NamedTuple):
    """One row: its number (from 1), its position, and its value, or the error if it cannot be read."""

    number: int
    start: int
    end: int
    value: Any


class Container(Protocol):
    """A file of rows."""

    unit: str
    """The word for a row in error messages: line, entry, row."""
    texts: bool
    """Whether every value is text, as in CSV."""

    def entries(self) -> Iterator[Entry]:
        """Every row, in order. Raises SpecError if the file as a whole cannot be read."""

    def value(self, start: int, end: int) -> object:
        """The row at a position from `entries`."""


def open_container(path: Path) -> Container:
    """The container for a file, by its suffix. Without a known suffix it is JSON (Lines or an array). Raises SpecError."""
    if path.is_dir():
        raise SpecError(f"the data set {path} is a directory: name a file in it")
    try:
        ensure_plain(path)
        with path.open("rb") as file:
            refuse_encoded(file.read(4), path)  # Some files can be opened but not read (/proc/self/mem).
    except OSError as e:
        raise SpecError(f"the data set {path} cannot be read: {e.strerror}") from e
    return CONTAINERS.get(path.suffix.lower(), _json)(path)


def _json(path: Path) -> Container:
    with path.open("rb") as file:
        begin = file.read(3)
        file.seek(len(_BOM) if begin == _BOM else 0)
        first = next((line for line in file if line.strip()), b"")
    if first.lstrip()[:1] == b"[":
        return JsonArray(path)
    if not isinstance(_decode(first), Exception) or first.lstrip()[:1] != b"{":
        return JsonLines(path)
    # The first line is not JSON by itself: either an object over several lines, or a bad line.
    whole = _decode(path.read_bytes().removeprefix(_BOM))
    return JsonLines(path) if isinstance(whole, Exception) else OneObject(path)


_MANY_BRACKETS = 200
"""Fewer brackets are never nested too deeply."""


def _decode(line: bytes) -> object:
    try:
        decoded = orjson.loads(line)
    except orjson.JSONDecodeError as e:
        # The error already names the line in the file. The decoder counts lines from 1, which would contradict it.
        several = len(line.splitlines()) > 1
        at = f"column {e.colno}" if e.lineno == 1 else "its end"
        return SpecError(f"not JSON: {e if several else f'{e.msg} at {at}'}")
    if line.count(b"[") + line.count(b"{") > _MANY_BRACKETS and too_deep(decoded):
        return SpecError(TOO_DEEP)
    too_large = large_number(line)
    return decoded if too_large is None else SpecError(too_large)


class _OfBytes:
    """A container whose positions are byte offsets."""

    unit = "line"
    texts = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")

    def _bytes(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(end - start)

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        r"""(number, offset, line with its end). Only \n ends a line; a raw U+2028 in a prompt is text."""
        offset = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                start = offset
                offset += len(line)
                if number == 1 and line.startswith(_BOM):
                    start, line = start + len(_BOM), line.removeprefix(_BOM)
                yield number, start, line

    def value(self, start: int, end: int) -> object:
        return _decode(self._bytes(start, end))

    def __del__(self) -> None:
        self._file.close()


class JsonLines(_OfBytes):
    """One JSON value per line; blank lines are skipped."""

    def entries(self) -> Iterator[Entry]:
        """Every nonblank line."""
        for number, start, line in self._lines():
            if line.strip():
                yield Entry(number, start, start + len(line), _decode(line))


class OneObject(_OfBytes):
    """A file with one JSON object over several lines: one row."""

    def entries(self) -> Iterator[Entry]:
        content = self._path.read_bytes()
        start = len(_BOM) if content.startswith(_BOM) else 0
        yield Entry(1, start, len(content), _decode(content[start:]))


class JsonArray(_OfBytes):
    """A JSON array of rows. It is never decoded as a whole: ShareGPT's is larger than the memory of many machines."""

    unit = "entry"

    def entries(self) -> Iterator[Entry]:
        """Every entry of the array, found by its brackets and commas."""
        if self._path.stat().st_size == 0:
            return
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            depth = start = number = 0
            for match in _SYNTAX.finditer(content):
                sign = match[0]
                if sign in (b"[", b"{"):
                    start = match.end() if depth == 0 else start
                    depth += 1
                elif sign in (b"]", b"}"):
                    depth -= 1
                if depth == 0 or (depth == 1 and sign == b","):
                    entry = content[start : match.start()]
                    if depth or number or entry.strip():  # Empty brackets contain no entry.
                        number += 1
                        yield Entry(number, start, match.start(), _decode(entry))
                    start = match.end()
                if depth == 0:
                    break
            if depth or content[start:].strip():
                raise SpecError(
                    f"{self._path} starts as a JSON array but is not one: it has no end, or text after its end"
                )


class Lines(_OfBytes):
    """Plain text: one prompt per line; blank lines are skipped."""

    texts = True

    def entries(self) -> Iterator[Entry]:
        """Every nonblank line."""
        for number, start, line in self._lines():
            if line.strip():
                yield Entry(number, start, start + len(line), self._row(line))

    def value(self, start: int, end: int) -> object:
        return self._row(self._bytes(start, end))

    def _row(self, line: bytes) -> object:
        try:
            return {"prompt": line.decode().rstrip("\r\n")}
        except UnicodeDecodeError as e:
            return SpecError(f"not UTF-8: {e.reason}")


class Csv(_OfBytes):
    """Records; the first line names the columns. Quoted values may contain line breaks."""

    texts = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        csv.field_size_limit(sys.maxsize)  # A prompt may exceed csv's default limit of 128 KiB.
        self._delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        self._names: list[str] = []

    def entries(self) -> Iterator[Entry]:
        """Every record after the first, numbered by its first line."""
        end = line_end = 0

        def lines() -> Iterator[str]:
            nonlocal end, line_end
            for number, start, line in self._lines():
                line_end, end = number, start + len(line)
                yield line.decode(errors="surrogateescape")

        first, start = 1, 0
        try:
            for record in csv.reader(lines(), delimiter=self._delimiter, strict=True):
                if not self._names:
                    self._names = [name.strip() for name in record]
                    self._refuse_duplicates()
                elif record:
                    yield Entry(first, start, end, self._row(record))
                first, start = line_end + 1, end
        except csv.Error as e:
            quotes = ": close each quote, and write a quote within a quoted value twice"
            hint = "" if "new-line" in str(e) else quotes
            raise SpecError(f"{self._path}, line {first}: not CSV: {e}{hint}") from e

    def _refuse_duplicates(self) -> None:
        twice = {name: None for name in self._names if name and self._names.count(name) > 1}
        if twice:
            names = ", ".join(map(repr, twice))
            raise SpecError(f"{self._path}: several columns have the name {names}: rename or remove all but one")

    def value(self, start: int, end: int) -> object:
        text = self._bytes(start, end).decode(errors="surrogateescape")
        return self._row(next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter)))

    def _row(self, record: list[str]) -> object:
        if len(record) != len(self._names):
            return SpecError(f"{len(record)} values, and the first line names {len(self._names)} columns")
        if not all(value.isprintable() or _is_utf8(value) for value in record):
            return SpecError("not UTF-8")
        return dict(zip(self._names, record, strict=True))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # A surrogate represents a byte that could not be decoded.
        return False
    return True


class Parquet:
    """A Parquet file, read with pyarrow (extra `parquet`), one group of rows at a time."""

    unit = "row"
    texts = False

    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import parquet
        except ImportError as e:
            raise SpecError(f"{path}: Parquet needs the package pyarrow: pip install pyarrow") from e
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, ValueError) as e:  # pyarrow's own errors are ValueErrors.
            raise SpecError(f"{path} is not a Parquet file: {e}") from e
        self._path = path
        self._held = -1
        self._group: list[dict[str, Any]] = []

    def entries(self) -> Iterator[Entry]:
        number = 0
        for group in range(self._file.num_row_groups):
            for row in range(self._file.metadata.row_group(group).num_rows):
                number += 1
                yield Entry(number, group, row, self.value(group, row))

    def value(self, start: int, end: int) -> object:
        """Row `end` of group `start`. The group is cached until another one is requested."""
        if start != self._held:
            try:
                self._group, self._held = self._file.read_row_group(start).to_pylist(), start
            except (OSError, ValueError) as e:
                raise SpecError(f"{self._path}: its row group {start + 1} cannot be read: {e}") from e
        return self._group[end]


CONTAINERS: dict[str, type[Lines] | type[Csv] | type[Parquet]] = {
    ".txt": Lines,
    ".csv": Csv,
    ".tsv": Csv,
    ".parquet": Parquet,
}
"""By suffix. Any other file is JSON: Lines, an array, or one object."""
