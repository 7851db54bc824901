"""The properties that make two loads comparable: the kind of load, and its measured size."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from bench.results.certificate import LoadShape
from bench.results.summary import SummaryNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadKind:
    """What is known about a load before it begins. Loads of different kinds say nothing about each other."""

    loop: str
    """`open loop` or `closed loop`."""
    transport: str
    workers: int
    stream: str
    """`streamed` or `whole`."""
    tls: bool
    endpoint: str

    def measured(self, summary: SummaryNumbers) -> LoadShape:
        """The shape of a run of this kind, from its summary."""
        load, duration_s = summary.load, summary.throughput.duration_s
        clock = summary.instrument.clock
        clocks = {"kernel": clock.kernel, "user": clock.user, "mixed": clock.mixed}
        chunks = summary.tokens.chunks.with_tokens
        return LoadShape(
            **asdict(self),
            clock=max(clocks, key=lambda name: clocks[name]),
            streams=load.concurrency_max,
            requests_per_s=load.achieved_rps,
            chunks_per_s=chunks / duration_s if duration_s else None,
        )

    def has(self, shape: LoadShape) -> bool:
        return all(getattr(shape, name) == value for name, value in asdict(self).items())
