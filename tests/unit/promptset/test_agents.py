"""Agent sessions: their plans have the published statistics, and their prompts have exactly the planned tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from promptset import recipes
from promptset.agents import made as making
from promptset.agents.made import agent_sessions
from promptset.agents.plan import Floor, plan_session
from promptset.agents.recipe import AgentRecipe
from promptset.chat_sum import NotASum, chat_sum
from promptset.cli import main
from promptset.errors import SpecError
from promptset.sessions import Session, load_sessions
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers
from tests.support.session_table import PUBLISHED, PUBLISHED_HIT_RATE, PUBLISHED_PAUSES_S, table_of

WITHIN = 0.10
SMALL = "like: coding-agent\nturns: uniform:4..9\ncontext_limit: 3000\nfirst_context: uniform:200..900\n"
SMALL += "system: {tokens: uniform:40..90}\ngrowth: uniform:30..200\noutput_tokens: uniform:2..60\n"
OFTEN = SMALL + "compaction: {share: 20%, keeps: 15%..60%}\ncache_break: {share: 20%}\n"
BESIDE = (
    OFTEN + "sub_agents: {share: 40%, agents: uniform:1..3, turns: uniform:1..4, first_context: uniform:150..400}\n"
)


def recipe_of(tmp_path: Path, text: str) -> AgentRecipe:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return recipes.load_sessions(str(path))


def test_what_is_drawn_has_the_published_quantiles() -> None:
    recipe = recipes.load_sessions("coding-agent")
    table = table_of(plan_session(recipe, 0, index) for index in range(800))
    for name, (p50, p90, _) in PUBLISHED.items():
        assert table.quantiles[name][:2] == (pytest.approx(p50, rel=WITHIN), pytest.approx(p90, rel=WITHIN)), name
    assert table.hit_rate == pytest.approx(PUBLISHED_HIT_RATE, abs=0.01)
    for pause, (p50, p90) in PUBLISHED_PAUSES_S.items():
        assert table.pauses_s[pause][:2] == (pytest.approx(p50, rel=WITHIN), pytest.approx(p90, rel=WITHIN)), pause
    assert table.human_share == pytest.approx(0.13, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "off"),
    [
        ({}, set()),
        ({"compaction_keeps": (0.95, 0.99)}, {"new tokens a turn", "hit rate"}),
        ({"scale": 2.0}, {"output tokens", "new tokens a turn", "hit rate"}),
        ({"break_share": 5.0}, {"new tokens a turn", "hit rate"}),
    ],
    ids=["none", "compaction keeps too much", "growth is doubled", "the cache breaks five times as often"],
)
def test_a_recipe_that_is_off_does_not_have_them(wrong: dict[str, Any], off: set[str]) -> None:
    """Planted defects: the table detects them. The turns of 200 sessions vary too much to detect any."""
    recipe = recipes.load_sessions("coding-agent")
    if "break_share" in wrong:
        wrong = {"break_share": wrong["break_share"] * recipe.break_share}
    table = table_of(plan_session(dataclasses.replace(recipe, **wrong), 0, index) for index in range(200))
    found = {
        name
        for name in ("output tokens", "new tokens a turn")
        for drawn, published in zip(table.quantiles[name][:2], PUBLISHED[name], strict=False)
        if abs(drawn / published - 1) > WITHIN
    }
    found |= {"hit rate"} if abs(table.hit_rate - PUBLISHED_HIT_RATE) > 0.01 else set()
    assert found == off


def test_no_prompt_and_answer_are_longer_than_the_window() -> None:
    recipe = recipes.load_sessions("coding-agent")
    for one in (recipe, recipe.within(32_768)):
        plans = [plan_session(one, 3, index) for index in range(150)]
        longest = max(turn.input_tokens + turn.output_tokens for plan in plans for turn in plan.turns)
        assert 0.95 * one.context_limit < longest <= one.context_limit


def test_a_compaction_keeps_the_share_that_the_recipe_says(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, OFTEN)
    plans = [plan_session(recipe, 0, index) for index in range(60)]
    kept = []
    for plan in plans:
        for before, turn in zip(plan.turns, plan.turns[1:], strict=False):
            if turn.kind == "compaction":
                least = plan.system_tokens + Floor().user
                assert turn.input_tokens >= least
                if turn.input_tokens == least:
                    continue  # The recipe's share of the context would be smaller.
                kept.append(turn.input_tokens / before.input_tokens)
                assert turn.cached_tokens == plan.system_tokens
                assert turn.continues is None
    assert 0.14 < min(kept) < 0.2
    assert 0.55 < max(kept) < 0.61


def test_another_window_scales_lengths_and_leaves_turns_and_pauses() -> None:
    recipe = recipes.load_sessions("coding-agent")
    whole, small = (plan_session(one, 5, 1) for one in (recipe, recipe.within(50_000)))
    assert len(whole.turns) == len(small.turns)
    assert [turn.pause_s for turn in whole.turns] == [turn.pause_s for turn in small.turns]
    assert small.turns[0].input_tokens == pytest.approx(whole.turns[0].input_tokens / 4, rel=0.01)


def test_jobs_begin_where_a_person_pauses(tmp_path: Path) -> None:
    session = agent_sessions(load_tokenizer(), recipe_of(tmp_path, BESIDE), seed=0).session_at(3)
    job = 0
    for number, node in enumerate(session.nodes):
        job += number > 0 and node.pause == "human"
        assert node.job == job
    assert all(session.turns[n].agent is None for n, node in enumerate(session.nodes) if node.pause == "human")


def test_sub_agents_run_beside_each_other_and_the_main_agent_waits_for_them(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, BESIDE)
    found = 0
    for index in range(30):
        turns = plan_session(recipe, 0, index).turns
        for number, turn in enumerate(turns):
            if turn.agent is None and len(turn.after) > 1:
                found += 1
                before, *joined = turn.after
                assert turns[before].agent is None
                agents = {t.agent: n for n, t in enumerate(turns[:number]) if n > before}
                assert sorted(joined) == sorted(agents.values())
                assert turn.pause == "tool"
                begun = [t for t in turns[before:number] if t.agent is not None and t.after == (before,)]
                assert len(begun) == len(joined)
    assert found > 20


@pytest.mark.parametrize("text", [OFTEN, BESIDE, SMALL + "system: {tokens: '64', shared: true}\n"])
def test_every_prompt_has_exactly_the_planned_tokens(tokenizer: Tokenizer, tmp_path: Path, text: str) -> None:
    made = agent_sessions(tokenizer, recipe_of(tmp_path, text), seed=7)
    assert made.known is not None
    for index in range(3):
        session = made.session_at(index)
        chats = [session.conversation(number) for number in range(len(session.turns))]
        assert tokenizer.count_chats(chats) == [turn.input_tokens for turn in session.turns]
        assert tokenizer.count_plain([turn.answer or "" for turn in session.turns]) == [
            t.output_tokens for t in session.turns
        ]


def ids_of(tokenizer: Tokenizer, session: Session) -> list[list[int]]:
    return [tokenizer.encode_chat(session.conversation(number)) for number in range(len(session.turns))]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@pytest.mark.parametrize("text", [BESIDE, SMALL + "system: {tokens: '64', shared: true}\n"])
def test_a_cache_holds_what_is_planned_of_every_prompt(tokenizer: Tokenizer, tmp_path: Path, text: str) -> None:
    made = agent_sessions(tokenizer, recipe_of(tmp_path, text), seed=7)
    seen: list[list[int]] = []
    for index in range(3):
        session = made.session_at(index)
        if not made.recipe.shared_system:
            seen.clear()
        for turn, ids in zip(session.turns, ids_of(tokenizer, session), strict=True):
            held = max((common(ids, other) for other in seen), default=0)
            # By chance, texts share a word or two more.
            assert turn.cached_tokens is not None
            assert turn.cached_tokens <= held + (0 if seen else 1) <= turn.cached_tokens + 12
            seen.append(ids)


def test_the_whole_recipe_is_exact_at_150_000_tokens(default_tokenizer: Tokenizer) -> None:
    made = agent_sessions(default_tokenizer, recipes.load_sessions("coding-agent"), seed=0)
    index = next(n for n in range(50) if max(turn.input_tokens for turn in made.plan_at(n).turns) > 150_000)
    session = made.session_at(index)
    planned = [turn.input_tokens for turn in made.plan_at(index).turns]
    longest = planned.index(max(planned))
    for number in (0, longest // 2, longest):  # Counting every turn would take minutes.
        assert default_tokenizer.count_chat(session.conversation(number)) == session.turns[number].input_tokens


def test_a_text_that_is_made_one_short_is_counted_so(default_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A planted defect: a constant of the template is one too high."""
    made = agent_sessions(default_tokenizer, recipe_of(tmp_path, SMALL), seed=1)
    off = dataclasses.replace(made, known=dataclasses.replace(chat_sum(default_tokenizer), turn=4))
    session = off.session_at(0)
    counts = default_tokenizer.count_chats([session.conversation(number) for number in range(len(session.turns))])
    assert counts != [turn.input_tokens for turn in session.turns]


