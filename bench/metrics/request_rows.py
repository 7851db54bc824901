"""A request as one flat row: what was seen of it and its metrics, for other tools to read."""

from __future__ import annotations

from typing import Any

from bench.metrics.catalog import REQUEST_METRICS
from bench.metrics.per_request import (
    NS_PER_MS,
    NS_PER_S,
    first_token,
    output_tokens,
    send_lateness_ms,
    token_chunk_count,
)
from bench.records import RequestRecord


def request_row(record: RequestRecord, start_ns: int) -> dict[str, Any]:
    """Names carry the unit; times count from the start of the run. None: it did not happen, or is not known."""

    def seconds(at_ns: int | None) -> float | None:
        return None if at_ns is None else (at_ns - start_ns) / NS_PER_S

    first = first_token(record)
    return {
        "id": record.id,
        "index": record.index,
        "phase": record.phase,
        "session": record.session,
        "worker": record.worker,
        "outcome": str(record.outcome),
        "status": record.status,
        "error": record.error,
        "attempts": record.attempts,
        "intended_s": seconds(record.intended_ns),
        "eligible_s": seconds(record.eligible_ns),
        "sent_s": seconds(record.sent_ns),
        "first_byte_s": seconds(record.first_byte_ns),
        "first_token_s": None if first is None else seconds(record.chunk_ns[first]),
        "end_s": seconds(record.end_ns),
        "connect_ms": None if record.connect_ns is None else record.connect_ns / NS_PER_MS,
        "send_lateness_ms": send_lateness_ms(record),
        **{metric.key: metric.of(record) for metric in REQUEST_METRICS.values()},
        "token_chunks": token_chunk_count(record),
        "input_tokens_asked": record.input_tokens_asked,
        "input_tokens": record.input_tokens,
        "cached_tokens": record.cached_tokens,
        "output_tokens_asked": record.output_tokens_asked,
        "output_tokens": output_tokens(record) if record.inputs is None else None,
        "reasoning_tokens": record.reasoning_tokens,
        "tool_calls": record.tool_calls,
        "inputs": record.inputs,
        "dimensions": record.dimensions,
        "server_queue_ms": record.server_queue_ms,
        "server_prefill_ms": record.server_prefill_ms,
        "server_decode_ms": record.server_decode_ms,
        "draft_steps": record.draft_steps,
        "draft_tokens": record.draft_tokens,
        "accepted_tokens": record.accepted_tokens,
        "bytes_sent": record.bytes_sent,
        "bytes_received": record.bytes_received,
        "clock": record.clock,
    }
