"""What servers say of single requests: their times beside the client's TTFT, and what their drafts were worth."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any

from bench.metrics.per_request import ttft_ms
from bench.metrics.quantile import describe
from bench.records import RequestRecord

if TYPE_CHECKING:
    from bench.run_files.record_blocks import PlainBlock

TIMES = ("queue_ms", "prefill_ms", "decode_ms", "ttft_ms", "outside_ms")
"""Of the server's own clock, but for the last: what the client's TTFT has more than the server's, which is the sum of queue
and prefill."""


class ServerRequests:
    """Add the successful requests of a run."""

    def __init__(self) -> None:
        self._times: dict[str, array[float]] = {name: array("d") for name in TIMES}
        self._cached = _Cached()
        self._drafts = _Drafts()

    def add(self, record: RequestRecord) -> None:
        """One request, in any order."""
        self._cached.add(record)
        self._drafts.add(record)
        queue, prefill, decode = record.server_queue_ms, record.server_prefill_ms, record.server_decode_ms
        server = client = None
        if prefill is not None:
            # Who says no queue has none that it knows of.
            server, client = prefill + (0.0 if queue is None else queue), ttft_ms(record)
        outside = None if server is None or client is None else client - server
        for name, value in zip(TIMES, (queue, prefill, decode, server, outside), strict=True):
            if value is not None:
                self._times[name].append(value)

    def add_block(self, block: PlainBlock) -> None:
        """The requests of a block, whose replies say nothing but their cached tokens."""
        for cached, tokens in zip(block.column("cached_tokens"), block.column("input_tokens"), strict=True):
            if cached is not None and tokens is not None:
                self._cached.add_reply(cached, tokens)

    def describe(self) -> dict[str, Any] | None:
        """As summary.json holds it; None where no reply says more than its cached tokens: `tokens` has those too."""
        drafts = self._drafts.describe()
        if drafts is None and not any(self._times.values()):
            return None
        times = {name: describe(sorted(values)) for name, values in self._times.items()}
        return {**times, "cached": self._cached.describe(), "drafts": drafts}


class _Cached:
    """Prompt tokens from the server's cache."""

    def __init__(self) -> None:
        self._replies = self._tokens = self._of = 0

    def add(self, record: RequestRecord) -> None:
        if record.cached_tokens is not None and record.input_tokens is not None:
            self.add_reply(record.cached_tokens, record.input_tokens)

    def add_reply(self, cached: int, of: int) -> None:
        self._replies += 1
        self._tokens += cached
        self._of += of

    def describe(self) -> dict[str, Any] | None:
        """None where no reply says it."""
        if not self._replies:
            return None
        share = self._tokens / self._of if self._of else None
        return {"replies": self._replies, "tokens": self._tokens, "of": self._of, "share": share}


class _Drafts:
    """Speculative decoding. A step gives the drafts that it accepts, and one token of the model's own."""

    def __init__(self) -> None:
        self._replies = self._tokens = self._accepted = 0
        self._counted_replies = self._steps = self._accepted_of_steps = 0
        self._position_steps = 0
        self._at: list[int] = []

    def add(self, record: RequestRecord) -> None:
        if record.draft_tokens is None or record.accepted_tokens is None:
            return
        self._replies += 1
        self._tokens += record.draft_tokens
        self._accepted += record.accepted_tokens
        if record.draft_steps is None:
            return
        self._counted_replies += 1
        self._steps += record.draft_steps
        self._accepted_of_steps += record.accepted_tokens
        if record.acceptance is not None:
            self._position_steps += record.draft_steps
            self._at = [one + other for one, other in zip_longest(self._at, record.acceptance, fillvalue=0)]

    def describe(self) -> dict[str, Any] | None:
        """None where no reply says it."""
        if not self._replies:
            return None
        steps = self._steps if self._counted_replies else None
        return {
            "replies": self._replies,
            "steps": steps,
            "tokens": self._tokens,
            "accepted": self._accepted,
            "acceptance_rate": self._accepted / self._tokens if self._tokens else None,
            "tokens_per_step": 1 + self._accepted_of_steps / steps if steps else None,
            "positions": _shares("position", "accepted", self._at, self._position_steps),
            "steps_by_tokens": _shares("tokens", "steps", self._exactly(), self._position_steps),
        }

    def _exactly(self) -> list[int]:
        """Steps that gave exactly 1, 2, ... tokens."""
        if not self._at:
            return []
        return [before - after for before, after in pairwise([self._position_steps, *self._at, 0])]


def _shares(name: str, what: str, counts: Sequence[int], of: int) -> list[dict[str, Any]]:
    return [{name: n, what: count, "share": count / of if of else None} for n, count in enumerate(counts, 1)]