FORGETS = (
    "{% for m in messages %}{% if loop.last or m.role != 'assistant' or loop.revindex < 4 %}"
    "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}<assistant>"
)


def test_with_a_template_that_is_no_sum_prompts_are_counted_whole(tmp_path: Path) -> None:
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path / "model", template=FORGETS)
    tokenizer = load_tokenizer(str(folder))
    with pytest.raises(NotASum):
        chat_sum(tokenizer)
    made = agent_sessions(tokenizer, recipe_of(tmp_path, SMALL), seed=1)
    assert made.known is None
    session = made.session_at(0)
    prompts = ids_of(tokenizer, session)
    assert [len(ids) for ids in prompts] == [turn.input_tokens for turn in session.turns]
    for number, turn in enumerate(session.turns[1:], 1):
        assert turn.cached_tokens == max(common(prompts[number], other) for other in prompts[:number])
    assert any(
        turn.cached_tokens is not None and turn.cached_tokens < len(before)
        for before, turn in zip(prompts, session.turns[1:], strict=False)
    )


def test_a_template_without_system_prompts_has_the_shared_text_in_the_users_first_words(tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}<assistant>"
    )
    folder = tiny_tokenizers.save(tiny_tokenizers.byte_level_bpe(), tmp_path / "model", template=template)
    tokenizer = load_tokenizer(str(folder))
    made = agent_sessions(tokenizer, recipe_of(tmp_path, OFTEN), seed=4)
    for index in range(4):
        session = made.session_at(index)
        assert session.system is None
        prompts = ids_of(tokenizer, session)
        assert [len(ids) for ids in prompts] == [turn.input_tokens for turn in session.turns]
        for number, turn in enumerate(session.turns[1:], 1):
            assert turn.cached_tokens is not None
            assert turn.cached_tokens <= max(common(prompts[number], other) for other in prompts[:number])


