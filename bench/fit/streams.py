"""The server's work, as a record shows it: when it was requested, when tokens came, and how much of the prompt was
computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.clock import NS_PER_US
from bench.records import TOKEN_KINDS, Outcome, RequestRecord


@dataclass(frozen=True, slots=True)
class Stream:
    """One request. Times in us. `arrivals_us` and `tokens` have one entry for each chunk with text.

    `sure` is False if the server's work for it is unknown: it failed, came as a whole, or its token counts are unknown.
    """

    sent_us: float
    end_us: float
    prompt_tokens: int
    cached_tokens: int
    arrivals_us: tuple[float, ...]
    tokens: tuple[int, ...]
    sure: bool

    @property
    def fresh_tokens(self) -> int:
        """Prompt tokens that the server had to compute; it always computes the last one."""
        return max(1, self.prompt_tokens - self.cached_tokens)

    @property
    def generated(self) -> int:
        """The number of tokens received."""
        return sum(self.tokens)


def streams_of(records: Iterable[RequestRecord], zero_ns: int = 0) -> list[Stream]:
    """The requests that reached the server, in the order of sending. Warm-up requests are included: they are work like
    any other."""
    streams = [_stream(record, zero_ns) for record in records if record.last_sent_ns is not None]
    return sorted(streams, key=lambda stream: stream.sent_us)


def _stream(record: RequestRecord, zero_ns: int) -> Stream:
    places = [place for place, kind in enumerate(record.chunk_kind) if kind in TOKEN_KINDS]
    tokens = record.chunk_tokens
    counts = (1,) * len(places) if tokens is None else tuple(tokens[place] for place in places)
    known = tokens is not None or record.output_tokens == len(places)
    good = record.outcome is Outcome.OK and record.input_tokens is not None and known and bool(places)
    sent_ns = record.last_sent_ns  # The attempt that the server answered.
    assert sent_ns is not None
    return Stream(
        sent_us=(sent_ns - zero_ns) / NS_PER_US,
        end_us=(record.end_ns - zero_ns) / NS_PER_US,
        prompt_tokens=max(1, record.input_tokens or 1),
        cached_tokens=0 if record.cached_tokens is None else record.cached_tokens,
        arrivals_us=tuple((record.chunk_ns[place] - zero_ns) / NS_PER_US for place in places),
        tokens=counts,
        sure=good and min(counts) >= 1,
    )
