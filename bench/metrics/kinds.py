"""What replies are made of: answers, reasoning and tool calls, in chunks and tokens; and which replies call tools."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import TYPE_CHECKING, Any

from bench.records import RequestRecord

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes

KINDS = {"content": "c", "reasoning": "t", "tool_calls": "f"}
"""The kinds of text, and their letters in a record."""

_MIXED = frozenset("tf")


class KindTally:
    """Folds successful requests."""

    def __init__(self) -> None:
        self._chunks: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._count: Counter[str] = Counter()

    def add(self, record: RequestRecord, n: int) -> None:
        """One request, with the n output tokens of its reply."""
        letters, count = record.chunk_kind, self._count
        if _MIXED.isdisjoint(letters):  # As most replies are.
            if content := letters.count("c"):
                self._chunks["c"] += content
                self._tokens["c"] += n
        else:
            self._add_mixed(record, n)
        if record.reasoning_tokens is not None:
            count["reasoning_said"] += 1
            count["reasoning"] += record.reasoning_tokens
        if record.tool_calls is not None:
            count["judged"] += 1
            count["calling"] += record.tool_calls > 0
            count["calls"] += record.tool_calls

    def add_block(self, times: BlockTimes) -> None:
        """The requests of a block: all their text is content."""
        block, count = times.block, self._count
        self._chunks["c"] += int(block.tokens.sum())
        self._tokens["c"] += int(times.n.sum())
        said, reasoning = block.known("reasoning_tokens")
        if said.any():
            count["reasoning_said"] += int(said.sum())
            count["reasoning"] += int(reasoning.sum())
        judged, calls = block.known("tool_calls")
        if judged.any():
            count["judged"] += int(judged.sum())
            count["calling"] += int((calls > 0).sum())
            count["calls"] += int(calls.sum())

    def _add_mixed(self, record: RequestRecord, n: int) -> None:
        letters, tokens = record.chunk_kind, record.chunk_tokens
        found = [letter for letter in KINDS.values() if letter in letters]
        for letter in found:
            self._chunks[letter] += letters.count(letter)
        if len(found) == 1:
            self._tokens[found[0]] += n
        elif tokens is None:
            self._count["unknown"] += 1
        else:
            for letter in found:
                self._tokens[letter] += sum(compress(tokens, map(letter.__eq__, letters)))

    def to_json(self) -> dict[str, Any]:
        """`kinds` and `tool_calls` of a summary's tokens."""
        count = self._count
        return {
            "kinds": {
                **{
                    name: {"chunks": self._chunks[letter], "tokens": self._tokens[letter]}
                    for name, letter in KINDS.items()
                },
                "requests_with_unknown_tokens": count["unknown"],
                "reasoning_by_usage": count["reasoning"] if count["reasoning_said"] else None,
            },
            "tool_calls": {
                "judged": count["judged"],
                "replies": count["calling"],
                "share": count["calling"] / count["judged"] if count["judged"] else None,
                "calls": count["calls"],
                "calls_per_reply": count["calls"] / count["calling"] if count["calling"] else None,
            },
        }
