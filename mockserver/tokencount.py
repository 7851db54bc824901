"""Counts the tokens of prompts without delaying the streams.

A prompt of a thousand tokens takes a millisecond to count, and hundreds can arrive at once. On the event loop they
would delay every first token. So a thread counts them (the tokenizer releases the GIL while it works), only usage and
the ledger wait for a count, and repeated prompts are looked up.

Long prompts have their own thread, so short ones do not queue behind them. They are counted piece by piece, only until
it is clear that they do not fit the context. The memory used is then given back to the system.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from mockserver.engine.chain import Chain
from promptset.errors import SpecError
from promptset.tokens import Tokenizer

_LOG = logging.getLogger("mockserver")
_REMEMBERED = 65_536
Result = TypeVar("Result")

_REMEMBERED_LINKS = 2_000_000
"""Limit for the hashes of all remembered prompts: 16 MB."""
_NICENESS = 10
_BATCH = 32
_LONG_CHARS = 100_000
"""Texts of at least this length count as long: they take 10 ms or more."""
_PIECE_CHARS = 200_000
_CUT_TOKENS = 4
"""More than a cut at a space adds to the token count of a text."""
_BLOCK_IDS, _MOST_IDS = 4096, 1 << 20
_UNKNOWN_LONGEST = 256
"""Assumed characters of the longest token if a tokenizer does not expose its vocabulary."""
_GATHER_S = 0.001
_RELEASE_S = 1.0


NO_CHAIN = Chain()


class TokenCount:
    """A number of tokens, known now or soon."""

    __slots__ = ("_waiting", "at_least", "chain", "known", "tokens")

    def __init__(self) -> None:
        self.tokens: int | None = None
        """None until known, and if the tokenizer failed."""
        self.chain = NO_CHAIN
        """The hash chain of the tokens, if the counter makes chains."""
        self.at_least = False
        """Whether counting stopped early because the text is too long: it has at least `tokens`."""
        self.known = False
        self._waiting: list[Callable[[], None]] = []

    def settle(self, tokens: int | None, chain: Chain = NO_CHAIN) -> None:
        self.tokens = tokens
        self.chain = chain
        self.known = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def when_known(self, call: Callable[[], None]) -> None:
        """Call `call` when the count is known: now or later."""
        if self.known:
            call()
        else:
            self._waiting.append(call)

    async def wait(self) -> int | None:
        if not self.known:
            known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.when_known(lambda: None if known.done() else known.set_result(None))
            await known
        return self.tokens


class Counter:
    """Counts on its own thread. Use it inside a running event loop."""

    def __init__(self, tokenizer: Tokenizer, block_tokens: int = 0, urgent: bool = False) -> None:
        """`block_tokens`: also build hash chains of blocks of this many tokens; 0 disables chains. `urgent`: requests
        wait for their counts, so the thread keeps its normal priority and counts prompts one at a time."""
        self._tokenizer = tokenizer
        self._block_tokens = block_tokens
        self._batch, self._gather_s = (1, 0.0) if urgent else (_BATCH, _GATHER_S)
        self._links = 0
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="count", initializer=None if urgent else _lower_priority
        )
        self._long_thread = ThreadPoolExecutor(1, thread_name_prefix="count-long", initializer=_lower_priority)
        self._long_jobs = 0
        self._longest = _LongestToken(tokenizer)
        self._seen: OrderedDict[bytes, TokenCount] = OrderedDict()
        self._queue: list[_Job] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._release: asyncio.TimerHandle | None = None

    def count_text(self, text: str, special: bool, limit: int | None = None) -> TokenCount:
        """Count `text`. `special` includes the special tokens that the tokenizer adds. Counting may stop after `limit`
        tokens (`TokenCount.at_least`)."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=b"s" if special else b"").digest()
        cached = self._seen.get(digest)
        if cached is not None:
            self._seen.move_to_end(digest)
            return cached
        job = _Job(text, special, digest, TokenCount(), limit)
        if len(text) >= _LONG_CHARS:
            self._start_long(job)
            return job.count
        self._queue.append(job)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            asyncio.get_running_loop().call_later(self._gather_s, self._start)
        return job.count

    def count_ids(self, ids: list[int]) -> TokenCount:
        """The count of a prompt given as token ids."""
        return known_count(len(ids), self._chain(ids))

    def _chain(self, ids: list[int]) -> Chain:
        return NO_CHAIN.extended(ids, self._block_tokens) if self._block_tokens else NO_CHAIN

    def _start(self) -> None:
        # Prompts that arrive together are one job, because each handoff between threads costs time on the loop.
        jobs, self._queue = self._queue[: self._batch], self._queue[self._batch :]
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._count, jobs)
        work.add_done_callback(lambda finished: self._done(jobs, finished))

    def _start_long(self, job: _Job) -> None:
        self._long_jobs += 1
        self._idle.clear()
        work = asyncio.get_running_loop().run_in_executor(self._long_thread, self._count_long, job)
        work.add_done_callback(lambda finished: self._done_long(job, finished))

    def _count_long(self, job: _Job) -> list[tuple[int, Chain]]:
        try:
            if job.limit is not None and len(job.text) > job.limit:
                least = self._count_until(job.text, job.limit)
                if least > job.limit:
                    job.count.at_least = True
                    return [(least, NO_CHAIN)]
            return self._count([job])
        finally:
            release_memory()

    def _count_until(self, text: str, limit: int) -> int:
        """A lower bound for the tokens of a text. Stops when it exceeds the limit."""
        start = tokens = 0
        while start < len(text) and tokens <= limit:
            stop = start + _PIECE_CHARS
            if stop < len(text):
                stop = max(text.rfind(" ", start + 1, stop), text.rfind("\n", start + 1, stop))
                stop = start + _PIECE_CHARS if stop < 0 else stop
            tokens += max(0, self._tokenizer.count_plain([text[start:stop]])[0] - _CUT_TOKENS)
            start = stop
        return tokens

    def _done_long(self, job: _Job, finished: asyncio.Future[list[tuple[int, Chain]]]) -> None:
        self._long_jobs -= 1
        self._settle([job], finished)

    async def longest_token(self, enough: int = sys.maxsize) -> int:
        """The characters of the tokenizer's longest token. Stops at the first with `enough`, which is faster."""
        if self._longest.characters < enough and not self._longest.is_known:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._long_thread, self._longest.look, enough)
        return self._longest.characters

    def _count(self, jobs: list[_Job]) -> list[tuple[int, Chain]]:
        if self._block_tokens:
            prompts = [self._tokenizer.encode(job.text, add_special_tokens=job.special) for job in jobs]
            return [(len(ids), self._chain(ids)) for ids in prompts]
        added = self._tokenizer.special_tokens_added
        plain = self._tokenizer.count_plain([job.text for job in jobs])
        return [(tokens + (added if job.special else 0), NO_CHAIN) for job, tokens in zip(jobs, plain, strict=True)]

    def _done(self, jobs: list[_Job], finished: asyncio.Future[list[tuple[int, Chain]]]) -> None:
        self._busy = bool(self._queue)
        if self._busy:
            self._start()
        self._settle(jobs, finished)

    def _settle(self, jobs: list[_Job], finished: asyncio.Future[list[tuple[int, Chain]]]) -> None:
        counts: list[tuple[int, Chain] | None] = [None] * len(jobs)
        if (error := finished.exception()) is None:
            counts = [*finished.result()]
        else:
            _LOG.error("the tokenizer could not count %d prompts: %s", len(jobs), error)
        for job, count in zip(jobs, counts, strict=True):
            if count is None:
                job.count.settle(None)
                continue
            if job.digest not in self._seen and not job.count.at_least:
                self._seen[job.digest] = job.count
                self._links += len(count[1].links)
            job.count.settle(*count)
        while len(self._seen) > _REMEMBERED or self._links > _REMEMBERED_LINKS:
            _, oldest = self._seen.popitem(last=False)
            self._links -= len(oldest.chain.links)
        if not self._busy and not self._long_jobs:
            self._idle.set()

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run other work on the counting thread. Prompts wait for it; streams do not."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def release_memory_soon(self) -> None:
        """Give freed memory back to the system, on the thread of long prompts. Calls within a second are merged."""
        if self._release is None:
            self._release = asyncio.get_running_loop().call_later(_RELEASE_S, self._release_memory)

    def _release_memory(self) -> None:
        self._release = None
        asyncio.get_running_loop().run_in_executor(self._long_thread, release_memory)

    async def idle(self) -> None:
        """Wait until everything is counted."""
        await self._idle.wait()

    async def close(self) -> None:
        """Finish counting, so that the ledger is complete, and stop the thread."""
        await self.idle()
        if self._release is not None:
            self._release.cancel()
        self._thread.shutdown()
        self._long_thread.shutdown()


