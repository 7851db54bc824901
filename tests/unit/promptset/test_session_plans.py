"""Plans of agent sessions, computed by hand from recipes in which every draw is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from promptset.agents.plan import Floor, PlannedTurn, SessionPlan, _one_of, plan_session, system_tokens
from promptset.agents.recipe import AgentRecipe, SubAgents
from promptset.distributions import parse


def tokens(number: int | str) -> Any:
    return parse(number, "tokens")


def recipe(**more: Any) -> AgentRecipe:
    """3 turns: 1,000 tokens, then 50 more after each answer of 10. Tools run for 5 s, people pause for a minute."""
    lengths = {"turns": 3, "system": 100, "growth": 50, "output_tokens": 10} | more
    laws = {key: tokens(lengths.pop(key)) for key in ("turns", "system", "growth", "output_tokens")}
    first = lengths.pop("first", 1000)
    given: dict[str, Any] = {
        "about": "", "source": "", "first_context": ((1.0, tokens(first)),), "shared_system": False,
        "context_limit": 10_000, "compaction_share": 0.0, "compaction_keeps": (0.5, 0.5), "break_share": 0.0,
        "human_share": 0.0, "human_time": parse("60s", "time"), "tool_time": parse("5s", "time"),
    }  # fmt: skip
    return AgentRecipe(**{**given, **laws, **lengths})


def planned(index: int = 0, **more: Any) -> SessionPlan:
    return plan_session(recipe(**more), 1, index)


def told(plan: SessionPlan) -> list[tuple[Any, ...]]:
    return [(t.kind, t.input_tokens, t.cached_tokens, t.after, t.continues) for t in plan.turns]


def test_a_context_grows_by_the_answer_and_by_what_is_added() -> None:
    plan = planned()
    assert plan == SessionPlan(
        system_tokens=100,
        turns=(
            PlannedTurn(kind="first", input_tokens=1000, output_tokens=10, cached_tokens=0, pause_s=0.0, pause=None, job=0,
                        after=(), continues=None),
            PlannedTurn(kind="step", input_tokens=1060, output_tokens=10, cached_tokens=1000, pause_s=5.0, pause="tool",
                        job=0, after=(0,), continues=0),
            PlannedTurn(kind="step", input_tokens=1120, output_tokens=10, cached_tokens=1060, pause_s=5.0, pause="tool",
                        job=0, after=(1,), continues=1),
        ),
    )  # fmt: skip
    assert [turn.new_tokens for turn in plan.turns] == [1000, 60, 60]


def test_a_person_begins_a_job() -> None:
    assert [(t.pause, t.pause_s, t.job) for t in planned(human_share=1.0).turns] == [
        (None, 0.0, 0), ("human", 60.0, 1), ("human", 60.0, 2),
    ]  # fmt: skip
    many = planned(human_share=0.25, turns=2000).turns
    assert many[-1].job == sum(turn.pause == "human" for turn in many) == pytest.approx(500, abs=80)


@pytest.mark.parametrize(
    ("shared", "index", "system", "tokens_of_it", "first", "cached"),
    [
        (False, 1, 100, 100, 1000, 0),
        (True, 0, 100, 100, 1000, 0),
        (True, 1, 100, 100, 1000, 100),
        # A session's own system prompt is at most three quarters of the first context. A shared one lengthens the
        # context.
        (False, 0, 750, 750, 1000, 0),
        (False, 0, 751, 750, 1000, 0),
        (False, 0, 900, 750, 1000, 0),
        (True, 0, 990, 990, 1006, 0),
        (True, 1, 984, 984, 1000, 984),
        # At most a quarter of the window, at least what the template needs.
        (True, 1, 5000, 2500, 2516, 2500),
        (False, 0, 3, 16, 1000, 0),
        (True, 0, 3, 16, 1000, 0),
    ],
)
def test_the_system_prompt_is_part_of_the_first_context(
    shared: bool, index: int, system: int, tokens_of_it: int, first: int, cached: int
) -> None:
    plan = planned(index, shared_system=shared, system=system)
    assert (plan.system_tokens, plan.turns[0].input_tokens, plan.turns[0].cached_tokens) == (
        tokens_of_it,
        first,
        cached,
    )


def test_the_least_of_each_part_is_that_of_the_template() -> None:
    assert Floor() == Floor(system=16, user=16, added=16)
    small = recipe(first=2, system=2, growth=2, output_tokens=1)
    assert [t.input_tokens for t in plan_session(small, 0, 0).turns] == [32, 50, 68]
    assert [t.input_tokens for t in plan_session(small, 0, 0, Floor(system=9, user=7, added=4)).turns] == [16, 22, 28]
    assert {t.output_tokens for t in plan_session(small, 0, 0).turns} == {2}
    assert system_tokens(recipe(system=300), 1, 0, Floor()) == 300
    # Three quarters of the shortest first context, 32; after that, the shortest text of a user.
    shortest = planned(first=2, system=100)
    assert (shortest.system_tokens, shortest.turns[0].input_tokens) == (24, 40)


@pytest.mark.parametrize(
    ("first", "output", "growth", "second"),
    [
        (1900, 20, 60, ("step", 1980, 1900, 0)),  # With its answer it fills exactly the window.
        (1900, 20, 61, ("compaction", 950, 100, None)),
        (1901, 20, 60, ("compaction", 950, 100, None)),  # Half of 1,901, rounded to even.
        (1903, 20, 60, ("compaction", 952, 100, None)),
    ],
)
def test_a_context_that_would_not_fit_the_window_is_compacted(
    first: int, output: int, growth: int, second: tuple[Any, ...]
) -> None:
    plan = planned(first=first, output_tokens=output, growth=growth, context_limit=2000)
    kind, length, cached, _, continues = told(plan)[1]
    assert (kind, length, cached, continues) == second


@pytest.mark.parametrize(
    ("keeps", "lengths"), [(0.25, [1000, 250, 116]), (0.05, [1000, 116, 116]), (0.9, [1000, 900, 810])]
)
def test_a_compaction_keeps_its_share_and_at_least_the_system_prompt_with_a_text(
    keeps: float, lengths: list[int]
) -> None:
    plan = planned(compaction_share=1.0, compaction_keeps=(keeps, keeps))
    assert [t.input_tokens for t in plan.turns] == lengths
    assert [(t.kind, t.cached_tokens, t.continues, t.after) for t in plan.turns[1:]] == [
        ("compaction", 100, None, (0,)), ("compaction", 100, None, (1,)),
    ]  # fmt: skip


def test_a_compaction_keeps_each_share_between_its_two_alike() -> None:
    first = [planned(index, turns=2, compaction_share=1.0, compaction_keeps=(0.2, 0.6)) for index in range(300)]
    kept = sorted(plan.turns[1].input_tokens / 1000 for plan in first)
    assert (kept[0], kept[150], kept[-1]) == (
        pytest.approx(0.2, abs=0.02), pytest.approx(0.4, abs=0.04), pytest.approx(0.6, abs=0.02),
    )  # fmt: skip


def test_a_cache_that_breaks_leaves_the_system_prompt() -> None:
    assert told(planned(break_share=1.0))[1:] == [
        ("cache_break", 1060, 100, (0,), None), ("cache_break", 1120, 100, (1,), None),
    ]  # fmt: skip
    many = planned(turns=2000, growth=2, compaction_share=0.2, break_share=0.3, context_limit=10**9).turns
    shares = [sum(t.kind == kind for t in many) / 2000 for kind in ("compaction", "cache_break", "step")]
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=0.05)


def test_a_first_context_that_never_fits_is_half_of_the_room() -> None:
    assert planned(first=1900, output_tokens=100, context_limit=2000).turns[0].input_tokens == 1900
    assert planned(first=1901, output_tokens=100, context_limit=2000).turns[0].input_tokens == 950
    mixed = recipe(context_limit=2000, first_context=((0.9, tokens(5000)), (0.1, tokens(700))))
    assert {plan_session(mixed, 0, index).turns[0].input_tokens for index in range(50)} == {700}


def test_an_answer_is_at_most_a_quarter_of_the_window_and_there_are_2000_turns_at_most() -> None:
    assert planned(output_tokens=3000).turns[0].output_tokens == 2500
    assert planned(output_tokens=2500).turns[0].output_tokens == 2500
    assert [len(planned(turns=n, growth=1, context_limit=10**9).turns) for n in (0, 1, 2000, 2001)] == [
        1,
        1,
        2000,
        2000,
    ]


def test_sub_agents_begin_together_and_are_joined() -> None:
    beside = SubAgents(share=1.0, agents=tokens(2), turns=tokens(2), first_context=tokens(400))
    plan = planned(turns=2, sub_agents=beside, human_share=1.0)
    assert told(plan) == [
        ("first", 1000, 0, (), None),
        ("first", 400, 100, (0,), None),
        ("step", 460, 400, (1,), 1),
        ("first", 400, 100, (0,), None),
        ("step", 460, 400, (3,), 3),
        ("step", 1060, 1000, (0, 2, 4), 0),
    ]
    assert [t.agent for t in plan.turns] == [None, "agent-1", "agent-1", "agent-2", "agent-2", None]
    # A turn that waits for agents has no pause for a person.
    assert [(t.pause, t.pause_s, t.job) for t in plan.turns] == [
        (None, 0.0, 0), (None, 0.0, 0), ("tool", 5.0, 0), (None, 0.0, 0), ("tool", 5.0, 0), ("tool", 5.0, 0),
    ]  # fmt: skip
    assert plan.main == (plan.turns[0], plan.turns[5])
    alone = planned(turns=2, sub_agents=dataclasses.replace(beside, share=0.0))
    assert [t.agent for t in alone.turns] == [None, None]
    small = planned(turns=2, system=700, sub_agents=dataclasses.replace(beside, agents=tokens(1), turns=tokens(1)))
    assert told(small)[1] == ("first", 716, 700, (0,), None)
    third = planned(turns=400, growth=1, context_limit=10**9,
                    sub_agents=dataclasses.replace(beside, share=0.25, agents=tokens(1), turns=tokens(1)))  # fmt: skip
    assert len(third.turns) - 400 == pytest.approx(100, abs=35)


def test_a_number_falls_into_the_share_of_a_law() -> None:
    laws = ((0.25, tokens(1)), (0.5, tokens(2)), (0.25, tokens(3)))
    found = [_one_of(laws, where).constant for where in (0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999, 1.0)]
    assert found == [1, 1, 2, 2, 3, 3, 3]
