"""What is sent in mode sessions: requests that carry what was said before, made while their user thinks.

A request cannot be made before the answer to the one before it has come. So sessions are made ahead, or by the process that
makes requests too (bench/load/feed.py), since what their users say depends on no answer; and the body of the
next turn as soon as there is an answer: when its think time is over it only has to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson

from bench.stock import Stock
from bench.workload import Encoded, Phase, Request, Route, TurnPlace
from promptset.samples import Sample
from promptset.sessions import Session, read_session

NS_PER_S = 1_000_000_000


class Conversation:
    """One session under way. `think_ns` is how long its user thinks before the turn that comes next."""

    def __init__(self, session: Session, number: int, encode: Callable[[Sample], Encoded], *, real: bool) -> None:
        """`number` of the session in its run. `real`: histories are made of the server's answers, else of planned ones."""
        self._session = session
        self._number = number
        no_route = session.endpoint is None and not session.headers
        self._route = None if no_route else Route(session.endpoint, session.headers)
        self._encode = encode
        self._real = real
        self._answers: list[str | None] = []
        self._heard = ""
        self._prepare()

    def _prepare(self) -> None:
        number = len(self._answers)
        turn = self._session.turns[number]
        node = self._session.nodes[number]
        # With real answers nobody knows the length of a history beforehand.
        known = not self._answers or not self._real
        self._turn = turn
        session = self._session
        self._encoded = self._encode(
            Sample(
                messages=tuple(session.messages(self._answers)),
                output_tokens=turn.output_tokens,
                endpoint=session.endpoint,
                model=session.model,
                headers=session.headers,
                priority=session.priority,
            )
        )
        self._input_tokens = turn.input_tokens if known else None
        self.think_ns = round(turn.think_time_s * NS_PER_S)
        self._place = TurnPlace(
            number=self._number,
            turn=number,
            turns=len(session.turns),
            job=node.job,
            job_step=node.step,
            job_steps=node.steps,
            agent=turn.agent,
            pause_ns=self.think_ns,
            pause=node.pause,
            cached_tokens=turn.cached_tokens,
        )

    def request(self, request_id: str, index: int, phase: Phase, cancel_after_ns: int | None = None) -> Request:
        """The request of the turn that comes next."""
        return Request(
            id=request_id,
            index=index,
            phase=phase,
            session=self._session.id,
            place=self._place,
            body=self._encoded.body,
            stream=self._encoded.stream,
            input_tokens_asked=self._input_tokens,
            output_tokens_asked=self._encoded.output_tokens_asked,
            route=self._route,
            model=self._encoded.model,
            cancel_after_ns=cancel_after_ns,
            on_text=self._hear if self._real else None,
        )

    def _hear(self, text: str) -> None:
        self._heard = text

    @property
    def at_last_turn(self) -> bool:
        """Whether the turn that comes next is the last one."""
        return len(self._answers) == len(self._session.turns) - 1

    def answered(self) -> bool:
        """The answer has come: makes the next request. False where there is no next turn."""
        self._answers.append(self._heard if self._real else None)
        if len(self._answers) == len(self._session.turns):
            return False
        self._prepare()
        return True


def pack_session(session: Session) -> bytes:
    """A session as bytes, for another process: its answers are not known there, so its requests are made here."""
    return orjson.dumps(session.row())


def unpack_session(packed: bytes) -> Session:
    """The session in these bytes."""
    return read_session(orjson.loads(packed), "")


def _weight(session: Session) -> tuple[int, int]:
    """Its requests, and about its bytes: the characters of its texts."""
    texts = (text for turn in session.turns for text in (turn.content, turn.answer) if text is not None)
    return len(session.turns), len(session.system or "") + sum(map(len, texts))


class Conversations:
    """Begins conversations, and numbers their requests `first`, `first` + `step`, and so on."""

    def __init__(
        self,
        sessions: Iterator[Session],
        encode: Callable[[Sample], Encoded],
        run_id: str,
        *,
        real: bool,
        first: int = 0,
        step: int = 1,
        cancel: Callable[[int], int | None] | None = None,
    ) -> None:
        """`cancel` says of the number of a request how long after its send the user leaves."""
        self._cancel = cancel
        self.stock: Stock[Session] = Stock(lambda: next(sessions), _weight)
        self._encode = encode
        self._run_id = run_id
        self._real = real
        self._first = first
        self._next = first
        self._step = step
        self._begun = 0

    @property
    def has_room(self) -> bool:
        """Whether more sessions may be made ahead."""
        return self.stock.has_room

    def add(self, packed: bytes) -> None:
        """Another process has made one more session: a packed one."""
        self.stock.put(unpack_session(packed))

    def taken_from(self, number: int) -> int:
        """How many of the sessions that were begun have this number or a higher one."""
        end = self._first + self._begun * self._step
        return max(0, (end - max(self._first, number)) // self._step)

    def begin(self) -> Conversation:
        """The next session."""
        number = self._first + self._begun * self._step
        self._begun += 1
        return Conversation(self.stock.take(), number, self._encode, real=self._real)

    def request(self, conversation: Conversation, phase: Phase) -> Request:
        """The next request of a conversation."""
        index, self._next = self._next, self._next + self._step
        after_ns = None if self._cancel is None else self._cancel(index)
        return conversation.request(f"{self._run_id}-{index}", index, phase, after_ns)
