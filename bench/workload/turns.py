"""Requests of mode sessions: each carries the turns before it, and is made while its user thinks.

A request cannot be made before the answers in its history have come. The users' texts do not depend on answers, so
sessions are made in advance or by the feed (bench/load/feed.py). The body of a turn is made as soon as its answers are
available: when it is due, it only has to be sent.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.clock import NS_PER_S
from bench.workload import Continuation, Encoded, Phase, Request, Route, TurnPlace, route_of
from bench.workload.kept_messages import Keeper, KeptMessage
from bench.workload.mid_session import (
    FRESH,
    Beginning,
    beginning_at,
    instants,
    planned_times,
    rest_ns,
    without_doubles,
)
from bench.workload.stock import Stock
from bench.workload.tracing import Tracing
from promptset.answers import Answer
from promptset.samples import Sample
from promptset.sessions.packed import unpack_session

if TYPE_CHECKING:
    from bench.rng import Random
    from promptset.chat import Message
    from promptset.sessions import Session

READY_BYTES = 64 * 1024 * 1024
"""The most bytes of first bodies that are made before their sessions begin."""


@dataclass(frozen=True, slots=True)
class History:
    """The history that a turn carries."""

    real: bool
    """The server's answers, rather than planned ones."""
    reasoning: bool = False
    """Includes their reasoning."""
    stored: bool = False
    """The server keeps the history, and a request has only what is new."""


