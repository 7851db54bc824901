"""The client's counts of the whole load, warm-up included: the same requests as the server's counters between the
scrape before the load and the one after it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.clock import NS_PER_S
from bench.metrics.arrays import known
from bench.metrics.request_metrics import ttft_ms
from bench.records.record_table import CANCELLED, Ints, Mask, RecordTable


@dataclass(slots=True)
class Reported:
    """The sum of a number in replies. `by`: how many replies have it; `silent`: successful replies without it."""

    total: int = 0
    by: int = 0
    silent: int = 0

    def add(self, mask: Mask, values: Ints) -> None:
        """Add the numbers of replies: which replies have one, and its value."""
        self.total += int(values[mask].sum())
        self.by += int(mask.sum())
        self.silent += int((~mask).sum())


class ClientTotals:
    """Add every record."""

    def __init__(self, *, incomplete: bool = False) -> None:
        """`incomplete`: requests may have been sent that have no record."""
        self.incomplete = incomplete
        self.sent = 0
        self.last_end_ns = 0
        """When the last of them ended: a page read earlier does not count all of them."""
        self.succeeded = 0
        self.unsure = 0
        """Sent requests that did not succeed, and first attempts of others: the server may have counted them, and some
        of their tokens."""
        self.sent_again = 0
        """Of these, first attempts of requests that succeeded on the second."""
        self.cancelled = 0
        """Of these, requests whose user gave up."""
        self.inputs: int | None = None
        """The inputs of successful requests whose replies are not generated text: a server may count each as a request."""
        self.input_tokens: int | None = 0
        """None if a reply did not report it."""
        self.output_tokens: int | None = 0
        self.cached_tokens = Reported()
        self.draft_steps = Reported()
        self.draft_tokens = Reported()
        self.accepted_tokens = Reported()
        self._ttft_s: list[float] = []

    def add(self, table: RecordTable) -> None:
        """Records, in any order."""
        sent = table.where(table.has("sent_ns"))
        if not len(sent):
            return
        self.sent += len(sent)
        self.last_end_ns = max(self.last_end_ns, int(sent.ints("end_ns").max()))
        self.unsure += int((~sent.ok).sum())
        self.cancelled += int((sent.outcome == CANCELLED).sum())
        done = sent.where(sent.ok)
        self.succeeded += len(done)
        sent_again = int((done.ints("attempts") > 1).sum())
        self.unsure += sent_again
        self.sent_again += sent_again
        has_inputs, inputs = done.known("inputs")
        if has_inputs.any():
            self.inputs = (self.inputs or 0) + int(inputs.sum())
        self.input_tokens = _plus(self.input_tokens, *done.known("input_tokens"))
        counted, n = done.known("output_tokens")
        self.output_tokens = _plus(self.output_tokens, counted & done.equals("output_tokens_from", "usage"), n)
        for name in ("cached_tokens", "draft_steps", "draft_tokens", "accepted_tokens"):
            of_replies: Reported = getattr(self, name)
            of_replies.add(*done.known(name))
        self._ttft_s += (known(ttft_ms(done)) * 1e6 / NS_PER_S).tolist()

    @property
    def unsure_text(self) -> str:
        """The requests that the server may have counted although the client has no answer, for a sentence."""
        failed = self.unsure - self.sent_again
        parts = [f"{failed:,} requests that did not succeed"] if failed or not self.sent_again else []
        parts += [f"{self.sent_again:,} first attempts of requests that were sent again"] if self.sent_again else []
        return " and the ".join(parts)

    @property
    def ttft_mean_s(self) -> float | None:
        return sum(self._ttft_s) / len(self._ttft_s) if self._ttft_s else None

    @property
    def ttfts_s(self) -> list[float]:
        """All of them, sorted."""
        return sorted(self._ttft_s)


def _plus(total: int | None, mask: Mask, values: Ints) -> int | None:
    return None if total is None or not mask.all() else total + int(values.sum())
