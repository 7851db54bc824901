"""Sessions as graphs in virtual time: 200 random graphs, checked to the ns against an oracle built only from the
definition; and planted defects, each of which the oracle catches."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from bench.dispatch import sessions as dispatch
from bench.dispatch.sessions import Course
from bench.metrics import session_counts
from bench.metrics.session_counts import SessionCounts
from bench.records import Outcome
from bench.transport.scripted import ScriptedReply
from bench.workload import Request
from promptset.sessions import Session, Turn
from tests.support.session_graphs import MS, Reply, Sent, expected, random_session
from tests.support.tables import table_of
from tests.support.virtual_load import START, Load

GRAPHS = [random_session(seed) for seed in range(200)]
FEW = GRAPHS[:67]
"""Enough to show a defect."""


def replies(seed: int, fails: float) -> Callable[[int, int], Reply]:
    """Replies of odd numbers of ns, so that no two ends coincide."""

    def reply(number: int, turn: int) -> Reply:
        chance = random.Random(f"reply {seed} {number} {turn}")
        return Reply(chance.randint(MS, 30 * MS) * 2 + 1, chance.random() < fails)

    return reply


def script(reply: Callable[[int, int], Reply]) -> Callable[[Request], ScriptedReply]:
    def answer(request: Request) -> ScriptedReply:
        assert request.place is not None
        of = reply(request.place.number, request.place.turn)
        return ScriptedReply(ttft_ns=of.lasts_ns, failed=Outcome.RESET if of.fails else None)

    return answer


def then_none(sessions: Sequence[Session]) -> Iterator[Session]:
    """These sessions, then sessions whose first turn is due after the load."""
    never = Session(id="never", turns=(Turn(content="never", think_time_s=1e6),))
    return itertools.chain(sessions, itertools.repeat(never))


def lasts_ns(oracle: dict[tuple[int, int], Sent]) -> int:
    """Somewhat longer than the graphs take: nothing should be sent after that."""
    return max(sent.end_ns for sent in oracle.values()) + 100 * MS


def held(load: Load) -> dict[tuple[int, int], Sent]:
    found = {}
    for record in load.records:
        assert record.session_number is not None
        assert record.turn is not None
        assert record.sent_ns is not None
        assert (record.session_number, record.turn) not in found, "no turn is sent twice"
        times = (record.intended_ns, record.sent_ns, record.end_ns)
        found[record.session_number, record.turn] = Sent(*(at - START for at in times))
    return found


def run(
    graphs: Sequence[Session], *, users: int = 7, fails: float, real: bool, read_ns: int
) -> tuple[Load, dict[tuple[int, int], Sent]]:
    reply = replies(1, fails)
    oracle = expected(graphs, users, reply, real=real, read_ns=read_ns)
    load = Load(script(reply), duration_ns=lasts_ns(oracle), records_late_ns=read_ns)
    load.sessions(users, then_none(graphs), real=real)
    return load, oracle


# If failures are read late, the definition alone does not say when a user is free. The arrivals below have no such
# users.
@pytest.mark.parametrize("real", [False, True], ids=["planned", "real"])
@pytest.mark.parametrize(("third", "fails", "read_ns"), [(0, 0.0, 0), (1, 0.0, 3 * MS), (2, 0.05, 0)])
def test_200_random_graphs_are_sent_to_the_nanosecond(third: int, fails: float, read_ns: int, real: bool) -> None:
    graphs = GRAPHS[third::3]
    load, oracle = run(graphs, fails=fails, real=real, read_ns=read_ns)
    assert held(load) == oracle
    if not fails:
        assert len(oracle) == sum(len(session.turns) for session in graphs)


def arriving(fails: float, read_ns: int) -> tuple[Load, dict[tuple[int, int], Sent]]:
    reply = replies(2, fails)
    arrivals = [number * 11 * MS for number in range(len(FEW))]
    oracle = expected(FEW, arrivals, reply, real=True, read_ns=read_ns)
    load = Load(script(reply), duration_ns=lasts_ns(oracle), records_late_ns=read_ns)
    return load.session_arrivals(arrivals, FEW), oracle


@pytest.mark.parametrize("read_ns", [0, 3 * MS], ids=["read at once", "read late"])
def test_sessions_that_arrive_begin_when_they_arrive(read_ns: int) -> None:
    load, oracle = arriving(0.05, read_ns)
    assert held(load) == oracle


def not_sent(load: Load, oracle: dict[tuple[int, int], Sent], fails: float) -> tuple[int, int]:
    """Unsent turns, by the summary and by the definition."""
    reply, counts = replies(2, fails), SessionCounts()
    counts.add(table_of(*load.records))
    found = counts.describe(None)
    assert found is not None
    failed = {number for number, turn in oracle if reply(number, turn).fails}
    sent = Counter(number for number, _ in oracle)
    return found.turns_not_sent, sum(len(FEW[number].turns) - sent[number] for number in failed)


def test_turns_that_were_not_sent_are_counted() -> None:
    counted, defined = not_sent(*arriving(0.05, 3 * MS), 0.05)
    assert counted == defined > 15


def test_a_graph_has_what_makes_it_hard() -> None:
    turns = [(session, turn) for session in GRAPHS for turn in range(len(session.turns))]
    joins = [turn for session, turn in turns if len(session.nodes[turn].after) > 1]
    own = [turn for session, turn in turns if turn and session.nodes[turn].continues is None]
    assert len(joins) > 200
    assert len(own) > 200
    assert any(not session.nodes[turn].after for session, turn in turns if turn)


# Planted defects.


class JoinOfOne(Course):
    """A join waits only for the first of its parents."""

    def __init__(self, after: Sequence[Sequence[int]], *rest: Any, **named: Any) -> None:
        super().__init__([before[:1] for before in after], *rest, **named)


class PauseFromTheFirst(Course):
    """A pause begins with the first end instead of the last."""

    def _due(self, turns: Any) -> list[tuple[int, int]]:
        found = super()._due(turns)
        return [
            (turn, min((self._ended_ns[b] for b in self._after[turn]), default=self._began_ns) + self._pauses_ns[turn])
            for turn, _ in found
        ]


class NoPause(Course):
    """Pauses are left out."""

    def __init__(self, after: Sequence[Sequence[int]], pauses_ns: Sequence[int], **named: Any) -> None:
        super().__init__(after, [0 for _ in pauses_ns], **named)


@pytest.mark.parametrize("wrong", [JoinOfOne, PauseFromTheFirst, NoPause])
def test_a_wrong_course_is_caught(wrong: type[Course], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "Course", wrong)
    load, oracle = run(FEW, fails=0.0, real=False, read_ns=0)
    assert held(load) != oracle


def test_a_session_that_goes_on_after_a_failure_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch._Session, "fail", lambda self: None)
    load, oracle = arriving(0.05, 0)
    assert held(load).keys() > oracle.keys()


def test_turns_not_sent_that_are_not_counted_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_counts._Session, "not_sent", 0)
    counted, defined = not_sent(*arriving(0.05, 0), 0.05)
    assert counted != defined


def test_an_end_that_waits_for_its_record_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = dispatch.SessionsLoop._turn_ended
    monkeypatch.setattr(
        dispatch.SessionsLoop,
        "_turn_ended",
        lambda self, session, turn, end_ns, whole: ended(self, session, turn, end_ns, False),
    )
    load, oracle = run(FEW, fails=0.0, real=False, read_ns=3 * MS)
    assert held(load) != oracle
