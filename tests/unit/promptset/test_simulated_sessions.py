"""Sessions with drawn lengths."""

from __future__ import annotations

from typing import Any

import pytest

from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.sessions import Session, SimulatedSessions, simulated_sessions
from promptset.sharing import parse_prefix
from promptset.tokens import load_tokenizer
from tests.unit.promptset.test_session_plans import tokens


def simulated(**more: Any) -> SimulatedSessions:
    given = {"turns": 3, "input_tokens": 80, "output_tokens": 12} | more
    laws = {key: tokens(given.pop(key)) for key in ("turns", "input_tokens", "output_tokens")}
    return simulated_sessions(load_tokenizer(), **laws, think_time=parse("2s", "time"), seed=4, **given)


def lengths(session: Session) -> list[tuple[int | None, int | None, float]]:
    return [(turn.input_tokens, turn.output_tokens, turn.think_time_s) for turn in session.turns]


def test_each_turn_adds_the_answer_before_it_and_a_draw() -> None:
    made = simulated()
    assert lengths(made.session_at(0)) == [(80, 12, 0.0), (172, 12, 2.0), (264, 12, 2.0)]
    assert [next(made).id, next(made).id] == ["session-0", "session-1"]
    assert lengths(simulated(turns=0).session_at(0)) == [(80, 12, 0.0)]


def test_sessions_of_a_group_begin_alike_and_others_do_not() -> None:
    made = simulated(turns=1, input_tokens=200, prefix=parse_prefix("tokens=100,groups=2"))
    texts = [made.session_at(index).turns[0].content for index in range(3)]
    same = next(at for at, (a, b) in enumerate(zip(texts[0], texts[2], strict=False)) if a != b)
    assert load_tokenizer().count_plain([texts[0][:same]])[0] >= 95
    assert texts[0][:40] != texts[1][:40]
    assert made.session_at(0).system is None
    assert simulated(prefix=parse_prefix("system=9")).session_at(0).system is not None


def test_the_shortest_turn_is_what_the_template_adds_and_a_few_more() -> None:
    one = [{"role": "user", "content": "x"}]
    added = load_tokenizer().count_chat(
        [*one, {"role": "assistant", "content": ""}, *one]
    ) - load_tokenizer().count_chat(one)
    made = simulated()
    assert made.least_added == added + 2
    with pytest.raises(SpecError, match=f"a turn adds at least {made.least_added} with"):
        simulated(input_tokens=made.least_added - 1)
    shortest = simulated(input_tokens=made.least_added)
    for number in range(3):
        turns = shortest.session_at(0).turns
        assert load_tokenizer().count_chat(shortest.session_at(0).conversation(number)) == turns[number].input_tokens
    # A prefix lengthens only the first turn.
    with pytest.raises(SpecError, match="are below"):
        simulated(input_tokens=60, prefix=parse_prefix("tokens=59,groups=2"))


def test_impossible_lengths_are_refused_together() -> None:
    with pytest.raises(SpecError) as refused:
        simulated(input_tokens="uniform:1..10100000", prefix=parse_prefix("tokens=50,groups=2"))
    assert len(refused.value.problems) == 2
    # One in a million draws may be too short, and is repeated.
    assert simulated(input_tokens="normal:mean=80,std=15").session_at(0).turns
    with pytest.raises(SpecError, match="are below"):
        simulated(input_tokens="normal:mean=80,std=20")


def test_another_salt_is_other_texts_of_the_same_lengths() -> None:
    plain, salted = simulated().session_at(2), simulated(salt="x").session_at(2)
    assert lengths(plain) == lengths(salted)
    assert not {t.content for t in plain.turns} & {t.content for t in salted.turns}
    assert not {t.answer for t in plain.turns} & {t.answer for t in salted.turns}
