"""Bodies of conversations are made once, before they are due, as soon as their answers have arrived."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from bench.workload import Encoded
from bench.workload.turns import Conversations, History
from promptset.samples import Sample
from promptset.sessions import Session, Turn

GRAPH = Session(
    id="s",
    turns=(
        Turn(content="plan", answer="p"),
        Turn(content="own", continues=None, answer="o"),
        Turn(content="join", after=(0, 1), continues=0),
        Turn(content="beside", after=(), continues=None),
    ),
)


class Made:
    """Conversations, and the last messages of the bodies made, in order."""

    def __init__(self, *, real: bool, in_memory: bool = True) -> None:
        self.texts: list[str] = []
        self.conversations = Conversations(self._sessions(), self._encode, "r", History(real), in_memory=in_memory)

    def _sessions(self) -> Iterator[Session]:
        return itertools.repeat(GRAPH)

    def _encode(self, sample: Sample) -> Encoded:
        assert sample.messages is not None
        self.texts.append(sample.messages[-1]["content"])
        return Encoded(b"{}", True, None)


def test_conversations_are_ready_before_they_begin() -> None:
    made = Made(real=True)
    made.conversations.get_ready(2)
    assert made.texts == ["plan", "beside"] * 2
    first, second = made.conversations.begin(), made.conversations.begin()
    made.conversations.request(first, 0, "run")
    made.conversations.request(second, 3, "run")
    assert made.texts == ["plan", "beside"] * 2
    made.conversations.begin()
    assert made.texts == ["plan", "beside"] * 2, (
        "a conversation that was not prepared makes its bodies when they are due"
    )


def test_a_session_that_is_ready_is_not_begun_yet() -> None:
    made = Made(real=True)
    made.conversations.begin()
    made.conversations.get_ready(3)
    assert made.conversations.taken == range(1)
    place = made.conversations.request(made.conversations.begin(), 0, "run").place
    assert place is not None
    assert (place.number, made.conversations.taken) == (1, range(2))


def test_sessions_that_must_be_made_are_taken_only_where_they_are_there() -> None:
    made = Made(real=True, in_memory=False)
    made.conversations.get_ready(3)
    assert made.texts == []
    made.conversations.stock.make_ahead(0, more=2)
    made.conversations.get_ready(3)
    assert made.texts == ["plan", "beside"] * 2
    assert made.conversations.stock.late == 0


def test_a_body_is_made_when_its_answers_are_there_and_once() -> None:
    made = Made(real=True)
    talk = made.conversations.begin()
    talk.make(2)
    assert (talk.is_ready(2), made.texts) == (False, [])
    talk.make(1)
    made.conversations.request(talk, 0, "run")
    talk.answered(0)
    talk.make(2)
    talk.make(2)
    made.conversations.request(talk, 2, "run")
    talk.make(2)
    assert made.texts == ["own", "plan", "join"]


def test_planned_answers_are_always_there() -> None:
    made = Made(real=False)
    talk = made.conversations.begin()
    assert all(talk.is_ready(turn) for turn in range(4))
