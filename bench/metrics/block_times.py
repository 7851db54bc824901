"""What the numbers of many plain records are made of, as arrays: the definitions of `per_request`, for a whole block.

A plain record (`record_blocks.py`) succeeded, and each of its tokens came in a content chunk of its own. So its first
token chunk holds one token, every gap is an ITL, and TTFO is TTFT. Times are ns from the start of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from bench.metrics.catalog import REQUEST_METRICS
from bench.metrics.per_request import NS_PER_MS
from bench.run_files.record_blocks import Floats, Ints, Mask, PlainBlock


class BlockTimes:
    """Of the records of a block: one row a record, or one entry a token or a gap, in their order."""

    def __init__(self, block: PlainBlock, start_ns: int) -> None:
        self.block = block
        self.start_ns = start_ns
        self.first_ns, self.last_ns = block.stamps[block.first_at], block.stamps[block.last_at]
        self.sent = block.sent_ns - start_ns
        self.end = block.end_ns - start_ns
        said, n = block.known("output_tokens")
        self.n = np.where(said, n, block.tokens)
        """Output tokens."""

    @cached_property
    def chunk_times(self) -> Ints:
        """Arrivals of all chunks."""
        return self.block.stamps - self.start_ns

    @cached_property
    def token_at(self) -> Ints:
        """Where the tokens are among the chunks."""
        tokens = self.block.tokens
        ahead = np.cumsum(tokens) - tokens
        found: Ints = np.arange(int(tokens.sum())) + np.repeat(self.block.first_at - ahead, tokens)
        return found

    @cached_property
    def token_times(self) -> Ints:
        """Arrivals of the tokens."""
        return self.chunk_times[self.token_at]

    @cached_property
    def _in_record(self) -> Mask:
        """Of the differences of neighbouring tokens, those between tokens of one record."""
        found = np.ones(max(len(self.token_times) - 1, 0), dtype=np.bool_)
        found[np.cumsum(self.block.tokens)[:-1] - 1] = False
        return found

    @cached_property
    def gaps(self) -> Ints:
        """Gaps between the tokens of each record."""
        return np.diff(self.token_times)[self._in_record]

    @cached_property
    def gap_ends(self) -> Ints:
        """When each gap ended."""
        return self.token_times[1:][self._in_record]

    @cached_property
    def bounded(self) -> bool:
        """Whether any stamp is a bound."""
        return bool(self.block.earliest.any())

    def _open_ms(self, at: Ints) -> Floats:
        """How much earlier than its stamp a chunk of each record can have arrived."""
        earliest = self.block.earliest[at]
        width = np.maximum(0, self.block.stamps[at] - earliest) / NS_PER_MS
        return np.where(earliest > 0, width, 0.0)

    @cached_property
    def first_open_ms(self) -> Floats:
        """Of the first token."""
        return self._open_ms(self.block.first_at)

    @cached_property
    def last_open_ms(self) -> Floats:
        """Of the last token."""
        return self._open_ms(self.block.last_at)

    @cached_property
    def lateness_ms(self) -> Floats:
        """sent - eligible - connect."""
        _, connect_ns = self.block.known("connect_ns")
        return (self.block.sent_ns - self.block.ints("eligible_ns") - connect_ns) / NS_PER_MS

    @cached_property
    def metrics(self) -> Mapping[str, Floats]:
        """Every metric with one value a request, by its key; NaN where a request has none."""
        block, intended = self.block, self.block.ints("intended_ns")
        ttft = (self.first_ns - block.sent_ns) / NS_PER_MS
        after_first = (self.n - 1).astype(np.float64)
        has_speed = (block.tokens > 1) & (after_first > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            tpot = np.where(has_speed, (self.last_ns - self.first_ns) / after_first / NS_PER_MS, np.nan)
            # Where all tokens came in one read, their stamps say only how fast it was at least.
            longest_ms = np.where(tpot > 0, tpot, self.first_open_ms / after_first)
            tps = np.where(has_speed & (longest_ms > 0), 1000 / longest_ms, np.nan)
        found = {
            "ttft_ms": ttft,
            "tpot_ms": tpot,
            "e2el_ms": (self.last_ns - block.sent_ns) / NS_PER_MS,
            "tps": tps,
            "ttft_from_intended_ms": (self.first_ns - intended) / NS_PER_MS,
            "e2el_from_intended_ms": (self.last_ns - intended) / NS_PER_MS,
            "ttfo_ms": ttft,
        }
        others = {key: of for key, of in _OF.items() if key not in found}
        if others:  # A metric that has no form for blocks.
            records = list(block.records())
            found |= {key: np.array(list(map(of, records)), dtype=np.float64) for key, of in others.items()}
        return found


_OF = {metric.key: metric.of for metric in REQUEST_METRICS.values()}
