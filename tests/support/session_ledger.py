"""Checks the joins of sessions against a mock's ledger: no request may arrive before all requests it depends on have
ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NS_PER_MS = 1e6


def after_of(record: Mapping[str, Any]) -> Sequence[int]:
    """The turns that a request depends on."""
    if record["after"] is not None:
        return record["after"]  # type: ignore[no-any-return]
    return [record["turn"] - 1] if record["turn"] else []


def wrong_joins(records: Iterable[Mapping[str, Any]], ledger: Iterable[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """The number of pairs (a turn, a turn it depends on), and a sentence for each pair that the ledger contradicts."""
    lines = {line["id"]: line for line in ledger}
    rows = {(record["session_number"], record["turn"]): record for record in records}
    pairs, wrong = 0, []
    for (session, turn), record in rows.items():
        for before in after_of(record):
            pairs += 1
            if (session, before) not in rows:
                wrong.append(f"session {session}: turn {turn} was sent, and turn {before} was not")
                continue
            arrived = lines[record["id"]]["received_ns"]
            ended = lines[rows[session, before]["id"]]["end_ns"]
            if arrived < ended:
                wrong.append(
                    f"session {session}: turn {turn} came {(ended - arrived) / NS_PER_MS:g} ms before {before} ended"
                )
    return pairs, wrong


def child_lateness_ms(records: Iterable[Mapping[str, Any]]) -> list[float]:
    """How late the turns with dependencies were sent, ascending."""
    return sorted(
        (r["sent_ns"] - r["intended_ns"]) / NS_PER_MS for r in records if after_of(r) and r["sent_ns"] is not None
    )
