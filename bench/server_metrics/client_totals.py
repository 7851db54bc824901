"""What the client counted of the whole load, warm-up included: the same requests as the server's counters between the scrape
before the load and the one after it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.metrics.per_request import NS_PER_S, ttft_ms
from bench.records import Outcome, RequestRecord


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


class ClientTotals:
    """Add every record."""

    def __init__(self) -> None:
        self.sent = 0
        self.last_end_ns = 0
        """When the last of them ended: a page that was read before does not count all of them."""
        self.succeeded = 0
        self.unsure = 0
        """Requests that were sent and did not succeed: the server may have counted them, and some of their tokens."""
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
