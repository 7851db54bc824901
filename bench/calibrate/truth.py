"""The metrics of the same requests as the mock's ledger tells them.

Written apart from bench.metrics on purpose, from the definitions alone (docs/metrics.md) and with the standard library's
quantiles: a shared mistake would cancel out. Truth is what was done, not what was planned. Mock and client share a host
and so CLOCK_MONOTONIC: a true time to first token runs from the client's own `sent` to the mock's first token write.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise

from bench.calibrate.join import CUT_BY_CLIENT, Pair, expected_outcome
from bench.records import Outcome

STATS = {"p50": 500, "p90": 900, "p99": 990}
"""Quantiles that are compared, in thousandths."""

NS_PER_MS = 1e6


def true_values(pairs: Iterable[Pair]) -> dict[str, list[float]]:
    """Every true value in ms, by metric: of the requests of the run that were served in full.

    The ledger says which those are; that the client itself cut a response short, the client alone knows.
    """
    values: dict[str, list[float]] = {
        name: []
        for name in (
            "ttft_ms",
            "tpot_ms",
            "itl_ms",
            "e2el_ms",
            "chunk_gap_ms",
            "ttft_from_intended_ms",
            "e2el_from_intended_ms",
        )
    }
    for pair in pairs:
        line, record = pair.line, pair.record
        if record.phase != "run" or expected_outcome(line) is not Outcome.OK or record.sent_ns is None:
            continue
        if record.outcome in CUT_BY_CLIENT:
            continue
        if not line["write_ns"]:
            values["e2el_ms"].append((line["end_ns"] - record.sent_ns) / NS_PER_MS)
            values["e2el_from_intended_ms"].append((line["end_ns"] - record.intended_ns) / NS_PER_MS)
            continue
        written = [
            (at, tokens)
            for at, tokens, kind in zip(line["write_ns"], line["chunk_tokens"], line["chunk_kind"], strict=True)
            if kind in ("c", "t", "f")
        ]
        if not written:
            continue
        (first_ns, first_tokens), (last_ns, _) = written[0], written[-1]
        values["ttft_ms"].append((first_ns - record.sent_ns) / NS_PER_MS)
        values["e2el_ms"].append((last_ns - record.sent_ns) / NS_PER_MS)
        values["ttft_from_intended_ms"].append((first_ns - record.intended_ns) / NS_PER_MS)
        values["e2el_from_intended_ms"].append((last_ns - record.intended_ns) / NS_PER_MS)
        after_first = sum(tokens for _, tokens in written) - first_tokens
        if len(written) > 1 and after_first > 0:
            values["tpot_ms"].append((last_ns - first_ns) / after_first / NS_PER_MS)
        waited_ms = 0.0
        for (before_ns, _), (at_ns, tokens) in pairwise(written):
            gap_ms = (at_ns - before_ns) / NS_PER_MS
            values["chunk_gap_ms"].append(gap_ms)
            waited_ms += gap_ms
            if tokens:  # Text without a token of its own (half a character) leaves its time to the next token.
                values["itl_ms"] += [waited_ms / tokens] * tokens
                waited_ms = 0.0
    return values


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """The compared quantiles (linear interpolation between order statistics, "inclusive"); the one value where n = 1."""
    if len(values) == 1:
        return dict.fromkeys(STATS, values[0])
    cuts = statistics.quantiles(values, n=1000, method="inclusive")
    return {name: cuts[thousandths - 1] for name, thousandths in STATS.items()}
