"""Folds records into the data for the other tools' numbers, in bounded memory.

Most marks of most responses are the same chunk as our own first or last token, and most token counts agree. So a mark
is stored as its distance from ours, and a mark that never differed stores nothing: about 50 bytes per request for a
server such as vLLM. Gaps are stored as their difference from the gaps between tokens, which the summary holds anyway.
"""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np

from bench.metrics.arrays import view
from bench.metrics.compat.marks import Marks
from bench.metrics.compat.tool import First, Gaps, Last, Tokens
from bench.metrics.histogram import LogHistogram
from bench.metrics.request_metrics import output_tokens
from bench.metrics.token_gaps import TokenGaps
from bench.records.record_table import Ints, Mask, RecordTable

NEVER = -(1 << 62)
"""Marks, in a column, a mark that a response did not have."""

_BETWEEN: tuple[Gaps, ...] = ("choice", "output", "text")
"""The kinds of gap that can be derived without token counts, except our own."""
_HELD_EXACTLY = 100_000
"""How many gaps of one kind are held before they are folded."""


class OffsetColumn:
    """A column of whole numbers, stored as distances from another column. Trailing zeros are not stored."""

    __slots__ = ("_distance",)

    def __init__(self) -> None:
        self._distance = array("q")

    def set(self, row: int, distances: Ints) -> None:
        """Set the distances of consecutive rows, from `row` on. Rows are set in ascending order."""
        set_rows = distances.nonzero()[0]
        if len(set_rows):
            self._distance.frombytes(bytes(8 * (row - len(self._distance))))
            self._distance.frombytes(distances[: int(set_rows[-1]) + 1].tobytes())

    @property
    def same(self) -> bool:
        """Whether no row was ever set."""
        return not self._distance

    def over(self, base: array[int]) -> Ints:
        """The column itself. NEVER if the distance is NEVER, or if the base is NEVER and no distance was set."""
        column: Ints = view(base).copy()
        distance = view(self._distance)
        rows = column[: len(distance)]
        rows[:] = np.where((distance == NEVER) | (rows == NEVER), NEVER, rows + distance)
        return column


class OtherGaps:
    """A kind of gap, stored as the gaps between tokens without some gaps, and with others."""

    __slots__ = ("_less", "_more")

    def __init__(self) -> None:
        self._less, self._more = LogHistogram(), LogHistogram()

    def add(self, more: Ints, less: Ints) -> None:
        """Add the gaps that only this kind has (`more`), and the gaps between tokens that it lacks (`less`)."""
        for part, gaps in ((self._more, more), (self._less, less)):
            part.extend(gaps)
            if part.count > _HELD_EXACTLY:
                part.fold()

    def over(self, between_tokens: LogHistogram) -> LogHistogram:
        """The gaps of this kind, from the gaps between tokens."""
        result = LogHistogram()
        result.merge(between_tokens)
        result.remove(self._less)
        result.merge(self._more)
        return result


