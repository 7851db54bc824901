from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.samples import MOST_TOKENS
from promptset.sharing import Prefix
from promptset.sharing.groups import Groups
from promptset.simulated import SimulatedPrompts, simulated_prompts, too_long
from promptset.tokenizer import Tokenizer
from tests.support.sample_parts import counted, messages_of, prompt_of, tokens_of


def make(
    tokenizer: Tokenizer,
    spec: str = "uniform:40..90",
    *,
    chat: bool = False,
    seed: int = 3,
    prefix: Prefix | None = None,
    output: str = "exp:mean=20",
) -> SimulatedPrompts:
    return simulated_prompts(
        tokenizer,
        input_tokens=parse(spec, "tokens"),
        output_tokens=parse(output, "tokens"),
        chat=chat,
        seed=seed,
        prefix=prefix,
    )


@pytest.mark.parametrize("chat", [False, True])
def test_samples_have_the_lengths_that_they_say(tokenizer: Tokenizer, chat: bool) -> None:
    for sample in itertools.islice(make(tokenizer, chat=chat), 60):
        assert (sample.messages is not None) is chat
        assert counted(tokenizer, sample) == sample.input_tokens
        assert sample.output_tokens is not None
        assert 40 <= tokens_of(sample) <= 90
        assert sample.output_tokens >= 1


def test_a_sample_depends_on_seed_and_index_alone(default_tokenizer: Tokenizer) -> None:
    in_order = list(itertools.islice(make(default_tokenizer), 20))
    backwards = [make(default_tokenizer).sample_at(index) for index in reversed(range(20))]
    assert in_order == backwards[::-1]
    assert make(default_tokenizer, seed=4).sample_at(0) != in_order[0]


def test_other_output_lengths_leave_the_prompts_alone(default_tokenizer: Tokenizer) -> None:
    changed = make(default_tokenizer, output="7")
    assert [changed.sample_at(i).prompt for i in range(9)] == [
        make(default_tokenizer).sample_at(i).prompt for i in range(9)
    ]


def test_seed_zero_and_seed_none_given_are_not_confused(default_tokenizer: Tokenizer) -> None:
    assert make(default_tokenizer, seed=0).sample_at(5) == make(default_tokenizer, seed=0).sample_at(5)
    assert make(default_tokenizer, seed=0).sample_at(5) != make(default_tokenizer, seed=1).sample_at(5)


@given(tokens=st.integers(1, 36), groups=st.integers(1, 5), chat=st.booleans(), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_a_group_shares_exactly_its_prefix_and_lengths_still_hold(
    default_tokenizer: Tokenizer, tokens: int, groups: int, chat: bool, seed: int
) -> None:
    samples = make(default_tokenizer, chat=chat, seed=seed, prefix=Prefix(Groups(tokens, groups)))
    by_group: dict[int, list[list[int]]] = {}
    for index, sample in enumerate(itertools.islice(samples, 4 * groups)):
        text = default_tokenizer.render_chat(messages_of(sample)) if chat else prompt_of(sample)
        ids = default_tokenizer.encode(text)
        assert len(ids) == sample.input_tokens
        by_group.setdefault(index % groups, []).append(ids)
    # All prompts share the head of the template.
    head = 2 if chat else 0
    for members in by_group.values():
        assert len({tuple(ids[: head + tokens]) for ids in members}) == 1
        # After the prefix the prompts differ, although two of four may continue with the same word.
        assert len({tuple(ids[: head + tokens + 5]) for ids in members}) > 1
    if tokens >= 8:
        assert len({tuple(members[0][: head + tokens]) for members in by_group.values()}) == groups


@pytest.mark.parametrize("chat", [False, True])
def test_the_shortest_chats_with_a_prefix_are_exact_under_any_tokenizer(tokenizer: Tokenizer, chat: bool) -> None:
    prefix = Prefix(Groups(6, 3))
    least = make(tokenizer, chat=chat, prefix=prefix).least_tokens
    for sample in itertools.islice(make(tokenizer, str(least), chat=chat, prefix=prefix), 12):
        assert counted(tokenizer, sample) == least


def test_lengths_that_cannot_be_had_are_refused_with_the_limit_to_write(default_tokenizer: Tokenizer) -> None:
    with pytest.raises(SpecError) as caught:
        make(default_tokenizer, "exp:mean=100", chat=True, prefix=Prefix(Groups(12, 1)))
    assert "below 16" in str(caught.value)
    assert "min=16" in str(caught.value)
    make(default_tokenizer, "exp:mean=100,min=16", chat=True, prefix=Prefix(Groups(12, 1)))
    with pytest.raises(SpecError, match="has 4 tokens: ask for at least 4"):
        make(default_tokenizer, "3", chat=True)


def test_lengths_too_short_but_very_rare_are_drawn_again(default_tokenizer: Tokenizer) -> None:
    samples = make(default_tokenizer, "normal:mean=60,std=11", chat=True)
    assert 0 < samples.input_tokens.share_below(samples.least_tokens) < 1e-6
    # The same with a limit that many draws miss: the lengths must not accumulate at it, as they would if short ones
    # were raised to it.
    often = dataclasses.replace(samples, least_tokens=60)
    lengths = [tokens_of(sample) for sample in itertools.islice(often, 200)]
    assert min(lengths) >= 60
    assert lengths.count(60) < 30


def test_a_prompt_may_have_ten_million_tokens_and_no_more() -> None:
    assert MOST_TOKENS == 10_000_000
    assert [len(too_long(parse(str(n), "tokens"))) for n in (MOST_TOKENS, MOST_TOKENS + 1)] == [0, 1]
