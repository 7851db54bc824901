"""Fixed rate: an arrival process decides when requests arrive, independent of the server."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from bench.clock import NS_PER_S
from bench.errors import UsageError
from bench.modes.interface import (
    Expected,
    LoadPlan,
    Mode,
    OpenLoopMode,
    default_length,
    open_loop_problems,
    segment_problems,
)
from bench.modes.share import BUSIEST_S, RunLength, WorkerShare, deal, draw
from bench.rng import stream
from bench.schedule import ARRIVALS, SHAPED
from bench.schedule.changing import ChangingArrivals, RateChange
from bench.schedule.changing import arrivals as arrivals_with
from bench.schedule.merged import merged
from bench.schedule.segments import Segment, after_warmup, arrivals, level_at, most

if TYPE_CHECKING:
    from bench.modes.settings import Settings
    from bench.sources.interface import Source

DEFAULT_ARRIVALS = "poisson"
ARRIVALS_OF_BURSTS = SHAPED[0]
"""The process implied by `--burstiness`."""
_RATE = "--mode rate needs --rate, in requests per second"
_NO_USERS = f"{_RATE}, and has no --concurrency: leave it out; --max-concurrency caps the requests in flight"


def _rate_of_classes(settings: Settings) -> float | None:
    mix = settings.traffic
    return mix.rate if mix is not None and mix.rates else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate(OpenLoopMode):
    """A number of requests per second, from an arrival process and its seed. With `segments`, `rate` is the maximum."""

    name = "rate"
    summary = "R requests a second, however slow the server is"
    own_settings = ("arrivals", "burstiness", "drop_late")
    load_units = ("requests/s",)

    rate: float
    arrivals: str
    burstiness: float
    seed: int
    cap: int | None
    drop_late: bool
    segments: tuple[Segment, ...] = ()
    warmup_ns: int = 0
    """The length of a warm-up at the load of the first segment, before that segment."""
    classes: tuple[Rate, ...] = ()
    """The processes of classes that have their own rates. The rates add up to `rate` or are scaled to it."""

    @classmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """A rate is required, and burstiness is allowed only if the gaps have a shape."""
        known = settings.rate is not None or settings.segments or cls.implied_by(settings)
        problems = [] if known else [_NO_USERS if "concurrency" in given else _RATE]
        problems += segment_problems(settings, unit="a request", whole=False)
        return problems + shape_problems(settings, given) + open_loop_problems(cls.name, settings)

    @classmethod
    def implied_by(cls, settings: Settings) -> bool:
        """`--rate` implies the mode, and so do the rates of classes."""
        return (settings.rate is not None or _rate_of_classes(settings) is not None) and settings.concurrency is None

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, Any]:
        return {**default_length(settings), **default_arrivals(settings)}

    @classmethod
    def of(cls, settings: Settings) -> Rate:
        segments = settings.segments
        rate = most(segments) if segments else settings.rate
        if rate is None:
            raise UsageError(_RATE)
        return cls(
            rate=rate,
            arrivals=DEFAULT_ARRIVALS if settings.arrivals is None else settings.arrivals,
            burstiness=settings.burstiness,
            seed=settings.seed,
            cap=settings.max_concurrency,
            drop_late=settings.drop_late,
            segments=segments,
            warmup_ns=round(settings.warmup_s * NS_PER_S) if segments else 0,
        )

    def with_classes(self, classes: Sequence[Mode]) -> Rate:
        """Each class with a rate has its own process with its own random stream."""
        return replace(self, classes=tuple(mode for mode in classes if isinstance(mode, Rate)))

    def arrivals_of_classes(self) -> Iterator[tuple[int, int]]:
        """Every arrival with the number of its class, if classes have rates."""
        scale = self.rate / math.fsum(mode.rate for mode in self.classes)
        return merged([mode.offsets() for mode in self.classes], scale)

    def offsets(self) -> Iterator[int]:
        """The arrivals, in ns from the start: without end, or up to the end of the segments."""
        if self.classes:
            return (at_ns for at_ns, _ in self.arrivals_of_classes())
        process, chance = ARRIVALS[self.arrivals], stream(self.seed, "arrivals")
        if self.segments:
            return arrivals(process(1.0, self.burstiness, chance), after_warmup(self.segments, self.warmup_ns))
        return process(self.rate, self.burstiness, chance)

    def arrivals_of(self, share: WorkerShare) -> Iterator[int]:
        """The arrivals dealt to the share; a single worker draws them as they come due. The rate can be changed during
        the run, unless there are segments."""
        dealt = share.offsets_ns
        if self.segments:
            return self.offsets() if dealt is None else iter(dealt)
        if dealt is None:
            return ChangingArrivals(self.offsets(), self.rate)
        others: Iterator[int] = iter(())
        if share.until_ns is not None:
            # Later arrivals, needed if the rate rises. The earlier ones are skipped now, because there is no time
            # during the load.
            behind = self.offsets()
            deque(islice(behind, share.worker + share.workers * len(dealt)), maxlen=0)
            others = islice(behind, 0, None, share.workers)
        whole = chain(dealt, others)
        return ChangingArrivals(whole, self.rate, until_ns=share.until_ns, most=share.most_arrivals)

    def planned_arrivals(self, changes: Sequence[RateChange] = ()) -> Iterator[int]:
        """The same arrivals: they follow from the settings and the changes."""
        return arrivals_with(self.offsets(), self.rate, changes) if changes else self.offsets()

    def load_at(self, since_start_ns: int) -> float:
        if not self.segments:
            return self.rate
        return level_at(after_warmup(self.segments, self.warmup_ns), since_start_ns)

    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """Without a cap, enough connections for the arrivals of BUSIEST_S seconds."""
        lasts_ns = length.duration_ns if length.ends_ns is None else length.ends_ns
        seconds = BUSIEST_S if lasts_ns is None else min(BUSIEST_S, lasts_ns / NS_PER_S)
        at_once = max(1, round(self.rate * seconds)) if self.cap is None else self.cap

        def shares(workers: int) -> list[WorkerShare]:
            if workers > 1:
                drawn = draw(self.offsets(), length)
                until_ns = None
                if length.duration_ns is not None and drawn.requests:
                    until_ns = drawn.offsets_ns[drawn.warmup] + length.duration_ns
                most = None if length.requests is None else drawn.warmup + length.requests
                dealt = deal(drawn, workers, self.cap, length.ends_ns, until_ns=until_ns, most=most)
                return [_ended_by_worker(share, length) for share in dealt] if length.finds_warmup else dealt
            # A single worker draws the arrivals as they come due.
            return [WorkerShare(**asdict(length), cap=self.cap)]

        return LoadPlan(
            at_once=at_once if length.total is None else min(at_once, length.total),
            bounded=self.cap is not None,
            rate=self.rate,
            requests=length.requests,
            total=length.total,
            shares=shares,
        )

    def expected(self, share: WorkerShare, most: int) -> Expected:
        """Exact even with a time limit, because the arrivals are counted, unless the end of the warm-up is unknown."""
        if share.total is not None:
            return Expected(share.total, exact=True)
        if share.finds_warmup:  # A guess: finding the end of the warm-up takes a few seconds or longer.
            seconds = (share.duration_ns or 0) / NS_PER_S + BUSIEST_S
            return Expected(min(round(self.rate * seconds / share.workers), most), exact=False)
        return Expected(len(draw(islice(self.offsets(), most + 1), share).offsets_ns), exact=True)


def _ended_by_worker(share: WorkerShare, length: RunLength) -> WorkerShare:
    """A share of arrivals for as long as the load may last. The worker ends it once it knows when the warm-up ended."""
    return replace(
        share,
        requests=None,
        duration_ns=length.duration_ns,
        warmup_requests=0,
        warmup_ns=length.warmup_ns,
        finds_warmup=True,
    )


def default_arrivals(settings: Settings) -> dict[str, Any]:
    """Poisson arrivals, or gamma arrivals if a burstiness is given; and the rate of the classes."""
    arrivals = DEFAULT_ARRIVALS if settings.burstiness == 1.0 else ARRIVALS_OF_BURSTS
    chosen: dict[str, Any] = {} if settings.arrivals is not None else {"arrivals": arrivals}
    if settings.rate is None and not settings.segments and (rate := _rate_of_classes(settings)) is not None:
        chosen["rate"] = rate
    return chosen


def shape_problems(settings: Settings, given: Collection[str]) -> list[str]:
    """A sentence if a shape of the gaps is given that the arrivals do not have."""
    shapeless = settings.arrivals not in (None, *SHAPED)
    if shapeless and "burstiness" in given and settings.burstiness != 1.0:
        return [f"--burstiness is the shape of {' and '.join(SHAPED)} gaps: --arrivals {settings.arrivals} has none"]
    return []
