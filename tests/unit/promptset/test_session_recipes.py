"""The valid keys of a recipe of agent sessions, and the resulting sessions."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from promptset import recipes
from promptset.agents.plan import PlannedTurn, SessionPlan, plan_session
from promptset.agents.recipe import AgentRecipe, SubAgents, _share, is_of_sessions, read_recipe
from promptset.distributions import parse
from promptset.errors import SpecError
from tests.support.session_table import PUBLISHED, PUBLISHED_HIT_RATE, PUBLISHED_PAUSES_S, table_of
from tests.unit.promptset.test_session_plans import recipe, tokens


def test_a_recipe_for_another_window_scales_what_is_drawn() -> None:
    half = recipe().within(5000)
    assert (half.context_limit, half.scale) == (5000, 0.5)
    assert [t.input_tokens for t in plan_session(half, 0, 0).turns] == [500, 530, 560]
    assert half.within(20_000).scale == 2.0


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
    # The smallest of n values that at least half, 90% and 99% of them do not exceed.
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
    # The recipe's pauses are lognormal with these quantiles: p90 is exp(1.2816 sigma) times the median.
    for (p50, p90), (median, sigma) in zip(PUBLISHED_PAUSES_S.values(), ((140, 1.5365), (8, 1.6584)), strict=True):
        assert p50 == median
        assert p90 == pytest.approx(median * math.exp(1.28155 * sigma), abs=0.5)


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