@dataclass(frozen=True, slots=True)
class _Job:
    text: str
    special: bool
    digest: bytes
    count: TokenCount
    limit: int | None


class _LongestToken:
    """The longest token seen so far. Scanning a large vocabulary takes 0.2 s, so it is scanned once, and usually only a
    small part of it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.characters = 0
        self.is_known = False
        """Whether the whole vocabulary has been scanned."""
        self._tokenizer = tokenizer
        self._start = 0

    def look(self, enough: int) -> None:
        """Scan in blocks, because the streams wait for each, until a token has `enough` characters. A block without
        tokens ends the vocabulary."""
        try:
            while self.characters < enough and not self.is_known:
                block = self._tokenizer.token_strings(range(self._start, self._start + _BLOCK_IDS))
                most = max(map(len, block))
                self._start += _BLOCK_IDS
                self.characters = max(self.characters, most)
                self.is_known = most == 0 or self._start >= _MOST_IDS
        except SpecError:
            self.is_known = True
        if self.is_known:
            self.characters = self.characters or _UNKNOWN_LONGEST


def release_memory() -> None:
    """Give freed memory back to the system. The C library would keep the memory of a long prompt."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _lower_priority() -> None:
    """Lower this thread's priority, so the event loop, which keeps the deadlines, goes first. On Linux each thread has
    its own niceness."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def known_count(tokens: int, chain: Chain = NO_CHAIN) -> TokenCount:
    """A count that is already known."""
    count = TokenCount()
    count.settle(tokens, chain)
    return count


def total_count(counts: Sequence[TokenCount]) -> TokenCount:
    """The sum of several counts, with the chain of the first."""
    if len(counts) == 1:
        return counts[0]
    total = TokenCount()
    left = len(counts)

    def one_more() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            known = [count.tokens for count in counts if count.tokens is not None]
            total.settle(sum(known) if len(known) == len(counts) else None, counts[0].chain)

    for count in counts:
        count.when_known(one_more)
    return total
