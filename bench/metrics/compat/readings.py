"""Records folded into what the other tools' numbers are computed from, in bounded memory.

Most marks of most responses are the same chunk as our own first or last token, and most counts of tokens agree. So a
mark is held as its distance from ours, and a mark that never differed holds nothing: some 50 bytes a request of a
server such as vLLM. Gaps are those between tokens, which the summary holds anyway, with what a kind of gap has more or
other.
"""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import compress, pairwise
from typing import TYPE_CHECKING

from bench.metrics import per_request
from bench.metrics.compat.marks import layout, positions
from bench.metrics.compat.marks import times as times_between
from bench.metrics.compat.tool import First, Gaps, Last, Tokens
from bench.metrics.histogram import LogHistogram
from bench.records import Outcome, RequestRecord

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes
    from bench.run_files.record_blocks import Ints

NEVER = -(1 << 62)
"""Stands in a column for a mark that a response did not have."""

_WAITING = 1_000
_HELD_EXACTLY = 100_000
"""Gaps of one kind that are held before they are folded."""


class OffsetColumn:
    """A column of whole numbers, stored as distances from another column. Trailing zeros are not stored."""

    __slots__ = ("_distance",)

    def __init__(self) -> None:
        self._distance = array("q")

    def set(self, row: int, distance: int) -> None:
        """The distance in a row; rows are set in ascending order."""
        if not distance:
            return
        column = self._distance
        if row > len(column):
            column.frombytes(bytes(8 * (row - len(column))))
        column.append(distance)

    def set_all(self, row: int, distances: Ints) -> None:
        """The distances in many rows, from this one on."""
        set_rows = distances.nonzero()[0]
        if len(set_rows):
            self._distance.frombytes(bytes(8 * (row - len(self._distance))))
            self._distance.frombytes(distances[: int(set_rows[-1]) + 1].tobytes())

    @property
    def same(self) -> bool:
        """Whether no row was ever set."""
        return not self._distance

    def over(self, base: array[int]) -> Ints:
        """The column itself; NEVER where a distance is, or where the base is and no distance was set."""
        import numpy as np

        from bench.metrics.arrays import view

        found: Ints = view(base).copy()
        distance = view(self._distance)
        rows = found[: len(distance)]
        rows[:] = np.where((distance == NEVER) | (rows == NEVER), NEVER, rows + distance)
        return found


class OtherGaps:
    """A kind of gap as the gaps between tokens, less those of some responses, and others more."""

    __slots__ = ("_less", "_more", "_waiting")

    def __init__(self) -> None:
        self._less, self._more = LogHistogram(), LogHistogram()
        # One or two more a response, as a role chunk gives, are not worth a call each.
        self._waiting: list[int] = []

    def add(self, more: list[int]) -> None:
        """Gaps that a response has more."""
        self._waiting += more
        if len(self._waiting) > _WAITING:
            _extend(self._more, self._waiting)
            self._waiting = []

    def leave_out(self, less: list[int]) -> None:
        """Gaps between tokens of a response that are none of this kind."""
        _extend(self._less, less)

    def over(self, between_tokens: LogHistogram) -> LogHistogram:
        """The gaps of this kind, given those between tokens."""
        result, waiting = LogHistogram(), LogHistogram()
        waiting.extend(self._waiting)
        result.merge(between_tokens)
        result.remove(self._less)
        result.merge(self._more)
        result.merge(waiting)
        return result


def _extend(held: LogHistogram, gaps: list[int]) -> None:
    held.extend(gaps)
    if held.exact and held.count > _HELD_EXACTLY:
        held.fold()


