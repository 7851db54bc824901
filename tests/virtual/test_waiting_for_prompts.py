"""A load whose prompts come too late from another process: due requests wait for them, and everything else continues."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from bench.transport.scripted import ScriptedReply
from bench.workload import RequestDraft
from promptset.sessions import Session, Turn
from promptset.sessions.packed import pack_session
from tests.support.virtual_load import MS, START, Load

DRAFT = RequestDraft(b"{}", True, None, None, None).pack()
ONE_TURN = Session(id="s", turns=(Turn(content="a", think_time_s=0.0, answer=None, input_tokens=1),))
TEN = ScriptedReply(ttft_ns=10 * MS)


class SlowFeed:
    """A feed that makes nothing by itself. Nothing may block on it."""

    def __init__(self) -> None:
        self.needs = 0

    def more(self) -> None: ...

    def wait(self) -> None:
        raise AssertionError("the event loop must not block")

    def needed(self) -> None:
        self.needs += 1


def fed(load: Load, feed: SlowFeed) -> None:
    load.backlog.stock.feed_from(feed, requests=100, most_bytes=10**6)


def comes(at_ns: int, packed: bytes = DRAFT) -> tuple[int, Callable[[Load], object]]:
    return at_ns, lambda load: load.backlog.add(packed)


def test_users_wait_for_their_prompts_in_turn_and_are_late_by_that() -> None:
    feed = SlowFeed()
    made = [comes(30 * MS), comes(35 * MS), comes(38 * MS), comes(50 * MS)]
    load = Load(TEN, requests=4, meanwhile=[(-1, lambda load: fed(load, feed)), *made]).closed(2)
    assert load.sent_at == [30 * MS, 35 * MS, 40 * MS, 50 * MS]
    assert [load.of(i).intended_ns - START for i in range(4)] == [0, 0, 40 * MS, 45 * MS]
    assert load.backlog.stock.late == feed.needs == 3


def test_arrivals_wait_for_their_prompts_and_the_schedule_stays() -> None:
    feed = SlowFeed()
    made = [comes(15 * MS), comes(16 * MS), comes(17 * MS), comes(42 * MS)]
    arrivals = [0, 10 * MS, 20 * MS, 30 * MS]
    load = Load(TEN, requests=4, meanwhile=[(-1, lambda load: fed(load, feed)), *made]).open(arrivals)
    assert load.sent_at == [15 * MS, 16 * MS, 20 * MS, 42 * MS]
    assert [load.of(i).intended_ns - START for i in range(4)] == arrivals
    assert load.backlog.stock.late == 3


def test_sessions_wait_for_theirs() -> None:
    feed = SlowFeed()
    session = pack_session(ONE_TURN)
    meanwhile = [(-1, lambda load: fed(load, feed)), comes(5 * MS, session), comes(6 * MS, session)]
    load = Load(TEN, requests=2, meanwhile=meanwhile).sessions(2, itertools.repeat(Session(id="none", turns=())))
    assert load.sent_at == [5 * MS, 6 * MS]
    assert [r.session for r in load.records] == ["s", "s"]


@pytest.mark.parametrize("closed", [True, False])
def test_a_load_that_waits_for_prompts_can_be_stopped(closed: bool) -> None:
    stop = (9 * MS, lambda load: load.stop.interrupt())
    meanwhile = [(-1, lambda load: fed(load, SlowFeed())), comes(5 * MS), stop, comes(12 * MS)]
    load = Load(TEN, requests=9, meanwhile=meanwhile)
    load = load.closed(3) if closed else load.open([0, 1, 2])
    assert (load.sent_at, load.ended_ns) == ([5 * MS], 15 * MS)


def test_a_user_who_waits_for_a_prompt_when_the_time_is_over_sends_nothing() -> None:
    meanwhile = [(-1, lambda load: fed(load, SlowFeed())), comes(1 * MS), comes(30 * MS)]
    load = Load(ScriptedReply(ttft_ns=2 * MS), duration_ns=20 * MS, meanwhile=meanwhile).closed(1)
    assert load.sent_at == [1 * MS]
    assert load.stop.reason == "duration"


@pytest.mark.parametrize("kind", ["closed", "open", "sessions", "session arrivals"])
def test_what_is_due_and_not_made_at_the_end_is_known(kind: str) -> None:
    """A request without a prompt has no record. Without this count, a run whose prompts never came would look like a
    shorter run."""
    unmade: list[list[int]] = []
    half = 29 * MS + MS // 2
    look = (half, lambda load: unmade.append([at - START for at in load.dispatcher.unmade(START + half)]))
    thing = pack_session(ONE_TURN) if "session" in kind else DRAFT
    load = Load(
        TEN, duration_ns=30 * MS, meanwhile=[(-1, lambda load: fed(load, SlowFeed())), comes(5 * MS, thing), look]
    )
    arrivals, none = [0, 10 * MS, 20 * MS, 29 * MS, 30 * MS], itertools.repeat(Session(id="none", turns=()))
    if kind == "closed":
        load.closed(2)
    elif kind == "open":
        load.open(arrivals)
    elif kind == "sessions":
        load.sessions(2, none)
    else:
        load.session_arrivals(arrivals, none)
    assert load.sent_at == [5 * MS]
    assert unmade == [[0, 15 * MS] if kind in ("closed", "sessions") else [10 * MS, 20 * MS, 29 * MS]]


@pytest.mark.parametrize("kind", ["closed", "open"])
def test_of_a_load_whose_prompts_are_there_nothing_is_unmade(kind: str) -> None:
    load = Load(TEN, duration_ns=30 * MS)
    load = load.closed(2) if kind == "closed" else load.open([0, 10 * MS])
    assert load.dispatcher.unmade(START + 30 * MS) == []
