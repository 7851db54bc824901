"""Many records as numpy columns: the only input of metrics, whether from a file, a running load, or a test.

Importing this module imports numpy. Times are in ns as in the records; NaN or a mask marks events that did not happen.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import RecordError
from bench.records.lines import KINDS, ORDER_WITHIN_NS, checked, from_line
from bench.records.request_record import IMAGE_KIND, MOST_TOKENS, NO_FAILURE, TOKEN_KINDS, Outcome, RequestRecord

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MOST_CHUNKS = 1 << 16
"""Chunks of a table read from a file: enough to make the overhead of numpy calls negligible, and few enough for a cache."""
MOST_RECORDS = 4_096
"""Records of such a table, which may have no chunks."""

OUTCOMES = tuple(Outcome)
"""`RecordTable.outcome` contains indices into this tuple."""
_NUMBER_OF = {outcome: number for number, outcome in enumerate(OUTCOMES)}
NOT_JUDGED = frozenset({Outcome.INTERRUPTED, Outcome.CANCELLED})
"""Outcomes that do not show whether a request was good: the run ended first, or its user cancelled as planned. A dropped
request is judged: it was due and not served."""
OK, DROPPED, CANCELLED = (_NUMBER_OF[outcome] for outcome in (Outcome.OK, Outcome.DROPPED, Outcome.CANCELLED))
_IS_KIND, _IS_AUDIO, _IS_TOKEN, _IS_IMAGE = (
    np.isin(np.arange(256), [ord(kind) for kind in kinds]) for kinds in (KINDS, "a", TOKEN_KINDS, IMAGE_KIND)
)


class ChunksOfKinds:
    """The chunks of some kinds, for all records of a table one after another. Row r has `counts[r]` of them, from
    `starts[r]` on."""

    def __init__(self, table: RecordTable, is_kind: Mask) -> None:
        """`is_kind` tells for each letter whether it is one of the kinds."""
        # Must not reference the table, which references this object: both would stay until a cycle collection.
        self.at = np.flatnonzero(is_kind[table.chunk_kind])
        """Their indices among all chunks."""
        self.row = table.chunk_row[self.at]
        self.counts: Ints = np.bincount(self.row, minlength=len(table))
        self.starts: Ints = np.cumsum(self.counts) - self.counts
        self.ns = table.chunk_ns[self.at]
        self.tokens = table.chunk_tokens[self.at]
        """The tokens of each chunk; 0 in rows where they are unknown (`RecordTable.has_chunk_tokens`)."""
        self.earliest = self.ns
        """The earliest possible arrival of each chunk: its stamp, if that is exact."""
        if table.bounded:
            is_bound, bounds = table.chunk_bounds
            self.earliest = np.where(is_bound[self.at], np.minimum(bounds[self.at], self.ns), self.ns)

    def first(self, of: Ints) -> Ints:
        """The entry of each row's first chunk, from an array with one entry per chunk; 0 for rows without chunks."""
        return self._edge(of, self.starts)

    def last(self, of: Ints) -> Ints:
        """The same for the last chunk."""
        return self._edge(of, self.starts + self.counts - 1)

    def _edge(self, of: Ints, at: Ints) -> Ints:
        if len(of) and self.counts.all():
            return of[at]
        has = self.counts > 0
        edge = np.zeros(len(at), dtype=np.int64)
        edge[has] = of[at[has]]
        return edge

    def sums(self, of: Ints) -> Ints:
        up_to = np.concatenate(([0], np.cumsum(of)))
        sums: Ints = up_to[self.starts + self.counts] - up_to[self.starts]
        return sums