class Conversation:
    """One running session: makes the requests of its turns, which are identified by number."""

    def __init__(
        self,
        session: Session,
        number: int,
        encode: Callable[[Sample], Encoded],
        history: History,
        *,
        beginning: Beginning = FRESH,
        trace: Callable[[str], str | None] | None = None,
    ) -> None:
        """`number` of the session in its run. `trace` makes the header of a traced turn, by `<session>.<turn>`."""
        self._session = session
        self._number = number
        no_route = session.endpoint is None and not session.headers
        self._route = None if no_route else Route(session.endpoint, session.headers)
        self._encode = encode
        self._real = history.real
        self._reasoning = history.reasoning
        self._stored = history.stored
        self._lines = session.lines
        self._answers: dict[int, Answer | None] = {}
        self._heard: dict[int, Answer] = {}
        self._trace = trace
        self._headers: dict[int, str | None] = {}
        self._made: dict[int, Encoded | None] = {}
        """Bodies, by turn; None once it was sent."""
        self._said: dict[int, tuple[KeptMessage, ...]] = {}
        """Messages of the turns that other turns continue. Turns share these objects, so each message is encoded once."""
        self._keeper = Keeper()
        self._continued = Counter(node.continues for node in session.nodes)
        self._before = beginning.ended_ns.keys()
        self._jobs_cut = {session.nodes[turn].job for turn in self._before}
        self.beginning = beginning
        self.after = tuple(node.after for node in session.nodes)
        """For each turn, the turns that must have ended before it is due."""
        self.pauses_ns = tuple(round(turn.think_time_s * NS_PER_S) for turn in session.turns)
        """For each turn, the time between the end of the last of these and itself."""

    def is_ready(self, turn: int) -> bool:
        """Whether the answers in the history of a turn are available."""
        continued = self._session.nodes[turn].continues
        return not self._real or continued is None or continued in self._answers or continued in self._before

    def make(self, turn: int) -> None:
        """Make the body of a turn, if its answers are available and it was not made."""
        if turn in self._made or not self.is_ready(turn):
            return
        session = self._session
        if self._trace is not None:
            self._headers[turn] = self._trace(f"{self._number}.{turn}")
        if session.requests:
            self._made[turn] = self._encode(session.requests[turn])
            return
        self._made[turn] = self._encode(
            Sample(
                messages=self._messages(turn),
                tools=session.tools,
                stored=self._stored,
                previous=self._previous(turn),
                output_tokens=session.turns[turn].output_tokens,
                endpoint=session.endpoint,
                model=session.model,
                headers=session.headers,
                priority=session.priority,
                settings=session.settings,
            )
        )

    def _messages(self, turn: int) -> tuple[Message, ...]:
        """The messages of a turn. A separate conversation may begin like the first one of the session."""
        before = self._session.nodes[turn].continues
        if before is not None and self._previous(turn) is not None:
            return tuple(self._new_messages(turn, before))
        messages = self._session.conversation(turn, self._answers, reasoning=self._reasoning)
        shared = self._keeper.kept(messages, self._said.get(before or 0, ()))
        self._continued[before] -= 1
        if before and not self._continued[before]:  # Other conversations may begin like the first turn.
            self._said.pop(before, None)
        if turn == 0 or self._continued[turn]:
            self._said[turn] = shared
        return shared

    def _new_messages(self, turn: int, continued: int) -> list[Message]:
        """The messages of a turn in addition to the response that it continues: system messages, and new ones."""
        session = self._session
        opening = session.opening_of(session.line_to(turn)[0])
        system = itertools.takewhile(lambda message: message.get("role") in ("system", "developer"), opening)
        return [*system, *session.said_at(turn, session.answer_to(continued, self._answers[continued]))]

    def _previous(self, turn: int) -> str | None:
        """The response that a turn continues if the server keeps it. None: the turn carries its history."""
        continued = self._session.nodes[turn].continues
        answer = None if continued is None else self._answers.get(continued)
        return answer.response_id if self._stored and answer is not None else None

    def _continuation(self, turn: int) -> Continuation:
        line, last = self._lines[turn]
        return Continuation(
            conversation=f"{self._number}.{line}", last=last, stored=self._stored, previous=self._previous(turn)
        )

    def make_first(self) -> int:
        """Make the bodies of the turns that are due unconditionally. Returns their bytes."""
        size = 0
        for turn, after in enumerate(self.after):
            if turn not in self._before and self._before >= {*after}:
                self.make(turn)
                made = self._made.get(turn)
                size += 0 if made is None else len(made.body)
        return size

    def request(
        self, turn: int, request_id: str, index: int, phase: Phase, cancel_after_ns: int | None = None
    ) -> Request:
        """The request of a turn whose answers are available."""
        self.make(turn)
        encoded, self._made[turn] = self._made[turn], None
        assert encoded is not None
        continued = self._session.nodes[turn].continues
        # With real answers the length of a history is not known beforehand.
        known = not self._real or continued is None or continued in self._before
        return Request(
            id=request_id,
            index=index,
            phase=phase,
            session=self._session.id,
            place=self._place(turn),
            body=encoded.body,
            stream=encoded.stream,
            input_tokens_asked=self._session.turns[turn].input_tokens if known else None,
            output_tokens_asked=encoded.output_tokens_asked,
            batch=encoded.batch,
            route=route_of(self._session.requests[turn]) if self._session.requests else self._route,
            model=encoded.model,
            cancel_after_ns=None if self._session.probe is not None else cancel_after_ns,
            probe=self._session.probe,
            continuation=self._continuation(turn),
            on_answer=partial(self._heard.__setitem__, turn) if self._real else None,
            traceparent=self._headers.pop(turn, None),
        )

    def _place(self, number: int) -> TurnPlace:
        turn, node = self._session.turns[number], self._session.nodes[number]
        just_before = node.after == ((number - 1,) if number else ())
        is_job = self._session.probe is None
        return TurnPlace(
            number=self._number,
            turn=number,
            turns=len(self._session.turns),
            job=node.job if is_job else None,
            job_step=node.step if is_job else None,
            job_steps=node.steps if is_job else None,
            agent=turn.agent,
            pause_ns=self.pauses_ns[number],
            pause=node.pause,
            after=None if just_before else node.after,
            cached_tokens=None if self._is_cold(number) else turn.cached_tokens,
            turns_before=len(self._before) if self._before else None,
            job_cut=node.job in self._jobs_cut if self._before else None,
        )

    def _is_cold(self, number: int) -> bool:
        """Whether the turns that its prompt continues were before the run, and have warmed no cache."""
        node = self._session.nodes[number]
        if node.continues is not None:
            return node.continues in self._before
        return bool(node.after) and self._before >= {*node.after}

    def answered(self, turn: int) -> None:
        """A good answer to a turn has come."""
        self._answers[turn] = self._heard.pop(turn, Answer()) if self._real else None


def _weight(session: Session) -> tuple[int, int]:
    """Its requests, and roughly its bytes: the characters of its texts."""
    texts = (text for turn in session.turns for text in (turn.content, *turn.results, turn.answer) if text is not None)
    # Openings may share messages, which are stored once.
    messages = {id(message): message for turn in session.turns for message in turn.opening}
    openings = (message.get("content") for message in messages.values())
    opened = sum(len(text) for text in openings if isinstance(text, str))
    return len(session.turns), len(session.system or "") + sum(map(len, texts)) + opened