def test_a_salt_makes_other_texts_of_the_same_lengths(default_tokenizer: Tokenizer, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, BESIDE)
    plain, salted = (agent_sessions(default_tokenizer, recipe, seed=2, salt=salt).session_at(0) for salt in (None, "x"))
    assert plain == agent_sessions(default_tokenizer, recipe, seed=2).session_at(0)
    assert [t.input_tokens for t in plain.turns] == [t.input_tokens for t in salted.turns]
    assert not {t.content for t in plain.turns} & {t.content for t in salted.turns}
    assert plain.system != salted.system


def test_lengths_below_what_the_template_needs_are_raised_to_it(tmp_path: Path) -> None:
    recipe = dataclasses.replace(recipe_of(tmp_path, SMALL), scale=0.001)
    for turn in plan_session(recipe, 0, 0, Floor(system=9, user=7, added=11)).turns:
        assert turn.input_tokens >= 16
        assert turn.output_tokens == 2


def test_the_command_writes_sessions_that_load_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "agents.jsonl"
    assert main(["--recipe", "coding-agent", "--context-limit", "2000", "--count", "2", "--out", str(out)]) == 0
    sessions = load_sessions(out)
    made = agent_sessions(load_tokenizer(), recipes.load_sessions("coding-agent").within(2000), seed=0)
    assert sessions == [made.session_at(index) for index in range(2)]
    manifest = json.loads((tmp_path / "agents.jsonl.manifest.json").read_text())
    assert manifest["options"]["recipe"] == "coding-agent"
    assert manifest["options"]["context_limit"] == 2000
    assert manifest["exactness"]["exact"] == manifest["exactness"]["checked"] > 3
    assert "2 sessions" in capsys.readouterr().err


