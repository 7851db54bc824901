"""Which record belongs to which line of the ledger, and what must agree exactly between the two.

Joined by request id and attempt. The probe is left out. A record whose request never reached the server (refused
connections, dropped arrivals) has no line, and that is as it should be; everything else without a partner is a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.records import Outcome, RequestRecord

PROBE = "probe-"

NEVER_ARRIVED = frozenset({Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT, Outcome.DROPPED, Outcome.INTERRUPTED})
"""Outcomes of requests that the server may know nothing of."""

CUT_BY_CLIENT = frozenset(
    {
        Outcome.INTERRUPTED,
        Outcome.TIMEOUT_FIRST_BYTE,
        Outcome.TIMEOUT_IDLE,
        Outcome.TIMEOUT_TOTAL,
        Outcome.TIMEOUT_CONNECT,
    }
)
"""Outcomes that the client decided: the server may have written more than was read."""

OUTCOME_OF_FAULT = {
    "reset": Outcome.RESET,
    "error_in_stream": Outcome.STREAM_ERROR,
    "truncate": Outcome.TRUNCATED,
    "malformed": Outcome.MALFORMED,
}
"""What a client must make of a fault in the ledger. Faults that are a status give `http_error`; those that only delay
(`stall`) leave a success."""

CHECKS = ("status", "outcome", "number of chunks", "sequence of chunks", "number of tokens", "number of bytes")
"""What must be equal."""

SHOWN = 5
"""How many of one kind of disagreement are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One request as both sides saw it."""

    record: RequestRecord
    line: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Joined:
    """The pairs, what does not match (sentences), and how many things were compared."""

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]
    counts: Mapping[str, int]


def expected_outcome(line: Mapping[str, Any]) -> Outcome:
    """What the client must have recorded for this line of the ledger."""
    status = line["status"]
    if status is not None and status >= 300:
        return Outcome.HTTP_ERROR
    return OUTCOME_OF_FAULT.get(_fault_name(line), Outcome.OK)


def _fault_name(line: Mapping[str, Any]) -> str:
    fault = line.get("fault")
    return fault.partition(":")[0] if isinstance(fault, str) else ""


def join(records: Iterable[RequestRecord], ledger: Iterable[Mapping[str, Any]]) -> Joined:
    """Pair up records and ledger lines, and compare what must be equal."""
    lines: dict[tuple[str, int], Mapping[str, Any]] = {}
    attempts: dict[str, int] = {}
    without_record: list[str] = []
    for line in ledger:
        if line["id"] is None:
            without_record.append("one without x-request-id")
            continue
        if line["id"].startswith(PROBE):
            continue
        lines[line["id"], line["attempt"]] = line
        attempts[line["id"]] = max(line["attempt"], attempts.get(line["id"], 0))
    pairs: list[Pair] = []
    without_line: list[str] = []
    twice: list[str] = []
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            twice.append(record.id)
        seen.add(record.id)
        # A connection that died under its first attempt may have died before the server read it: the last attempt counts.
        found = lines.get((record.id, attempts.get(record.id, 0)))
        if found is not None:
            pairs.append(Pair(record, found))
        elif record.outcome not in NEVER_ARRIVED:
            without_line.append(record.id)
    without_record += [request_id for request_id in attempts if request_id not in seen]
    problems = _named("requests with two records", twice)
    problems += _named("records without a line in the ledger", without_line)
    problems += _named("lines of the ledger without a record", without_record)
    checks: dict[str, list[str]] = {name: [] for name in CHECKS}
    for pair in pairs:
        for name, difference in _differences(pair):
            checks[name].append(f"{pair.record.id} ({difference})")
    for name, differing in checks.items():
        problems += _named(f"requests whose {name} differs from the ledger", differing)
    counts = {
        "requests": len(pairs),
        "chunks": sum(len(p.line["write_ns"]) for p in pairs),
        "tokens": sum(sum(p.line["chunk_tokens"]) for p in pairs),
        "bytes_in": sum(p.line["bytes_in"] for p in pairs),
        "bytes_out": sum(p.line["bytes_out"] for p in pairs),
        "blocked": sum(len(p.line["blocked"]) for p in pairs),
        "unmatched": len(without_line) + len(without_record),
        "differing": sum(len(differing) for differing in checks.values()),
    }
    return Joined(tuple(pairs), tuple(problems), counts)


def _differences(pair: Pair) -> list[tuple[str, str]]:
    record, line = pair.record, pair.line
    found: list[tuple[str, str]] = []

    def compare(name: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            found.append((name, f"{ours} here, {theirs} there"))

    if record.outcome in CUT_BY_CLIENT:
        if len(record.chunk_ns) > len(line["write_ns"]):
            found.append(("number of chunks", f"{len(record.chunk_ns)} here, {len(line['write_ns'])} there"))
        return found
    compare("status", record.status, line["status"])
    compare("outcome", str(record.outcome), str(expected_outcome(line)))
    compare("number of bytes", record.bytes_sent, line["bytes_in"])
    if record.outcome is Outcome.RESET:
        return found  # What was under way when the connection died may have arrived or not.
    compare("number of bytes", record.bytes_received, line["bytes_out"])
    compare("number of chunks", len(record.chunk_ns), len(line["write_ns"]))
    if record.outcome is Outcome.OK and record.streamed:
        compare("sequence of chunks", record.chunk_kind, line["chunk_kind"])
        compare("number of tokens", record.output_tokens, sum(line["chunk_tokens"]))
    return found


def _named(what: str, which: list[str]) -> list[str]:
    if not which:
        return []
    more = f" and {len(which) - SHOWN} more" if len(which) > SHOWN else ""
    return [f"{what} ({len(which)}): {', '.join(which[:SHOWN])}{more}"]
