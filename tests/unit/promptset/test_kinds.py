"""Kinds of text: true to their name, exact with any tokenizer, and never repeated."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptset import drafts
from promptset.distributions import parse
from promptset.errors import SpecError
from promptset.exact import exact_messages, exact_prompt, least_messages, least_prompt
from promptset.kinds import KINDS, NAMES, Style, english, kind_of, parse_style
from promptset.loaders import load
from promptset.rng import stream
from promptset.sharing import parse_prefix
from promptset.simulated import SimulatedPrompts, simulated_prompts
from promptset.text import Opening, vocabulary_bank, without_leading_space, word_bank
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer
from tests.support import tiny_tokenizers
from tests.support.sample_parts import prompt_of

EACH = ("words", *KINDS, "random")
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
HISTORY = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model.\n\nAnd you?"}]


@pytest.fixture(scope="module")
def default_tokenizer(default_of_few_units: Tokenizer) -> Tokenizer:
    return default_of_few_units


@pytest.fixture(scope="module")
def tokenizers(
    loaded: Callable[[str], Tokenizer], default_of_few_units: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Tokenizer]:
    joins = tiny_tokenizers.save(tiny_tokenizers.joins_two_words(), tmp_path_factory.mktemp("joins"))
    made = {name: loaded(name) for name in tiny_tokenizers.KINDS}
    return {**made, "default": default_of_few_units, "joins": load_tokenizer(str(joins))}


@given(
    n=st.integers(1, 400),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(EACH),
    repeat=st.sampled_from([0.0, 0.5]),
    shared=st.sampled_from([0, 7]),
    data=st.data(),
)
@settings(max_examples=50)
def test_every_kind_is_exact_with_every_tokenizer(
    n: int, seed: int, kind: str, repeat: float, shared: int, data: st.DataObject, tokenizers: dict[str, Tokenizer]
) -> None:
    tokenizer = tokenizers[data.draw(st.sampled_from(sorted(tokenizers)))]
    prefix = word_bank(tokenizer).fresh(shared, stream(1))
    n += least_prompt(tokenizer) + shared
    prompt = exact_prompt(tokenizer, n, stream(seed), prefix=prefix, style=Style(kind, repeat), number=seed)
    assert len(tokenizer.encode(prompt, add_special_tokens=True)) == n
    assert prompt.startswith("".join(without_leading_space(prefix)))


@given(n=st.integers(0, 300), kind=st.sampled_from(EACH), history=st.booleans(), tools=st.booleans(), data=st.data())
@settings(max_examples=30)
def test_chats_with_turns_before_and_tools_are_exact(
    n: int, kind: str, history: bool, tools: bool, data: st.DataObject, tooled: dict[str, Tokenizer]
) -> None:
    tokenizer = tooled[data.draw(st.sampled_from(sorted(tooled)))]
    before = HISTORY if history else []
    offered = TOOLS if tools else None
    least = least_messages(tokenizer, "Be brief.", history=before, tools=offered)
    messages = exact_messages(
        tokenizer, least + n, stream(n), "Be brief.", history=before, tools=offered, style=Style(kind)
    )
    assert [m["role"] for m in messages] == ["system", *(m["role"] for m in before), "user"]
    rendered = tokenizer.render_chat(messages, offered)
    assert ("look_up" in rendered) == tools
    assert len(tokenizer.encode(rendered)) == least + n


@pytest.fixture(scope="module")
def tooled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    template = "{% if tools %}{{ tools | tojson }}\n{% endif %}" + tiny_tokenizers.TEMPLATE
    return {
        name: load_tokenizer(str(tiny_tokenizers.save(make(), tmp_path_factory.mktemp(name), template=template)))
        for name, make in tiny_tokenizers.KINDS.items()
    }


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("n", [64, 1000, 8192])
def test_text_survives_being_sent_as_ids(kind: str, n: int, default_tokenizer: Tokenizer) -> None:
    prompt = exact_prompt(default_tokenizer, n, stream(2), style=Style(kind))
    assert default_tokenizer.count(default_tokenizer.decode(default_tokenizer.encode(prompt))) == n


def test_json_is_valid_whatever_the_length(default_tokenizer: Tokenizer) -> None:
    for n in range(60, 400, 7):
        rows = json.loads(exact_prompt(default_tokenizer, n, stream(3, n), style=Style("json")))
        assert rows[0].keys() == {"title"}
        assert [row.keys() >= {"id", "name"} for row in rows[1:-1]] == [True] * (len(rows) - 2)
        assert rows[-1].keys() == {"note"}


def test_code_is_python_whatever_the_length(default_tokenizer: Tokenizer) -> None:
    for n in range(90, 600, 23):
        tree = ast.parse(exact_prompt(default_tokenizer, n, stream(4, n), style=Style("code")))
        assert all(isinstance(node, ast.FunctionDef) for node in tree.body)


def test_chinese_is_chinese_to_the_last_character(default_tokenizer: Tokenizer) -> None:
    for n in range(30, 200, 7):
        prompt = exact_prompt(default_tokenizer, n, stream(5, n), style=Style("chinese"))
        assert all("\u4e00" <= character <= "\u9fff" or character in "，。" for character in prompt)


def test_english_is_sentences(default_tokenizer: Tokenizer) -> None:
    prompt = exact_prompt(default_tokenizer, 500, stream(6), style=Style("english"))
    sentences = prompt.split(". ")
    assert all(sentence[0].isupper() and sentence[1].islower() for sentence in sentences if sentence[1] != " ")
    assert sum("the" in sentence.split() for sentence in sentences) > len(sentences) / 2


def test_mixed_text_has_all_of_it(default_tokenizer: Tokenizer) -> None:
    prompt = exact_prompt(default_tokenizer, 2000, stream(7), style=Style("mixed"))
    assert all(part in prompt for part in ("def ", '{"id": ', "。", " the "))


def test_random_tokens_are_of_the_whole_vocabulary(default_tokenizer: Tokenizer) -> None:
    bank = vocabulary_bank(default_tokenizer)
    assert len(bank.words) > 5000
    prompt = exact_prompt(default_tokenizer, 4000, stream(8), style=Style("random"))
    ids = set(default_tokenizer.encode(prompt))
    assert len(ids) > 2500
    assert max(ids) > 100_000


@pytest.mark.parametrize(("kind", "separator"), [("words", ". "), ("english", ". "), ("json", "\n")])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_as_much_of_a_text_is_repeated_as_was_asked(
    kind: str, separator: str, share: float, loaded: Callable[[str], Tokenizer]
) -> None:
    # With few units, a longer text would repeat some by chance.
    prompt = exact_prompt(loaded("default"), 6000, stream(9), style=Style(kind, share), number=5)
    parts = Counter(prompt.split(separator))
    again = sum((len(part) + len(separator)) * (times - 1) for part, times in parts.items())
    assert again / len(prompt) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("options", [[2, 3, 4], [5, 5, 5], [1, 9, 2], [7, 1, 1]])
def test_a_lead_gives_each_number_choices_of_its_own(options: list[int]) -> None:
    every = options[0] * options[1] * options[2]
    for first in (0, 17, 10**12):
        numbers = range(first, first + every)
        chosen = set()
        for number in numbers:
            opening = Opening(number)
            chosen.add(tuple(opening.choose(of, stream(1)) for of in options))
        assert len(chosen) == every


@pytest.mark.parametrize("options", [1000, 1024])
def test_a_lead_makes_neighbours_go_on_differently(options: int) -> None:
    seconds = set()
    for number in range(50):
        opening = Opening(number)
        opening.choose(options, stream(1))
        seconds.add(opening.choose(options, stream(1)))
    assert len(seconds) > 40


def made(
    tokenizer: Tokenizer,
    tokens: str | int,
    kind: str = "words",
    *,
    seed: int = 0,
    chat: bool = False,
    prefix: str | None = None,
) -> SimulatedPrompts:
    return simulated_prompts(
        tokenizer,
        input_tokens=parse(tokens, "tokens"),
        output_tokens=parse(1, "tokens"),
        chat=chat,
        seed=seed,
        prefix=None if prefix is None else parse_prefix(prefix),
        style=Style(kind),
    )


@pytest.mark.parametrize(
    ("kind", "tokens", "prompts"),
    # At 2 tokens, the other kinds are just words, and 3,000 texts would contain equal ones by chance.
    # scripts/bench-promptset checks 100,000.
    [*((kind, 2, 3000) for kind in ("words", "chinese", "random")), *((kind, 20, 500) for kind in EACH)],
)
def test_short_prompts_are_all_different(kind: str, tokens: int, prompts: int, default_tokenizer: Tokenizer) -> None:
    samples = made(default_tokenizer, tokens, kind, seed=3)
    assert len({samples.sample_at(index).prompt for index in range(prompts)}) == prompts


def test_short_prompts_of_a_group_differ_behind_what_they_share(default_tokenizer: Tokenizer) -> None:
    samples = made(default_tokenizer, 12, prefix="tokens=10")
    assert len({samples.sample_at(index).prompt for index in range(3000)}) == 3000


def test_other_seeds_begin_with_other_words(default_tokenizer: Tokenizer) -> None:
    first = {prompt_of(made(default_tokenizer, 16, seed=seed).sample_at(0)).split()[0] for seed in range(20)}
    assert len(first) > 15


def test_where_texts_are_too_few_it_is_said(default_tokenizer: Tokenizer) -> None:
    openers = len(word_bank(default_tokenizer).openers)
    assert made(default_tokenizer, 1).repeats(openers) == []
    (note,) = made(default_tokenizer, 1).repeats(openers + 1)
    assert note == (
        f"some of the prompts of 1 tokens are the same: of {openers + 1} such prompts at most {openers} differ"
    )
    assert made(default_tokenizer, 2).repeats(100_000) == []
    # One prompt of 2,000 has a token, and is alone.
    assert made(default_tokenizer, "uniform:1..2000").repeats(3000) == []
    assert made(default_tokenizer, "uniform:1..4").repeats(4 * openers) == []
    (note,) = made(default_tokenizer, "uniform:1..4").repeats(4 * openers + 4)
    assert note.endswith(f" are the same: of {openers + 1} such prompts at most {openers} differ")
    assert len(made(default_tokenizer, "uniform:1..2").repeats(10**7)) == 2
    assert made(default_tokenizer, 3).repeats(10**7) == []
    assert len(made(default_tokenizer, 11, prefix="tokens=10").repeats(openers + 1)) == 1
    prompts = Counter(made(default_tokenizer, 1).sample_at(index).prompt for index in range(2 * openers))
    assert set(prompts.values()) == {2}


def test_what_cannot_be_had_is_said_at_once() -> None:
    with pytest.raises(SpecError, match="a share of repeated text of much: write a number"):
        parse_style("code", "much")
    with pytest.raises(SpecError) as caught:
        parse_style("jason", "1.5")
    assert caught.value.problems == [
        "no text of the kind 'jason': did you mean json?",
        "a share of repeated text of 1.5: write a number from 0 to below 1, such as 0.3",
    ]
    with pytest.raises(
        SpecError, match=r"write one of words, english, code, json, chinese, mixed, random, faker:LOCALE"
    ):
        kind_of("verse")
    assert parse_style("code", "0.25") == Style("code", 0.25)
    assert parse_style("code") == Style("code", 0.0)
    assert all(name in NAMES for name in KINDS)


def test_faker_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faker", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    kind_of.cache_clear()
    with pytest.raises(SpecError, match=r"text faker:de_DE needs the package faker: pip install faker"):
        kind_of("faker:de_DE")


@pytest.mark.parametrize("locale", ["de_DE", "ja_JP"])
def test_text_of_other_languages_is_exact(locale: str, tokenizers: dict[str, Tokenizer]) -> None:
    pytest.importorskip("faker")
    for name in ("default", "wordpiece"):
        for n in (3, 40, 300):
            prompt = exact_prompt(tokenizers[name], n, stream(n), style=Style(f"faker:{locale}"), number=n)
            assert tokenizers[name].count(prompt) == n
    assert prompt != exact_prompt(tokenizers["wordpiece"], 300, stream(300), number=300)


@pytest.mark.parametrize(("locale", "glue"), [("de_DE", " "), ("ja_JP", "")])
def test_text_without_spaces_between_words_has_none_between_sentences(locale: str, glue: str) -> None:
    pytest.importorskip("faker")
    kind = kind_of(f"faker:{locale}")
    assert kind is not None
    assert (kind.glue, kind.fill_open) == (glue, glue)


def test_a_locale_that_is_none_is_said() -> None:
    pytest.importorskip("faker")
    with pytest.raises(SpecError, match="faker has no locale xx_YY: write one such as de_DE"):
        kind_of("faker:xx_YY")


def test_units_cost_what_they_add(default_tokenizer: Tokenizer) -> None:
    for name in KINDS:
        assert len(drafts._unit_texts(name, drafts._UNITS)) > 900
        units = drafts.units_of(default_tokenizer, name)
        assert units is not None
        chosen = [units.texts[i] for i in range(0, len(units.texts), 10)]
        glue = units.kind.glue
        text, costs = chosen[0], units.costs[0::10]
        before = default_tokenizer.count(text)
        for unit, cost in zip(chosen[1:], costs[1:], strict=True):
            text += glue + unit
            after = default_tokenizer.count(text)
            assert abs(after - before - cost) <= 1
            before = after


def test_short_prompts_of_rows_that_say_lengths_alone_are_all_different(
    default_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "lengths.jsonl"
    path.write_text('{"input_tokens": 2}\n' * 3000)
    assert len({sample.prompt for sample in load(path, tokenizer=default_tokenizer)}) == 3000


def test_functions_of_code_have_numbers_of_two_digits_and_limits_of_four() -> None:
    code = "\n".join(drafts._unit_texts.__wrapped__("code", 1000))
    numbers = [int(number) for number in re.findall(r"json\.load\(file\)\[(\d+):\]", code)]
    limits = [int(limit) for limit in re.findall(r"s\) > (\d+):", code)]
    assert (min(numbers) < 5, max(numbers) > 94, max(numbers) < 100) == (True, True, True)
    assert (min(limits) < 200, max(limits) > 3900, max(limits) < 4096) == (True, True, True)


def test_two_fifths_of_english_sentences_have_a_reason_and_one_fifth_a_second_part() -> None:
    rng = stream(0, "english")
    sentences = [english.unit(rng) for _ in range(4000)]
    reasons = sum(any(sentence.endswith(f" {why}.") for why in english._WHY) for sentence in sentences)
    seconds = sum(", and " in sentence for sentence in sentences)
    # Three standard errors of a share of 0.4 in 4,000 are 0.023.
    assert reasons / 4000 == pytest.approx(0.4, abs=0.023)
    assert seconds / 4000 == pytest.approx(0.2, abs=0.019)
