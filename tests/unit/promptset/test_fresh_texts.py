"""No two prompts share a beginning, unless planned: within a run, between runs (salts), and between lengths."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from promptset.distributions import parse
from promptset.kinds import KINDS, Style
from promptset.loaders import load
from promptset.rng import stream, text_stream
from promptset.samples import Sample
from promptset.sessions import Session, simulated_sessions
from promptset.sharing import parse_prefix
from promptset.simulated import SimulatedPrompts, simulated_prompts
from promptset.text import word_bank
from promptset.tokenizer import Tokenizer
from tests.support import tiny_tokenizers
from tests.support.sample_parts import counted, messages_of, prompt_of

EACH = ("words", *KINDS, "random")
A_HANDFUL = 8
"""Tokens that two texts may have in common by chance, and the few that a kind puts first (`[{"title": "`)."""


@pytest.fixture(scope="module")
def default_tokenizer(default_of_few_units: Tokenizer) -> Tokenizer:
    """With few units, repetitions and shared texts come sooner."""
    return default_of_few_units


def made(
    tokenizer: Tokenizer,
    tokens: str,
    kind: str = "words",
    *,
    seed: int = 3,
    salt: str | None = None,
    chat: bool = False,
    prefix: str | None = None,
) -> SimulatedPrompts:
    return simulated_prompts(
        tokenizer,
        input_tokens=parse(tokens, "tokens"),
        output_tokens=parse("uniform:1..50", "tokens"),
        chat=chat,
        seed=seed,
        salt=salt,
        prefix=None if prefix is None else parse_prefix(prefix),
        style=Style(kind),
    )


def content(sample: Sample) -> str:
    return prompt_of(sample) if sample.messages is None else str(sample.messages[-1]["content"])


def longest_in_common(tokenizer: Tokenizer, texts: Iterable[str]) -> int:
    """The length in tokens of the longest beginning shared by any two texts, judged by their first 100 characters."""
    ordered = sorted(tokenizer.encode(text[:100]) for text in texts)
    return max(_in_common(a, b) for a, b in itertools.pairwise(ordered))


def _in_common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("tokens", ["24", "uniform:30..120", "300"])
@pytest.mark.parametrize("kind", EACH)
def test_prompts_of_two_salts_and_of_none_share_no_beginning(
    default_tokenizer: Tokenizer, kind: str, tokens: str, chat: bool
) -> None:
    texts = [
        content(sample)
        for salt in ("a", "b", None)
        for sample in itertools.islice(made(default_tokenizer, tokens, kind, salt=salt, chat=chat), 10)
    ]
    assert longest_in_common(default_tokenizer, texts) <= A_HANDFUL


@pytest.mark.parametrize("name", tiny_tokenizers.KINDS)
def test_prompts_of_two_salts_share_no_beginning_with_any_tokenizer(
    name: str, loaded: Callable[[str], Tokenizer]
) -> None:
    tokenizer = loaded(name)
    for kind in EACH:
        if tokenizer.token_strings(tokenizer.encode("中国")) == ["[UNK]"] * 2 and kind == "chinese":
            continue  # The whole text consists of the unknown token.
        texts = [
            content(sample)
            for salt in ("a", "b")
            for sample in itertools.islice(made(tokenizer, "100", kind, salt=salt), 8)
        ]
        # With a small vocabulary, the few characters at the beginning of a kind take many tokens.
        first = longest_in_common(tokenizer, [KINDS[kind].open, KINDS[kind].open]) if kind in KINDS else 0
        assert longest_in_common(tokenizer, texts) <= first + A_HANDFUL, kind


@pytest.mark.parametrize("kind", ["english", "code", "json", "chinese"])
def test_in_a_long_run_no_two_prompts_share_a_beginning(default_tokenizer: Tokenizer, kind: str) -> None:
    # More prompts than a kind has sentences, functions or records, and than there are first words.
    assert len(word_bank(default_tokenizer).openers) < 1000
    samples = made(default_tokenizer, "40", kind, salt="a")
    assert longest_in_common(default_tokenizer, map(content, itertools.islice(samples, 1000))) <= A_HANDFUL


@pytest.mark.parametrize("kind", EACH)
def test_a_longer_prompt_does_not_begin_with_a_shorter_one_of_the_same_seed(
    default_tokenizer: Tokenizer, kind: str
) -> None:
    texts = [prompt_of(made(default_tokenizer, str(n), kind).sample_at(0)) for n in range(100, 400, 10)]
    assert longest_in_common(default_tokenizer, texts) <= A_HANDFUL


@pytest.mark.parametrize("kind", EACH)
def test_the_same_salt_makes_the_same_prompts(default_tokenizer: Tokenizer, kind: str) -> None:
    one, other = (list(itertools.islice(made(default_tokenizer, "80", kind, salt="a"), 20)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    "prefix", [None, "hit_rate=0.5,groups=3", "tokens=20,groups=2", "tree:depth=2,fanout=3,tokens=9"]
)
def test_lengths_and_sharing_are_the_same_with_every_salt(default_tokenizer: Tokenizer, prefix: str | None) -> None:
    def plan(salt: str | None) -> list[Any]:
        samples = itertools.islice(made(default_tokenizer, "uniform:60..400", salt=salt, prefix=prefix), 50)
        return [(sample.input_tokens, sample.output_tokens, sample.path) for sample in samples]

    assert plan("a") == plan("b") == plan(None)
    assert plan("a") != [
        (sample.input_tokens, sample.output_tokens, sample.path)
        for sample in itertools.islice(made(default_tokenizer, "uniform:60..400", seed=4, prefix=prefix), 50)
    ]


@pytest.mark.parametrize("salt", ["a", "b", None])
@pytest.mark.parametrize("chat", [False, True])
def test_texts_of_every_salt_have_exactly_the_tokens_asked_for(
    tokenizer: Tokenizer, salt: str | None, chat: bool
) -> None:
    for sample in itertools.islice(made(tokenizer, "uniform:40..90", "code", salt=salt, chat=chat), 20):
        assert counted(tokenizer, sample) == sample.input_tokens


@pytest.mark.parametrize("chat", [False, True])
def test_a_planned_prefix_is_shared_in_the_run_and_not_with_the_next_one(
    default_tokenizer: Tokenizer, chat: bool
) -> None:
    def texts(salt: str | None) -> list[str]:
        samples = made(default_tokenizer, "80", salt=salt, chat=chat, prefix="tokens=40,groups=2")
        return [content(sample) for sample in itertools.islice(samples, 10)]

    one, other = texts("a"), texts("b")
    ids = list(map(default_tokenizer.encode, one))
    for first, second in itertools.combinations(range(10), 2):
        shared = _in_common(ids[first], ids[second])
        assert 40 <= shared <= 40 + A_HANDFUL if first % 2 == second % 2 else shared <= A_HANDFUL
    assert all(longest_in_common(default_tokenizer, pair) <= A_HANDFUL for pair in itertools.product(one, other))


def test_a_system_prompt_is_shared_in_the_run_and_not_with_the_next_one(default_tokenizer: Tokenizer) -> None:
    def systems(salt: str | None) -> set[str]:
        samples = made(default_tokenizer, "120", salt=salt, chat=True, prefix="system=30")
        return {messages_of(sample)[0]["content"] for sample in itertools.islice(samples, 5)}

    (one,), (other,) = systems("a"), systems("b")
    assert longest_in_common(default_tokenizer, [one, other]) <= A_HANDFUL


def test_hash_ids_of_a_trace_are_the_same_text_in_one_run_and_other_text_in_the_next(
    default_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    rows = [(700, [5, 6]), (1000, [5, 7]), (600, [8, 9])]
    path.write_text(
        "\n".join(
            json.dumps({"timestamp": 0, "input_length": n, "output_length": 1, "hash_ids": ids}) for n, ids in rows
        )
    )

    def ids(salt: str | None) -> list[list[int]]:
        return [default_tokenizer.encode(prompt_of(s)) for s in load(path, tokenizer=default_tokenizer, salt=salt)]

    one, other = ids("a"), ids("b")
    assert list(map(len, one)) == list(map(len, other)) == [700, 1000, 600]
    assert 512 <= _in_common(one[0], one[1]) <= 512 + A_HANDFUL
    assert _in_common(one[0], one[2]) <= A_HANDFUL
    assert all(_in_common(a, b) <= A_HANDFUL for a, b in itertools.product(one, other))
    assert ids("a") == one


def test_sessions_of_two_salts_have_the_same_plan_and_other_texts(default_tokenizer: Tokenizer) -> None:
    def sessions(salt: str | None) -> list[Session]:
        made = simulated_sessions(
            default_tokenizer,
            turns=parse("uniform:1..4", "tokens"),
            input_tokens=parse("uniform:30..90", "tokens"),
            output_tokens=parse("uniform:5..20", "tokens"),
            think_time=parse("exp:mean=1s", "time"),
            seed=3,
            salt=salt,
        )
        return list(itertools.islice(made, 10))

    def plan(of: list[Session]) -> list[Any]:
        return [[(t.input_tokens, t.output_tokens, t.think_time_s) for t in session.turns] for session in of]

    one, other = sessions("a"), sessions("b")
    assert plan(one) == plan(other)
    assert sessions("a") == one
    said = [turn.content for session in (*one, *other) for turn in session.turns]
    assert longest_in_common(default_tokenizer, said) <= A_HANDFUL


def test_a_stream_of_texts_depends_on_the_salt_and_without_one_on_the_seed_alone() -> None:
    assert text_stream(7, None, "text", 3).random() == stream(7, "text", 3).random()
    assert text_stream(7, "a", "text", 3).random() == text_stream(7, "a", "text", 3).random()
    drawn = {text_stream(seed, salt, "text", 3).random() for seed in (7, 8) for salt in ("a", "b", "", None)}
    assert len(drawn) == 8
