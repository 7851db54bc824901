"""Many lines of requests.jsonl at once, as arrays: how a report reads a million records.

Nearly all records of a run are *plain*: a request of the run that succeeded, outside sessions and classes, whose reasoning
is not hidden, and whose stream has some chunks without text, then one content chunk a token, then chunks without text
again. A `PlainBlock` holds some hundred of them: their stamps in one array, and each field as a column. All other lines come
as single records. The numbers of a run do not depend on the order, so both can be added as they come.

Whether a line is plain is decided by its bytes, as `records.to_line` writes them. What is not exactly of that form is read
by `records.from_line`, which also says what is wrong with a damaged line.

numpy comes with this module: it is imported where records are read, never before or beside a load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cached_property
from operator import itemgetter
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
import orjson

from bench.errors import RecordError
from bench.records import ORDER_WITHIN_NS, RequestRecord, checked, from_line

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

STAMPS_HELD = 28_000
"""Stamps of a block: few enough for a processor's cache, and so many that the calls of numpy do not count."""

_CHUNKS = ("chunk_ns", "chunk_bound_ns", "chunk_tokens", "chunk_kind")
_ALL = tuple(field.name for field in fields(RequestRecord))
_LAST = "model"
"""The last field of a line in which `to_line` left out what only sessions and some servers have."""
FIELDS = tuple(name for name in _ALL[: _ALL.index(_LAST) + 1] if name not in _CHUNKS)
_COLUMN = {name: position for position, name in enumerate(FIELDS)}
_USUAL = {"phase": "run", "outcome": "ok", "session": None, "inputs": None, "model": None}
_USUAL_AT = tuple(_COLUMN[name] for name in _USUAL)
_USUAL_VALUES = tuple(_USUAL.values())
_usual = itemgetter(*_USUAL_AT)
_REASONING_AT = _COLUMN["reasoning_tokens"]
"""Reasoning of a reply whose chunks are all content was sent to nobody: its tokens are apart."""
_NEEDED = tuple(
    _COLUMN[name] for name in ("index", "intended_ns", "eligible_ns", "sent_ns", "end_ns", "attempts", "bytes_sent",
                               "bytes_received", "coalesced", "worker")
)  # fmt: skip

MIDDLE = 3
"""So many tokens have a first, a last, and one that is neither."""

_NO_TEXT = b"ruo"
_SHAPES_HELD = 4_096
_FAR_NS = 1 << 62
_INT = frozenset({int})
_WHOLE = frozenset({int, type(None)})


class PlainBlock:
    """Some hundred plain records. `stamps` are those of all chunks, in ns as the records have them.

    The chunks of record k begin at `starts[k]`; its first token is chunk `first_at[k]`, its last `last_at[k]`, and all
    between them are tokens. `earliest` has the earliest moment of those stamps that are bounds, and 0 for the others.
    """

    def __init__(
        self, lines: list[bytes], columns: list[tuple[Any, ...]], shapes: list[Shape], starts: Ints, stamps: Ints,
        earliest: Ints,
    ) -> None:  # fmt: skip
        self._lines = lines
        self._columns = columns
        self.shapes = shapes
        self.starts, self.stamps, self.earliest = starts, stamps, earliest
        self.tokens = np.array([shape.tokens for shape in shapes], dtype=np.int64)
        self.first_at = starts + np.array([shape.head for shape in shapes], dtype=np.int64)
        self.last_at = self.first_at + self.tokens - 1
        self.index, self.sent_ns, self.end_ns = (self.ints(name) for name in ("index", "sent_ns", "end_ns"))

    def __len__(self) -> int:
        return len(self._lines)

    def column(self, name: str) -> tuple[Any, ...]:
        """A field of all records."""
        return self._columns[_COLUMN[name]]

    def ints(self, name: str) -> Ints:
        """A field that every record has."""
        return np.array(self.column(name), dtype=np.int64)

    def known(self, name: str) -> tuple[Mask, Ints]:
        """A field that records may lack: which have it, and their values, 0 for the others."""
        column = self.column(name)
        if not _WHOLE.issuperset(map(type, column)):
            raise ValueError(f"{name} is not a whole number")  # An array would cut off what is behind the point.
        if None not in column:
            return np.ones(len(column), dtype=np.bool_), np.array(column, dtype=np.int64)
        has = np.array([value is not None for value in column], dtype=np.bool_)
        return has, np.array([0 if value is None else value for value in column], dtype=np.int64)

    @cached_property
    def rows_by_ends(self) -> dict[str, Ints]:
        """The rows of records that have the same chunks but for the number of tokens, by `Shape.ends`."""
        found: dict[str, list[int]] = {}
        for row, shape in enumerate(self.shapes):
            found.setdefault(shape.ends, []).append(row)
        return {ends: np.array(rows, dtype=np.int64) for ends, rows in found.items()}

    def chunk_at(self, ends: str, at: int, rows: Ints) -> Ints:
        """Where chunk `at` of the letters `ends`, no token between two others, is in `stamps`: of rows that have them."""
        first = ends.index("c")
        if at <= first:
            return self.starts[rows] + at
        return self.last_at[rows] + at - ends.rindex("c")

    def line(self, row: int) -> bytes:
        """The line of a record, as it was read."""
        return self._lines[row]

    def records(self) -> Iterator[RequestRecord]:
        """All of them, one by one."""
        return map(from_line, self._lines)


