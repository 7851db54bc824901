"""Sessions of several turns: simulated, or from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.sources.in_order import InOrder
from bench.workload.mid_session import planned_times
from promptset import distributions
from promptset.errors import SpecError
from promptset.samples import Sample
from promptset.sessions import Session, load_sessions, simulated_sessions
from promptset.sessions.packed import pack_session
from promptset.sharing import parse_prefix
from promptset.tools import ignored_note, load_tools

if TYPE_CHECKING:
    from bench.workload import Encoded
    from promptset.tokens import Tokenizer

MOST_WAYS = 20
"""Most pairs of an endpoint and a model that the probe tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """Sessions to simulate: distributions of turns, of tokens, and of the time that a user thinks before a turn."""

    turns: str
    think_time: str
    input_tokens: str
    output_tokens: str
    prefix: str | None
    tools: Path | None = None

    plans_sharing: ClassVar[bool] = False
    """It is unknown what its prompts share."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> SessionSource:
        """Raises SpecError if the lengths are impossible."""
        del chat  # Sessions are always chats.
        assert tokenizer is not None, "simulated sessions need a tokenizer"
        made = simulated_sessions(
            tokenizer,
            turns=distributions.parse(self.turns, "tokens"),
            input_tokens=distributions.parse(self.input_tokens, "tokens"),
            output_tokens=distributions.parse(self.output_tokens, "tokens"),
            think_time=distributions.parse(self.think_time, "time"),
            seed=seed,
            salt=salt,
            prefix=None if self.prefix is None else parse_prefix(self.prefix),
            tools=None if self.tools is None else load_tools(self.tools),
        )
        note = ignored_note(tokenizer, made.maker.tools)
        notes = () if note is None else (note,)
        data = SessionData(session_at=made.session_at, size=None, tokenizer=tokenizer, notes=notes)
        return SessionSource(data, first, step)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFileSpec:
    """A file of sessions, repeated when they are used up. `endpoints`: the endpoints that rows may name; None: any.
    `answers_for`: the flag that needs answers in the rows."""

    path: Path
    endpoints: tuple[str, ...] | None = None
    answers_for: str | None = None

    plans_sharing: ClassVar[bool] = False
    """It is unknown what its prompts share."""

    def open(
        self, tokenizer: Tokenizer | None, *, seed: int, salt: str | None, chat: bool, first: int, step: int
    ) -> SessionSource:
        """Raises SpecError if the file cannot be used."""
        del tokenizer, seed, salt, chat  # The texts are in the file.
        sessions = load_sessions(self.path, self.endpoints)
        if self.answers_for is not None:
            _check_answers(sessions, self.path, self.answers_for)
        named = {(s.endpoint, s.model): s for s in reversed(sessions)}
        named.pop((None, None), None)
        data = SessionData(
            session_at=lambda index: sessions[index % len(sessions)],
            size=len(sessions),
            ways=tuple(_own_sample(session) for session in [*named.values()][:MOST_WAYS]),
            names_models=all(session.model is not None for session in sessions),
            at_once=max(map(_most_at_once, sessions)),
        )
        return SessionSource(data, first, step)


def _check_answers(sessions: Sequence[Session], path: Path, flag: str) -> None:
    """Raises SpecError if an answer is missing that a history may need."""
    missing = []
    for session in sessions:
        needed = sorted({node.continues for node in session.nodes if node.continues is not None})
        missing += [f"{session.id}, turn {turn + 1}" for turn in needed if not session.has_answer(turn)]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SpecError(
            f"{path}: {flag} needs the answer of each turn that others continue: {missing[0]}{more} has none"
        )


def _most_at_once(session: Session) -> int:
    """How many requests of a session are in flight at once, by its plan."""
    starts, ends = planned_times(session)
    events = sorted([*((at, 1) for at in starts), *((at, -1) for at in ends)])  # At equal times, ends come first.
    return max(accumulate(step for _, step in events))


def _own_sample(session: Session) -> Sample:
    """A sample with the destination of a session's requests."""
    return Sample(
        prompt="",
        endpoint=session.endpoint,
        model=session.model,
        headers=session.headers,
        priority=session.priority,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionData:
    """Sessions by number, and the properties of all of them."""

    session_at: Callable[[int], Session]
    size: int | None
    """How many there are before they repeat; None: they never do."""
    tokenizer: Tokenizer | None = None
    """The tokenizer that makes the sessions; None if they are the user's own."""
    ways: tuple[Sample, ...] = ()
    names_models: bool = False
    at_once: int = 1
    notes: tuple[str, ...] = ()
    in_memory: bool | None = None
    """Whether there is nothing to make; None: true if their number is finite, because then they come from a file."""
    own_body: Sample | None = None
    """The probe's request, if it is one of the sessions'."""
    untimed: str | None = "sessions have none"
    times_s: Callable[[], Iterator[float]] = lambda: iter(())


class SessionSource(InOrder[Session]):
    """Every `step`-th session, from `first` on."""

    def __init__(self, data: SessionData, first: int, step: int) -> None:
        super().__init__(first, step)
        self._data = data
        self.own_body = data.own_body
        self.tokenizer = data.tokenizer
        self.ways = data.ways
        self.names_models = data.names_models
        self.at_once = data.at_once
        self.notes = data.notes
        self.in_memory = data.size is not None if data.in_memory is None else data.in_memory

    @property
    def size(self) -> int | None:
        return self._data.size

    def planned_sharing(self, requests: int) -> None:
        """Returns None: what turns share with earlier ones depends on the answers."""

    def untimed(self) -> str | None:
        """Why the times at which sessions begin are unknown; None if they are known."""
        return self._data.untimed

    def times_s(self) -> Iterator[float]:
        return self._data.times_s()

    def at(self, number: int) -> Session:
        return self._data.session_at(number)

    def pack_next(self, encode: Callable[[Sample], Encoded]) -> bytes:
        return pack_session(next(self))
