"""Dispatchers at their borders: turns of the event loop, changes at unusual instants, and the remains of an ended load."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from bench.clock import LoopClock, Timer
from bench.records import Outcome, RequestRecord
from bench.schedule.changing import ChangingArrivals
from bench.transport.interface import OnEnd, OnRecord, ignore
from bench.transport.scripted import ScriptedReply
from bench.workload import Request, RequestDraft
from bench.workload.turns import Conversation
from promptset.sessions import Session, Turn
from tests.support import virtual_load
from tests.support.changed import replace
from tests.support.virtual_load import MS, START, Load

TEN = ScriptedReply(ttft_ns=10 * MS)
Meanwhile = list[tuple[int, Callable[[Load], object]]]


def change(at_ms: int, load: float, told_at_ms: int | None = None) -> tuple[int, Callable[[Load], object]]:
    told_at = at_ms if told_at_ms is None else told_at_ms
    return told_at * MS, lambda made: made.dispatcher.change(START + at_ms * MS, load)


def every(gap_ms: int) -> Iterator[int]:
    return itertools.count(0, gap_ms * MS)


def talks(*pauses_s: float) -> Iterator[Session]:
    turns = tuple(Turn(content="x", think_time_s=pause, answer="y") for pause in (0.0, *pauses_s))
    return (Session(id=f"s{n}", turns=turns) for n in itertools.count())


def test_late_arrivals_are_sent_for_20_ms_before_anything_else_has_its_turn() -> None:
    # Sends take 4 ms each, so five are made in a row. An interrupt in between takes effect after the next five, which
    # were due earlier.
    stop: Meanwhile = [(18 * MS, lambda load: load.stop.interrupt())]
    assert len(Load(TEN, work_ns=4 * MS, meanwhile=stop).open([0] * 50).sent_at) == 10


def test_a_rate_that_is_set_while_a_prompt_is_waited_for_holds_from_then_on() -> None:
    class NoFeed:
        def more(self) -> None: ...

        def wait(self) -> None: ...

        def needed(self) -> None: ...

    draft = RequestDraft(b"{}", True, None, None, None).pack()
    meanwhile: Meanwhile = [
        (-1, lambda load: load.backlog.stock.feed_from(NoFeed(), requests=100, most_bytes=10**6)),
        change(50, 100.0),
        *((at * MS, lambda load: load.backlog.add(draft)) for at in (100, 101, 102)),
    ]
    load = Load(TEN, requests=3, meanwhile=meanwhile).open(ChangingArrivals(every(100), 10.0), then_daily=False)
    # The first was due at 0. At 50 ms half of a gap is left, which the new rate shortens to a twentieth.
    assert [load.of(n).intended_ns - START for n in range(3)] == [0, 55 * MS, 65 * MS]
    assert load.sent_at == [100 * MS, 101 * MS, 102 * MS]


def test_a_rate_that_brings_the_next_arrival_behind_the_end_ends_the_sending() -> None:
    offsets = ChangingArrivals(every(10), 100.0, until_ns=1000 * MS)
    load = Load(TEN, meanwhile=[change(25, 0.001)]).open(offsets, then_daily=False)
    assert load.sent_at == [0, 10 * MS, 20 * MS]
    assert (load.stop.reason, load.ended_ns) == ("requests", 30 * MS)
    sessions = Load(TEN, meanwhile=[change(25, 0.001)], ends_ns=60 * MS)
    sessions.session_arrivals(ChangingArrivals(every(10), 100.0, until_ns=1000 * MS), talks())
    assert (sessions.sent_at, sessions.stop.reason) == ([0, 10 * MS, 20 * MS], "duration")


def test_arrivals_that_are_data_cannot_be_changed() -> None:
    def tell(load: Load) -> None:
        with pytest.raises(TypeError, match="the rate of these arrivals cannot be changed"):
            load.dispatcher.change(START + 5 * MS, 3.0)

    assert len(Load(TEN, requests=2, meanwhile=[(5 * MS, tell)]).open([0, 9 * MS]).records) == 2
    assert len(Load(TEN, requests=2, meanwhile=[(5 * MS, tell)]).session_arrivals([0, 9 * MS], talks()).records) == 2


class Noting(LoopClock):
    """A clock that records every wait."""

    timers: list[Timer]

    def __init__(self) -> None:
        super().__init__()
        Noting.timers = []

    def call_at(self, deadline_ns: int, call: Callable[[], None]) -> Timer:
        self.timers.append(super().call_at(deadline_ns, call))
        return self.timers[-1]


@pytest.mark.parametrize(
    ("run", "left"),
    [
        (lambda load: load.open(ChangingArrivals(every(10_000), 0.1), then_daily=False), set()),
        (lambda load: load.open([0]), set()),
        # The awaited arrival begins no session any more. At 10 ms, 9.99 of 10 s were left, which 20 times the rate
        # turns into 499.5 ms.
        (lambda load: load.session_arrivals(ChangingArrivals(every(10_000), 0.1), talks()), {509_500_000}),
        (lambda load: load.changing([(0, 2)]), set()),
        (lambda load: load.sessions(2, talks()), set()),
    ],
    ids=["rate", "arrivals", "new sessions", "users", "sessions"],
)
def test_a_load_that_has_ended_waits_for_nothing_more_also_when_it_is_changed_then(
    run: Callable[[Load], Load], left: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_load, "LoopClock", Noting)
    waits: list[int] = []

    def tell(load: Load) -> None:
        if isinstance(getattr(load.dispatcher, "_offsets", None), (ChangingArrivals, type(None))):
            load.dispatcher.change(round(load.loop.time() * 1e9), 2.0)
        if load.stop.stopped:
            waits.extend(timer.deadline_ns - START for timer in Noting.timers if timer.call is not None)

    # The record of the request in flight is late, so the load has not ended yet.
    slow = ScriptedReply(ttft_ns=50 * MS)
    meanwhile: Meanwhile = [(20 * MS, lambda load: load.stop.interrupt()), *((at * MS, tell) for at in (10, 30, 35))]
    load = run(Load(slow, meanwhile=meanwhile))
    assert load.ended_ns == 50 * MS
    assert {at for at in waits if at > 50 * MS} == left


def test_late_sessions_that_are_due_begin_in_one_go_until_sending_ends() -> None:
    pause: Meanwhile = [(5 * MS, lambda load: load.loop.charge(100 * MS))]
    load = Load(TEN, requests=4, meanwhile=pause).session_arrivals(every(10), talks())
    assert load.sent_at == [0, 105 * MS, 105 * MS, 105 * MS]
    assert [load.of(n).intended_ns - START for n in range(4)] == [0, 10 * MS, 20 * MS, 30 * MS]
    assert load.dispatcher.planned == 4


def test_sessions_whose_schedule_has_an_end_end_with_a_reason_of_their_own() -> None:
    load = Load(TEN, ends_ns=50 * MS).session_arrivals([0, 20 * MS], talks())
    assert load.sent_at == [0, 20 * MS]
    assert (load.stop.reason, load.ended_ns) == ("duration", 50 * MS)


def test_a_turn_that_fails_keeps_what_waits_for_a_turn_beside_it_from_being_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failed turn ends first. The other ends normally, and its successors are neither sent nor waited for."""
    monkeypatch.setattr(virtual_load, "LoopClock", Noting)
    turns = (
        Turn(content="fails", continues=None),
        Turn(content="whole", after=(), continues=None),
        Turn(content="after", after=(1,), continues=None, think_time_s=0.5),
    )

    def reply(request: Request) -> ScriptedReply:
        assert request.place is not None
        if request.place.turn == 0:
            return ScriptedReply(ttft_ns=5 * MS, failed=Outcome.RESET)
        return TEN

    sessions = (Session(id=f"s{n}", turns=turns) for n in itertools.count())
    load = Load(reply, ends_ns=25 * MS).sessions(1, sessions)
    assert [(r.session_number, r.turn) for r in sorted(load.records, key=lambda r: r.index)] == [
        (number, turn) for number in range(3) for turn in (0, 1)
    ]
    assert load.sent_at == [at * MS for at in (0, 0, 10, 10, 20, 20)]
    assert max(timer.deadline_ns - START for timer in Noting.timers) == 30 * MS


