"""Determines which chunk of a response is which mark, from the letters of its chunks alone.

    choice    has non-empty `choices`: every chunk but usage alone and `[DONE]`. A role chunk, an empty delta and a finish
              reason alone are among them
    output    bears text, or is an empty delta ahead of the last text (a token may decode to nothing), or any empty delta of
              a response without text; no role chunk
    token     bears text: content, reasoning, tool call (our own definition)
    text      bears content or reasoning
    content   bears content
    data      every event but `[DONE]`
    usage     the usage chunk; in a response without one, the last event
    event     every event
    end       the last byte of the response

In a record, an empty delta, a finish reason alone and `[DONE]` have the same letter, o. If the last event is an o, it
is assumed to be `[DONE]`. If the server does not send `[DONE]`, a finish reason that comes alone and last is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np

from bench.metrics.compat.tool import First, Gaps, Last
from bench.records.record_table import Ints, Mask, RecordTable


class Marks:
    """The marks of the streams in a table. Content between two content chunks is not a mark, and is dropped."""

    def __init__(self, table: RecordTable) -> None:
        content = table.chunk_kind == ord("c")
        row = table.chunk_row
        beside = content[1:] & content[:-1] & (np.diff(row) == 0)
        inner = np.append(beside, False) & np.append(False, beside) if len(row) else content
        self._rows = len(table)
        self._at = np.flatnonzero(~inner)
        self._row = row[self._at]
        self._kind = table.chunk_kind[self._at]
        self._ns = table.chunk_ns[self._at]
        self._sizes = table.sizes
        self._last_of_row = np.diff(self._row, append=len(table)) > 0

    def _is(self, letters: str) -> Mask:
        among = np.zeros(256, dtype=np.bool_)
        among[[ord(letter) for letter in letters]] = True
        rows: Mask = among[self._kind]
        return rows

    @cached_property
    def _marks(self) -> Mapping[Last, Mask]:
        done = self._last_of_row & self._is("o")
        token = self._is("ctf")
        last_text = self._edge(token, last=True)[self._row]
        up_to_text = np.where(last_text < 0, ~done, np.arange(len(self._row)) <= last_text)
        return {
            "choice": ~self._is("u") & ~done,
            "output": ~self._is("ru") & up_to_text,
            "token": token,
            "text": self._is("ct"),
            "content": self._is("c"),
            "data": ~done,
            "event": np.ones(len(self._row), dtype=np.bool_),
        }

    def _edge(self, marked: Mask, *, last: bool) -> Ints:
        """The first or last marked chunk of each row; -1 for rows without one."""
        at, edge = np.flatnonzero(marked), np.full(self._rows, -1, dtype=np.int64)
        # If a row is assigned several times, the last assignment stays.
        at = at if last else at[::-1]
        edge[self._row[at]] = at
        return edge

    def first_ns(self, mark: First) -> tuple[Mask, Ints]:
        """Which responses have such a chunk, and when the first one arrived."""
        return self._times(self._edge(self._marks[mark], last=False))

    def last_ns(self, mark: Last) -> tuple[Mask, Ints]:
        """Which responses have such a chunk, and when the last one arrived."""
        if mark != "usage":
            return self._times(self._edge(self._marks[mark], last=True))
        usage, event = self._edge(self._is("u"), last=False), self._edge(self._marks["event"], last=True)
        return self._times(np.where(usage < 0, event, usage))

    def _times(self, at: Ints) -> tuple[Mask, Ints]:
        return at >= 0, self._ns[at] if len(self._ns) else np.zeros(self._rows, dtype=np.int64)

    def counts(self, mark: Literal["choice", "output"]) -> Ints:
        """The number of such chunks in each response."""
        # What was dropped is content, which has both marks.
        return self._sizes - np.bincount(self._row[~self._marks[mark]], minlength=self._rows)

    def more_and_less(self, gaps: Gaps) -> tuple[Ints, Ints]:
        """Gaps of this kind that are not gaps between tokens, and gaps between tokens that are not of this kind."""
        of_kind, of_tokens = self._next(self._marks[gaps]), self._next(self._marks["token"])  # type: ignore[index]
        return self._lengths(of_kind, of_tokens), self._lengths(of_tokens, of_kind)

    def _next(self, marked: Mask) -> Ints:
        """For each marked chunk, the next marked chunk of the response; 0 for the last one, and for other chunks."""
        at, behind = np.flatnonzero(marked), np.zeros(len(self._at), dtype=np.int64)
        within = self._row[at[:-1]] == self._row[at[1:]]
        behind[at[:-1][within]] = at[1:][within]
        return behind

    def _lengths(self, behind: Ints, other: Ints) -> Ints:
        """The lengths of the gaps in `behind` that `other` does not have."""
        begin = np.flatnonzero((behind > 0) & (behind != other))
        lengths: Ints = self._ns[behind[begin]] - self._ns[begin]
        return lengths
