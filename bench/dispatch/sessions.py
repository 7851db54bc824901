"""Running sessions: each sends its turns when they are due, and reports its end.

A turn is intended for the instant at which its pause ends. The pause begins when the last of the turns before it has
ended. A turn that does not need an answer's text (a history of planned answers, its own conversation) waits only for
these ends. A history of real answers waits for the record of the answer. If a pause is shorter than that takes, the
difference is lateness.

A session ends with its last turn, or with the first turn that fails or is cancelled. Then it sends nothing more, and
requests in flight end by themselves. A reply can look complete and turn out wrong when it is read: turns that waited
only for its end may have been sent by then.

`session_users` and `session_arrivals` begin sessions.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.records import Outcome, RequestRecord

if TYPE_CHECKING:
    from bench.clock import Timer
    from bench.dispatch.sending import Sending
    from bench.workload.turns import Conversation, Conversations


class _Session:
    """One running session. `on_over` is called once, with the instant at which its last request ended."""

    def __init__(self, conversation: Conversation, at_ns: int, on_over: Callable[[int], None]) -> None:
        beginning = conversation.beginning
        self.conversation = conversation
        self.course = Course(
            conversation.after,
            conversation.pauses_ns,
            began_ns=at_ns + beginning.began_ns,
            ended_ns={turn: at_ns + end_ns for turn, end_ns in beginning.ended_ns.items()},
        )
        self.on_over: Callable[[int], None] | None = on_over
        self.waiting: dict[int, Timer] = {}
        """Turns that are due later."""
        self.held: dict[int, int] = {}
        """Turns that are due and lack an answer's text, and since when."""
        self.in_flight = 0
        self.unread: set[int] = set()
        """Turns that did not end with a complete reply: their records will tell what that means."""
        self.failed = False
        self.last_end_ns = at_ns

    def fail(self) -> None:
        """Send nothing more."""
        self.failed = True
        for timer in self.waiting.values():
            timer.cancel()
        self.waiting.clear()
        self.held.clear()

    @property
    def is_over(self) -> bool:
        """Whether nothing is in flight, and nothing will be."""
        if self.in_flight:
            return False
        return self.failed or not (self.course.left or self.waiting or self.held)


