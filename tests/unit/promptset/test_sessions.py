"""Sessions: every request has exactly its stated tokens, its history is the conversation so far, and written rows can
be loaded again."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.sessions import (
    Session,
    SimulatedSessions,
    Turn,
    load_sessions,
    read_session,
    simulated,
    simulated_sessions,
)
from promptset.sharing import parse_prefix
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers


def made(
    tokenizer: Tokenizer,
    *,
    turns: str = "uniform:1..4",
    new: str = "uniform:60..110",
    answers: str = "uniform:5..30",
    seed: int = 2,
    prefix: str | None = None,
) -> SimulatedSessions:
    return simulated_sessions(
        tokenizer,
        turns=parse(turns, "tokens"),
        input_tokens=parse(new, "tokens"),
        output_tokens=parse(answers, "tokens"),
        think_time=parse("exp:mean=2s", "time"),
        seed=seed,
        prefix=None if prefix is None else parse_prefix(prefix),
    )


@pytest.mark.parametrize("prefix", [None, "tokens=20,groups=2", "system=15,tokens=9"])
def test_every_request_has_exactly_the_tokens_that_it_says(tokenizer: Tokenizer, prefix: str | None) -> None:
    for session in itertools.islice(made(tokenizer, prefix=prefix), 8):
        for number, turn in enumerate(session.turns):
            assert tokenizer.count_chat(session.messages([None] * number)) == turn.input_tokens
            assert tokenizer.count_plain([turn.answer or ""]) == [turn.output_tokens]


@pytest.mark.parametrize("prefix", [None, "system=15,tokens=9"])
def test_what_is_not_counted_again_is_the_same_as_counted_whole(
    tokenizer: Tokenizer, prefix: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = [made(tokenizer, answers="uniform:1..30", prefix=prefix).session_at(index) for index in range(4)]
    monkeypatch.setattr(simulated, "_adds_up", lambda *given: False)
    assert [made(tokenizer, answers="uniform:1..30", prefix=prefix).session_at(index) for index in range(4)] == quick


def test_a_long_session_is_not_counted_whole_for_each_turn(
    default_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = made(default_tokenizer, turns="40", new="1500", answers="200")
    counted: list[int] = []
    sessions.session_at(0)
    count = type(default_tokenizer).count_chats

    def noted(self: Tokenizer, chats: Any, tools: Any = None) -> list[int]:
        counts = count(self, chats, tools)
        counted.extend(counts)
        return counts

    monkeypatch.setattr(type(default_tokenizer), "count_chats", noted)
    session = sessions.session_at(1)
    assert session.turns[-1].input_tokens == 40 * 1500 + 39 * 200
    assert max(counted) < 3 * 1700
    monkeypatch.undo()
    assert default_tokenizer.count_chat(session.messages([None] * 39)) == session.turns[-1].input_tokens


def test_with_a_template_that_forgets_earlier_answers_prompts_are_exact_all_the_same(tmp_path: Path) -> None:
    forgets = (
        "{% for m in messages %}{% if loop.last or m.role != 'assistant' or loop.revindex < 4 %}"
        "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}<assistant>"
    )
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path, template=forgets)
    tokenizer = load_tokenizer(str(folder))
    session = made(tokenizer, turns="5").session_at(0)
    for number, turn in enumerate(session.turns):
        assert tokenizer.count_chat(session.messages([None] * number)) == turn.input_tokens


def test_a_request_grows_by_the_answer_and_by_what_was_drawn(default_tokenizer: Tokenizer) -> None:
    for session in itertools.islice(made(default_tokenizer, turns="4", new="64", answers="25"), 3):
        assert [turn.input_tokens for turn in session.turns] == [64, 153, 242, 331]


def test_think_times_come_between_turns_and_not_before_the_first(default_tokenizer: Tokenizer) -> None:
    sessions = list(itertools.islice(made(default_tokenizer, turns="3"), 40))
    assert {session.turns[0].think_time_s for session in sessions} == {0.0}
    waits = [turn.think_time_s for session in sessions for turn in session.turns[1:]]
    assert sum(waits) / len(waits) == pytest.approx(2, rel=0.3)
    assert all(wait == round(wait, 6) for wait in waits)


def test_a_session_depends_on_seed_and_index_alone(default_tokenizer: Tokenizer) -> None:
    in_order = list(itertools.islice(made(default_tokenizer), 6))
    assert in_order == [made(default_tokenizer).session_at(index) for index in reversed(range(6))][::-1]
    assert made(default_tokenizer, seed=3).session_at(0) != in_order[0]
    assert len({turn.content for session in in_order for turn in session.turns}) == sum(len(s.turns) for s in in_order)


def test_more_turns_leave_the_first_ones_alone(default_tokenizer: Tokenizer) -> None:
    short, long = made(default_tokenizer, turns="2").session_at(5), made(default_tokenizer, turns="4").session_at(5)
    assert long.turns[:2] == short.turns


PLAN = Session(
    id="s",
    system="Be brief.",
    turns=(Turn(content="one", answer="planned"), Turn(content="two"), Turn(content="three", answer="last")),
)


def said(*answers: str | None) -> list[tuple[str, Any]]:
    return [(m["role"], m["content"]) for m in PLAN.messages(answers)]


def test_the_history_is_made_of_real_answers_or_of_planned_ones() -> None:
    system = ("system", "Be brief.")
    assert said() == [system, ("user", "one")]
    assert said("real") == [system, ("user", "one"), ("assistant", "real"), ("user", "two")]
    assert said(None)[2] == ("assistant", "planned")
    assert said("")[2] == ("assistant", "")  # An empty answer is an answer, too.
    assert said("a", "b")[-3:] == [("user", "two"), ("assistant", "b"), ("user", "three")]


def test_what_cannot_be_asked_is_said() -> None:
    with pytest.raises(SpecError, match="the session s has no answer to its turn 2: give the server's"):
        PLAN.messages(["a", None])
    with pytest.raises(SpecError, match="has 3 turns, and 3 are answered"):
        PLAN.messages(["a", "b", "c"])


def test_rows_load_again_as_the_same_sessions(tmp_path: Path, default_tokenizer: Tokenizer) -> None:
    sessions = list(itertools.islice(made(default_tokenizer, prefix="system=9"), 5))
    path = tmp_path / "sessions.jsonl"
    path.write_text("".join(json.dumps(session.row()) + "\n" for session in [*sessions, PLAN]))
    assert load_sessions(path) == [*sessions, PLAN]


def test_a_sharegpt_conversation_is_a_session() -> None:
    row = {
        "id": "q",
        "conversations": [
            {"from": "gpt", "value": "Go on"},
            {"from": "human", "value": "Hi"},
            {"from": "gpt", "value": "Hello"},
            {"from": "human", "value": "Bye"},
        ],
    }
    assert read_session(row, "x") == Session(id="q", turns=(Turn(content="Hi", answer="Hello"), Turn(content="Bye")))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"turns": []}, "a session is an object whose turns are a list that is not empty"),
        ([1], "a session is an object"),
        ({"turns": [{"content": "a"}, {"content": ""}]}, "turn 2 must be an object with a content that is not empty"),
        ({"turns": [{"content": "a", "think_time": 3}]}, "turn 1: unknown key 'think_time'"),
        ({"turns": [{"content": "a", "think_time_s": -3}]}, "turn 1: think_time_s must be a number of seconds"),
        ({"turns": [{"content": "a", "output_tokens": 0}]}, "turn 1: output_tokens must be a whole number"),
        ({"turns": [{"content": "a", "answer": 5}]}, "turn 1: answer must be a string"),
        ({"session": 5, "turns": [{"content": "a"}]}, "session must be a string"),
        ({"conversations": [{"from": "gpt", "value": "a"}]}, "the conversation has no message of a user"),
    ],
)
def test_a_bad_session_is_named_by_its_line(tmp_path: Path, row: Any, said: str) -> None:
    path = tmp_path / "sessions.jsonl"
    path.write_text(json.dumps({"turns": [{"content": "a"}]}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(SpecError) as caught:
        load_sessions(path)
    assert caught.value.problems[0].startswith(f"{path}, line 2: {said}")


def test_turns_too_short_for_the_template_are_refused_with_the_limit_to_write(default_tokenizer: Tokenizer) -> None:
    with pytest.raises(SpecError) as caught:
        made(default_tokenizer, new="exp:mean=100")
    least = int(str(caught.value).rpartition("min=")[2].rstrip(")"))
    assert made(default_tokenizer, new=f"uniform:{least}..{least + 3}").session_at(0).turns
