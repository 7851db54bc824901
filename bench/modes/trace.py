"""A recording: requests are sent at the times of the data set's rows, or a number of times faster."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.modes.interface import Expected, LoadPlan, OpenLoopMode, open_loop_problems, prompts_or_rows
from bench.modes.share import BUSIEST_S, OpenLoopArrivals, RunLength, WorkerShare, deal, draw
from bench.schedule import trace
from promptset import recipes
from promptset.errors import SpecError

if TYPE_CHECKING:
    from bench.modes.settings import Settings
    from bench.sources.interface import Source, SourceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(OpenLoopMode):
    """The times of the data set, played at `speed`. `warmup` is the setting, for messages."""

    name = "trace"
    summary = "each row of --dataset at its own time"
    own_settings = ("trace_speed", "drop_late")

    speed: float
    cap: int | None
    drop_late: bool
    warmup: str

    @classmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """The data set must have times."""
        problems = []
        if settings.dataset is None:
            problems.append("--mode trace needs --dataset: a file whose rows say when they are sent (at_s, or a trace)")
        if settings.concurrency is not None:
            problems.append("--concurrency cannot be combined with --mode trace: to cap a trace, use --max-concurrency")
        if settings.recipe is not None and not _has_times(settings.recipe):
            problems.append(
                f"--mode trace needs the times of requests, and the recipe {settings.recipe} has no gaps: use --rate"
            )
        return problems + open_loop_problems(cls.name, settings)

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, object]:
        """A recording ends by itself; a recipe does not."""
        return {} if settings.recipe is None else OpenLoopMode.defaults(settings)

    @classmethod
    def of(cls, settings: Settings) -> Trace:
        return cls(
            speed=settings.trace_speed,
            cap=settings.max_concurrency,
            drop_late=settings.drop_late,
            warmup=settings.warmup,
        )

    @classmethod
    def data(cls, settings: Settings) -> SourceSpec:
        """The rows in the order of their times, or the prompts of a recipe."""
        return prompts_or_rows(settings, by_time=True)

    def arrivals_of(self, share: WorkerShare) -> Iterator[int]:
        """The arrivals dealt to the share. Unlike a rate, a recording is dealt out to a single worker too."""
        return iter(()) if share.offsets_ns is None else iter(share.offsets_ns)

    def recording(self, length: RunLength, source: Source[object]) -> OpenLoopArrivals:
        """The arrivals defined by the rows or the recipe, up to the length. Raises UsageError if there are none."""
        if (untimed := source.untimed()) is not None:
            raise UsageError(
                f"--mode trace needs the time of every row, and {untimed}: give each an at_s, in seconds (if yours has "
                "another name: --columns at_s=timestamp), or use --rate"
            )
        try:
            arrivals = draw(trace.offsets(source.times_s(), self.speed), length)
        except OverflowError as e:
            raise UsageError("--dataset: its times span over 292 years: at_s is in seconds, not in ms or ns") from e
        if not arrivals.requests:
            raise UsageError(
                f"--warmup {self.warmup} takes all {arrivals.warmup} rows of the recording: leave some for the run"
            )
        return arrivals

    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """Without a cap, enough connections for the busiest seconds of the recording."""
        arrivals = self.recording(length, source)
        total = len(arrivals.offsets_ns)
        return LoadPlan(
            at_once=min(arrivals.busiest if self.cap is None else self.cap, total),
            bounded=self.cap is not None,
            rate=arrivals.busiest / BUSIEST_S,
            requests=arrivals.requests,
            total=total,
            shares=lambda workers: deal(arrivals, workers, self.cap),
        )

    def expected(self, share: WorkerShare, most: int) -> Expected:
        total = share.total
        return Expected(0 if total is None else total, exact=True)


def _has_times(recipe: str) -> bool:
    try:
        return recipes.load(recipe).gaps is not None
    except SpecError:
        return True  # A broken recipe is refused when it is loaded.
