"""The number of sessions in a run, and how they ended: `sessions` of a summary.

A session counts if it has a request in the run. The first outcome that fits applies:

    failed       a turn of it failed or was cancelled; nothing more of it was sent
    whole        all its turns were answered, but for those that were before it began in its middle
    unfinished   the run ended before it did

`turns_not_sent` are the turns of failed sessions that were never sent. Turns that the end of a run cut off are not among
them, unless a turn of their session failed too.
"""

from __future__ import annotations

from array import array

import numpy as np

from bench.clock import NS_PER_S
from bench.records import Outcome, RequestRecord
from bench.records.record_table import Floats, RecordTable
from bench.results.sessions import Sessions

_SENT_WELL = (Outcome.OK, Outcome.INTERRUPTED, Outcome.DROPPED)
"""Any other outcome ends a session."""


FAR_NS = 2**62
"""Marks the end of a session that the run did not reach."""


class _Session:
    __slots__ = (
        "answered", "began_ns", "end_ns", "failed", "first_pause_ns", "in_run", "sent", "turns", "turns_before", "worker",
    )  # fmt: skip

    def __init__(self, turns: int, turns_before: int, worker: int) -> None:
        self.worker = worker
        self.began_ns: int | None = None
        self.first_pause_ns = 0
        self.end_ns = 0
        self.turns = turns
        self.turns_before = turns_before
        self.sent = self.answered = 0
        self.failed = self.in_run = False

    @property
    def not_sent(self) -> int:
        return self.turns - self.turns_before - self.sent

    @property
    def is_whole(self) -> bool:
        return self.answered == self.turns - self.turns_before


class SessionCounts:
    """Folds the records of a run, including its warm-up, in which a session may have begun."""

    def __init__(self) -> None:
        self._sessions: dict[int, _Session] = {}

    def add(self, table: RecordTable) -> None:
        """Add records, in any order; requests without a session are ignored."""
        for record in table.records:
            if record.session_number is not None and record.session_turns is not None:
                self._add(record, record.session_number, record.session_turns)

    def _add(self, record: RequestRecord, number: int, turns: int) -> None:
        before = 0 if record.session_turns_before is None else record.session_turns_before
        session = self._sessions.get(number)
        if session is None:
            session = _Session(turns, before, record.worker)
            self._sessions[number] = session
        if record.after == () or (record.after is None and record.turn == 0):
            session.first_pause_ns = 0 if record.pause_ns is None else record.pause_ns
            session.began_ns = record.intended_ns - session.first_pause_ns
        session.end_ns = max(session.end_ns, record.end_ns)
        session.sent += 1
        session.answered += record.outcome is Outcome.OK
        session.failed |= record.outcome not in _SENT_WELL
        session.in_run |= record.phase == "run"

    def spans(self) -> list[tuple[array[int], array[int]]]:
        """Begin and end of the sessions that began in the run, for each worker, in absolute ns. A session without an
        end continues."""
        by_worker: dict[int, tuple[array[int], array[int]]] = {}
        for session in self._sessions.values():
            if session.began_ns is not None:
                begins, ends = by_worker.setdefault(session.worker, (array("q"), array("q")))
                begins.append(session.began_ns)
                ends.append(session.end_ns if session.failed or session.is_whole else FAR_NS)
        return list(by_worker.values())

    def times_s(self) -> tuple[Floats, Floats]:
        """Start and end of each session in `spans`, in s. The end of a session that did not end is infinity."""
        spans = self.spans()
        begins, ends = (np.concatenate([np.empty(0), *(span[k] for span in spans)]) for k in (0, 1))
        return begins / NS_PER_S, np.where(ends == FAR_NS, np.inf, ends / NS_PER_S)

    def begins(self, start_ns: int) -> tuple[dict[int, float], float]:
        """When each session began, by its number, in ns from `start_ns`; and the time up to which the begins are
        complete. Up to the last begin of each worker its sessions are known, but a session whose first turn waits may
        not have been sent."""
        starts: dict[int, float] = {}
        last: dict[int, float] = {}
        for number, session in self._sessions.items():
            if session.began_ns is not None:
                starts[number] = began = session.began_ns - start_ns
                last[session.worker] = max(last.get(session.worker, began), began)
        pause_ns = max((session.first_pause_ns for session in self._sessions.values()), default=0)
        return starts, min(last.values(), default=0.0) - pause_ns

    def describe(self, offered_per_s: float | None) -> Sessions | None:
        """`sessions` of a summary. Returns None without sessions. `offered_per_s`: new sessions, if a rate decides."""
        sessions = [session for session in self._sessions.values() if session.in_run]
        if not sessions:
            return None
        failed = [session for session in sessions if session.failed]
        whole = sum(not session.failed and session.is_whole for session in sessions)
        return Sessions(
            offered_per_s=offered_per_s,
            held=len(sessions),
            whole=whole,
            failed=len(failed),
            unfinished=len(sessions) - whole - len(failed),
            begun_in_middle=sum(session.turns_before > 0 for session in sessions),
            turns_not_sent=sum(session.not_sent for session in failed),
        )
