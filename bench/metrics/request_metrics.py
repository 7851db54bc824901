"""The metrics of requests, one function each, over all requests of a table.

A *token chunk* contains generated text (kinds c, t, f). Role deltas, empty deltas, usage chunks and `[DONE]` do not
start or end any metric. A failed request has no latency: every function below returns NaN for it, except
`time_until_failure_ms`. NaN always means "did not happen".

n = output tokens (for TPOT without hidden reasoning); k1 = tokens in the first token chunk:

    TTFT   first token chunk - sent
    TTFO   first token chunk that is not reasoning - sent
    E2EL   last token chunk or chunk of audio or image - sent; of a response that is not a stream: end - sent
    TTFI   first image chunk - sent
    TPOT   (last token chunk - first token chunk) / (n - k1)
    TPS    1 / TPOT

The gaps between token chunks, and ITL, are in token_gaps.py.
"""

from __future__ import annotations

import numpy as np

from bench.clock import NS_PER_MS
from bench.records.record_table import Floats, Ints, Mask, RecordTable


def output_tokens(table: RecordTable) -> Ints:
    """n: the record's own count, else one token per token chunk."""
    has, n = table.known("output_tokens")
    return np.where(has, n, table.token_chunks.counts)


def input_tokens(table: RecordTable) -> tuple[Mask, Ints]:
    """Which requests have a known prompt length, and the length: the server's count, else the requested length."""
    (counted, tokens), (has_asked, asked) = table.known("input_tokens"), table.known("input_tokens_asked")
    return counted | has_asked, np.where(counted, tokens, asked)


def hidden_tokens(table: RecordTable) -> Ints:
    """Output tokens of reasoning that the server kept back: generated before the first token chunk, and in no chunk."""
    has, reasoning = table.known("reasoning_tokens")
    hidden = np.zeros(len(table), dtype=np.int64)
    if not reasoning.any():
        return hidden
    counted, n = table.known("output_tokens")
    chunks = table.token_chunks
    sums = np.bincount(table.chunk_row, weights=table.chunk_tokens, minlength=len(table))
    in_chunks = np.where(table.has_chunk_tokens, sums, chunks.counts)
    shown = np.array(["t" in kinds for kinds in table.column("chunk_kind")], dtype=np.bool_)
    visible = n - reasoning
    # Some servers do not count reasoning as output.
    rows = has & counted & ~shown & (table.sizes > 0) & (visible > 0) & (in_chunks <= visible)
    return np.where(rows, reasoning, hidden)