class SessionsLoop(ABC):
    """`planned` counts turns that came due, `sent` turns handed to the transport, `done` their records."""

    def __init__(self, conversations: Conversations, sending: Sending) -> None:
        self._conversations = conversations
        self._sending = sending
        self.planned = self.sent = self.done = 0
        self._to_make: deque[tuple[Conversation, int]] = deque()
        self._making = False

    @abstractmethod
    def start(self, start_ns: int) -> None:
        """The load begins at this instant."""

    @abstractmethod
    def change(self, at_ns: int, load: float) -> None:
        """The load from this instant on."""

    async def run(self, start_ns: int) -> None:
        """Send until the stop ends the sending. Return when nothing is in flight."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._sending.stop.on_stop(lambda reason: self._check_end())
        self.start(start_ns)
        await self._ended

    def unmade(self, now_ns: int) -> list[int]:
        return self._conversations.stock.due_since_ns

    def _begin(self, at_ns: int, on_over: Callable[[int], None]) -> None:
        if self._sending.stop.stopped:
            return
        if self._conversations.must_wait:
            self._conversations.stock.when_made(at_ns, lambda: self._begin(at_ns, on_over))
        else:
            session = _Session(self._conversations.begin(), at_ns, on_over)
            self._wait(session, session.course.first())
            self._loop.call_soon(self._conversations.get_ready)

    def _wait(self, session: _Session, due: list[tuple[int, int]]) -> None:
        """Send these turns when they are due."""
        for turn, due_ns in due:
            if due_ns <= self._sending.clock.now_ns():
                self._due(session, turn, due_ns)
            else:
                call = lambda turn=turn, due_ns=due_ns: self._due(session, turn, due_ns)  # noqa: E731
                session.waiting[turn] = self._sending.clock.call_at(due_ns, call)
                self._make_soon(session, [turn])

    def _due(self, session: _Session, turn: int, due_ns: int) -> None:
        session.waiting.pop(turn, None)
        if session.conversation.is_ready(turn):
            self._send(session, turn, due_ns)
        else:
            session.held[turn] = due_ns

    def _send(self, session: _Session, turn: int, intended_ns: int) -> None:
        if session.failed:  # Because of a turn that was due at the same time.
            return
        phase = self._sending.stop.next_phase(intended_ns)
        if phase is None:  # Sending ended during the pause.
            return
        self.planned += 1
        request = self._conversations.request(session.conversation, turn, phase)
        self._sending.in_flight.begin(intended_ns)
        self.sent += 1
        session.in_flight += 1

        def ended(end_ns: int, whole: bool) -> None:
            self._sending.in_flight.end(end_ns)
            self._turn_ended(session, turn, end_ns, whole)

        def recorded(record: RequestRecord) -> None:
            self._recorded(session, turn, record)

        self._sending.transport.start(request, intended_ns, intended_ns, recorded, ended)
        self._sending.stop.check_count()
        self._make_soon(session, session.course.children(turn))

    def _make_soon(self, session: _Session, turns: Sequence[int]) -> None:
        """Make the bodies of these turns, as far as their answers are available, once everything due now has been sent."""
        self._to_make.extend((session.conversation, turn) for turn in turns)
        if self._to_make and not self._making:
            self._making = True
            self._loop.call_soon(self._make_one)

    def _make_one(self) -> None:
        """A long history takes milliseconds: between two of them, the loop handles sockets and deadlines."""
        conversation, turn = self._to_make.popleft()
        conversation.make(turn)
        self._making = bool(self._to_make)
        if self._making:
            self._loop.call_soon(self._make_one)

    def _turn_ended(self, session: _Session, turn: int, end_ns: int, whole: bool) -> None:
        session.in_flight -= 1
        session.last_end_ns = max(session.last_end_ns, end_ns)
        if whole:
            self._go_on(session, turn, end_ns)
        else:
            session.unread.add(turn)
        self._check_over(session)

    def _go_on(self, session: _Session, turn: int, end_ns: int) -> None:
        """A turn has ended: turns that come after it may be due."""
        if not session.failed and not self._sending.stop.stopped:
            self._wait(session, session.course.ended(turn, end_ns))

    def _recorded(self, session: _Session, turn: int, record: RequestRecord) -> None:
        self.done += 1
        self._sending.on_record(record)
        if self._sending.stop.stopped:
            self._check_end()
            return
        good = record.outcome is Outcome.OK
        if good:
            session.conversation.answered(turn)
            self._make_soon(session, session.course.children(turn))
        else:
            session.fail()
        if turn in session.unread:
            session.unread.remove(turn)
            if good:
                self._go_on(session, turn, record.end_ns)
        for next_turn, due_ns in [*session.held.items()]:
            if next_turn in session.held and session.conversation.is_ready(
                next_turn
            ):  # The turn before it may have failed at once.
                del session.held[next_turn]
                self._send(session, next_turn, due_ns)
        self._check_over(session)

    def _check_over(self, session: _Session) -> None:
        if session.on_over is not None and session.is_over:
            on_over, session.on_over = session.on_over, None
            on_over(session.last_end_ns)

    def _check_end(self) -> None:
        if self._sending.stop.stopped and self.done == self.sent and not self._ended.done():
            self._ended.set_result(None)


Due = tuple[int, int]
"""The number of a turn, and the instant at which it is due."""


class Course:
    """Decides which turns of a session are due, and when, from the turns that have ended. Returns each turn once.

    A turn is due when all turns that it comes after have ended and its pause is over. The pause begins with the last of
    these ends, or with the session if the turn comes after none.
    """

    def __init__(
        self,
        after: Sequence[Sequence[int]],
        pauses_ns: Sequence[int],
        *,
        began_ns: int,
        ended_ns: Mapping[int, int],
    ) -> None:
        """`after`: the turns that each turn comes after. `ended_ns`: the ends of turns that are not sent."""
        self._after = after
        self._pauses_ns = pauses_ns
        self._began_ns = began_ns
        self._ended_ns = dict(ended_ns)
        self._children: dict[int, list[int]] = {}
        for turn, before in enumerate(after):
            for earlier in before:
                self._children.setdefault(earlier, []).append(turn)
        self.left = len(after) - len(ended_ns)
        """Turns that have not been returned yet."""

    def first(self) -> list[Due]:
        """The turns that are due unconditionally."""
        return self._due(turn for turn in range(len(self._after)) if turn not in self._ended_ns)

    def ended(self, turn: int, end_ns: int) -> list[Due]:
        """A turn has ended. Returns the turns that only waited for that."""
        self._ended_ns[turn] = end_ns
        return self._due(self.children(turn))

    def children(self, turn: int) -> Sequence[int]:
        return self._children.get(turn, ())

    def _due(self, turns: Iterable[int]) -> list[Due]:
        due = []
        for turn in turns:
            ends = [self._ended_ns.get(before) for before in self._after[turn]]
            known = [end for end in ends if end is not None]
            if len(known) == len(ends):
                self.left -= 1
                due.append((turn, max(known, default=self._began_ns) + self._pauses_ns[turn]))
        return due