class Readings:
    """Columns over the successful requests that were sent, in the order of adding. Times are in ns from sending."""

    def __init__(self) -> None:
        self.requests = 0
        self._first_token, self._last_token = array("q"), array("q")
        self._first: dict[First, OffsetColumn] = {
            mark: OffsetColumn() for mark in ("choice", "output", "token", "text", "content")
        }
        self._last: dict[Last, OffsetColumn] = {
            mark: OffsetColumn()
            for mark in ("choice", "output", "token", "text", "content", "data", "usage", "event", "end")
        }
        self._n = array("q")
        self._tokens: dict[Tokens, OffsetColumn] = {}
        self._gaps: dict[Gaps, OtherGaps] = {}
        self.without: Counter[Tokens | Gaps] = Counter()
        """Requests whose record cannot tell a count of tokens (another stands in) or the gaps of a kind."""

    def add(self, table: RecordTable) -> None:
        """Add records, in any order; failed and unsent requests are ignored."""
        table = table.where(table.ok & table.has("sent_ns"))
        row = self.requests
        self.requests += len(table)
        end_ns = table.ints("end_ns") - table.ints("sent_ns")
        sent_ns, chunks, marks = table.ints("sent_ns"), table.token_chunks, Marks(table)
        streamed, has_text = table.sizes > 0, chunks.counts > 0
        # If the response is not a stream, the whole reply arrives at its end, and nothing before. The marks of a stream
        # without text are counted from sending.
        first_ns = np.where(has_text, chunks.first(chunks.ns) - sent_ns, np.where(streamed, 0, NEVER))
        last_ns = np.where(has_text, chunks.last(chunks.ns) - sent_ns, np.where(streamed, 0, end_ns))
        self._first_token.frombytes(first_ns.tobytes())
        self._last_token.frombytes(last_ns.tobytes())
        for first, column in self._first.items():
            has, at_ns = marks.first_ns(first)
            column.set(row, np.where(streamed, np.where(has, at_ns - sent_ns - first_ns, NEVER), 0))
        for last, column in self._last.items():
            if last != "end":
                has, at_ns = marks.last_ns(last)
                column.set(row, np.where(streamed, np.where(has, at_ns - sent_ns - last_ns, NEVER), 0))
        self._last["end"].set(row, np.where(streamed, end_ns - last_ns, 0))
        for name in _BETWEEN:
            more, less = marks.more_and_less(name)
            if len(more) or len(less):
                self._other(name).add(more, less)
        self._add_retokenised(table)
        self._add_tokens(row, table, marks)

    def _add_tokens(self, row: int, table: RecordTable, marks: Marks) -> None:
        """Add every way of counting the tokens of requests. Our own counts are n."""
        n, chunks = output_tokens(table), table.token_chunks
        self._n.frombytes(n.tobytes())
        sources = {name: table.equals("output_tokens_from", name) for name in ("usage", "tokenizer")}
        has_count, counted = table.known("output_tokens_counted")
        counted = np.where(has_count, counted, n)
        has_count = has_count | sources["tokenizer"]
        is_content = table.chunk_kind[chunks.at] == ord("c")
        content = np.bincount(chunks.row, weights=chunks.tokens * is_content, minlength=len(table))
        all_content = np.bincount(chunks.row[is_content], minlength=len(table)) == chunks.counts
        has_content = np.where(all_content, has_count, table.has_chunk_tokens)
        self._put("counted", row, has_count, counted - n)
        self._put("counted content", row, has_content, np.where(all_content, counted, content.astype(np.int64)) - n)
        streamed, by_usage = table.sizes > 0, sources["usage"]
        has_asked, asked = table.known("output_tokens_asked")
        counts: tuple[tuple[Tokens, Mask, Ints], ...] = (
            ("usage or counted", has_count, counted), ("usage or asked", has_asked, asked),
            ("usage or chunks", streamed, chunks.counts), ("usage or choices", streamed, marks.counts("choice")),
            ("usage or outputs", streamed, marks.counts("output")),
        )  # fmt: skip
        for name, has, tokens in counts:
            self._put(name, row, has | by_usage, np.where(by_usage, 0, tokens - n))

    def _put(self, name: Tokens, row: int, has: Mask, distance: Ints) -> None:
        self.without[name] += int((~has).sum())
        distance = np.where(has, distance, 0)
        if distance.any():
            if name not in self._tokens:
                self._tokens[name] = OffsetColumn()
            self._tokens[name].set(row, distance)

    def _add_retokenised(self, table: RecordTable) -> None:
        """Add each token of a content chunk at the chunk's arrival. Chunks without a token of their own are left out."""
        streamed = table.sizes > 0
        self.without["retokenised"] += int((streamed & ~table.has_chunk_tokens).sum())
        chunks = table.token_chunks
        ones = np.bincount(table.chunk_row[table.chunk_tokens == 1], minlength=len(table))
        is_content = table.chunk_kind[chunks.at] == ord("c")
        contents = np.bincount(chunks.row[is_content], minlength=len(table))
        regular = (contents == chunks.counts) & (ones == chunks.counts)
        rows = streamed & table.has_chunk_tokens & ~regular
        if not rows.any():
            return
        gaps = TokenGaps(table).gaps
        of_content = is_content & rows[chunks.row]
        arrivals = np.repeat(chunks.ns[of_content], chunks.tokens[of_content])
        row = np.repeat(chunks.row[of_content], chunks.tokens[of_content])
        self._other("retokenised").add(np.diff(arrivals)[np.diff(row) == 0], gaps.ns[rows[gaps.row]])

    def _other(self, name: Gaps) -> OtherGaps:
        if name not in self._gaps:
            self._gaps[name] = OtherGaps()
        return self._gaps[name]

    def same_first(self, mark: First) -> First:
        """The mark, or "token" if it is the same chunk in every response of the run."""
        return "token" if self._first[mark].same else mark

    def same_last(self, mark: Last) -> Last:
        """The mark, or "token" if it is the same chunk in every response of the run."""
        return "token" if self._last[mark].same else mark

    def same_tokens(self, name: Tokens) -> Tokens | None:
        """The count. Returns None if it equals our own count for every response."""
        return name if name in self._tokens else None

    def first(self, mark: First) -> Ints:
        """The first chunk of a kind in each request, or NEVER."""
        return self._first[mark].over(self._first_token)

    def last(self, mark: Last) -> Ints:
        """The last chunk of a kind in each request, or NEVER."""
        return self._last[mark].over(self._last_token)

    def tokens(self, name: Tokens) -> Ints:
        """The number of output tokens of each request; our count if a record does not have this one (`without`)."""
        return (self._tokens[name] if name in self._tokens else OffsetColumn()).over(self._n)

    def gaps(self, name: Gaps, between_tokens: LogHistogram) -> LogHistogram:
        """The gaps of a kind, from the gaps between tokens of the same requests."""
        return self._gaps[name].over(between_tokens) if name in self._gaps else between_tokens
