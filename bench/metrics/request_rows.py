"""A request as one flat row of data and metrics, for other tools."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.clock import NS_PER_MS, NS_PER_S
from bench.metrics.catalog import REQUEST_METRICS, request_values
from bench.metrics.request_metrics import output_tokens, send_lateness_ms
from bench.records import RequestRecord, ServerWords
from bench.records.record_table import Floats, RecordTable

Row = dict[str, object]
_SERVER_COLUMNS = [name for name in ServerWords.__struct_fields__ if name != "acceptance"]
"""The server's own numbers, except lists: a cell holds one number."""


def request_rows(table: RecordTable, start_ns: int) -> Iterator[Row]:
    """Names include the unit; times count from the start of the run. None: it did not happen, or is unknown."""
    chunks = table.token_chunks
    first_ns = np.where(chunks.counts > 0, (chunks.first(chunks.ns) - start_ns) / NS_PER_S, np.nan)
    columns = {key: _listed(of) for key, of in request_values(table).items()}
    columns |= {"first_token_s": _listed(first_ns), "send_lateness_ms": _listed(send_lateness_ms(table))}
    columns |= {"token_chunks": chunks.counts.tolist(), "output_tokens": output_tokens(table).tolist()}
    for row, record in enumerate(table.records):
        yield _row(record, start_ns, {key: column[row] for key, column in columns.items()})


def _listed(values: Floats) -> list[float | None]:
    return [value if value == value else None for value in values.tolist()]


def _row(record: RequestRecord, start_ns: int, values: Row) -> Row:
    def seconds(at_ns: int | None) -> float | None:
        return None if at_ns is None else (at_ns - start_ns) / NS_PER_S

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
        "first_token_s": values["first_token_s"],
        "end_s": seconds(record.end_ns),
        "connect_ms": None if record.connect_ns is None else record.connect_ns / NS_PER_MS,
        "send_lateness_ms": values["send_lateness_ms"],
        **{metric.key: values[metric.key] for metric in REQUEST_METRICS.values()},
        "token_chunks": values["token_chunks"],
        "input_tokens_asked": record.input_tokens_asked,
        "input_tokens": record.input_tokens,
        "cached_tokens": record.cached_tokens,
        "output_tokens_asked": record.output_tokens_asked,
        "output_tokens": values["output_tokens"] if record.inputs is None else None,
        "reasoning_tokens": record.reasoning_tokens,
        "tool_calls": record.tool_calls,
        "inputs": record.inputs,
        "dimensions": record.dimensions,
        **{name: getattr(record, name) for name in _SERVER_COLUMNS},
        "bytes_sent": record.bytes_sent,
        "bytes_received": record.bytes_received,
        "clock": record.clock,
    }
