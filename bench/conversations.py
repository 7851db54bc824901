"""What is sent in mode sessions: requests that carry what was said before, made while their user thinks.

A request cannot be made before the answer to the one before it has come. So sessions are made ahead, or by the process that
makes requests too (bench/load/feed.py), since what their users say depends on no answer; and the body of the
next turn as soon as there is an answer: when its think time is over it only has to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.stock import Stock
from bench.workload import Encoded, Phase, Request
from promptset import distributions
from promptset.samples import Sample
from promptset.sessions import Session, SimulatedSessions, load_sessions, simulated_sessions
from promptset.sharing import parse_prefix
from promptset.tokens import Tokenizer

NS_PER_S = 1_000_000_000


class Talks(Iterator[Session]):
    """Every `step`-th session of a source, from the start again where it has an end; `repeated` counts those."""

    notes: tuple[str, ...] = ()

    def __init__(self, source: Sequence[Session] | SimulatedSessions, *, first: int = 0, step: int = 1) -> None:
        self._source = source
        self._next = first
        self._step = step
        self.repeated = 0

    @classmethod
    def of_file(cls, path: Path, *, first: int = 0, step: int = 1) -> Talks:
        """The sessions of a file. Raises SpecError."""
        return cls(load_sessions(path), first=first, step=step)

    @classmethod
    def simulated(
        cls,
        tokenizer: Tokenizer,
        *,
        turns: str,
        think_time: str,
        input_tokens: str,
        output_tokens: str,
        prefix: str | None,
        seed: int,
        first: int = 0,
        step: int = 1,
    ) -> Talks:
        """Sessions of exactly the drawn lengths, without end. Raises SpecError."""
        made = simulated_sessions(
            tokenizer,
            turns=distributions.parse(turns, "tokens"),
            input_tokens=distributions.parse(input_tokens, "tokens"),
            output_tokens=distributions.parse(output_tokens, "tokens"),
            think_time=distributions.parse(think_time, "time"),
            seed=seed,
            prefix=None if prefix is None else parse_prefix(prefix),
        )
        return cls(made, first=first, step=step)

    @property
    def at_hand(self) -> bool:
        """Whether there is nothing to make: those of a file are in memory."""
        return not isinstance(self._source, SimulatedSessions)

    def planned_sharing(self, requests: int) -> None:
        """What turns share with those before them depends on the answers: nothing is planned."""

    def __next__(self) -> Session:
        index, self._next = self._next, self._next + self._step
        if isinstance(self._source, SimulatedSessions):
            return self._source.session_at(index)
        self.repeated += index >= len(self._source)
        return self._source[index % len(self._source)]


class Conversation:
    """One session under way. `think_ns` is how long its user thinks before the turn that comes next."""

    def __init__(self, session: Session, encode: Callable[[Sample], Encoded], *, real: bool) -> None:
        """`real`: histories are made of the server's answers, else of the planned ones."""
        self._session = session
        self._encode = encode
        self._real = real
        self._answers: list[str | None] = []
        self._heard = ""
        self._prepare()

    def _prepare(self) -> None:
        turn = self._session.turns[len(self._answers)]
        # With real answers nobody knows the length of a history beforehand.
        known = not self._answers or not self._real
        self._turn = turn
        self._encoded = self._encode(
            Sample(messages=tuple(self._session.messages(self._answers)), output_tokens=turn.output_tokens)
        )
        self._input_tokens = turn.input_tokens if known else None
        self.think_ns = round(turn.think_time_s * NS_PER_S)

    def request(self, request_id: str, index: int, phase: Phase) -> Request:
        """The request of the turn that comes next."""
        return Request(
            id=request_id,
            index=index,
            phase=phase,
            session=self._session.id,
            body=self._encoded.body,
            stream=self._encoded.stream,
            input_tokens_asked=self._input_tokens,
            output_tokens_asked=self._encoded.output_tokens_asked,
            on_text=self._hear if self._real else None,
        )

    def _hear(self, text: str) -> None:
        self._heard = text

    def answered(self) -> bool:
        """The answer has come: makes the next request. False where there is no next turn."""
        self._answers.append(self._heard if self._real else None)
        if len(self._answers) == len(self._session.turns):
            return False
        self._prepare()
        return True


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
    ) -> None:
        self.stock: Stock[Session] = Stock(lambda: next(sessions), _weight)
        self._encode = encode
        self._run_id = run_id
        self._real = real
        self._next = first
        self._step = step

    @property
    def has_room(self) -> bool:
        """Whether more sessions may be made ahead."""
        return self.stock.has_room

    def add(self, made: Session) -> None:
        """One more session is there."""
        self.stock.put(made)

    def begin(self) -> Conversation:
        """The next session."""
        return Conversation(self.stock.take(), self._encode, real=self._real)

    def request(self, conversation: Conversation, phase: Phase) -> Request:
        """The next request of a conversation."""
        index, self._next = self._next, self._next + self._step
        return conversation.request(f"{self._run_id}-{index}", index, phase)
