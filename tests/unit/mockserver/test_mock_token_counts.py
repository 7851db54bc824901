"""Counters of tokens: what they remember, where they stop to look, and the memory that they give back."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mockserver import tokencount
from mockserver.engine.chain import Chain
from mockserver.tokencount import Counter, TokenCount, known_count, release_memory, total_count
from promptset.errors import SpecError
from promptset.tokens import Tokenizer, load_tokenizer


class Letters:
    """A tokenizer with a token for each letter, and one that it adds."""

    special_tokens_added = 1

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []

    def count_plain(self, texts: list[str]) -> list[int]:
        self.jobs.append([*texts])
        return [len(text) for text in texts]

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [*([0] if add_special_tokens else []), *map(ord, text)]


def with_counter(call: Any, tokenizer: Any, **options: Any) -> Any:
    async def main() -> Any:
        counter = Counter(cast(Tokenizer, tokenizer), **options)
        try:
            return await call(counter)
        finally:
            await counter.close()

    return asyncio.run(main())


def test_texts_that_come_together_are_counted_together_but_not_if_requests_wait() -> None:
    async def call(counter: Counter) -> list[int | None]:
        counts = [counter.count_text("x" * n, special=n % 2 == 1) for n in range(70)]
        return [await count.wait() for count in counts]

    together, alone = Letters(), Letters()
    expected = [n + n % 2 for n in range(70)]
    assert with_counter(call, together) == with_counter(call, alone, urgent=True) == expected
    assert [len(job) for job in together.jobs] == [32, 32, 6]
    assert [len(job) for job in alone.jobs] == [1] * 70


def test_what_was_seen_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokencount, "_REMEMBERED", 2)

    async def call(counter: Counter) -> list[bool]:
        for text in ("a", "b", "a", "c"):  # After "c" came, "b" is the oldest.
            await counter.count_text(text, special=False).wait()
        known = []
        for text in ("a", "c", "b"):
            count = counter.count_text(text, special=False)
            known.append(count.known)
            await count.wait()
        return known

    assert with_counter(call, Letters()) == [True, True, False]


def test_remembered_chains_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokencount, "_REMEMBERED_LINKS", 4)

    async def call(counter: Counter) -> list[bool]:
        for text in ("aaaa", "bbbb", "cc"):  # Two links, two links, and one.
            await counter.count_text(text, special=False).wait()
        return [counter.count_text(text, special=False).known for text in ("bbbb", "cc", "aaaa")]

    assert with_counter(call, Letters(), block_tokens=2) == [True, True, False]


def test_a_long_text_that_cannot_fit_is_not_remembered() -> None:
    async def call(counter: Counter) -> tuple[Any, ...]:
        text = "x" * 100_000
        first = counter.count_text(text, False, 1000)
        await first.wait()
        again = counter.count_text(text, False, 200_000)
        known = again.known
        return first.at_least, known, await again.wait(), again.at_least

    assert with_counter(call, Letters()) == (True, False, 100_000, False)


def test_a_text_of_a_hundred_thousand_characters_is_long() -> None:
    async def call(counter: Counter) -> list[bool]:
        counts = [counter.count_text("x" * n, False, 1000) for n in (99_999, 100_000)]
        for count in counts:
            await count.wait()
        return [count.at_least for count in counts]

    assert with_counter(call, Letters()) == [False, True]


def test_a_long_text_is_cut_at_spaces_and_counted_until_it_cannot_fit() -> None:
    async def call(counter: Counter, text: str, limit: int) -> tuple[int | None, bool]:
        count = counter.count_text(text, False, limit)
        return await count.wait(), count.at_least

    # Each piece has at most 200,000 characters and ends before a space; a cut may add up to 4 tokens.
    words = ("y" * 149_999 + " ") * 3
    for text, limit, tokens, pieces in (
        (words, 149_995, 149_995 + 149_996, [149_999, 150_000]),
        (words, 149_994, 149_995, [149_999]),
        (words.replace(" ", "\n"), 149_994, 149_995, [149_999]),
        ("y" * 450_000, 199_995, 199_996, [200_000]),
        ("y" * 450_000, 199_996, 2 * 199_996, [200_000, 200_000]),
    ):
        tokenizer = Letters()
        found = with_counter(lambda counter, text=text, limit=limit: call(counter, text, limit), tokenizer)
        assert (found, [len(piece) for (piece,) in tokenizer.jobs]) == ((tokens, True), pieces)
    tokenizer = Letters()
    assert with_counter(lambda counter: call(counter, words, 450_000), tokenizer) == (450_000, False)


def test_a_vocabulary_is_looked_at_up_to_a_million_ids() -> None:
    asked: list[range] = []

    def token_strings(ids: range) -> list[str]:
        asked.append(ids)
        return ["ab"] * len(ids)

    async def call(counter: Counter) -> list[int]:
        return [await counter.longest_token(enough) for enough in (2, 3, 3)]

    assert with_counter(call, SimpleNamespace(token_strings=token_strings)) == [2, 2, 2]
    assert asked == [range(start, start + 4096) for start in range(0, 1 << 20, 4096)]


@pytest.mark.parametrize(("shown", "longest"), [([], 256), ([["a", "abc"]], 3), ([["abc"], ["", ""], ["abcd"]], 3)])
def test_a_vocabulary_ends_with_a_block_without_tokens(shown: list[list[str]], longest: int) -> None:
    blocks = iter(shown)

    def token_strings(ids: range) -> list[str]:
        block = next(blocks, None)
        if block is None:
            raise SpecError("this tokenizer does not expose its vocabulary")
        return block

    async def call(counter: Counter) -> int:
        return await counter.longest_token()

    assert with_counter(call, SimpleNamespace(token_strings=token_strings)) == longest


def test_a_sum_of_counts_is_known_when_all_are_and_unknown_if_one_is() -> None:
    single = TokenCount()
    assert total_count([single]) is single
    chain, late = Chain().extended([1, 2, 3, 4], 2), TokenCount()
    total = total_count([known_count(4, chain), late, known_count(5)])
    assert not total.known
    late.settle(2)
    assert (total.known, total.tokens, total.chain) == (True, 11, chain)
    failed = TokenCount()
    failed.settle(None)
    total = total_count([failed, known_count(5)])
    assert (total.known, total.tokens) == (True, None)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no such function")
def test_memory_is_given_back_by_the_c_library_if_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=trimmed.append))
    release_memory()
    assert trimmed == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    release_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("it has no such library"))
    release_memory()
    assert trimmed == [0]


def test_the_memory_of_a_long_text_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[None] = []
    monkeypatch.setattr(tokencount, "release_memory", lambda: released.append(None))

    async def call(counter: Counter) -> None:
        await counter.count_text("hello " * 20_000, special=False).wait()
        await counter.count_text("hello", special=False).wait()

    with_counter(call, load_tokenizer())
    assert len(released) == 1
