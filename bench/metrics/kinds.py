"""The kinds of text in replies: answers, reasoning and tool calls, in chunks and tokens; and which replies call tools."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bench.records.record_table import Ints, RecordTable
from bench.results.tokens import KindCount, Kinds, ToolCalls

KINDS = {"content": "c", "reasoning": "t", "tool_calls": "f"}
"""The kinds of text, with their letters in a record."""


class KindTally:
    """Folds successful requests."""

    def __init__(self) -> None:
        self._chunks: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._count: Counter[str] = Counter()

    def add(self, table: RecordTable, n: Ints) -> None:
        """Add requests, with the n output tokens of each reply."""
        chunks, count = table.token_chunks, self._count
        letters = table.chunk_kind[chunks.at]
        per_row = {letter: np.bincount(chunks.row[letters == ord(letter)], minlength=len(table)) for letter in "ctf"}
        kinds = sum((per_row[letter] > 0).astype(np.int64) for letter in per_row)
        several = kinds > 1
        count["unknown"] += int((several & ~table.has_chunk_tokens).sum())
        of_several = (several & table.has_chunk_tokens)[chunks.row]
        for letter, chunks_of in per_row.items():
            self._chunks[letter] += int(chunks_of.sum())
            self._tokens[letter] += int(n[(kinds == 1) & (chunks_of > 0)].sum())
            if of_several.any():
                self._tokens[letter] += int(chunks.tokens[of_several & (letters == ord(letter))].sum())
        has_reasoning, reasoning = table.known("reasoning_tokens")
        count["reasoning_said"] += int(has_reasoning.sum())
        count["reasoning"] += int(reasoning.sum())
        judged, calls = table.known("tool_calls")
        count["judged"] += int(judged.sum())
        count["calling"] += int((calls > 0).sum())
        count["calls"] += int(calls.sum())

    def kinds(self) -> Kinds:
        """The chunks with text, and their tokens, by the kind of text."""
        count = self._count
        return Kinds(
            **{
                name: KindCount(chunks=self._chunks[letter], tokens=self._tokens[letter])
                for name, letter in KINDS.items()
            },
            requests_with_unknown_tokens=count["unknown"],
            reasoning_by_usage=count["reasoning"] if count["reasoning_said"] else None,
        )

    def tool_calls(self) -> ToolCalls:
        count = self._count
        return ToolCalls(
            judged=count["judged"],
            replies=count["calling"],
            share=count["calling"] / count["judged"] if count["judged"] else None,
            calls=count["calls"],
            calls_per_reply=count["calls"] / count["calling"] if count["calling"] else None,
        )
