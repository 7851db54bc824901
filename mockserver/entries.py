"""The state of one request while the mock serves it, and the resulting ledger entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mockserver.clock import now_ns
from mockserver.dialect.refusals import Refusal
from mockserver.dialect.speech import BYTES_PER_S, TOKEN_BYTES
from mockserver.faults import names
from mockserver.plans.arrival import Arrival
from mockserver.plans.plan import Plan
from mockserver.record.ledger import LedgerEntry
from mockserver.replies.reply import Reply
from mockserver.replies.wire import Wire
from mockserver.tokencount import TokenCount
from mockserver.workers.response_store import LastResponse


@dataclass(slots=True)
class RequestContext:
    """The state of a request while the mock serves it."""

    arrival: Arrival
    received_ns: int
    handled_ns: int
    bytes_in: int
    wire: Wire
    plan: Plan | None = None
    count: TokenCount | None = None
    held_ns: int = 0
    """How long the fault `slow_accept` delayed reading from the connection."""
    previous: str | None = None
    """Whether the stored response that the request continues was `found` or `lost`. None if it continues none."""
    last: LastResponse | None = None
    """The previous response on the same WebSocket connection. None for a request over HTTP."""
    model: str = ""
    """The requested model."""
    other_name: bool = False
    """Whether the request uses a name other than the model's first."""
    replicas: int | None = None
    """The number of replicas at arrival. None unless the mock scales."""
    replica_ns: int | None = None
    """When the newest replica started."""
    version: int = 0
    """The configuration version at the start of the request."""
    inputs: int | None = None
    """The number of inputs that are embedded or scored, or of images in the reply. None if the reply has tokens."""
    probe: str | None = None
    """The kind of probe that the request asks. None if it asks no probe."""
    choice_plans: list[Plan] = field(default_factory=list)
    """The plans of all choices, if the reply has several."""
    audio_ns: int | None = None
    """The length of the audio in the request. None without audio."""
    speaks: bool = False
    """Whether the reply is audio: its tokens are sound, not text."""
    of_any: bool = False
    """Whether the request asks for no text: its response has a first byte, but no chunks or tokens."""


def entry_of_refusal(context: RequestContext, refusal: Refusal, sent_ns: int | None) -> LedgerEntry:
    """The entry of a refused request. `sent_ns` is None if the client left before the refusal was sent."""
    return LedgerEntry(
        id=context.arrival.id,
        index=context.arrival.index,
        attempt=context.arrival.attempt,
        traceparent=context.arrival.traceparent,
        received_ns=context.received_ns,
        handled_ns=context.handled_ns,
        plan=context.plan,
        write_ns=[],
        chunk_tokens=[],
        chunk_kind="",
        blocked=[],
        end_ns=now_ns() if sent_ns is None else sent_ns,
        input_tokens=None,
        output_tokens=0,
        finished="error",
        status=refusal.status,
        fault=None if context.plan is None else names(context.plan.faults),
        bytes_in=context.bytes_in,
        bytes_out=0 if sent_ns is None else len(refusal.body),
        engine=_with_version(context, {} if sent_ns is not None else {"cut": "client_closed"}),
    )


def entry_of_reply(context: RequestContext, reply: Reply, facts: dict[str, int]) -> LedgerEntry:
    """The entry of a request that got a reply, complete or not. `facts` come from the engine."""
    assert context.count is not None
    assert context.plan is not None
    engine = _with_version(context, facts)
    finished: str = context.plan.finish
    if reply.cut is not None:
        engine["cut"] = reply.cut
        finished = "abort"
    elif reply.writer.failed:
        finished = "error"
    chunks = not context.of_any
    return LedgerEntry(
        id=context.arrival.id,
        index=context.arrival.index,
        attempt=context.arrival.attempt,
        traceparent=context.arrival.traceparent,
        received_ns=context.received_ns,
        handled_ns=context.handled_ns,
        plan=context.plan if context.inputs is None else replace(context.plan, output_tokens=0),
        write_ns=reply.write_ns if chunks else [],
        chunk_tokens=reply.chunk_tokens if context.inputs is None else [0] * len(reply.chunk_tokens) if chunks else [],
        chunk_kind="".join(reply.chunk_kinds) if chunks else "",
        blocked=reply.blocked if chunks else [],
        first_ns=None if chunks else _first_ns(reply),
        end_ns=reply.end_ns,
        input_tokens=context.count.tokens if chunks else None,
        inputs=context.inputs,
        output_tokens=reply.tokens_out if context.inputs is None else 0,
        finished=finished,
        status=reply.writer.status,
        fault=reply.writer.struck,
        bytes_in=context.bytes_in,
        bytes_out=reply.bytes_out,
        engine=engine,
        audio_in_ns=context.audio_ns,
        audio_out_bytes=_sound_of(reply) if context.speaks else None,
        audio_bytes_per_s=BYTES_PER_S if context.speaks else None,
        chunk_choice=reply.chunk_choices,
        choice_plans=context.choice_plans,
    )


def _first_ns(reply: Reply) -> int | None:
    """When the first byte of a response was written. If it was written in one piece, that is when the last byte was."""
    in_one = reply.head_ns is None and reply.cut is None and not reply.writer.failed
    return reply.end_ns if in_one else reply.head_ns


def _sound_of(reply: Reply) -> list[int]:
    """The bytes of audio in each chunk."""
    pairs = zip(reply.chunk_tokens, reply.chunk_kinds, strict=True)
    return [tokens * TOKEN_BYTES if kind == "a" else 0 for tokens, kind in pairs]


def _with_version(context: RequestContext, facts: Mapping[str, int | str]) -> dict[str, int | str]:
    """The facts, with the state of the previous response, the model unless the request used its first name, the kind of
    probe, the replicas, and the configuration version unless it is 0 (the start)."""
    more: dict[str, int | str] = {} if context.previous is None else {"previous": context.previous}
    if context.other_name:
        more["model"] = context.model
    if context.probe is not None:
        more["probe"] = context.probe
    if context.replicas is not None:
        more["replicas"] = context.replicas
    if context.replica_ns is not None:
        more["replica_ns"] = context.replica_ns
    if context.version:
        more["config"] = context.version
    return {**facts, **more}
