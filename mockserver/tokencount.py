"""Counting the tokens of prompts beside the streams.

A prompt of a thousand tokens takes a millisecond to count, and hundreds may arrive at once: counted on the event loop
they would delay the first tokens of all. So a thread counts (the tokenizer lets go of the interpreter's lock while it
works), the count is waited for only where it is needed (usage, the ledger), and prompts seen before are looked up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

from promptset.tokens import Tokenizer

_LOG = logging.getLogger("mockserver")
_REMEMBERED = 65_536


class TokenCount:
    """A number of tokens that is known now or soon."""

    __slots__ = ("_waiting", "known", "tokens")

    def __init__(self) -> None:
        self.tokens: int | None = None
        """None until it is known, and where it could not be had."""
        self.known = False
        self._waiting: list[Callable[[], None]] = []

    def settle(self, tokens: int | None) -> None:
        """The count is there."""
        self.tokens = tokens
        self.known = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def when_known(self, call: Callable[[], None]) -> None:
        """Make the call once the count is known: now, or when it comes."""
        if self.known:
            call()
        else:
            self._waiting.append(call)

    async def wait(self) -> int | None:
        """The tokens, when they are known."""
        if not self.known:
            known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.when_known(lambda: None if known.done() else known.set_result(None))
            await known
        return self.tokens


class Counter:
    """Counts on a thread of its own. Use it inside a running event loop."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="count")
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def count_text(self, text: str, special: bool) -> TokenCount:
        """Tokens of `text`, with the special tokens that the tokenizer adds (`special`) or without."""
        count = TokenCount()
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=b"s" if special else b"").digest()
        seen = self._seen.get(digest)
        if seen is not None:
            self._seen.move_to_end(digest)
            count.settle(seen)
            return count
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self._count, text, special)

        def done(finished: asyncio.Future[int]) -> None:
            if finished.cancelled():
                count.settle(None)
            elif (error := finished.exception()) is not None:
                _LOG.error("the tokenizer could not count a prompt of %d characters: %s", len(text), error)
                count.settle(None)
            else:
                self._remember(digest, finished.result())
                count.settle(finished.result())

        work.add_done_callback(done)
        return count

    def _count(self, text: str, special: bool) -> int:
        return self._tokenizer.count(text) if special else self._tokenizer.count_plain([text])[0]

    def _remember(self, digest: bytes, tokens: int) -> None:
        self._seen[digest] = tokens
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def counted(tokens: int) -> TokenCount:
    """A count that is known from the start."""
    count = TokenCount()
    count.settle(tokens)
    return count
