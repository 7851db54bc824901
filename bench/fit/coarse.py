"""Servers whose chunks hold several tokens: of several steps, sent together, or drafts accepted in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.fit.decode_cost import pieces_of
from bench.fit.steps import Rows, joined
from bench.fit.streams import Stream

Array = npt.NDArray[np.float64]
ChunkKind = Literal["single", "interval", "drafts"]

_NOTABLE = 0.2
_IN_PROPORTION = 0.5


def chunk_kind(streams: Sequence[Stream]) -> ChunkKind:
    """single: a token a chunk, nearly always. interval: the time between chunks grows with their tokens, so these are of
    several steps (or all chunks have the same number). drafts: it does not, so a step gave them all."""
    counts, gaps = [], []
    for stream in streams:
        if stream.sure:
            # The last chunk holds what was left, and the first stands alone.
            counts += list(stream.tokens[1:-1])
            gaps += [b - a for a, b in zip(stream.arrivals_us, stream.arrivals_us[1:-1], strict=False)]
    if not counts or float((np.array(counts) > 1).mean()) < _NOTABLE:
        return "single"
    tokens, times = np.array(counts, dtype=np.float64), np.array(gaps)
    low, high = float(np.quantile(tokens, 0.25)), float(np.quantile(tokens, 0.75))
    few, many = tokens <= low, tokens >= max(high, low + 1)
    if not many.any():
        return "interval"
    grows = np.log(np.median(times[many]) / max(float(np.median(times[few])), 1e-9))
    in_proportion = np.log(float(np.mean(tokens[many])) / float(np.mean(tokens[few])))
    return "interval" if grows > _IN_PROPORTION * in_proportion else "drafts"


def drafts_of(streams: Sequence[Stream]) -> tuple[int, float]:
    """Draft tokens a step, and the probability that one is accepted after the one before: 1 + a + a^2 + ... is the mean."""
    counts = [count for stream in streams if stream.sure for count in stream.tokens[1:-1]]
    drafts, mean = max(counts) - 1, float(np.mean(counts))
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(middle**i for i in range(drafts + 1)) < mean else (low, middle)
    return drafts, (low + high) / 2


def coarse_rows(streams: Sequence[Stream], gap_us: float) -> Rows:
    """A row for each chunk but the first of a stream: as many steps as it has tokens, and what other streams got meanwhile,
    in proportion where their own chunks reach over its ends."""
    sure = [stream for stream in streams if stream.sure and len(stream.tokens) > 1]
    if not sure:
        return joined(())
    spans = [
        (start, end, count)
        for stream in sure
        for start, end, count in zip(stream.arrivals_us, stream.arrivals_us[1:], stream.tokens[1:], strict=False)
    ]
    begin, end, steps = (np.array(column, dtype=np.float64) for column in zip(*spans, strict=True))
    decode, context, prefill = (np.zeros(len(spans)) for _ in range(3))
    unsure = np.zeros(len(spans), dtype=bool)
    for stream in streams:
        if not stream.sure:
            unsure |= (begin < stream.end_us) & (end > stream.sent_us)
            continue
        first = stream.arrivals_us[0]
        prefill += np.where((first > begin + gap_us / 2) & (first <= end + gap_us / 2), stream.fresh_tokens, 0)
        given = np.cumsum(stream.tokens)
        low, high = (np.interp(at, stream.arrivals_us, given, left=given[0], right=given[-1]) for at in (begin, end))
        decode += high - low
        context += (high - low) * (stream.prompt_tokens + (low + high) / 2)
    # A prompt of which a part may lie in front of the row, or behind it, is divided by nobody.
    chosen = ~unsure
    order = np.argsort(begin[chosen], kind="stable")
    # Its steps are taken to be of one size.
    pieces = pieces_of(decode / steps) * steps[:, None]
    columns = (end - begin, steps, prefill, decode, context, pieces)
    return Rows(*(column[chosen][order] for column in columns))
