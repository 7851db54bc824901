"""The span of a traced request, from its record: `{operation} {model}`, kind client. The server's own spans are its
children."""

from __future__ import annotations

from dataclasses import dataclass

from bench.clock import NS_PER_S
from bench.records import Outcome, RequestRecord
from bench.telemetry.task import Subject
from bench.telemetry.totals import attributes_of, error_type
from bench.workload.tracing import ids_of

Value = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpan:
    """Times are on the clock of the records. `error`: the message of a request that did not succeed."""

    name: str
    trace_id: str
    span_id: str
    begin_ns: int
    end_ns: int
    attributes: dict[str, Value]
    error: str | None


def span_of(record: RequestRecord, subject: Subject) -> ClientSpan | None:
    """The span of a record. Returns None if it is not traced, or was never sent."""
    if record.traceparent is None or record.sent_ns is None:
        return None
    trace_id, span_id = ids_of(record.traceparent)
    shared = dict(attributes_of(record, subject))
    first_s = (record.chunk_ns[0] - record.sent_ns) / NS_PER_S if record.chunk_ns else None
    optional: dict[str, Value | None] = {
        "gen_ai.request.max_tokens": record.output_tokens_asked,
        "gen_ai.request.stream": True if record.streamed else None,
        "gen_ai.response.time_to_first_chunk": first_s,
        "gen_ai.usage.input_tokens": record.input_tokens,
        "gen_ai.usage.output_tokens": record.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": record.reasoning_tokens,
        "gen_ai.conversation.id": _conversation(record),
        "http.response.status_code": record.status,
        "error.type": error_type(record),
        "trueload.outcome": str(record.outcome),
        "trueload.phase": record.phase,
        "trueload.request.id": record.id,
        "trueload.traffic_class": record.traffic_class,
    }
    failed = record.outcome is not Outcome.OK
    return ClientSpan(
        name=" ".join(str(shared[key]) for key in ("gen_ai.operation.name", "gen_ai.request.model") if key in shared),
        trace_id=trace_id,
        span_id=span_id,
        begin_ns=record.sent_ns,
        end_ns=record.end_ns,
        attributes={**shared, **subject.request, **{key: v for key, v in optional.items() if v is not None}},
        error=(record.error or str(record.outcome)) if failed else None,
    )


def _conversation(record: RequestRecord) -> str | None:
    """The session; a session without a name is numbered."""
    if record.session is not None or record.session_number is None:
        return record.session
    return f"{record.id.rpartition('-')[0]}-session-{record.session_number}"