def tokens_after_first_chunk(table: RecordTable) -> Floats:
    """n - k1. If the tokens of chunks are unknown, the first chunk is assumed to have its equal share, n / chunks."""
    chunks = table.token_chunks
    n = (output_tokens(table) - hidden_tokens(table)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        k1 = np.where(table.has_chunk_tokens, chunks.first(chunks.tokens), n / chunks.counts)
    return np.where(chunks.counts > 0, n - k1, np.nan)


def _ms(rows: Mask, begin_ns: Ints, end_ns: Ints) -> Floats:
    return np.where(rows, (end_ns - begin_ns) / NS_PER_MS, np.nan)


def _has_tokens(table: RecordTable) -> Mask:
    return table.ok & (table.token_chunks.counts > 0)


def _first_token_ns(table: RecordTable) -> Ints:
    return table.token_chunks.first(table.token_chunks.ns)


def first_output(table: RecordTable) -> Ints:
    """The index, among all chunks of the table, of the first token chunk that is not reasoning; -1 if there is none."""
    chunks = table.token_chunks
    at = np.full(len(table), -1, dtype=np.int64)
    is_output = table.chunk_kind[chunks.at] != ord("t")
    rows, first = np.unique(chunks.row[is_output], return_index=True)
    at[rows] = chunks.at[is_output][first]
    return at


def ttft_ms(table: RecordTable) -> Floats:
    """Time to first token, from the time of sending."""
    has_sent, sent_ns = table.known("sent_ns")
    return _ms(_has_tokens(table) & has_sent, sent_ns, _first_token_ns(table))


def ttft_from_intended_ms(table: RecordTable) -> Floats:
    """Time to first token, from the due time of the request."""
    return _ms(_has_tokens(table), table.ints("intended_ns"), _first_token_ns(table))


def ttfo_ms(table: RecordTable) -> Floats:
    """Time to the first token chunk that is not reasoning."""
    at = first_output(table)
    has_sent, sent_ns = table.known("sent_ns")
    rows = table.ok & has_sent & (at >= 0)
    return _ms(rows, sent_ns, table.chunk_ns[at] if len(table.chunk_ns) else sent_ns)


def ttfb_ms(table: RecordTable) -> Floats:
    """Time to first byte of a successful response, from the time of sending."""
    has_sent, sent_ns = table.known("sent_ns")
    has_byte, first_byte_ns = table.known("first_byte_ns")
    return _ms(table.ok & has_sent & has_byte, sent_ns, first_byte_ns)


def ttfi_ms(table: RecordTable) -> Floats:
    """Time to the first image of a stream, partial or not, from the time of sending."""
    images, (has_sent, sent_ns) = table.image_chunks, table.known("sent_ns")
    return _ms(table.ok & has_sent & (images.counts > 0), sent_ns, images.first(images.ns))


def _answered(table: RecordTable) -> tuple[Mask, Ints]:
    """Which requests have an answer, and when its last text, image or audio, or the whole answer, arrived."""
    streamed, last_ns = table.sizes > 0, _last_ns(table)
    return table.ok & (~streamed | (last_ns >= 0)), np.where(streamed, last_ns, table.ints("end_ns"))


def _last_ns(table: RecordTable, *, earliest: bool = False) -> Ints:
    """When the last chunk of text, image or audio arrived, or its earliest possible arrival; -1 if there is none."""
    kinds = [table.token_chunks, table.image_chunks, *([table.audio_chunks] if table.has_audio else [])]
    lasts = [np.where(of.counts > 0, of.last(of.earliest if earliest else of.ns), -1) for of in kinds]
    latest: Ints = np.maximum.reduce(lasts)
    return latest


def e2el_ms(table: RecordTable) -> Floats:
    """End-to-end latency, from the time of sending."""
    has_sent, sent_ns = table.known("sent_ns")
    rows, answered_ns = _answered(table)
    return _ms(rows & has_sent, sent_ns, answered_ns)


def e2el_from_intended_ms(table: RecordTable) -> Floats:
    """End-to-end latency, from the due time of the request."""
    rows, answered_ns = _answered(table)
    return _ms(rows, table.ints("intended_ns"), answered_ns)


def tpot_ms(table: RecordTable) -> Floats:
    """Time per output token after the first chunk, for replies with at least two token chunks."""
    tokens = tokens_after_first_chunk(table)
    rows = table.ok & (table.token_chunks.counts > 1) & (tokens > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = (table.token_chunks.last(table.token_chunks.ns) - _first_token_ns(table)) / tokens / NS_PER_MS
    return np.where(rows, each, np.nan)


def tps(table: RecordTable) -> Floats:
    """Output tokens per second for this request's user: 1 / TPOT.

    If all chunks came in one read, their stamps only give a lower limit of the speed, which is returned.
    """
    tpot = tpot_ms(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        longest_ms = np.where(tpot > 0, tpot, first_open_ms(table) / tokens_after_first_chunk(table))
        return np.where((tpot >= 0) & (longest_ms > 0), 1000 / longest_ms, np.nan)


def _open_ms(latest_ns: Ints, earliest_ns: Ints) -> Floats:
    widths: Floats = np.maximum(0, latest_ns - earliest_ns) / NS_PER_MS
    return widths


def first_open_ms(table: RecordTable) -> Floats:
    """How much earlier than its stamp the first token chunk can have arrived; 0 if the stamp is exact."""
    chunks = table.token_chunks
    return _open_ms(chunks.first(chunks.ns), chunks.first(chunks.earliest))


def last_token_open_ms(table: RecordTable) -> Floats:
    """The same for the last token chunk."""
    chunks = table.token_chunks
    return _open_ms(chunks.last(chunks.ns), chunks.last(chunks.earliest))


def last_open_ms(table: RecordTable) -> Floats:
    """The same for the last chunk of text, image or audio."""
    return _open_ms(_last_ns(table), _last_ns(table, earliest=True))


def image_open_ms(table: RecordTable) -> Floats:
    """The same for the first image."""
    images = table.image_chunks
    return _open_ms(images.first(images.ns), images.first(images.earliest))


def output_open_ms(table: RecordTable) -> Floats:
    """The same for the first token chunk that is not reasoning."""
    if not table.bounded:
        return np.zeros(len(table))
    at = first_output(table)
    is_bound, bounds = table.chunk_bounds
    latest = table.chunk_ns[at]
    return np.where((at >= 0) & is_bound[at], _open_ms(latest, bounds[at]), 0.0)


def send_lateness_ms(table: RecordTable) -> Floats:
    """sent - eligible - connect: the delay caused by the client, without the waits at a cap and for a connection."""
    has_sent, sent_ns = table.known("sent_ns")
    has_eligible, eligible_ns = table.known("eligible_ns")
    return _ms(has_sent & has_eligible, eligible_ns, sent_ns - table.ints("connect_ns"))


def time_until_failure_ms(table: RecordTable) -> Floats:
    """The time of a failed request, from sending (or from its due time if it was never sent) until its end."""
    has_sent, sent_ns = table.known("sent_ns")
    has_eligible, eligible_ns = table.known("eligible_ns")
    began_ns = np.where(has_sent, sent_ns, np.where(has_eligible, eligible_ns, table.ints("intended_ns")))
    return _ms(table.failed, began_ns, table.ints("end_ns"))


Bounds = tuple[Floats, Floats]
"""The least and the greatest values that the time stamps allow."""


def exact_bounds(table: RecordTable, values: Floats) -> Bounds:
    """Bounds of a metric that ends with its own stamp, which is exact."""
    del table
    return values, values


def first_token_bounds(table: RecordTable, values: Floats) -> Bounds:
    """Bounds of a metric that ends with the first token chunk."""
    return values - first_open_ms(table), values


def first_image_bounds(table: RecordTable, values: Floats) -> Bounds:
    """Bounds of a metric that ends with the first image."""
    return values - image_open_ms(table), values


def first_output_bounds(table: RecordTable, values: Floats) -> Bounds:
    """Bounds of a metric that ends with the first token chunk that is not reasoning."""
    return values - output_open_ms(table), values


def last_token_bounds(table: RecordTable, values: Floats) -> Bounds:
    """Bounds of a metric that ends with the last chunk of text, image or audio."""
    return values - last_open_ms(table), values


def tpot_bounds(table: RecordTable, values: Floats) -> Bounds:
    """(earliest last - first) / (n - k1) to (last - earliest first) / (n - k1)."""
    tokens = tokens_after_first_chunk(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(0.0, values - last_token_open_ms(table) / tokens), values + first_open_ms(table) / tokens


def tps_bounds(table: RecordTable, values: Floats) -> Bounds:
    """The inverse of the bounds of TPOT; infinite if TPOT may be 0."""
    least, greatest = tpot_bounds(table, tpot_ms(table))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = 1000 / greatest, 1000 / least
    return np.where(np.isnan(values), np.nan, low), np.where(np.isnan(values), np.nan, high)