def test_an_arrival_that_waited_at_the_cap_is_eligible_when_the_slot_came_free_and_no_sooner_than_due() -> None:
    load = Load(ScriptedReply(ttft_ns=25 * MS), requests=3).open([0, 0, 30 * MS], cap=1)
    found = [(load.of(n).eligible_ns or 0) - START for n in range(3)]
    assert found == [0, 25 * MS, 50 * MS]
    late = Load(TEN, requests=3, records_late_ns=5 * MS, work_ns=12 * MS).open([0, 5 * MS, 20 * MS], cap=1)
    # The third request was due after the second reply had ended, so it only waited for the dispatcher.
    assert all((r.eligible_ns or 0) >= r.intended_ns for r in late.records)


def test_what_is_dropped_says_all_of_its_request() -> None:
    load = Load(ScriptedReply(ttft_ns=25 * MS), requests=2).open([0, 10 * MS], cap=1, drop_late=True)
    sent, dropped = load.of(0), load.of(1)
    assert (dropped.outcome, dropped.end_ns - START, dropped.intended_ns - START) == (Outcome.DROPPED, 10 * MS, 10 * MS)
    assert (dropped.attempts, dropped.sent_ns, dropped.status) == (0, None, None)
    assert (sent.outcome, load.dispatcher.planned, load.dispatcher.sent, load.dispatcher.done) == (Outcome.OK, 2, 1, 1)


