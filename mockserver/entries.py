"""What is known of one request while it is served, and the line of the ledger that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mockserver.clock import now_ns
from mockserver.dialect.openai import Refusal
from mockserver.faults import names
from mockserver.plans.arrival import Arrival
from mockserver.plans.plan import Plan
from mockserver.record.ledger import Entry
from mockserver.replies.reply import Reply
from mockserver.replies.wire import Wire
from mockserver.tokencount import TokenCount


@dataclass(slots=True)
class Case:
    """What is known of a request while it is served."""

    arrival: Arrival
    received_ns: int
    handled_ns: int
    bytes_in: int
    wire: Wire
    plan: Plan | None = None
    count: TokenCount | None = None
    held_ns: int = 0
    """For how long after its arrival it was not read on purpose."""
    version: int = 0
    """Of the configuration that it was planned with."""
    generates: bool = True
    """Whether the reply has tokens (an embedding has none)."""


def entry_of_refusal(case: Case, refusal: Refusal, sent_ns: int | None) -> Entry:
    """The line of a request that was refused; `sent_ns` None: the client had gone before it could be told."""
    return Entry(
        id=case.arrival.id,
        index=case.arrival.index,
        attempt=case.arrival.attempt,
        received_ns=case.received_ns,
        handled_ns=case.handled_ns,
        plan=case.plan,
        write_ns=[],
        chunk_tokens=[],
        chunk_kind="",
        blocked=[],
        end_ns=now_ns() if sent_ns is None else sent_ns,
        input_tokens=None,
        output_tokens=0,
        finished="error",
        status=refusal.status,
        fault=None if case.plan is None else names(case.plan.faults),
        bytes_in=case.bytes_in,
        bytes_out=0 if sent_ns is None else len(refusal.body),
        engine=_facts(case, {} if sent_ns is not None else {"cut": "client_closed"}),
    )


def entry_of_reply(case: Case, reply: Reply, facts: dict[str, int]) -> Entry:
    """The line of a request that was answered, whole or not; `facts` are the engine's."""
    assert case.count is not None
    engine = _facts(case, facts)
    assert case.plan is not None
    finished: str = case.plan.finish
    if reply.cut is not None:
        engine["cut"] = reply.cut
        finished = "abort"
    elif reply.failed:
        finished = "error"
    return Entry(
        id=case.arrival.id,
        index=case.arrival.index,
        attempt=case.arrival.attempt,
        received_ns=case.received_ns,
        handled_ns=case.handled_ns,
        plan=case.plan if case.generates or case.plan is None else replace(case.plan, output_tokens=0),
        write_ns=reply.write_ns,
        chunk_tokens=reply.chunk_tokens,
        chunk_kind="".join(reply.chunk_kinds),
        blocked=reply.blocked,
        end_ns=reply.end_ns,
        input_tokens=case.count.tokens,
        output_tokens=reply.tokens_out if case.generates else 0,
        finished=finished,
        status=reply.status,
        fault=reply.struck,
        bytes_in=case.bytes_in,
        bytes_out=reply.bytes_out,
        engine=engine,
    )


def _facts(case: Case, facts: Mapping[str, int | str]) -> dict[str, int | str]:
    """The facts of a line, the version of its configuration among them where it is not that of the start."""
    return {**facts, "config": case.version} if case.version else {**facts}