class Shape:
    """The chunks of a record: without text, with text, without text."""

    __slots__ = ("after", "before", "chunks", "ends", "head", "said_tokens", "tokens")

    def __init__(self, before: bytes, tokens: int, after: bytes) -> None:
        self.before, self.tokens, self.after = before.decode(), tokens, after.decode()
        self.head = len(before)
        self.chunks = len(before) + tokens + len(after)
        self.ends = self.before + "c" * min(tokens, MIDDLE) + self.after
        """The letters of its chunks, with at most three tokens: what all such records have in common."""
        self.said_tokens = (b"0," * len(before) + b"1," * tokens + b"0," * len(after))[:-1]
        """`chunk_tokens` of such a record, as they stand in its line."""


def read(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[PlainBlock | RequestRecord]:
    """Blocks and single records of numbered lines. Raises RecordError, with name and number, for a damaged line."""
    gathered = _Gathered()
    for number, line in lines:
        taken = gathered.take(number, line)
        if gathered.stamps_held >= STAMPS_HELD:
            yield from gathered.given(name)
        if not taken:
            yield _single(number, line, name)
    yield from gathered.given(name)


def _single(number: int, line: bytes, name: str) -> RequestRecord:
    try:
        return checked(from_line(line))
    except RecordError as e:
        raise RecordError(f"{name}, line {number}: {e}") from e


class _Gathered:
    """Plain lines, taken apart, until there are enough for a block."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, Shape | None] = {}
        self._keys: tuple[str, ...] = FIELDS
        self._empty()

    def _empty(self) -> None:
        self._numbers: list[int] = []
        self._lines: list[bytes] = []
        self._rows: list[tuple[Any, ...]] = []
        self._of: list[Shape] = []
        self._stamps: list[bytes] = []
        self._bounded: list[bool] = []
        self._bounds: list[bytes] = []
        self.stamps_held = 0

    def take(self, number: int, line: bytes) -> bool:
        """Take a line in; False where it is not plain."""
        head_end = line.find(b',"chunk_ns":[')
        stamps_end = line.find(b"]", head_end)
        if head_end < 0 or not line.startswith(b'],"chunk_bound_ns":', stamps_end):
            return False
        bounds_at = stamps_end + 19
        bounds_end = line.find(b',"chunk_tokens":[', bounds_at)
        tokens_end = line.find(b'],"chunk_kind":"', bounds_end)
        kinds_end = line.find(b'"', tokens_end + 16)
        if bounds_end < 0 or tokens_end < 0 or kinds_end < 0:
            return False
        shape = self._shape(line[tokens_end + 16 : kinds_end])
        if shape is None or line[bounds_end + 17 : tokens_end] != shape.said_tokens:
            return False
        stamps = line[head_end + 13 : stamps_end]
        # Nearly always all have as many digits, which is quicker to see than to count.
        if (stamps.find(b",") + 1) * shape.chunks != len(stamps) + 1 and stamps.count(b",") != shape.chunks - 1:
            return False
        bounds = line[bounds_at:bounds_end]
        if bounds != b"null" and (bounds.count(b",") != shape.chunks - 1 or not bounds.startswith(b"[")):
            return False
        try:
            row = orjson.loads(line[:head_end] + line[kinds_end + 1 :])
        except orjson.JSONDecodeError:
            return False
        keys = tuple(row)
        if keys != self._keys:
            if keys != FIELDS:
                return False
            self._keys = keys  # Of the next lines the very same strings: quick to compare.
        values = tuple(row.values())
        if _usual(values) != _USUAL_VALUES or values[_REASONING_AT]:
            return False
        self._bounded.append(bounds != b"null")
        if bounds != b"null":
            self._bounds.append(bounds[1:-1].replace(b"null", b"0"))
        self._numbers.append(number)
        self._lines.append(line)
        self._rows.append(values)
        self._of.append(shape)
        self._stamps.append(stamps)
        self.stamps_held += shape.chunks
        return True

    def _shape(self, kinds: bytes) -> Shape | None:
        if kinds in self._shapes:
            return self._shapes[kinds]
        inner = kinds.strip(_NO_TEXT)
        found = None
        if inner and inner.count(b"c") == len(inner):
            before = len(kinds) - len(kinds.lstrip(_NO_TEXT))
            found = Shape(kinds[:before], len(inner), kinds[before + len(inner) :])
        if len(self._shapes) >= _SHAPES_HELD:
            self._shapes.clear()
        self._shapes[kinds] = found
        return found

    def given(self, name: str) -> Iterator[PlainBlock | RequestRecord]:
        """What was taken in: as a block, or one by one where something in it turns out to be no number."""
        if not self._lines:
            return
        block = self._block()
        if block is None:
            for number, line in zip(self._numbers, self._lines, strict=True):
                yield _single(number, line, name)
        else:
            yield block
        self._empty()

    def _block(self) -> PlainBlock | None:
        chunks = np.array([shape.chunks for shape in self._of], dtype=np.int64)
        stamps, bounds = _numbers(self._stamps), _numbers(self._bounds)
        columns = list(zip(*self._rows, strict=True))
        if stamps is None or bounds is None or any(set(map(type, columns[at])) != _INT for at in _NEEDED):
            return None
        bounded = np.repeat(np.array(self._bounded, dtype=np.bool_), chunks)
        ends = np.cumsum(chunks)
        if len(stamps) != ends[-1] or len(bounds) != np.count_nonzero(bounded):
            return None
        steps = np.diff(stamps)
        steps[ends[:-1] - 1] = 0
        if steps.min(initial=0) < 0:  # Within a record stamps ascend.
            return None
        earliest = np.zeros(len(stamps), dtype=np.int64)
        earliest[bounded] = bounds
        block = PlainBlock(self._lines, columns, self._of, ends - chunks, stamps, earliest)
        due, eligible, sent, ended = block.ints("intended_ns"), block.ints("eligible_ns"), block.sent_ns, block.end_ns
        heard, first_byte = block.known("first_byte_ns")
        first_byte = np.where(heard, first_byte, sent)
        order = (
            (due, eligible), (eligible, sent), (sent, first_byte), (first_byte, ended), (sent, stamps[block.starts]),
            (stamps[ends - 1], ended),
        )  # fmt: skip
        if any(bool((later < earlier - ORDER_WITHIN_NS).any()) for earlier, later in order):
            return None  # Read one by one, the record that no clock can have seen is named.
        return block


def _numbers(texts: list[bytes]) -> Ints | None:
    """The numbers between commas; None where something else stands there, or greater ones than a clock gives."""
    try:
        with catch_warnings():
            simplefilter("error", DeprecationWarning)  # How older versions say that there is no number.
            numbers = np.fromstring(b",".join(texts), dtype=np.int64, sep=",")
    except (ValueError, DeprecationWarning):
        return None
    return numbers if numbers.max(initial=0) < _FAR_NS else None
