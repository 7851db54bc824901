"""What decides whether two loads are alike: the kind of load, and its size as it was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from bench.results.certificate import LoadShape as ShapeOfLoad

if TYPE_CHECKING:
    from bench.results.summary import SummaryNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadKind:
    """What is known of a load before it begins. Two loads of different kinds say nothing about each other."""

    loop: str
    """`open loop` or `closed loop`."""
    transport: str
    workers: int
    stream: str
    """`streamed` or `whole`."""
    tls: bool
    endpoint: str = "chat"
    """Older certificates do not say it: they are of chats."""

    @classmethod
    def of(
        cls, *, open_loop: bool, transport: str, stream: bool, tls: bool, workers: int, endpoint: str = "chat"
    ) -> LoadKind:
        return cls(
            loop="open loop" if open_loop else "closed loop",
            transport=transport,
            workers=workers,
            stream="streamed" if stream else "whole",
            tls=tls,
            endpoint=endpoint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadShape(LoadKind):
    """A load as it was measured. A size is None where it could not be measured."""

    clock: str
    """The usual source of its time stamps: kernel, user or mixed."""
    streams: int | float | None
    """Most requests in flight at once."""
    requests_per_s: int | float | None
    chunks_per_s: int | float | None
    """Chunks that bear text."""

    @classmethod
    def measured(cls, summary: SummaryNumbers, kind: LoadKind) -> LoadShape:
        """The shape of a run, from its summary and its kind."""
        load, duration_s = summary.load, summary.throughput.duration_s
        clock = summary.instrument.clock
        clocks = {"kernel": clock.kernel, "user": clock.user, "mixed": clock.mixed}
        chunks = summary.tokens.chunks.with_tokens
        return cls(
            **asdict(kind),
            clock=max(clocks, key=lambda name: clocks[name]),
            streams=load.concurrency_max,
            requests_per_s=load.achieved_rps,
            chunks_per_s=chunks / duration_s if duration_s else None,
        )

    def result(self) -> ShapeOfLoad:
        """As it stands in a certificate."""
        return ShapeOfLoad(**asdict(self))

    def is_of(self, kind: LoadKind) -> bool:
        return all(getattr(self, field.name) == getattr(kind, field.name) for field in fields(LoadKind))