def good_at_last(record: RequestRecord) -> RequestRecord:
    """A reply that looked incomplete turns out to be complete when it is read."""
    return replace(record, outcome=Outcome.OK)


def test_a_session_whose_reply_did_not_look_whole_goes_on_when_it_is_read_and_found_good() -> None:
    torn = ScriptedReply(ttft_ns=10 * MS, failed=Outcome.RESET)
    load = Load(torn, requests=4, records_late_ns=5 * MS, read_as=good_at_last).sessions(1, talks(0.02))
    found = sorted(load.records, key=lambda r: r.index)
    assert [(r.session_number, r.turn) for r in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    # The pause of 20 ms begins at the end of the reply, and the next session at the end of the last reply.
    assert [r.intended_ns - START for r in found] == [0, 30 * MS, 40 * MS, 70 * MS]
    assert load.sent_at == [0, 30 * MS, 40 * MS, 70 * MS]


class FailsAtOnce(virtual_load.LateRecords):
    """Delivers the record of a request that fails while it is being started."""

    def start(
        self, request: Request, intended_ns: int, eligible_ns: int, done: OnRecord, ended: OnEnd = ignore
    ) -> None:
        super().start(request, intended_ns, eligible_ns, done, ended)
        script = self._script_for(request)
        if script.failed is not None and not script.ttft_ns:
            self._finish(request.id, script.failed)


def branches(*, held: bool) -> Iterator[Session]:
    """Two turns due at the same instant: the start of the session or, with `held`, the record of the previous turn."""
    first = (Turn(content="a", answer="x"),) if held else ()
    after, goes_on = ((0,), 0) if held else ((), None)
    turns = (*first, *(Turn(content=text, after=after, continues=goes_on) for text in "bc"))
    return (Session(id=f"s{n}", turns=turns) for n in itertools.count())


@pytest.mark.parametrize("held", [False, True])
def test_a_turn_that_fails_at_once_keeps_those_that_are_due_with_it_from_being_sent(
    held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_load, "LateRecords", FailsAtOnce)

    def reply(request: Request) -> ScriptedReply:
        assert request.place is not None
        if request.place.number == 0 and request.place.turn == int(held):
            return ScriptedReply(ttft_ns=0, failed=Outcome.CONNECT_ERROR)
        return TEN

    load = Load(reply, requests=4).sessions(1, branches(held=held))
    found = [(r.session_number, r.turn) for r in sorted(load.records, key=lambda r: r.index)]
    assert found == ([(0, 0), (0, 1), (1, 0), (1, 1)] if held else [(0, 0), (1, 0), (1, 1), (2, 0)])


def test_the_bodies_of_all_turns_that_come_next_are_made_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    make = Conversation.make

    def noted(self: Conversation, turn: int) -> None:
        made.append((round(asyncio.get_running_loop().time() * 1e9) - START, turn))
        make(self, turn)

    monkeypatch.setattr(Conversation, "make", noted)
    first = Turn(content="a", answer="x")
    others = (Turn(content=text, after=(0,), continues=None, think_time_s=1.0) for text in "bcd")
    session = Session(id="s", turns=(first, *others))
    Load(TEN, requests=4).sessions(1, itertools.repeat(session), real=False)
    # Made at the send of the first turn, and again when their pauses begin, long before they are due.
    assert {turn for at, turn in made if at == 0} == {0, 1, 2, 3}
    assert sorted(turn for at, turn in made if 0 < at < 1000 * MS) == [1, 1, 2, 2, 3, 3]
