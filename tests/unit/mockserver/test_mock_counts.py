"""Counting prompts while streams run, and identifying requests."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

from mockserver.engine.chain import Chain
from mockserver.generation import most_tokens
from mockserver.plans.arrival import Arrival, Arrivals
from mockserver.tokencount import Counter, TokenCount, known_count
from mockserver.workers.shared_state import SharedState
from promptset.tokens import Tokenizer, load_tokenizer
from tests.support.virtual_time import VirtualTimeLoop, run_virtual


def test_counts_are_the_tokenizers_and_come_in_any_number() -> None:
    tokenizer = load_tokenizer()
    texts = [f"text number {i} " * (i % 7 + 1) for i in range(150)]

    async def main() -> list[int | None]:
        counter = Counter(tokenizer)
        counts = [counter.count_text(text, special=i % 2 == 0) for i, text in enumerate(texts)]
        got = [await count.wait() for count in counts]
        await counter.close()
        return got

    assert asyncio.run(main()) == [
        tokenizer.count(text) if i % 2 == 0 else tokenizer.count_plain([text])[0] for i, text in enumerate(texts)
    ]


def test_no_text_has_more_tokens_than_its_bound() -> None:
    tokenizer = load_tokenizer()
    for text in ("", "a", "1", "\u4e16"):
        assert len(tokenizer.encode(text, add_special_tokens=True)) <= most_tokens(text)


def test_a_text_seen_before_is_known_at_once_and_with_special_tokens_it_is_another_one() -> None:
    async def main() -> tuple[bool, bool]:
        counter = Counter(load_tokenizer())
        await counter.count_text("hello", special=False).wait()
        known = counter.count_text("hello", special=False).known, counter.count_text("hello", special=True).known
        await counter.close()
        return known

    assert asyncio.run(main()) == (True, False)


def test_memory_that_waits_to_be_given_back_does_not_outlive_the_counter() -> None:
    async def main(loop: VirtualTimeLoop) -> list[dict[str, Any]]:
        wrong: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        counter = Counter(load_tokenizer())
        for _ in range(3):
            counter.release_memory_soon()
        await counter.close()
        await asyncio.sleep(60)
        return wrong

    assert run_virtual(main) == []


def test_for_an_engine_with_blocks_the_same_counts_come_with_the_chain_of_the_tokens() -> None:
    plain = load_tokenizer()
    texts = [f"text number {i} " * (9 + i) for i in range(8)]

    class Opening:
        """A tokenizer that adds its own token before a text."""

        def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
            return [*([7] if add_special_tokens else []), *plain.encode(text)]

    tokenizer = Opening()

    async def main() -> list[TokenCount]:
        counter = Counter(tokenizer, 16, urgent=True)  # type: ignore[arg-type]  # It does all that is asked of it.
        counts = [counter.count_text(text, special=i % 2 == 0) for i, text in enumerate(texts)]
        for count in counts:
            await count.wait()
        again = counter.count_text(texts[0], special=True)
        by_ids = counter.count_ids(tokenizer.encode(texts[1]))
        await counter.close()
        return [*counts, again, by_ids]

    *counts, again, by_ids = asyncio.run(main())
    for i, (text, count) in enumerate(zip(texts, counts, strict=True)):
        ids = tokenizer.encode(text, add_special_tokens=i % 2 == 0)
        assert (count.tokens, count.chain) == (len(ids), Chain().extended(ids, 16))
    assert (again.known, again.chain) == (True, counts[0].chain)
    assert (by_ids.tokens, by_ids.chain) == (counts[1].tokens, counts[1].chain)


def test_closing_counts_what_is_left() -> None:
    async def main() -> list[bool]:
        counter = Counter(load_tokenizer())
        counts = [counter.count_text(f"text {i}", special=False) for i in range(100)]
        await counter.close()
        return [count.known for count in counts]

    assert all(asyncio.run(main()))


def test_a_tokenizer_that_fails_leaves_the_number_out() -> None:
    tokenizer = load_tokenizer()

    class Failing:
        special_tokens_added = tokenizer.special_tokens_added

        def count_plain(self, texts: list[str]) -> list[int]:
            raise RuntimeError("no")

    async def main() -> int | None:
        counter = Counter(Failing())  # type: ignore[arg-type]
        tokens = await counter.count_text("x", special=False).wait()
        await counter.close()
        return tokens

    assert asyncio.run(main()) is None


def test_a_count_calls_back_now_or_when_it_comes() -> None:
    heard: list[str] = []
    known_count(3).when_known(lambda: heard.append("now"))
    late = TokenCount()
    late.when_known(lambda: heard.append("later"))
    assert heard == ["now"]
    late.settle(3)
    assert heard == ["now", "later"]


def test_the_second_request_with_an_id_is_its_second_attempt() -> None:
    shared = SharedState()
    arrivals = Arrivals(shared)
    assert arrivals.identify("run-7") == Arrival("run-7", 7, 1, 7)
    assert arrivals.identify("run-7") == Arrival("run-7", 7, 2, 7)
    assert arrivals.identify("probe-x") == Arrival("probe-x", None, 1, "probe-x")
    assert arrivals.identify(None) == Arrival(None, None, 1, ("arrival", 0))
    assert arrivals.identify(None) == Arrival(None, None, 1, ("arrival", 1))
    assert (arrivals.by_index, arrivals.by_id, arrivals.by_order) == (2, 1, 2)
    shared.close()


def counted(text: str, limit: int | None, special: bool = False) -> tuple[int | None, bool]:
    async def main() -> tuple[int | None, bool]:
        counter = Counter(load_tokenizer())
        count = counter.count_text(text, special, limit)
        tokens = await count.wait()
        await counter.close()
        return tokens, count.at_least

    return asyncio.run(main())


def test_a_long_text_that_fits_is_counted_exactly() -> None:
    text = "Some words, 12345 and more.\n" * 8_000
    tokenizer = load_tokenizer()
    assert len(text) > 200_000
    assert counted(text, limit=200_000) == (tokenizer.count_plain([text])[0], False)
    assert counted(text, limit=None, special=True) == (tokenizer.count(text), False)


def test_a_long_text_is_counted_beside_the_loop_and_the_short_texts() -> None:
    tokenizer = load_tokenizer()
    short_is_known = threading.Event()

    class Patient:
        """A tokenizer that finishes a long text only after a short one has been counted."""

        special_tokens_added = tokenizer.special_tokens_added

        def count_plain(self, texts: list[str]) -> list[int]:
            assert len(texts[0]) < 100 or short_is_known.wait(10)
            return tokenizer.count_plain(texts)

    async def main() -> tuple[bool, int | None, int | None]:
        counter = Counter(Patient())  # type: ignore[arg-type]  # It does all that is asked of it.
        long = counter.count_text("hello " * 100_000, special=False)
        short = await counter.count_text("hello", special=False).wait()
        first = not long.known
        short_is_known.set()
        tokens = await long.wait()
        await counter.close()
        return first, short, tokens

    assert asyncio.run(main()) == (True, 1, tokenizer.count_plain(["hello " * 100_000])[0])


def test_counting_stops_when_a_long_text_cannot_fit() -> None:
    words = 400_000
    tokens, at_least = counted("hello " * words, limit=1_000)
    assert at_least
    assert tokens is not None
    # Only the tokens of the first piece, and never more than the text has.
    assert 1_000 < tokens < words // 4
    assert counted("x" * 500_000, limit=1_000)[1], "a text without spaces is cut, too"


def test_nobody_looks_at_a_vocabulary_twice_and_further_than_is_enough() -> None:
    tokenizer = load_tokenizer()
    asked: list[int] = []

    class Watched:
        def token_strings(self, ids: range) -> list[str]:
            asked.append(ids.start)
            return tokenizer.token_strings(ids)

    async def main() -> None:
        counter = Counter(cast(Tokenizer, Watched()))
        # A prompt of 1,000 characters may fit into 320 tokens if some token has 4 characters, as the first block shows.
        found = await asyncio.gather(*(counter.longest_token(4) for _ in range(6)))
        assert min(found) >= 4
        assert asked == [0]
        longest = await asyncio.gather(*(counter.longest_token() for _ in range(6)))
        assert set(longest) == {max(map(len, tokenizer.vocabulary()))}
        assert asked == sorted(set(asked))
        await counter.close()

    asyncio.run(main())
