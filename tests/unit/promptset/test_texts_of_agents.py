"""The texts of agent sessions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from promptset.agents.made import AgentSessions, agent_sessions
from promptset.agents.plan import Floor
from promptset.agents.recipe import SubAgents
from promptset.chat_sum import chat_sum, common
from promptset.errors import SpecError
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers
from tests.unit.promptset.test_session_plans import recipe, tokens


def agents(speed: float = 1.0, **more: Any) -> AgentSessions:
    return agent_sessions(load_tokenizer(), recipe(**more), seed=3, speed=speed)


def test_turns_of_agents_leave_out_what_a_linear_session_says_by_itself() -> None:
    beside = SubAgents(share=1.0, agents=tokens(1), turns=tokens(1), first_context=tokens(400))
    session = agents(4.0, turns=2, sub_agents=beside).session_at(5)
    assert session.id == "agent-5"
    assert [(t.after, t.continues, t.think_time_s, t.agent) for t in session.turns] == [
        ((), None, 0.0, None), (None, None, 0.0, "agent-1"), ((0, 1), 0, 1.25, None),
    ]  # fmt: skip
    linear = agents(turns=3).session_at(0)
    assert [(t.after, t.continues) for t in linear.turns] == [((), None), (None, "before"), (None, "before")]
    assert [t.job for t in linear.turns] == [0, 0, 0]


def test_a_shared_system_prompt_is_the_same_text_in_all_sessions() -> None:
    shared, own = agents(shared_system=True), agents()
    assert shared.session_at(0).system == shared.session_at(1).system
    assert own.session_at(0).system != own.session_at(1).system
    assert next(own) == own.session_at(0)
    assert next(own) == own.session_at(1)


def test_the_floor_of_a_template_is_what_its_shortest_texts_take() -> None:
    made = agents(first=1, system=1, growth=1, output_tokens=1)
    session = made.session_at(0)
    first = load_tokenizer().count_chat(session.conversation(0))
    # The texts of the system and of the user have at least two tokens each.
    least = load_tokenizer().count_chat(
        [{"role": "system", "content": session.system}, {"role": "user", "content": "x"}]
    )
    assert first == made.floor.system + made.floor.user
    assert load_tokenizer().count_plain([session.system or "", session.turns[0].content]) == [2, 2]
    assert first == least + 1
    assert load_tokenizer().count_plain([session.turns[1].content]) == [2]


@pytest.mark.parametrize(
    ("one", "other", "same"), [([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2), ([], [1], 0), ([2], [1], 0)]
)
def test_what_two_prompts_have_in_common(one: list[int], other: list[int], same: int) -> None:
    assert common(one, other) == common(other, one) == same


FORGETS = (
    "{% for m in messages %}{% if loop.last or m.role != 'assistant' or loop.revindex < 4 %}"
    "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}<assistant>"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


@pytest.fixture(scope="module", params=[FORGETS, NO_SYSTEM + FORGETS], ids=["with system", "without"])
def counting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer whose template drops answers, so prompts must be counted as a whole."""
    folder = tmp_path_factory.mktemp("model")
    return load_tokenizer(str(tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), folder, template=request.param)))


@pytest.mark.parametrize("shared", [False, True])
def test_prompts_that_are_counted_whole_have_their_tokens_and_say_what_a_cache_has_of_them(
    counting: Tokenizer, shared: bool
) -> None:
    beside = SubAgents(share=1.0, agents=tokens(1), turns=tokens(2), first_context=tokens(300))
    own = recipe(first=400, system=150, sub_agents=beside, shared_system=shared, turns=2)
    made = agent_sessions(counting, own, seed=2)
    assert (made.known, made.floor) == (None, Floor(system=64, user=64, added=64))
    for index in (0, 1):
        session = made.session_at(index)
        ids = [counting.encode_chat(session.conversation(number)) for number in range(len(session.turns))]
        assert [len(one) for one in ids] == [turn.input_tokens for turn in session.turns] == [400, 300, 374, 474]
        earlier = [max((common(one, other) for other in ids[:number]), default=0) for number, one in enumerate(ids)]
        found = [turn.cached_tokens for turn in session.turns]
        assert found[1:] == earlier[1:]
        assert found[0] == (150 if shared and index else 0)
        # All conversations begin with the same words, in a system prompt if the template has one.
        begin = counting.encode_chat(session.conversation(0))[:100]
        assert counting.encode_chat(session.conversation(1))[:100] == begin
        assert (session.system is None) is session.turns[1].content.startswith(session.turns[0].content[:40])


def test_a_text_that_no_template_lets_fit_is_refused(monkeypatch: pytest.MonkeyPatch, counting: Tokenizer) -> None:
    made = agent_sessions(counting, recipe(first=400, system=150), seed=2)
    count = type(counting).encode_chat
    monkeypatch.setattr(
        type(counting), "encode_chat", lambda self, chat, tools=None: [*count(self, chat, tools)][: 300 - len(chat) % 2]
    )
    with pytest.raises(SpecError, match="no text makes a prompt of exactly 400 tokens"):
        made.session_at(0)


@pytest.mark.parametrize(
    ("system", "floor"), [(5, Floor(system=6, user=13, added=9)), (None, Floor(system=6, user=8, added=9))]
)
def test_the_floor_counts_what_the_template_adds_before_and_behind_the_first_text(
    system: int | None, floor: Floor
) -> None:
    known = dataclasses.replace(chat_sum(load_tokenizer()), opening=10, turn=7, system=system, head=4, lost=0)
    assert dataclasses.replace(agents(), known=known).floor == floor
