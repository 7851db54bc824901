"""Recipes: each shipped recipe is valid and has a source. An invalid recipe is refused with all its problems."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import pytest

from promptset import distributions, recipes
from promptset.distributions import Dimension
from promptset.errors import SpecError


@pytest.mark.parametrize("name", [name for name in recipes.names() if not recipes.makes_sessions(name)])
def test_every_recipe_can_be_drawn_from_and_says_where_it_comes_from(name: str) -> None:
    recipe = recipes.load(name)
    assert len(recipe.source) > 30
    assert len(recipe.about) > 10
    for text in (recipe.input_tokens, recipe.output_tokens):
        assert distributions.parse(text, "tokens").mean() >= 1
    # There is space for a chat template.
    assert distributions.parse(recipe.input_tokens, "tokens").share_below(16) == 0
    times = recipe.times_s(3)
    if times is not None:
        first = list(itertools.islice(times, 50))
        again, others = recipe.times_s(3), recipe.times_s(4)
        assert again is not None
        assert others is not None
        assert first[0] == 0
        assert first == sorted(first)
        assert first == list(itertools.islice(again, 50)) != list(itertools.islice(others, 50))
        assert all(at == round(at, 6) for at in first)


def drawn(text: str, dimension: Dimension = "tokens", n: int = 20_000) -> list[float]:
    from promptset.rng import stream

    distribution, chance = distributions.parse(text, dimension), stream(1, "test")
    return sorted(distribution.sample(chance) for _ in range(n))


@pytest.mark.parametrize(
    ("name", "key", "p50", "p95"),
    [
        ("azure-2023-conversation", "input_tokens", 1020, 4083),
        ("azure-2023-conversation", "output_tokens", 129, 451),
        ("azure-2023-code", "input_tokens", 1469, 7303),
        ("azure-2023-code", "output_tokens", 16, 65),
    ],
)
def test_the_quantiles_are_those_that_the_source_says(name: str, key: str, p50: int, p95: int) -> None:
    values = drawn(getattr(recipes.load(name), key))
    # `max` cuts off a distribution. The fitted output of code has the quantiles e^mu and e^(mu + 1.645 sigma).
    assert values[len(values) // 2] == pytest.approx(p50, rel=0.06)
    assert values[int(0.95 * len(values))] == pytest.approx(p95, rel=0.12)


def test_the_answers_of_conversations_have_two_peaks() -> None:
    values = drawn(recipes.load("azure-2023-conversation").output_tokens)
    count = [sum(low <= v < low + 50 for v in values) for low in range(0, 600, 50)]
    peaks = [i for i in range(1, 11) if count[i - 1] < count[i] > count[i + 1]]
    assert len(peaks) >= 2


def test_gaps_have_the_mean_and_spread_that_the_source_says() -> None:
    gaps_text = recipes.load("azure-2023-conversation").gaps
    assert gaps_text is not None
    gaps = [ns / 1e6 for ns in drawn(gaps_text, "time")]
    assert statistics.mean(gaps) == pytest.approx(180.8, rel=0.03)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(0.87**-0.5, rel=0.04)


def test_a_recipe_of_ones_own_may_have_a_table_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("about: a\nsource: b\ninput_tokens: empirical:t.json,min=3\noutput_tokens: 5\n")
    (tmp_path / "t.json").write_text("[2, 3, 4]")
    monkeypatch.chdir("/")
    recipe = recipes.load(str(tmp_path / "mine.yaml"))
    assert distributions.parse(recipe.input_tokens, "tokens").mean() == pytest.approx(3.5)
    assert recipes.is_recipe(str(tmp_path / "mine.yaml"))
    assert not recipes.is_recipe(str(tmp_path / "t.json"))
    assert not recipes.is_recipe("mine.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("about: a\ninputtokens: 5\n", ["inputtokens is unknown: did you mean input_tokens?", "source is missing"]),
        ("about: a\nsource: b\ninput_tokens: 5\noutput_tokens: 5ms\ngaps: 5\nprefix: token=3\n",
         ["output_tokens '5ms'", "gaps '5'", "prefix 'token=3': a prefix has no 'token'"]),
        ("- 5", ["must hold keys with values"]),
        ("a: [", ["not YAML"]),
        ("a: " + "[" * 1000, ["is nested too deeply"]),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_refused_all_at_once(tmp_path: Path, content: str, said: list[str]) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(SpecError) as caught:
        recipes.load(str(path))
    for words in said:
        assert words in str(caught.value)


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"chatbott: no recipe has this name: did you mean chatbot\?"):
        recipes.load("chatbott")
    with pytest.raises(SpecError, match="there are azure-2023-code, "):
        recipes.load("xyz")
