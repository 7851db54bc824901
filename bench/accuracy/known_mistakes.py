"""Computes from the ledger the numbers that a client with a known mistake would report.

Real tools make or made each of these mistakes (docs/calibration.md). If a reported number is wrong and a mistake gives
the same number, that mistake is the likely cause. To add a mistake, add a constant and a `yield` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from bench.accuracy.join import Pair
from bench.accuracy.truth import TokenTimes, sent_on_ledger_clock_ns, written_reply
from bench.clock import NS_PER_MS

ROLE = "it ends at the role chunk, which carries no text"
FIRST_CHUNK = "it ends at the first chunk of any kind"
REASONING_IGNORED = "reasoning is not counted as text"
REASONING_COUNTED = "reasoning is counted as output"
CONNECT = "it includes the set-up of a new connection"
FROM_DUE = "it counts from when the request was due, not from when it was sent"
FROM_SENT = "it counts from when the request was sent, not from when it was due: the client's delay is left out"
USAGE = "it ends at the usage chunk"
LAST_CHUNK = "it ends at the last chunk of any kind, [DONE]"
END = "it ends with the response, not with the last token"
TTFT_IN_TPOT = "it includes TTFT: it is E2EL / n"
TTFT_IN_TPOT_LESS_ONE = "it includes TTFT: it is E2EL / (n - 1)"
FIRST_CHUNK_AS_ONE = "the first chunk is counted as one token"
CHUNKS = "chunks are counted as tokens"
REASONING_TWICE = "reasoning tokens are counted twice"
REASONING_NO_TOKENS = "reasoning tokens are left out of the count"
SERVERS_COUNT = "the server's usage differs from the tokens that it sent"
USAGE_IN_TPOT = "it ends at the usage chunk"
NO_SHARING = "a gap is one sample, however many tokens came with it"
EVERY_CHUNK = "gaps to chunks without text are included"
SHARED = "gaps are shared by the tokens of a chunk"
BURSTS = "the tokens of a chunk are counted as 0 ms apart"

MistakenValues = tuple[str, str, Sequence[float]]
"""Metric (its key in summary.json), mistake, and the values that the request would give."""


def mistaken_values(pair: Pair, *, shared_clock: bool = True) -> Iterator[MistakenValues]:
    """The values that each mistake gives for a request that was served in full."""
    record, line = pair.record, pair.line
    assert record.sent_ns is not None
    sent_ns = sent_on_ledger_clock_ns(pair, shared_clock=shared_clock)
    reply = written_reply(line, record, sent_ns)
    if reply is None:
        return
    writes, kinds = line["write_ns"], line["chunk_kind"]
    first, last = reply.times[0], reply.times[-1]
    connect_ms = (record.connect_ns or 0) / NS_PER_MS

    def since_sent(at: int) -> list[float]:
        return [(at - sent_ns) / NS_PER_MS]

    role = writes[kinds.index("r")] if "r" in kinds else first
    output = next((at for at, kind in zip(reply.times, reply.kinds, strict=True) if kind != "t"), first)
    usage = writes[kinds.rindex("u")] if "u" in kinds else last
    yield "ttft_ms", ROLE, since_sent(role)
    yield "ttft_ms", FIRST_CHUNK, since_sent(writes[0])
    yield "ttft_ms", REASONING_IGNORED, since_sent(output)
    yield "ttft_ms", CONNECT, [since_sent(first)[0] + connect_ms]
    yield "ttft_ms", FROM_DUE, [(first - reply.due_ns) / NS_PER_MS]
    yield "ttfo_ms", REASONING_COUNTED, since_sent(first)
    yield "ttft_from_intended_ms", FROM_SENT, since_sent(first)
    yield "e2el_from_intended_ms", FROM_SENT, since_sent(last)
    yield "e2el_ms", FROM_DUE, [(last - reply.due_ns) / NS_PER_MS]
    yield "e2el_ms", USAGE, since_sent(usage)
    yield "e2el_ms", LAST_CHUNK, since_sent(writes[-1])
    yield "e2el_ms", END, since_sent(line["end_ns"])
    yield "e2el_ms", CONNECT, [since_sent(last)[0] + connect_ms]
    yield from _between(reply, writes, usage, record.output_tokens)


def _between(reply: TokenTimes, writes: Sequence[int], usage: int, counted: int | None) -> Iterator[MistakenValues]:
    first, last = reply.times[0], reply.times[-1]
    n, k1, chunks = sum(reply.tokens), reply.tokens[0], len(reply.times)
    thinking = sum(tokens for tokens, kind in zip(reply.tokens, reply.kinds, strict=True) if kind == "t")
    times_of: dict[str, tuple[int, int]] = {
        TTFT_IN_TPOT: (last - reply.sent_ns, n),
        TTFT_IN_TPOT_LESS_ONE: (last - reply.sent_ns, n - 1),
        FIRST_CHUNK_AS_ONE: (last - first, n - 1),
        CHUNKS: (last - first, chunks - 1),
        REASONING_TWICE: (last - first, n + thinking - k1),
        REASONING_NO_TOKENS: (last - first, n - thinking - 1),
        USAGE_IN_TPOT: (usage - first, n - k1),
        SERVERS_COUNT: (last - first, (n if counted is None else counted) - k1),
    }
    if chunks > 1:
        for mistake, (ns, tokens) in times_of.items():
            if tokens > 0 and ns > 0:
                yield "tpot_ms", mistake, [ns / NS_PER_MS / tokens]
                yield "tps", mistake, [tokens * 1e9 / ns]
    gaps = [(b - a) / NS_PER_MS for a, b in pairwise(reply.times)]
    yield "itl_ms", NO_SHARING, gaps
    every = [(b - a) / NS_PER_MS for a, b in pairwise(writes)]
    yield "itl_ms", EVERY_CHUNK, every
    yield "chunk_gap_ms", EVERY_CHUNK, every
    if max(reply.tokens) > 1:
        shared: list[float] = []
        bursts: list[float] = []
        for gap, tokens in zip(gaps, reply.tokens[1:], strict=True):
            shared += [gap / max(tokens, 1)] * max(tokens, 1)
            bursts += [gap, *[0.0] * max(tokens - 1, 0)]
        yield "chunk_gap_ms", SHARED, shared
        yield "itl_ms", BURSTS, bursts