def test_options_that_a_recipe_of_sessions_says_itself_are_refused_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--recipe", "coding-agent", "--turns", "4", "--input-tokens", "9", "--count", "1"]) == 2
    said = capsys.readouterr().err
    for flag in ("--turns", "--input-tokens"):
        assert f"{flag} cannot be combined with --recipe coding-agent: the recipe describes its sessions" in said
    assert main(["--context-limit", "4000", "--count", "1"]) == 2
    assert "--context-limit needs a recipe of sessions" in capsys.readouterr().err


def test_the_shipped_recipe_says_where_it_comes_from() -> None:
    recipe = recipes.load_sessions("coding-agent")
    assert len(recipe.source) > 100
    with pytest.raises(SpecError, match="makes sessions, and no single requests: use it with --mode sessions"):
        recipes.load("coding-agent")
    with pytest.raises(SpecError, match="makes single requests, and no sessions: there is coding-agent"):
        recipes.load_sessions("chatbot")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"turn": 5}, "turn is unknown: did you mean turns?"),
        ({"turns": None}, "turns is missing"),
        ({"growth": "lognorm:4"}, "growth "),
        ({"compaction": {"share": "2%", "keep": 1}}, "compaction.keep is unknown: did you mean compaction.keeps?"),
        (
            {"compaction": {"share": "2%", "keeps": "60%..15%"}},
            "compaction.keeps must be shares of the context below 100%",
        ),
        ({"cache_break": {"share": "150%"}}, "cache_break.share must be a share from 0% to 100%"),
        ({"first_context": [{"share": "60%", "tokens": 900}]}, "first_context: the shares add up to 60.0000%"),
        ({"first_context": 300_000}, "first_context: half of 300000 (100% of the sessions) is above the context_limit"),
        ({"pauses": {"tool": {"time": "5"}}}, "pauses.human is missing"),
        ({"pauses": 3}, "pauses must have keys (human, tool), not be 3"),
        ({"context_limit": "big"}, "context_limit must be a whole number of tokens from 1,000 on"),
        ({"sub_agents": {"share": "1%"}}, "sub_agents.agents is missing"),
        ({"system": {"tokens": 900, "shared": "maybe"}}, "system.shared must be true or false"),
        ({"like": "coding-agents"}, "like must be a recipe that comes with promptset"),
        ({"output_tokens": 90_000}, "output_tokens: a tenth of 90000 is above a quarter of the context_limit"),
        ({"turns": 0}, "turns: '0' is less than one: give at least 1"),
        ({"growth": 0}, "growth: '0' is less than one"),
        ({"first_context": 0}, "first_context: '0' is less than one"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_key_that_is_wrong(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"like": "coding-agent", **change}))
    with pytest.raises(SpecError) as caught:
        recipes.load_sessions(str(path))
    assert any(f"the recipe {path}: {said}" in problem for problem in caught.value.problems), caught.value.problems


def test_texts_need_no_counting(default_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This makes long sessions cheap: once the constants are known, no text is tokenized."""
    made = agent_sessions(default_tokenizer, recipe_of(tmp_path, BESIDE), seed=0)
    silent = dataclasses.replace(made, tokenizer=cast(Tokenizer, object()))
    monkeypatch.setattr(making, "sentence_bank", None)
    assert silent.session_at(1) == made.session_at(1)
