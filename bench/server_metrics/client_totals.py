"""What the client counted of the whole load, warm-up included: the same requests as the server's counters between the scrape
before the load and the one after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.metrics.per_request import NS_PER_S, ttft_ms
from bench.records import Outcome, RequestRecord

if TYPE_CHECKING:
    from bench.metrics.block_times import BlockTimes


@dataclass(slots=True)
class Said:
    """The sum of what replies say of themselves. `by`: how many say it; `silent`: successful ones that do not."""

    total: int = 0
    by: int = 0
    silent: int = 0

    def add(self, value: int | None) -> None:
        """What one reply says."""
        if value is None:
            self.silent += 1
        else:
            self.total += value
            self.by += 1

    def add_all(self, values: Sequence[int | None]) -> None:
        """What many replies say."""
        silent = values.count(None)
        self.silent += silent
        self.by += len(values) - silent
        self.total += sum(value for value in values if value is not None)


class ClientTotals:
    """Add every record."""

    def __init__(self, *, incomplete: bool = False) -> None:
        """`incomplete`: requests may have been sent that have no record."""
        self.incomplete = incomplete
        self.sent = 0
        self.last_end_ns = 0
        """When the last of them ended: a page that was read before does not count all of them."""
        self.succeeded = 0
        self.unsure = 0
        """Requests that were sent and did not succeed, and first attempts of others: the server may have counted them, and
        some of their tokens."""
        self.sent_again = 0
        """Of these, first attempts of requests that succeeded with the second."""
        self.cancelled = 0
        """Of these, requests whose user gave up."""
        self.inputs: int | None = None
        """Of what succeeded, where replies are no generated text: a server may count each as a request of its own."""
        self.input_tokens: int | None = 0
        """None where a reply did not say it."""
        self.output_tokens: int | None = 0
        self.cached_tokens = Said()
        self.draft_steps = Said()
        self.draft_tokens = Said()
        self.accepted_tokens = Said()
        self._ttft_s: list[float] = []

    def add(self, record: RequestRecord) -> None:
        """One record, in any order."""
        if record.sent_ns is None:
            return
        self.sent += 1
        self.last_end_ns = max(self.last_end_ns, record.end_ns)
        if record.outcome is not Outcome.OK:
            self.unsure += 1
            self.cancelled += record.outcome is Outcome.CANCELLED
            return
        self.succeeded += 1
        if record.attempts > 1:
            self.unsure += 1
            self.sent_again += 1
        if record.inputs is not None:
            self.inputs = record.inputs if self.inputs is None else self.inputs + record.inputs
        self.input_tokens = _plus(self.input_tokens, record.input_tokens)
        said = record.output_tokens if record.output_tokens_from == "usage" else None
        self.output_tokens = _plus(self.output_tokens, said)
        self.cached_tokens.add(record.cached_tokens)
        self.draft_steps.add(record.draft_steps)
        self.draft_tokens.add(record.draft_tokens)
        self.accepted_tokens.add(record.accepted_tokens)
        ms = ttft_ms(record)
        if ms is not None:
            self._ttft_s.append(ms * 1e6 / NS_PER_S)

    def add_block(self, times: BlockTimes) -> None:
        """The records of a block, none of which says anything of drafts."""
        block, n = times.block, len(times.block)
        self.sent += n
        self.succeeded += n
        self.last_end_ns = max(self.last_end_ns, int(block.end_ns.max()))
        sent_again = int((block.ints("attempts") > 1).sum())
        self.unsure += sent_again
        self.sent_again += sent_again
        for tokens in block.column("input_tokens"):
            self.input_tokens = _plus(self.input_tokens, tokens)
        for tokens, source in zip(block.column("output_tokens"), block.column("output_tokens_from"), strict=True):
            self.output_tokens = _plus(self.output_tokens, tokens if source == "usage" else None)
        self.cached_tokens.add_all(block.column("cached_tokens"))
        for said in (self.draft_steps, self.draft_tokens, self.accepted_tokens):
            said.silent += n
        self._ttft_s += (times.metrics["ttft_ms"] * 1e6 / NS_PER_S).tolist()

    @property
    def unsure_text(self) -> str:
        """What the server may have counted and the client has no answer of, for a sentence."""
        failed = self.unsure - self.sent_again
        parts = [f"{failed:,} requests that did not succeed"] if failed or not self.sent_again else []
        parts += [f"{self.sent_again:,} first attempts of requests that were sent again"] if self.sent_again else []
        return " and the ".join(parts)

    @property
    def ttft_mean_s(self) -> float | None:
        """The mean TTFT of what succeeded."""
        return sum(self._ttft_s) / len(self._ttft_s) if self._ttft_s else None

    @property
    def ttfts_s(self) -> list[float]:
        """All of them, in order of size."""
        return sorted(self._ttft_s)


def _plus(total: int | None, said: int | None) -> int | None:
    return None if total is None or said is None else total + said
