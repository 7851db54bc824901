"""Counting prompts beside the streams, and identifying requests."""

from __future__ import annotations

import asyncio

from mockserver.arrival import Arrival, Arrivals
from mockserver.shared_state import SharedState
from mockserver.tokencount import Counter, TokenCount, counted
from promptset.tokens import load_tokenizer


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


def test_a_text_seen_before_is_known_at_once_and_with_special_tokens_it_is_another_one() -> None:
    async def main() -> tuple[bool, bool]:
        counter = Counter(load_tokenizer())
        await counter.count_text("hello", special=False).wait()
        known = counter.count_text("hello", special=False).known, counter.count_text("hello", special=True).known
        await counter.close()
        return known

    assert asyncio.run(main()) == (True, False)


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
    counted(3).when_known(lambda: heard.append("now"))
    late = TokenCount()
    late.when_known(lambda: heard.append("later"))
    assert heard == ["now"]
    late.settle(3)
    assert heard == ["now", "later"]


def test_the_second_request_with_an_id_is_its_second_attempt() -> None:
    shared = SharedState()
    arrivals = Arrivals(shared)
    assert arrivals.note("run-7") == Arrival("run-7", 7, 1, 7)
    assert arrivals.note("run-7") == Arrival("run-7", 7, 2, 7)
    assert arrivals.note("probe-x") == Arrival("probe-x", None, 1, "probe-x")
    assert arrivals.note(None) == Arrival(None, None, 1, ("arrival", 0))
    assert arrivals.note(None) == Arrival(None, None, 1, ("arrival", 1))
    assert (arrivals.by_index, arrivals.by_id, arrivals.by_order) == (2, 1, 2)
    shared.close()
