"""Plans of agents' sessions by hand, from recipes whose every draw is known; what a recipe may say; simulated sessions."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

from promptset import recipes
from promptset.agents.made import AgentSessions, _common, agent_sessions
from promptset.agents.plan import Floor, PlannedTurn, SessionPlan, _one_of, plan_session, system_tokens
from promptset.agents.recipe import AgentRecipe, SubAgents, _share, is_of_sessions, read_recipe
from promptset.agents.table import PUBLISHED, PUBLISHED_HIT_RATE, PUBLISHED_PAUSES_S, table_of
from promptset.chat_sum import chat_sum
from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.sessions import Session, SimulatedSessions, simulated_sessions
from promptset.sharing import parse_prefix
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers


def tokens(number: int | str) -> Any:
    return parse(number, "tokens")


def recipe(**more: Any) -> AgentRecipe:
    """3 turns: 1,000 tokens, and then 50 more behind each answer of 10; tools run for 5 s, people pause for a minute."""
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
        # Of its own, a system prompt is at most three quarters of the first context; a shared one lengthens it.
        (False, 0, 750, 750, 1000, 0),
        (False, 0, 751, 750, 1000, 0),
        (False, 0, 900, 750, 1000, 0),
        (True, 0, 990, 990, 1006, 0),
        (True, 1, 984, 984, 1000, 984),
        # At most a quarter of the window, and as much as the template needs.
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
    # Three quarters of the shortest first context, 32; and behind them the shortest text of a user.
    shortest = planned(first=2, system=100)
    assert (shortest.system_tokens, shortest.turns[0].input_tokens) == (24, 40)


@pytest.mark.parametrize(
    ("first", "output", "growth", "second"),
    [
        (1900, 20, 60, ("step", 1980, 1900, 0)),  # With its answer exactly the window.
        (1900, 20, 61, ("compaction", 950, 100, None)),
        (1901, 20, 60, ("compaction", 950, 100, None)),  # Half of 1,901, which is rounded to even.
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
    # Whoever waits for agents waits for no person.
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


def test_a_recipe_for_another_window_scales_what_is_drawn() -> None:
    half = recipe().within(5000)
    assert (half.context_limit, half.scale) == (5000, 0.5)
    assert [t.input_tokens for t in plan_session(half, 0, 0).turns] == [500, 530, 560]
    assert half.within(20_000).scale == 2.0


# Tables


def turn(
    length: int, cached: int, output: int, pause: Any = None, pause_s: float = 0.0, agent: str | None = None
) -> Any:
    return PlannedTurn(kind="step", input_tokens=length, output_tokens=output, cached_tokens=cached, pause_s=pause_s,
                       pause=pause, job=0, after=(), continues=None, agent=agent)  # fmt: skip


def test_a_table_counts_the_turns_of_main_agents() -> None:
    plans = [
        SessionPlan(
            system_tokens=1, turns=(turn(100, 0, 5), turn(300, 100, 6, "human", 9.0), turn(999, 0, 99, agent="a"))
        ),
        SessionPlan(
            system_tokens=1, turns=(turn(200, 50, 7), turn(400, 350, 8, "tool", 2.0), turn(400, 300, 9, "tool", 4.0))
        ),
    ]
    table = table_of(plans)
    assert (table.sessions, table.requests) == (2, 5)
    # Of n values, the least one that at least half, 90 % and 99 % do not exceed.
    assert table.quantiles == {
        "turns": (2, 3, 3), "output tokens": (7, 9, 9), "new tokens a turn": (100, 200, 200), "input tokens": (300, 400, 400),
    }  # fmt: skip
    assert table.hit_rate == 800 / 1400
    assert table.pauses_s == {"human": (9.0, 9.0, 9.0), "tool": (2.0, 4.0, 4.0)}
    assert table.human_share == 1 / 3
    single = table_of([SessionPlan(system_tokens=1, turns=(turn(100, 0, 5),))])
    assert (single.pauses_s, single.human_share) == ({"human": (0.0, 0.0, 0.0), "tool": (0.0, 0.0, 0.0)}, 0)
    hundred = [SessionPlan(system_tokens=1, turns=(turn(n, 0, n),)) for n in range(1, 101)]
    assert table_of(hundred).quantiles["output tokens"] == (50, 90, 99)
    with pytest.raises(ValueError, match="no plans"):
        table_of([])


def test_the_published_numbers_are_those_that_the_recipe_names() -> None:
    source = recipes.load_sessions("coding-agent").source
    for name, values in PUBLISHED.items():
        said = re.search(re.escape(name) + r"(?: p50/p90/p99)? ([\d,.k/]+),", source)
        assert said is not None, name
        numbers = [part.replace(",", "") for part in said[1].split("/")]
        assert tuple(float(n[:-1]) * 1000 if n.endswith("k") else float(n) for n in numbers) == values
    assert f"hit rate {PUBLISHED_HIT_RATE:.3f}".replace(" 0", " ") in source
    # The recipe's pauses are lognormal laws through these quantiles: p90 is exp(1.2816 sigma) times the median.
    for (p50, p90), (median, sigma) in zip(PUBLISHED_PAUSES_S.values(), ((140, 1.5365), (8, 1.6584)), strict=True):
        assert p50 == median
        assert p90 == pytest.approx(median * math.exp(1.28155 * sigma), abs=0.5)


# What a recipe says


CONTENT: dict[str, Any] = {
    "about": "a", "source": "s", "turns": 3, "first_context": 1000, "system": {"tokens": 100}, "growth": 50,
    "output_tokens": 10, "context_limit": 10_000, "compaction": {"share": "1%", "keeps": "15%..60%"},
    "cache_break": {"share": 0.02}, "pauses": {"human": {"share": "13%", "time": "60s"}, "tool": {"time": "5s"}},
}  # fmt: skip


def read(**change: Any) -> AgentRecipe:
    return read_recipe({key: value for key, value in (CONTENT | change).items() if value != "leave out"})


def problems(**change: Any) -> list[str]:
    with pytest.raises(SpecError) as refused:
        read(**change)
    return refused.value.problems


def test_a_recipe_is_read_to_the_last_field() -> None:
    found = read()
    assert (found.about, found.source, found.context_limit, found.scale) == ("a", "s", 10_000, 1.0)
    assert (found.compaction_share, found.compaction_keeps, found.break_share) == (0.01, (0.15, 0.6), 0.02)
    assert (found.human_share, found.shared_system, found.sub_agents) == (0.13, False, None)
    assert (found.first_context, found.system) == (((1.0, tokens(1000)),), tokens(100))
    assert (found.human_time, found.tool_time) == (parse("60s", "time"), parse("5s", "time"))
    more = read(
        system={"tokens": 5, "shared": True},
        first_context=[{"share": "25%", "tokens": 9}, {"share": 0.75, "tokens": 8}],
        sub_agents={"share": 1, "agents": 2, "turns": 3, "first_context": 4},
    )
    assert (more.shared_system, more.first_context) == (True, ((0.25, tokens(9)), (0.75, tokens(8))))
    assert more.sub_agents == SubAgents(share=1.0, agents=tokens(2), turns=tokens(3), first_context=tokens(4))


@pytest.mark.parametrize(
    "change",
    [
        {"context_limit": 1000, "first_context": 999},
        {"first_context": 9999},
        {"compaction": {"share": "50%", "keeps": "1%..99%"}, "cache_break": {"share": "50%"}},
        {"compaction": {"share": 0, "keeps": "40%"}, "cache_break": {"share": 1}},
        {"output_tokens": 2500, "growth": 2500},
        {"turns": "uniform:0..1", "growth": "uniform:0..1"},
        {"first_context": [{"share": 1 / 3, "tokens": n} for n in (7, 8, 9)]},
    ],
)
def test_borders_that_a_recipe_may_reach(change: dict[str, Any]) -> None:
    assert isinstance(read(**change), AgentRecipe)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"context_limit": 999}, ["context_limit must be a whole number of tokens from 1,000 on, not 999"]),
        ({"context_limit": True}, ["context_limit must be a whole number of tokens from 1,000 on, not True"]),
        ({"context_limit": 5000.0}, ["context_limit must be a whole number of tokens from 1,000 on, not 5000.0"]),
        ({"context_limit": None}, ["context_limit is missing"]),
        ({"first_context": 10_000}, [
            "first_context: half of 10000 (100% of the sessions) is above the context_limit of 10,000: shorten it, or raise "
            "the limit",
        ]),
        ({"compaction": {"share": "50.1%", "keeps": "1%"}, "cache_break": {"share": "50%"}},
         ["compaction.share and cache_break.share are more than 100% together"]),
        ({"growth": 2501}, ["growth: a tenth of 2501 is above a quarter of the context_limit of 10,000"]),
        ({"turns": 0, "growth": 0}, [f"{key}: '0' is less than one: give at least 1" for key in ("turns", "growth")]),
        ({"sub_agents": {"share": 0, "agents": 1, "turns": 0, "first_context": 9}},
         ["sub_agents.turns: '0' is less than one: give at least 1"]),
        ({"sub_agents": 3}, ["sub_agents must have keys (share, agents, turns, first_context), not be 3"]),
        ({"sub_agents": {"share": None, "agents": "x", "turns": 1, "first_context": 1}},
         ["sub_agents.share is missing", "sub_agents.agents 'x' is not a number (example: 128)"]),
        ({"compaction": None}, ["compaction is missing"]),
        ({"compaction": {"share": "1%"}}, ["compaction.keeps is missing"]),
        ({"system": {"tokens": 5, "shared": 1}}, ["system.shared must be true or false, not 1"]),
        ({"system": {"shared": True}}, ["system.tokens is missing"]),
        ({"about": "leave out", "sourse": 3}, ["sourse is unknown: did you mean source?", "about is missing"]),
        ({"zzz": 3}, ["zzz is unknown"]),
        ({"pauses": {"human": {"share": "13%", "tim": 1}, "tool": 5}},
         ["pauses.human.tim is unknown: did you mean pauses.human.time?", "pauses.human.time is missing",
          "pauses.tool must have keys (time), not be 5"]),
        ({"pauses": {"human": {"share": "101%", "time": "1s"}, "tool": {"time": "1s"}}},
         ["pauses.human.share must be a share from 0% to 100%, such as 1.5%, not '101%'"]),
        ({"cache_break": {"share": -0.01}}, ["cache_break.share must be a share from 0% to 100%, such as 1.5%, not -0.01"]),
        ({"cache_break": {"share": "few"}}, ["cache_break.share must be a share from 0% to 100%, such as 1.5%, not 'few'"]),
        ({"first_context": [{"share": "50%", "tokens": 9}, {"share": "49.9%", "tokens": 9}]},
         ["first_context: the shares add up to 99.9000%, and not to 100%"]),
        ({"first_context": [{"share": "50%", "tokens": 9}, 7]},
         ["first_context[2] must have a share and tokens, such as {share: 68%, tokens: 20000}"]),
        ({"first_context": [{"share": "50%", "token": 9}, {"share": "50%", "tokens": "x"}]},
         ["first_context[1].token is unknown: did you mean first_context[1].tokens?", "first_context[1].tokens is missing",
          "first_context[2].tokens 'x' is not a number (example: 128)"]),
    ],
)  # fmt: skip
def test_what_a_recipe_may_not_say(change: dict[str, Any], said: list[str]) -> None:
    assert problems(**change) == said


@pytest.mark.parametrize("keeps", ["0%..10%", "60%..15%", "15%..100%", "100%", "0%", "x..y", "10%..y", "x", 0, ".."])
def test_a_compaction_keeps_between_nothing_and_all(keeps: object) -> None:
    assert problems(compaction={"share": "1%", "keeps": keeps}) == [
        f"compaction.keeps must be shares of the context below 100%, such as 15%..60%, not {keeps!r}"
    ]


def test_shares_are_numbers_or_percent() -> None:
    assert [_share(value) for value in ("13%", " 50% ", 0.25, "1", "x%", "", "%")] == [
        0.13,
        0.5,
        0.25,
        1,
        None,
        None,
        None,
    ]
    assert read(compaction={"share": "1%", "keeps": 0.5}).compaction_keeps == (0.5, 0.5)


@pytest.mark.parametrize(
    ("keys", "of_sessions"),
    [
        ((), False),
        (("about", "source", "output_tokens"), False),
        (("turns",), True),
        (("about", "pauses"), True),
        (("x",), False),
    ],
)
def test_a_recipe_of_sessions_is_known_by_its_keys(keys: tuple[str, ...], of_sessions: bool) -> None:
    assert is_of_sessions(dict.fromkeys(keys)) is of_sessions


# Texts


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
    # A text has at least two tokens: of the system, of the user.
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
    assert _common(one, other) == _common(other, one) == same


# Simulated sessions


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
    # A prefix lengthens the first turn alone.
    with pytest.raises(SpecError, match="are below"):
        simulated(input_tokens=60, prefix=parse_prefix("tokens=59,groups=2"))


def test_impossible_lengths_are_refused_together() -> None:
    with pytest.raises(SpecError) as refused:
        simulated(input_tokens="uniform:1..10100000", prefix=parse_prefix("tokens=50,groups=2"))
    assert len(refused.value.problems) == 2
    # One in a million draws may be too short, and is drawn again.
    assert simulated(input_tokens="normal:mean=80,std=15").session_at(0).turns
    with pytest.raises(SpecError, match="are below"):
        simulated(input_tokens="normal:mean=80,std=20")


def test_another_salt_is_other_texts_of_the_same_lengths() -> None:
    plain, salted = simulated().session_at(2), simulated(salt="x").session_at(2)
    assert lengths(plain) == lengths(salted)
    assert not {t.content for t in plain.turns} & {t.content for t in salted.turns}
    assert not {t.answer for t in plain.turns} & {t.answer for t in salted.turns}


FORGETS = (
    "{% for m in messages %}{% if loop.last or m.role != 'assistant' or loop.revindex < 4 %}"
    "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}<assistant>"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


@pytest.fixture(scope="module", params=[FORGETS, NO_SYSTEM + FORGETS], ids=["with system", "without"])
def counting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer whose template forgets answers, so that prompts are counted whole."""
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
        earlier = [max((_common(one, other) for other in ids[:number]), default=0) for number, one in enumerate(ids)]
        found = [turn.cached_tokens for turn in session.turns]
        assert found[1:] == earlier[1:]
        assert found[0] == (150 if shared and index else 0)
        # All conversations begin with the same words, of a system prompt where there can be one.
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