class RecordTable:
    """Records, and their fields as columns, each computed on first access.

    Columns have the shape (records,). The chunks of all records are concatenated: row r has
    `chunk_ns[starts[r]:starts[r] + sizes[r]]`.
    """

    def __init__(self, records: Sequence[RequestRecord]) -> None:
        self.records = records
        self._columns: dict[str, list[Any]] = {}
        self._known: dict[str, tuple[Mask, Ints]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def where(self, rows: Mask) -> RecordTable:
        """The records in some rows; the table itself if these are all rows."""
        if rows.all():
            return self
        return RecordTable([self.records[row] for row in np.flatnonzero(rows).tolist()])

    def column(self, name: str) -> list[Any]:
        if name not in self._columns:
            self._columns[name] = list(map(attrgetter(name), self.records))
        return self._columns[name]

    def known(self, name: str) -> tuple[Mask, Ints]:
        """A field of whole numbers: which records have it, and the values; 0 for the others."""
        if name not in self._known:
            column, has = self.column(name), self.has(name)
            whole = column if has.all() else [0 if value is None else value for value in column]
            self._known[name] = has, np.array(whole, dtype=np.int64)
        return self._known[name]

    def ints(self, name: str) -> Ints:
        """A field of whole numbers; 0 for records without it."""
        return self.known(name)[1]

    def floats(self, name: str) -> Floats:
        """A field of numbers; NaN for records without it."""
        return np.array([np.nan if value is None else value for value in self.column(name)], dtype=np.float64)

    def has(self, name: str) -> Mask:
        column = self.column(name)
        if None not in column:
            return np.ones(len(column), dtype=np.bool_)
        return np.array([value is not None for value in column], dtype=np.bool_)

    def equals(self, name: str, value: object) -> Mask:
        """Which records have this value in a field."""
        return np.array([entry == value for entry in self.column(name)], dtype=np.bool_)

    @cached_property
    def outcome(self) -> Ints:
        """How each request ended: an index into OUTCOMES."""
        return np.fromiter(map(_NUMBER_OF.__getitem__, self.column("outcome")), np.int64, len(self))

    @cached_property
    def ok(self) -> Mask:
        rows: Mask = self.outcome == OK
        return rows

    @cached_property
    def failed(self) -> Mask:
        return ~self.ended(NO_FAILURE)

    def ended(self, outcomes: Container[Outcome]) -> Mask:
        """Which requests ended in one of these ways."""
        rows: Mask = np.array([outcome in outcomes for outcome in OUTCOMES], dtype=np.bool_)[self.outcome]
        return rows

    @cached_property
    def is_run(self) -> Mask:
        """Which requests belong to the run, and not to its warm-up."""
        return self.equals("phase", "run")

    @cached_property
    def sizes(self) -> Ints:
        """The number of chunks of each response; 0 if it was not a stream."""
        return np.fromiter(map(len, self.column("chunk_ns")), np.int64, len(self))

    @cached_property
    def starts(self) -> Ints:
        """The index of each record's first chunk."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def chunk_row(self) -> Ints:
        return np.repeat(np.arange(len(self)), self.sizes)

    @cached_property
    def chunk_ns(self) -> Ints:
        return np.fromiter(chain.from_iterable(self.column("chunk_ns")), np.int64, int(self.sizes.sum()))

    @cached_property
    def chunk_kind(self) -> npt.NDArray[np.uint8]:
        """The letters of all chunks."""
        return np.frombuffer("".join(self.column("chunk_kind")).encode("ascii"), dtype=np.uint8)

    @cached_property
    def has_chunk_tokens(self) -> Mask:
        """Whether the tokens of a record's chunks are known."""
        return self.has("chunk_tokens")

    @cached_property
    def chunk_tokens(self) -> Ints:
        """The tokens of all chunks; 0 in records where they are unknown."""
        return self._of_chunks("chunk_tokens")[1]

    @cached_property
    def chunk_bounds(self) -> tuple[Mask, Ints]:
        """Which stamps are bounds, and the earliest possible arrival of each of these chunks; 0 for exact stamps."""
        return self._of_chunks("chunk_bound_ns")

    @cached_property
    def bounded(self) -> bool:
        return any(bounds is not None for bounds in self.column("chunk_bound_ns")) and bool(self.chunk_bounds[0].any())

    def _of_chunks(self, name: str) -> tuple[Mask, Ints]:
        """A field with one entry per chunk, or None: which entries are known, and their values."""
        chunks = int(self.sizes.sum())
        known, values = np.zeros(chunks, dtype=np.bool_), np.zeros(chunks, dtype=np.int64)
        of_records = self.column(name)
        if None not in of_records and name == "chunk_tokens":
            known[:] = True
            try:
                values[:] = np.frombuffer(b"".join(map(bytes, of_records)), dtype=np.uint8)
            except ValueError:  # A chunk has more tokens than a byte can count.
                values[:] = np.fromiter(chain.from_iterable(of_records), np.int64, chunks)
            return known, values
        for start, of in zip(self.starts.tolist(), of_records, strict=True):
            if of is not None:
                end = start + len(of)
                known[start:end] = [entry is not None for entry in of]
                values[start:end] = [0 if entry is None else entry for entry in of]
        return known, values

    @cached_property
    def token_chunks(self) -> ChunksOfKinds:
        """The chunks with generated text."""
        return ChunksOfKinds(self, _IS_TOKEN)

    @cached_property
    def image_chunks(self) -> ChunksOfKinds:
        return ChunksOfKinds(self, _IS_IMAGE)

    @cached_property
    def audio_chunks(self) -> ChunksOfKinds:
        return ChunksOfKinds(self, _IS_AUDIO)

    @cached_property
    def has_audio(self) -> bool:
        """Whether any chunk contains audio."""
        return bool((self.chunk_kind == ord("a")).any())

    @cached_property
    def chunk_audio_bytes(self) -> Ints:
        return self._of_chunks("chunk_audio_bytes")[1]


def tables(lines: Iterable[tuple[int, bytes]], name: str) -> Iterator[RecordTable]:
    """Tables of numbered lines. Raises RecordError, with name and line number, for a damaged line."""
    records: list[RequestRecord] = []
    numbers: list[int] = []
    chunks = 0
    for number, line in lines:
        try:
            record = from_line(line)
        except RecordError as e:
            raise RecordError(f"{name}, line {number}: {e}") from e
        records.append(record)
        numbers.append(number)
        tokens = 0 if record.chunk_tokens is None else sum(record.chunk_tokens)
        # Each token has an entry in the columns of pauses.
        chunks += max(len(record.chunk_ns), tokens)
        if chunks >= MOST_CHUNKS or len(records) >= MOST_RECORDS:
            yield _checked(records, numbers, name, fit=tokens <= MOST_TOKENS)
            records, numbers, chunks = [], [], 0
    if records:
        yield _checked(records, numbers, name)


def _checked(records: list[RequestRecord], numbers: Sequence[int], name: str, *, fit: bool = True) -> RecordTable:
    """A table of consistent records. Raises RecordError with the line of the first inconsistent record. `fit`: False if
    the records are known to be inconsistent."""
    table = RecordTable(records)
    if not (fit and _fits(table)):
        for number, record in zip(numbers, records, strict=True):
            try:
                checked(record)
            except RecordError as e:
                raise RecordError(f"{name}, line {number}: {e}") from e
    return table


def _fits(table: RecordTable) -> bool:
    """Whether all records would pass `checked`. Records with too many tokens are checked elsewhere."""
    for field in ("chunk_kind", "chunk_tokens", "chunk_bound_ns", "chunk_audio_bytes"):
        entries = table.column(field)
        rows = table.has(field)
        sizes = np.array([len(of) for of in entries if of is not None], dtype=np.int64)
        if (sizes != table.sizes[rows]).any():
            return False
    if not all(map(str.isascii, table.column("chunk_kind"))) or not _IS_KIND[table.chunk_kind].all():
        return False
    latest = table.ints("intended_ns")
    for moment in ("eligible_ns", "sent_ns", "resent_ns", "first_byte_ns", "end_ns"):
        has, at_ns = table.known(moment)
        if (has & (at_ns < latest - ORDER_WITHIN_NS)).any():
            return False
        latest = np.where(has, at_ns, latest)
    streamed = table.sizes > 0
    if not streamed.any():
        return True
    steps = np.diff(table.chunk_ns)
    steps[(table.starts[streamed] - 1)[1:]] = 0
    if steps.min(initial=0) < 0:  # Within a record, stamps ascend.
        return False
    has_sent, sent_ns = table.known("sent_ns")
    resent, resent_ns = table.known("resent_ns")
    since = np.where(resent, resent_ns, np.where(has_sent, sent_ns, table.ints("intended_ns")))[streamed]
    first, last = table.starts[streamed], (table.starts + table.sizes - 1)[streamed]
    in_time = (table.chunk_ns[first] >= since - ORDER_WITHIN_NS) & (
        table.chunk_ns[last] <= table.ints("end_ns")[streamed] + ORDER_WITHIN_NS
    )
    return bool(in_time.all())