class Conversations:
    """Begins conversations, and numbers their requests `first`, `first` + `step`, and so on."""

    def __init__(
        self,
        sessions: Iterator[Session],
        encode: Callable[[Sample], Encoded],
        run_id: str,
        history: History,
        *,
        first: int = 0,
        step: int = 1,
        cancel: Callable[[int], int | None] | None = None,
        in_memory: bool = False,
    ) -> None:
        """`cancel` returns how long after its send the user of a request, given by its number, leaves. `in_memory`:
        sessions need not be made."""
        self.tracing: Tracing | None = None
        """Which turns are traced, by the number of their session and their own; None: none."""
        self._cancel = cancel
        self._in_memory = in_memory
        self.stock: Stock[Session] = Stock(lambda: next(sessions), _weight)
        self._encode = encode
        self._run_id = run_id
        self._history = history
        self._first = first
        self._next = first
        self._step = step
        self._begun = 0
        self._middles: deque[tuple[Session | None, Beginning]] = deque()
        self._left: deque[Session] = deque()
        """Sessions that were taken and follow the sessions that begin in the middle."""
        self._ready: deque[Conversation] = deque()
        """Conversations that come next, with the bodies of their first turns."""

    @property
    def has_room(self) -> bool:
        """Whether more sessions may be made in advance."""
        return self.stock.has_room

    def add(self, packed: bytes) -> None:
        """Add a packed session that another process has made."""
        self.stock.put(unpack_session(packed))

    @property
    def taken(self) -> range:
        """The numbers of the sessions that were begun."""
        begun = self._begun - len(self._ready)
        return range(self._first, self._first + begun * self._step, self._step)

    def begin_in_middle(self, users: int, chance: Random, out_of: int) -> None:
        """Let the first conversations of this many users begin in the middle of sessions, drawn from the next `out_of`.
        Sessions that are not drawn follow, from their first turn on."""
        if not users:
            return
        if ready := len(self.stock):  # Waiting for more would delay the start of the load.
            out_of = min(out_of, max(ready, users))
        sessions = [self.stock.take() for _ in range(out_of)]
        lasts_ns = [max(planned_times(session)[1]) for session in sessions]
        drawn = without_doubles(instants(lasts_ns, users, chance), lasts_ns)
        for number, at_ns in drawn:
            session = sessions[number]
            beginning = beginning_at(session, at_ns)
            if beginning is None:  # It ends with the turn in progress: its user returns with another one.
                self._middles.append((None, Beginning(rest_ns(session, at_ns))))
            else:
                self._middles.append((session, beginning))
        used = {number for number, _ in drawn}
        self._left.extend(session for number, session in enumerate(sessions) if number not in used)

    def get_ready(self, conversations: int = 1) -> None:
        """Prepare up to `conversations`, as far as their sessions are available and their first bodies are not too
        large."""
        size = 0
        while len(self._ready) < conversations and size < READY_BYTES:
            if not (self._in_memory or self._left or len(self.stock) or self._middle_is_next):
                return
            conversation = self._new()
            size += conversation.make_first()
            self._ready.append(conversation)

    @property
    def _middle_is_next(self) -> bool:
        return bool(self._middles) and self._middles[0][0] is not None

    @property
    def must_wait(self) -> bool:
        """Whether `begin` would block until the feed has made a session."""
        return not (self._ready or self._left or self._middle_is_next) and self.stock.must_wait

    def begin(self) -> Conversation:
        return self._ready.popleft() if self._ready else self._new()

    def _new(self) -> Conversation:
        session, beginning = self._middles.popleft() if self._middles else (None, FRESH)
        if session is None:
            session = self._left.popleft() if self._left else self.stock.take()
        number = self._first + self._begun * self._step
        self._begun += 1
        trace = None if self.tracing is None else partial(self.tracing.header_of, self._run_id)
        return Conversation(session, number, self._encode, self._history, beginning=beginning, trace=trace)

    def request(self, conversation: Conversation, turn: int, phase: Phase) -> Request:
        """The request of a turn of a conversation, with the next number."""
        index, self._next = self._next, self._next + self._step
        after_ns = None if self._cancel is None else self._cancel(index)
        return conversation.request(turn, f"{self._run_id}-{index}", index, phase, after_ns)
