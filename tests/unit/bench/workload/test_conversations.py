"""Conversations: their numbers, bodies made ahead, beginnings in the middle, and the place of each request."""

from __future__ import annotations

import pytest

from bench.rng import stream
from bench.workload import Encoded, TurnPlace
from bench.workload import turns as turns_module
from bench.workload.mid_session import FRESH, Beginning
from bench.workload.turns import Conversation, Conversations, History, _weight
from promptset.answers import Answer
from promptset.samples import Sample
from promptset.sessions import Session, Turn

MS, S = 1_000_000, 1_000_000_000
GRAPH = Session(
    id="s",
    system="Be brief.",
    turns=(
        Turn(content="plan", answer="p", output_tokens=5, cached_tokens=1, think_time_s=0.5),
        Turn(content="own", after=(0,), continues=None, answer="o", cached_tokens=2, agent="a", input_tokens=7),
        Turn(content="beside", after=(), continues=None, answer="b", cached_tokens=3),
        Turn(content="join", after=(0, 1), continues=0, answer="j", cached_tokens=4, pause="human"),
        Turn(content="end", after=(3,), continues=3, cached_tokens=5, input_tokens=9),
        Turn(content="new", after=(2, 3), continues=None, cached_tokens=6),
    ),
)


class Encoder:
    """An encoder whose bodies are the last message. `samples`: what was encoded."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def __call__(self, sample: Sample) -> Encoded:
        self.samples.append(sample)
        return Encoded(self.texts[-1].encode(), True, None)

    @property
    def texts(self) -> list[str]:
        return [(sample.messages or ())[-1]["content"] for sample in self.samples]


def talk(
    *, real: bool = False, beginning: Beginning = FRESH, stored: bool = False, session: Session = GRAPH
) -> tuple[Conversation, Encoder]:
    encoder = Encoder()
    return Conversation(session, 4, encoder, History(real, stored=stored), beginning=beginning), encoder


def places(beginning: Beginning = FRESH) -> list[TurnPlace]:
    conversation, _ = talk(beginning=beginning)
    return [conversation._place(turn) for turn in range(len(GRAPH.turns))]


# The first bodies


@pytest.mark.parametrize(
    ("before", "made"),
    [
        ({}, ["plan", "beside"]),
        ({0: -MS}, ["own", "beside"]),
        ({0: -MS, 1: MS}, ["beside", "join"]),
        ({0: -MS, 2: -MS}, ["own"]),
        ({0: -MS, 1: -MS, 2: -MS, 3: -MS}, ["end", "new"]),
    ],
)
@pytest.mark.parametrize("real", [True, False])
def test_the_bodies_of_the_turns_that_wait_for_nothing_more_are_made(
    before: dict[int, int], made: list[str], real: bool
) -> None:
    conversation, encoder = talk(real=real, beginning=Beginning(-5 * MS, before))
    assert conversation.make_first() == sum(map(len, made))
    assert encoder.texts == made


def test_a_body_that_was_sent_weighs_nothing() -> None:
    conversation, _ = talk()
    conversation.request(0, "r", 0, "run")
    assert conversation.make_first() == len("beside")


# The place of a request


def test_the_place_of_each_turn() -> None:
    found = places()
    assert [(p.number, p.turn, p.turns) for p in found] == [(4, turn, 6) for turn in range(6)]
    assert [p.after for p in found] == [None, None, (), (0, 1), None, (2, 3)]
    assert [p.cached_tokens for p in found] == [1, 2, 3, 4, 5, 6]
    assert [p.agent for p in found] == [None, "a", None, None, None, None]
    assert [(p.job, p.job_step, p.job_steps) for p in found] == [
        (0, 0, 3), (0, 1, 3), (0, 2, 3), (1, 0, 3), (1, 1, 3), (1, 2, 3),
    ]  # fmt: skip
    assert [(p.pause, p.pause_ns) for p in found] == [
        (None, 500 * MS), (None, 0), (None, 0), ("human", 0), (None, 0), (None, 0),
    ]  # fmt: skip
    assert {(p.turns_before, p.job_cut) for p in found} == {(None, None)}


def test_what_was_before_the_run_warmed_no_cache_and_cut_its_job() -> None:
    found = places(Beginning(-5 * MS, {0: -MS, 1: -MS}))
    # `join` continues a turn from before the run, `beside` waits for none, and `end` and `new` follow turns from before
    # the run.
    assert [p.cached_tokens for p in found[2:]] == [3, None, 5, 6]
    assert [p.job_cut for p in found] == [True] * 3 + [False] * 3
    assert {p.turns_before for p in found} == {2}
    found = places(Beginning(-5 * MS, {0: -MS, 1: -MS, 2: -MS, 3: MS}))
    assert [p.cached_tokens for p in found[4:]] == [None, None]
    assert [p.job_cut for p in found] == [True] * 6


@pytest.mark.parametrize(
    ("real", "before", "known"),
    [(False, {}, [7, None, None, 9]), (True, {}, [7, None, None, None]), (True, {3: 0}, [7, None, None, 9])],
)
def test_the_length_of_a_request_is_known_where_its_history_is(
    real: bool, before: dict[int, int], known: list[int | None]
) -> None:
    conversation, _ = talk(real=real, beginning=Beginning(0, before))
    for turn in (0, 2, 3):
        conversation.answered(turn)
    requests = [conversation.request(turn, f"id-{turn}", 10 + turn, "run", 50 + turn) for turn in (1, 2, 3, 4)]
    assert [request.input_tokens_asked for request in requests] == known
    assert [(r.id, r.index, r.cancel_after_ns, r.session) for r in requests] == [
        (f"id-{turn}", 10 + turn, 50 + turn, "s") for turn in (1, 2, 3, 4)
    ]
    assert [r.on_answer is not None for r in requests] == [real] * 4


def test_the_conversation_of_each_request_has_a_name_and_an_end() -> None:
    conversation, _ = talk()
    told = [conversation._continuation(turn) for turn in range(6)]
    assert [(one.conversation, one.last) for one in told] == [
        ("4.0", False), ("4.1", True), ("4.2", True), ("4.0", False), ("4.0", True), ("4.5", True),
    ]  # fmt: skip
    assert {(one.stored, one.previous) for one in told} == {(False, None)}


def test_real_answers_stand_in_histories_and_one_that_was_not_heard_is_empty() -> None:
    conversation, encoder = talk(real=True)
    first = conversation.request(0, "r0", 0, "run")
    assert first.on_answer is not None
    first.on_answer(Answer(content="heard"))
    assert not conversation.is_ready(3)
    conversation.answered(0)
    conversation.request(3, "r3", 1, "run")
    assert [m["content"] for m in encoder.samples[-1].messages or ()] == ["Be brief.", "plan", "heard", "join"]
    conversation.answered(3)
    conversation.request(4, "r4", 2, "run")
    assert [m["content"] for m in encoder.samples[-1].messages or ()][-2:] == ["", "end"]


def test_a_stored_conversation_sends_its_system_messages_and_what_is_new() -> None:
    conversation, encoder = talk(real=True, stored=True)
    first = conversation.request(0, "r0", 0, "run")
    assert first.on_answer is not None
    first.on_answer(Answer(content="heard", response_id="resp-1"))
    conversation.answered(0)
    request = conversation.request(3, "r3", 1, "run")
    sample = encoder.samples[-1]
    assert sample.previous == "resp-1"
    assert [m["content"] for m in sample.messages or ()] == ["Be brief.", "join"]
    assert request.continuation is not None
    assert (request.continuation.stored, request.continuation.previous) == (True, "resp-1")
    # If the server gave no id, it must get the whole history.
    conversation.answered(3)
    conversation.request(4, "r4", 2, "run")
    assert encoder.samples[-1].previous is None
    assert [m["content"] for m in encoder.samples[-1].messages or ()] == [
        "Be brief.", "plan", "heard", "join", "", "end",
    ]  # fmt: skip


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("endpoint", [None, "messages"])
def test_a_session_has_a_route_where_it_says_one(endpoint: str | None, header: bool) -> None:
    headers = (("x-tenant", "t"),) if header else ()
    session = Session(id="s", turns=GRAPH.turns, endpoint=endpoint, headers=headers)
    route = talk(session=session)[0].request(0, "r", 0, "run").route
    assert (None if route is None else (route.endpoint, route.headers)) == (
        (endpoint, headers) if endpoint or header else None
    )


def test_messages_are_kept_while_turns_are_left_that_go_on_with_them() -> None:
    conversation, _ = talk()
    kept = []
    for turn in range(6):
        conversation.make(turn)
        kept.append(sorted(conversation._said))
    # Other conversations begin with the first turn's messages, too. Nothing continues 1, 2, 4 and 5.
    assert kept == [[0], [0], [0], [0, 3], [0], [0]]


# Conversations


def sessions(count: int) -> list[Session]:
    """By the plan each session lasts 2.02 s: 1 s for an answer, a pause of 1 s, and an answer of one token."""
    return [
        Session(
            id=f"s{number}",
            turns=(
                Turn(content=f"first {number}", output_tokens=50, answer="x"),
                Turn(content=f"second {number}", think_time_s=1.0, output_tokens=1),
            ),
        )
        for number in range(count)
    ]


def made(count: int, *, in_memory: bool = True, **more: object) -> tuple[Conversations, Encoder]:
    encoder = Encoder()
    return Conversations(iter(sessions(count)), encoder, "run", History(False), in_memory=in_memory, **more), encoder  # type: ignore[arg-type]


def test_sessions_and_requests_are_numbered_from_the_first_by_the_step() -> None:
    conversations, _ = made(4, first=2, step=3, cancel=lambda index: index * 10 if index != 5 else None)
    assert conversations.taken == range(2, 2, 3)
    begun = [conversations.begin(), conversations.begin()]
    assert list(conversations.taken) == [2, 5]
    requests = [conversations.request(one, turn, "warmup") for one in begun for turn in (0, 1)]
    assert [(r.id, r.index, r.cancel_after_ns, r.phase) for r in requests] == [
        ("run-2", 2, 20, "warmup"), ("run-5", 5, None, "warmup"), ("run-8", 8, 80, "warmup"), ("run-11", 11, 110, "warmup"),
    ]  # fmt: skip
    assert [r.place and r.place.number for r in requests] == [2, 2, 5, 5]
    default, _ = made(2)
    one = default.begin()
    assert [default.request(one, turn, "run").index for turn in (0, 1)] == [0, 1]
    assert default.request(default.begin(), 0, "run").cancel_after_ns is None


def test_bodies_are_made_ahead_until_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    assert turns_module.READY_BYTES == 67_108_864
    monkeypatch.setattr(turns_module, "READY_BYTES", 14)
    conversations, encoder = made(9)
    conversations.get_ready(5)  # Each body has 7 bytes.
    assert encoder.texts == ["first 0", "first 1"]
    conversations.get_ready()
    assert len(encoder.texts) == 2
    monkeypatch.setattr(turns_module, "READY_BYTES", 15)
    conversations.get_ready(6)
    assert encoder.texts == ["first 0", "first 1", "first 2", "first 3", "first 4"]
    assert [conversations.begin()._session.id for _ in range(6)] == [f"s{number}" for number in range(6)]


def test_one_conversation_is_made_ready_where_nothing_else_is_asked() -> None:
    conversations, encoder = made(3)
    conversations.get_ready()
    conversations.get_ready()
    assert encoder.texts == ["first 0"]


class NoMore:
    """A feed that never delivers."""

    def more(self) -> None:
        """Nothing comes."""

    def wait(self) -> None:
        raise AssertionError

    def needed(self) -> None:
        """Nothing comes."""


def test_a_session_that_the_feed_has_not_made_must_be_waited_for() -> None:
    conversations, _ = made(5, in_memory=False)
    conversations.stock.make_ahead(0, more=2)
    conversations.stock.feed_from(NoMore(), requests=100, most_bytes=100)
    assert not conversations.must_wait
    conversations.get_ready(3)
    assert not conversations.must_wait  # Two conversations are ready.
    conversations.begin(), conversations.begin()
    assert conversations.must_wait


def test_users_begin_in_the_middle_and_sessions_that_nobody_is_in_come_behind_them() -> None:
    conversations, _ = made(8)
    conversations.begin_in_middle(2, stream(1, "middle"), 4)
    begun = [conversations.begin() for _ in range(5)]
    assert [one.beginning.began_ns < 0 for one in begun] == [True, True, False, False, False]
    assert {one._session.id for one in begun[:4]} == {"s0", "s1", "s2", "s3"}
    assert begun[2]._session.id < begun[3]._session.id
    assert begun[4]._session.id == "s4"
    # Two users share four sessions of 2.02 s, so they begin 4.04 s apart.
    plan = [int(one._session.id[1:]) * 2020 * MS - one.beginning.began_ns for one in begun[:2]]
    assert abs(plan[0] - plan[1]) == 4040 * MS


def test_no_users_begin_in_no_middle() -> None:
    conversations, _ = made(2)
    conversations.begin_in_middle(0, stream(1, "middle"), 2)
    assert [conversations.begin().beginning for _ in range(2)] == [FRESH, FRESH]


@pytest.mark.parametrize(("ready", "users", "of"), [(0, 2, 6), (3, 2, 3), (8, 2, 6), (1, 2, 2)])
def test_the_middles_are_drawn_of_the_sessions_that_are_there(ready: int, users: int, of: int) -> None:
    conversations, _ = made(10)
    conversations.stock.make_ahead(0, more=ready)
    conversations.begin_in_middle(users, stream(1, "middle"), 6)
    begun = [conversations.begin() for _ in range(of + 1)]
    assert [int(one._session.id[1:]) < of for one in begun] == [True] * of + [False]


def test_a_user_whose_session_ends_with_what_is_under_way_comes_back_with_a_new_one() -> None:
    # Sessions have one turn of 2 s: a user in the middle of it has nothing left to send.
    encoder = Encoder()
    one = [Session(id=f"s{n}", turns=(Turn(content=f"only {n}", output_tokens=100),)) for n in range(3)]
    conversations = Conversations(iter(one), encoder, "run", History(False), in_memory=False)
    conversations.stock.make_ahead(0, more=3)
    conversations.begin_in_middle(1, stream(1, "middle"), 1)
    assert not conversations.must_wait
    begun = conversations.begin()
    assert begun._session.id == "s1"
    assert 0 < begun.beginning.began_ns <= 2 * S
    assert begun.beginning.ended_ns == {}


def test_a_session_weighs_its_requests_and_the_characters_of_its_texts() -> None:
    assert _weight(GRAPH) == (6, len("Be brief.") + len("planownbesidejoinendnew") + len("pobj"))
    shared = {"role": "user", "content": "shared text"}
    image = {"role": "user", "content": [{"type": "image_url"}]}
    turns = (
        Turn(content="a", continues=None, opening=(shared, image)),
        Turn(content="", results=("one", "three"), continues=None, opening=(shared,), answer="yes"),
    )
    assert _weight(Session(id="s", turns=turns)) == (2, 1 + 3 + 5 + 3 + len("shared text"))