class Readings:
    """Columns over the successful requests that were sent, in order of adding. Times are ns from sending."""

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

    def add(self, record: RequestRecord) -> None:
        """One record. Those of failures, and of requests that were not sent, say nothing here."""
        if record.outcome is not Outcome.OK or record.sent_ns is None:
            return
        row, sent_ns, chunk_ns, kinds = self.requests, record.sent_ns, record.chunk_ns, record.chunk_kind
        self.requests += 1
        end_ns = record.end_ns - sent_ns
        if not kinds:
            # Not a stream: the whole reply is there at its end, and none of it before.
            self._first_token.append(NEVER)
            self._last_token.append(end_ns)
            self._add_tokens(row, record)
            return
        found = layout(kinds)
        if found.token is None:
            first_ns = last_ns = 0  # Every mark of such a response is set below.
        else:
            first_ns, last_ns = chunk_ns[found.token[0]] - sent_ns, chunk_ns[found.token[1]] - sent_ns
        self._first_token.append(first_ns)
        self._last_token.append(last_ns)
        for first, at in found.first:
            self._first[first].set(row, NEVER if at is None else chunk_ns[at] - sent_ns - first_ns)
        for last, at in found.last:
            self._last[last].set(row, NEVER if at is None else chunk_ns[at] - sent_ns - last_ns)
        self._last["end"].set(row, end_ns - last_ns)
        self._add_tokens(row, record)
        self._add_gaps(record)

    def add_block(self, times: BlockTimes) -> None:
        """The records of a block."""
        import numpy as np

        block, row = times.block, self.requests
        self.requests += len(block)
        first_ns, last_ns = times.first_ns - block.sent_ns, times.last_ns - block.sent_ns
        self._first_token.frombytes(first_ns.tobytes())
        self._last_token.frombytes(last_ns.tobytes())
        firsts: dict[First, Ints] = {}
        lasts: dict[Last, Ints] = {}
        for ends, rows in block.rows_by_ends.items():
            found = layout(ends)
            for first, at in found.first:
                marked = firsts.setdefault(first, np.zeros(len(block), dtype=np.int64))
                marked[rows] = (
                    NEVER if at is None else block.stamps[block.chunk_at(ends, at, rows)] - times.first_ns[rows]
                )
            for last, at in found.last:
                marked = lasts.setdefault(last, np.zeros(len(block), dtype=np.int64))
                marked[rows] = (
                    NEVER if at is None else block.stamps[block.chunk_at(ends, at, rows)] - times.last_ns[rows]
                )
            for name, pairs in found.more:
                more = [block.stamps[block.chunk_at(ends, b, rows)] - block.stamps[block.chunk_at(ends, a, rows)]
                        for a, b in pairs]  # fmt: skip
                self._other(name).add(np.concatenate(more).tolist())
        for first, marked in firsts.items():
            self._first[first].set_all(row, marked)
        for last, marked in lasts.items():
            self._last[last].set_all(row, marked)
        self._last["end"].set_all(row, block.end_ns - block.sent_ns - last_ns)
        self._add_block_tokens(row, times)

    def _add_block_tokens(self, row: int, times: BlockTimes) -> None:
        block = times.block
        self._n.frombytes(times.n.tobytes())
        sources, counts = block.column("output_tokens_from"), block.column("output_tokens_counted")
        asked = block.column("output_tokens_asked")
        if counts.count(None) == len(counts) and sources.count("usage") == len(sources):
            self.without["counted"] += len(counts)  # As most records are.
            self.without["counted content"] += len(counts)
            return
        choices: dict[int, int] = {}
        for ends, rows in block.rows_by_ends.items():
            beside = len(positions(ends, "choice")) - ends.count("c")
            choices |= {at: beside + int(block.tokens[at]) for at in rows.tolist()}
        rows_of = zip(times.n.tolist(), sources, counts, asked, block.tokens.tolist(), strict=True)
        for at, (n, source, counted, wanted, chunks) in enumerate(rows_of):
            known = n if counted is None and source == "tokenizer" else counted
            self._put_all(row + at, n, source, known, known, wanted, chunks, choices[at])

    def _add_tokens(self, row: int, record: RequestRecord) -> None:
        n, source, counted = per_request.output_tokens(record), record.output_tokens_from, record.output_tokens_counted
        kinds = record.chunk_kind
        self._n.append(n)
        if counted is None and source == "tokenizer":
            counted = n
        content = counted
        if kinds and not layout(kinds).all_content:
            content = self._tokens_of_content(record)
        chunks = per_request.token_chunk_count(record) if kinds else None
        choices = len(positions(kinds, "choice")) if kinds else None
        self._put_all(row, n, source, counted, content, record.output_tokens_asked, chunks, choices)

    def _put_all(
        self,
        row: int,
        n: int,
        source: str | None,
        counted: int | None,
        content: int | None,
        asked: int | None,
        chunks: int | None,
        choices: int | None,
    ) -> None:
        """Every way to count the tokens of a request of which our own count is n."""
        self._put("counted", row, counted, n)
        self._put("counted content", row, content, n)
        if source != "usage":
            self._put("usage or counted", row, counted, n)
            self._put("usage or asked", row, asked, n)
            self._put("usage or chunks", row, chunks, n)
            self._put("usage or choices", row, choices, n)

    def _put(self, name: Tokens, row: int, count: int | None, n: int) -> None:
        if count is None:
            self.without[name] += 1
        elif count != n:
            if name not in self._tokens:
                self._tokens[name] = OffsetColumn()
            self._tokens[name].set(row, count - n)

    @staticmethod
    def _tokens_of_content(record: RequestRecord) -> int | None:
        if record.chunk_tokens is None:
            return None
        return sum(compress(record.chunk_tokens, map("c".__eq__, record.chunk_kind)))

    def _add_gaps(self, record: RequestRecord) -> None:
        chunk_ns, kinds = record.chunk_ns, record.chunk_kind
        found = layout(kinds)
        for name, pairs in found.more:
            self._other(name).add([chunk_ns[b] - chunk_ns[a] for a, b in pairs])
        for name in found.other:
            arrivals = times_between(chunk_ns, kinds, name)
            self._other(name).add([b - a for a, b in pairwise(arrivals)])
            self._other(name).leave_out(per_request.chunk_gaps_ns(record))
        self._add_retokenised(record)

    def _add_retokenised(self, record: RequestRecord) -> None:
        """Each token of a content chunk at the chunk's arrival; chunks without a token of their own are not there."""
        tokens, kinds = record.chunk_tokens, record.chunk_kind
        if tokens is None:
            self.without["retokenised"] += 1
            return
        found = layout(kinds)
        if found.all_content and tokens.count(1) == found.chunks:
            return
        per_request.refuse_endless(tokens)
        arrivals = [
            at
            for at, kind, count in zip(record.chunk_ns, kinds, tokens, strict=True)
            if kind == "c"
            for _ in range(count)
        ]
        self._other("retokenised").add([b - a for a, b in pairwise(arrivals)])
        self._other("retokenised").leave_out(per_request.chunk_gaps_ns(record))

    def _other(self, name: Gaps) -> OtherGaps:
        if name not in self._gaps:
            self._gaps[name] = OtherGaps()
        return self._gaps[name]

    def same_first(self, mark: First) -> First:
        """The mark, or "token" where no response of the run has it elsewhere."""
        return "token" if self._first[mark].same else mark

    def same_last(self, mark: Last) -> Last:
        """The mark, or "token" where no response of the run has it elsewhere."""
        return "token" if self._last[mark].same else mark

    def same_tokens(self, name: Tokens) -> Tokens | None:
        """The count, or None where it is our own count of every response."""
        return name if name in self._tokens else None

    def first(self, mark: First) -> Ints:
        """The first chunk of a kind in each request, or NEVER."""
        return self._first[mark].over(self._first_token)

    def last(self, mark: Last) -> Ints:
        """The last chunk of a kind in each request, or NEVER."""
        return self._last[mark].over(self._last_token)

    def tokens(self, name: Tokens) -> Ints:
        """The number of output tokens of each request; ours stands in where a record cannot tell (`without`)."""
        return (self._tokens[name] if name in self._tokens else OffsetColumn()).over(self._n)

    def gaps(self, name: Gaps, between_tokens: LogHistogram) -> LogHistogram:
        """The gaps of a kind, given those between tokens of the same requests."""
        return self._gaps[name].over(between_tokens) if name in self._gaps else between_tokens
