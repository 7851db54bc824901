"""The bodies of a session's turns: each message is encoded once, however many turns contain it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import endpoints
from bench.endpoints.interface import BodyOptions
from bench.sources.agents import AgentSpec
from bench.workload import Encoded
from bench.workload.kept_messages import KeptMessage
from bench.workload.turns import Conversation, History
from promptset.answers import Answer
from promptset.samples import Sample
from promptset.sessions import Session, Turn
from promptset.sessions.packed import pack_session, unpack_session
from promptset.tokens import load_tokenizer

RECIPE = """\
like: coding-agent
turns: uniform:6..9
context_limit: 4000
first_context: uniform:200..900
system: {tokens: uniform:40..90}
growth: uniform:30..200
output_tokens: uniform:2..60
compaction: {share: 20%, keeps: 15%..60%}
cache_break: {share: 20%}
sub_agents: {share: 40%, agents: uniform:1..3, turns: uniform:1..4, first_context: uniform:150..400}
"""
CHATS = ("chat", "messages", "responses")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> list[Session]:
    file = tmp_path_factory.mktemp("recipe") / "own.yaml"
    file.write_text(RECIPE)
    source = AgentSpec(recipe=str(file), speed=4).open(load_tokenizer(), seed=3, salt=None, chat=True, first=0, step=1)
    return [next(source) for _ in range(6)]


class Recorder:
    """An encoder that records the samples."""

    def __init__(self, endpoint: str) -> None:
        self._options = BodyOptions(endpoint=endpoint, model="m")
        self.samples: list[Sample] = []

    def __call__(self, sample: Sample) -> Encoded:
        self.samples.append(sample)
        return endpoints.encode(sample, self._options)

    def plain(self, messages: list[Any], tokens: int | None) -> bytes:
        return endpoints.encode(Sample(messages=tuple(messages), output_tokens=tokens), self._options).body


def held(session: Session, encode: Recorder, *, real: bool) -> list[bytes]:
    """The bodies of all turns, in order; each real answer has its own text."""
    conversation = Conversation(session, 0, encode, History(real))
    bodies = []
    for turn in range(len(session.turns)):
        request = conversation.request(turn, f"r-{turn}", turn, "run")
        bodies.append(request.body)
        if request.on_answer is not None:
            request.on_answer(Answer(content=f"what the server said to {turn}"))
        conversation.answered(turn)
    return bodies


@pytest.mark.parametrize("real", [False, True], ids=["planned", "real"])
@pytest.mark.parametrize("endpoint", CHATS)
def test_the_body_of_each_turn_is_that_of_its_messages(endpoint: str, real: bool, sessions: list[Session]) -> None:
    for session in sessions:
        encode = Recorder(endpoint)
        answers = {turn: f"what the server said to {turn}" for turn in range(len(session.turns))} if real else None
        for turn, body in enumerate(held(session, encode, real=real)):
            messages = session.conversation(turn, answers)
            assert body == encode.plain(messages, session.turns[turn].output_tokens)


def test_each_message_of_a_session_is_one_object_that_its_later_turns_share(sessions: list[Session]) -> None:
    for session in sessions:
        encode = Recorder("chat")
        held(session, encode, real=False)
        carried = [message for sample in encode.samples for message in sample.messages or ()]
        different = {id(message): message for message in carried}
        said = {json.dumps(message) for message in carried}
        assert all(isinstance(message, KeptMessage) for message in carried)
        assert len(different) == len(said) < len(carried) / 2


def test_openings_that_have_messages_in_common_are_written_once() -> None:
    """In recordings each turn is a separate conversation, which begins like others."""
    said = [{"role": "user" if at % 2 == 0 else "assistant", "content": f"message {at} " * 9} for at in range(8)]
    turns = tuple(
        Turn(content=f"turn {end}", continues=None, opening=tuple(said[:end]), output_tokens=3) for end in (2, 6, 4, 8)
    )
    session = unpack_session(pack_session(Session(id="s", turns=turns)))
    encode = Recorder("chat")
    assert held(session, encode, real=False) == [
        encode.plain(session.conversation(turn), 3) for turn in range(len(turns))
    ]
    assert len({id(message) for sample in encode.samples[:4] for message in sample.messages or ()}) == 8 + 4


def test_no_message_of_one_session_stands_in_another(sessions: list[Session]) -> None:
    encode = Recorder("chat")
    of = []
    for session in sessions:
        begin = len(encode.samples)
        held(session, encode, real=False)
        of.append({id(message) for sample in encode.samples[begin:] for message in sample.messages or ()})
    assert sum(map(len, of)) == len(set().union(*of))


def test_a_session_of_a_recipe_comes_out_of_a_packed_one_as_it_went_in(sessions: list[Session]) -> None:
    for session in sessions:
        packed = pack_session(session)
        assert unpack_session(packed) == session
        texts = sum(len(turn.content) + len(turn.answer or "") for turn in session.turns)
        assert len(packed) < 1.6 * texts  # Each text is packed once, however many turns contain it.


def test_the_source_has_the_recipes_pauses_at_its_speed_and_its_sub_agents(
    sessions: list[Session], tmp_path: Any
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(RECIPE)
    spec = AgentSpec(recipe=str(file))
    source = spec.open(load_tokenizer(), seed=3, salt=None, chat=True, first=0, step=1)
    slow = next(source)
    assert not spec.plans_sharing
    assert source.at_once == 3
    for turn, fast in zip(slow.turns, sessions[0].turns, strict=True):
        assert fast.think_time_s == pytest.approx(turn.think_time_s / 4, abs=1e-6)
