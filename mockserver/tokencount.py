"""Counts the tokens of prompts without delaying the streams.

A prompt of a thousand tokens takes a millisecond to count, and hundreds can arrive at once. On the event loop they would
delay every first token. So a thread counts them (the tokenizer releases the interpreter's lock while it works), only
usage and the ledger wait for a count, and repeated prompts are looked up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from mockserver.engine.chain import Chain
from promptset.tokens import Tokenizer

_LOG = logging.getLogger("mockserver")
_REMEMBERED = 65_536
Result = TypeVar("Result")

_REMEMBERED_LINKS = 2_000_000
"""Limit for the hashes of all remembered prompts: 16 MB."""
_NICENESS = 10
_BATCH = 32
_GATHER_S = 0.001


NO_CHAIN = Chain()


class TokenCount:
    """A number of tokens, known now or soon."""

    __slots__ = ("_waiting", "chain", "known", "tokens")

    def __init__(self) -> None:
        self.tokens: int | None = None
        """None until it is known, and if the tokenizer failed."""
        self.chain = NO_CHAIN
        """The hash chain of the tokens, if the counter makes chains."""
        self.known = False
        self._waiting: list[Callable[[], None]] = []

    def settle(self, tokens: int | None, chain: Chain = NO_CHAIN) -> None:
        """Set the count."""
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
        """Wait for the count."""
        if not self.known:
            known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.when_known(lambda: None if known.done() else known.set_result(None))
            await known
        return self.tokens


class Counter:
    """Counts on a thread of its own. Use it inside a running event loop."""

    def __init__(self, tokenizer: Tokenizer, block_tokens: int = 0, urgent: bool = False) -> None:
        """`block_tokens`: also make hash chains of blocks of this many tokens; 0 means no chains. `urgent`: requests wait
        for their counts, so the thread keeps its normal priority and counts prompt by prompt."""
        self._tokenizer = tokenizer
        self._block_tokens = block_tokens
        self._batch, self._gather_s = (1, 0.0) if urgent else (_BATCH, _GATHER_S)
        self._links = 0
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="count", initializer=None if urgent else _lower_priority
        )
        self._seen: OrderedDict[bytes, tuple[int, Chain]] = OrderedDict()
        self._queue: list[_Job] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()

    def count_text(self, text: str, special: bool) -> TokenCount:
        """Count `text`. `special` includes the special tokens that the tokenizer adds."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=b"s" if special else b"").digest()
        seen = self._seen.get(digest)
        if seen is not None:
            self._seen.move_to_end(digest)
            return known_count(*seen)
        job = _Job(text, special, digest, TokenCount())
        self._queue.append(job)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            asyncio.get_running_loop().call_later(self._gather_s, self._start)
        return job.count

    def count_ids(self, ids: list[int]) -> TokenCount:
        """The count of a prompt that came as token ids."""
        return known_count(len(ids), self._chain(ids))

    def _chain(self, ids: list[int]) -> Chain:
        return NO_CHAIN.extended(ids, self._block_tokens) if self._block_tokens else NO_CHAIN

    def _start(self) -> None:
        # Prompts that arrived together are one piece of work, because each hand-over between threads costs the loop time.
        jobs, self._queue = self._queue[: self._batch], self._queue[self._batch :]
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._count, jobs)
        work.add_done_callback(lambda finished: self._done(jobs, finished))

    def _count(self, jobs: list[_Job]) -> list[tuple[int, Chain]]:
        if self._block_tokens:
            prompts = [self._tokenizer.encode(job.text, add_special_tokens=job.special) for job in jobs]
            return [(len(ids), self._chain(ids)) for ids in prompts]
        added = self._tokenizer.special_tokens_added
        plain = self._tokenizer.count_plain([job.text for job in jobs])
        return [(tokens + (added if job.special else 0), NO_CHAIN) for job, tokens in zip(jobs, plain, strict=True)]

    def _done(self, jobs: list[_Job], finished: asyncio.Future[list[tuple[int, Chain]]]) -> None:
        counts: list[tuple[int, Chain] | None] = [None] * len(jobs)
        if (error := finished.exception()) is None:
            counts = [*finished.result()]
        else:
            _LOG.error("the tokenizer could not count %d prompts: %s", len(jobs), error)
        self._busy = bool(self._queue)
        if self._busy:
            self._start()
        for job, count in zip(jobs, counts, strict=True):
            if count is None:
                job.count.settle(None)
                continue
            if job.digest not in self._seen:
                self._seen[job.digest] = count
                self._links += len(count[1].links)
            job.count.settle(*count)
        while len(self._seen) > _REMEMBERED or self._links > _REMEMBERED_LINKS:
            _, (_, chain) = self._seen.popitem(last=False)
            self._links -= len(chain.links)
        if not self._busy:
            self._idle.set()

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Do other work on the thread. Prompts wait for it, streams do not."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def idle(self) -> None:
        """Wait until everything is counted."""
        await self._idle.wait()

    async def close(self) -> None:
        """Finish counting, so that the ledger is complete, and stop the thread."""
        await self.idle()
        self._thread.shutdown()


@dataclass(frozen=True, slots=True)
class _Job:
    """One text to count."""

    text: str
    special: bool
    digest: bytes
    count: TokenCount


def _lower_priority() -> None:
    """On Linux each thread has its own niceness. The event loop keeps the deadlines, so it goes first."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def known_count(tokens: int, chain: Chain = NO_CHAIN) -> TokenCount:
    """A count that is known from the start."""
    count = TokenCount()
    count.settle(tokens, chain)
    return count
