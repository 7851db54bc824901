"""Continuous batching once more, written only for clarity: the oracle of the mock's `batching` engine.

It steps through time microsecond by microsecond, identifies blocks by their actual tokens (never by a hash), and finds
free, held and cached blocks by scanning all blocks each time. It shares nothing with the engine, and is a thousand
times slower.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RequestLengths:
    """A request: when it arrives (us), its prompt, and the tokens of its reply."""

    at: int
    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    shares: tuple[int, ...] = ()
    """Tokens of each step, for speculative decoding; one each by default."""
    priority: int = 0


@dataclass
class _Block:
    content: tuple[int, ...] | None = None
    """All tokens of the sequence up to the end of this block, once it is full and may be found."""
    full: int = 0
    """Its place in the order in which blocks became full."""
    holders: list[int] = field(default_factory=list)
    freed: int = 0
    """Its place in the order in which blocks became free."""


@dataclass
class _Live:
    name: int
    asked: RequestLengths
    out: list[int] = field(default_factory=list)
    done: int = 0
    blocks: list[_Block] = field(default_factory=list)
    in_decode: bool = False
    stamps: list[int] = field(default_factory=list)
    preempted: int = 0
    cached: int | None = None

    def known(self) -> tuple[int, ...]:
        return self.asked.prompt + self.asked.reply[: len(self.stamps)]


class SlowBatching:
    """`run(requests)` computes for each request the microseconds at which its tokens come out."""

    def __init__(
        self,
        cost: dict[str, int],
        *,
        seqs: int,
        budget: int,
        blocks: int,
        caching: bool = False,
        drafts: int = 0,
        size: int = 16,
        by_priority: bool = False,
    ) -> None:
        self.by_priority = by_priority
        self.cost, self.seqs, self.budget, self.caching, self.drafts, self.size = (
            cost, seqs, budget, caching, drafts, size,
        )  # fmt: skip
        self.blocks = [_Block(freed=i - blocks) for i in range(blocks)]
        self.freed = self.filled = 0
        self.most_running = self.most_tokens = 0

    def run(self, requests: list[RequestLengths], until: int = 10_000_000) -> list[_Live]:
        everyone = [_Live(i, asked) for i, asked in enumerate(requests)]
        outside = list(everyone)
        queue: list[_Live] = []
        running: list[_Live] = []
        step: dict[str, Any] | None = None
        wakes: int | None = 0
        """When it can begin a step after sleeping; it sleeps (None) as soon as there is nothing to do."""
        for now in range(until):
            if step is not None and step["ends"] == now:
                for live, tokens in step["work"]:
                    self._finish(live, tokens, now)
                for live in [live for live in running if len(live.stamps) == len(live.asked.reply)]:
                    running.remove(live)
                    self._free(live)
                step = None
            entering = [live for live in outside if self._ready(live) <= now]
            for live in sorted(entering, key=lambda live: (self._ready(live), live.name)):
                outside.remove(live)
                queue.append(live)
            self._sort(queue)
            if step is None and not (queue or running):
                wakes = None
            elif step is None and wakes is None:
                wakes = now + self.cost.get("w0", 0)
            if step is None and wakes is not None and now >= wakes and (queue or running):
                step = self._plan(queue, running, now)
            if step is None and not (outside or queue or running):
                return everyone
        raise AssertionError("not done in time")

    @staticmethod
    def _rank(live: _Live) -> tuple[int, int, int]:
        return live.asked.priority, live.asked.at, live.name

    def _sort(self, queue: list[_Live]) -> None:
        if self.by_priority:
            queue.sort(key=self._rank)

    def _ready(self, live: _Live) -> int:
        return live.asked.at + self.cost["a0"] + self.cost["a1"] * len(live.asked.prompt)

    def _nobodys(self) -> list[_Block]:
        return sorted((block for block in self.blocks if not block.holders), key=lambda block: block.freed)

    def _free(self, live: _Live) -> None:
        while live.blocks:
            block = live.blocks.pop()
            block.holders.remove(live.name)
            if not block.holders:
                self.freed += 1
                block.freed = self.freed

    def _ensure(self, live: _Live, tokens: int) -> bool:
        missing = (tokens + self.size - 1) // self.size - len(live.blocks)
        free = self._nobodys()
        if missing > len(free):
            return False
        for block in free[: max(0, missing)]:
            block.content = None
            block.holders.append(live.name)
            live.blocks.append(block)
        if self.caching:
            known = live.known()
            for i, block in enumerate(live.blocks):
                content = known[: (i + 1) * self.size]
                if len(content) == (i + 1) * self.size <= tokens and block.content is None:
                    block.content = content
                    self.filled += 1
                    block.full = self.filled
        return True

    def _cached(self, live: _Live) -> list[_Block]:
        hits: list[_Block] = []
        known = live.known()
        while self.caching and (len(hits) + 1) * self.size < len(known):
            content = known[: (len(hits) + 1) * self.size]
            match = [block for block in self.blocks if block.content == content]
            if not match:
                break
            hits.append(min(match, key=lambda block: block.full))
        return hits

    def _plan(self, queue: list[_Live], running: list[_Live], now: int) -> dict[str, Any] | None:
        left = self.budget
        work: list[tuple[_Live, int]] = []
        counts = {"prefill": 0, "decode": 0, "context": 0}
        preempting = False
        for live in list(running):
            if live not in running or left == 0:
                continue
            tokens = len(live.known()) - live.done
            if live.in_decode:
                tokens += min(self.drafts, len(live.asked.reply) - len(live.stamps) - 1)
            tokens = min(tokens, left)
            while live in running and not self._ensure(live, live.done + tokens):
                newest = max(running, key=self._rank) if self.by_priority else running[-1]
                running.remove(newest)
                for entry in [entry for entry in work if entry[0] is newest]:
                    # The request was in this step already. Its tokens go to another request, and its blocks are not
                    # filled.
                    work.remove(entry)
                    left += entry[1]
                    counts["decode" if newest.in_decode else "prefill"] -= entry[1]
                    if newest.in_decode:
                        counts["context"] -= newest.done + entry[1]
                    for block in newest.blocks[newest.done // self.size :]:
                        block.content = None
                self._free(newest)
                newest.done, newest.in_decode = 0, False
                newest.preempted += 1
                queue.insert(0, newest)
                self._sort(queue)
                preempting = True
            if live in running:
                work.append((live, tokens))
                left -= tokens
                counts["decode" if live.in_decode else "prefill"] += tokens
                if live.in_decode:
                    counts["context"] += live.done + tokens
            else:
                break
        while queue and not preempting and left > 0 and len(running) < self.seqs:
            live = queue[0]
            hits = self._cached(live)
            tokens = min(len(live.known()) - len(hits) * self.size, left)
            for block in hits:
                block.holders.append(live.name)
            live.blocks = list(hits)
            if not self._ensure(live, len(hits) * self.size + tokens):
                # Nothing happened, so blocks that were idle before keep their place among the free ones.
                for block in hits:
                    block.holders.remove(live.name)
                live.blocks = []
                break
            live.done = len(hits) * self.size
            live.cached = live.done if live.cached is None else live.cached
            running.append(queue.pop(0))
            work.append((live, tokens))
            left -= tokens
            counts["prefill"] += tokens
        if not work and running:
            # The first request yielded to later ones. An empty step takes no time, and the next step serves them.
            return self._plan(queue, running, now)
        self.most_running = max(self.most_running, len(running))
        self.most_tokens = max(self.most_tokens, self.budget - left)
        cost = self.cost
        ended = sum(not live.in_decode and live.done + tokens >= len(live.known()) for live, tokens in work)
        lasts = cost["b0"] + cost["b1"] * counts["prefill"] + cost["b2"] * counts["decode"] + cost["b4"] * ended
        return {"work": work, "ends": now + lasts + cost["b3"] * counts["context"]}

    def _finish(self, live: _Live, tokens: int, now: int) -> None:
        if live.in_decode:
            asked, given = live.asked, 0
            while given < tokens and len(live.stamps) < len(asked.reply):
                if given and len(live.stamps) in _borders(asked.shares):
                    break
                if given and not asked.shares:
                    break
                live.stamps.append(now)
                given += 1
            live.done += given
            return
        live.done += tokens
        if live.done == len(live.known()):
            live.in_decode = True
            live.stamps.append(now)


def _borders(shares: tuple[int, ...]) -> set[int]:
    """The token counts at which a step of the plan is complete."""
    borders, total = set(), 0
    for share in shares:
        total += share
        borders.add(total)
    return borders
