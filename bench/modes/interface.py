"""The interface of the modes: the kinds of load behind `--mode`, each complete in its file.

A mode defines its flags and their defaults, how much load it plans, how the load is divided among workers, and the loop
that sends it. An instance is the resolved load of one run, with every value that the mode needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bench.clock import NS_PER_S
from bench.dispatch.closed_loop import ClosedLoop
from bench.dispatch.open_loop import OpenLoop
from bench.endpoints import ENDPOINTS
from bench.endpoints.choice import endpoint_of, name_of
from bench.modes.share import RunLength, WorkerShare, divide, part
from bench.schedule import users as user_changes
from bench.sources.audio import AudioSpec
from bench.sources.http import HttpSpec
from bench.sources.inputs import InputSpec
from bench.sources.simulated import PromptSpec
from bench.workload import Encoded, Supply
from bench.workload.tracing import Tracing
from promptset import recipes
from promptset.audio import DEFAULT as DEFAULT_AUDIO

if TYPE_CHECKING:
    from bench.dispatch.interface import Dispatcher
    from bench.dispatch.sending import Sending
    from bench.modes.settings import Settings
    from bench.schedule.changing import RateChange
    from bench.sources.interface import Source, SourceSpec
    from bench.workload.stock import Backlog
    from promptset.samples import Sample

DEFAULT_REQUESTS = 100
"""The default for sessions, recipes with times and files of rows."""
DEFAULT_DURATION_S = 60.0
"""The default for a load that would not end by itself, after a warm-up whose end the run detects."""
AUTO_WARMUP = "auto"
MOST_AUTO_WARMUP_S = 60
"""The longest automatic warm-up."""
DEFAULT_OUTPUT_TOKENS = "128"
DEFAULT_BATCH_INPUTS = {"texts": "1", "documents": "10"}
"""Inputs per request, by input type."""


def has_length(settings: Settings) -> bool:
    """Whether the settings define when the load ends."""
    return settings.requests is not None or settings.duration is not None or bool(settings.segments)


def default_length(settings: Settings) -> dict[str, Any]:
    """The default length of a load that would not end by itself: long enough to estimate more than the median of the
    latency. Prompts are generated for as long as it lasts. The rows of a file repeat, so they are counted."""
    if has_length(settings):
        return {}
    if settings.dataset is not None and settings.recipe is None:
        return {"requests": DEFAULT_REQUESTS}
    warmup = {} if "warmup" in settings.model_fields_set else {"warmup": AUTO_WARMUP}
    return {"duration": DEFAULT_DURATION_S, **warmup}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is known about a load before it begins.

    `at_once`: the number of connections it may need. If not `bounded`, this is an estimate, because the server's speed
    determines how many requests are in flight. `users`: the users of a closed loop whose number of connections is an
    estimate, because their sessions have sub-agents. `rate`: requests per second, if the mode sets a rate. `requests`:
    without the warm-up; `total`: with it; None if unknown. `shares` divides the load among a number of workers.
    `undivided`: why only one worker can send the load, as the beginning of a sentence; None if several can.
    """

    at_once: int
    bounded: bool = True
    users: int | None = None
    rate: float | None = None
    requests: int | None
    total: int | None
    shares: Callable[[int], list[WorkerShare]]
    undivided: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """The number of requests a worker will send, including the warm-up. If not `exact`, it is a guess."""

    requests: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Numbering:
    """Numbers a worker's requests: `first`, `first` + `step`, and so on, after the id of the run.

    By the number of a request, `cancel` returns the time from its send until the user cancels it, `class_of` its
    traffic class, and `probe_of` its probe. Each is None if the run has no cancellations, classes or probes. `tracing`
    selects the requests to trace.
    """

    run_id: str
    first: int
    step: int
    cancel: Callable[[int], int | None] | None = None
    class_of: Callable[[int], str] | None = None
    probe_of: Callable[[int], int | None] | None = None
    tracing: Tracing | None = None

    def supply(self, samples: Iterator[Sample], encode: Callable[[Sample], Encoded]) -> Supply:
        supply = Supply(
            samples,
            encode,
            self.run_id,
            first=self.first,
            step=self.step,
            cancel=self.cancel,
            class_of=self.class_of,
            probe_of=self.probe_of,
        )
        supply.tracing = self.tracing
        return supply


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """The backlog from which a worker sends, and the loop that sends it.

    `begun`: items that users have begun but not finished when the load ends; they are needed in addition to completed
    items. `get_ready` prepares as much as possible before the load, after the backlog has been stocked.
    """

    backlog: Backlog
    dispatcher: Callable[[Sending], Dispatcher]
    begun: int = 0
    get_ready: Callable[[], None] = lambda: None


class Mode(ABC):
    """The resolved load of one run. MODES holds the subclasses, not instances."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """The description in `--help`."""
    own_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that other modes do not have."""
    all_at_once: ClassVar[bool] = False
    """Whether every request is needed at the start."""
    load_units: ClassVar[tuple[str, ...]] = ()
    """The unit of a load that can be changed during the run: users, or requests/s. If there are several, the settings
    determine which one applies."""

    @property
    @abstractmethod
    def open_loop(self) -> bool:
        """Whether a schedule, not a response, decides when a request, or the first request of a session, is sent."""

    @classmethod
    def unit_of(cls, settings: Settings) -> str | None:
        """The unit of the load for these settings; None if the load cannot be changed during the run."""
        return cls.load_units[0] if cls.load_units else None

    @property
    def load_unit(self) -> str | None:
        """The unit of this load; None if it cannot be changed during the run."""
        return self.load_units[0] if self.load_units else None

    @classmethod
    @abstractmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """A sentence for each setting that does not fit the mode. `given` contains the names of the settings that were
        given."""

    @classmethod
    def implied_by(cls, settings: Settings) -> bool:
        """Whether the settings imply this mode without naming it."""
        return False

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, Any]:
        """Defaults for required settings that were not given."""
        return {} if has_length(settings) else {"requests": DEFAULT_REQUESTS}

    @classmethod
    @abstractmethod
    def of(cls, settings: Settings) -> Self:
        """The load defined by complete settings. Raises UsageError if something is missing."""

    @classmethod
    def data(cls, settings: Settings) -> SourceSpec:
        return prompts_or_rows(settings)

    @abstractmethod
    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """How much load there will be. Raises UsageError if the data does not allow it."""

    @abstractmethod
    def expected(self, share: WorkerShare, most: int) -> Expected:
        """How many requests a share will need. Numbers above `most` need not be exact."""

    @abstractmethod
    def worker_load(
        self, source: Source[Any], encode: Callable[[Sample], Encoded], numbering: Numbering, share: WorkerShare
    ) -> WorkerLoad:
        """Everything a worker needs to send its share."""

    def planned_arrivals(self, changes: Sequence[RateChange] = ()) -> Iterator[int] | None:
        """The arrivals, in ns from the start, if they follow from the settings and from the rate changes made during
        the run; otherwise None."""
        return None

    def planned_sessions(self, changes: Sequence[RateChange] = ()) -> Iterator[int] | None:
        """The arrivals of sessions, like `planned_arrivals`; None if no sessions arrive by a schedule."""
        return None

    def load_at(self, since_start_ns: int) -> float | None:
        """The load planned for this time after the start; None if the mode does not plan a number."""
        return None

    def part_of(self, load: float, share: WorkerShare) -> float:
        """One worker's part of a load that was changed during the run."""
        return load


class UsersMode(Mode):
    """A closed loop: users who wait for each response. Subclasses have `users` and `ramp_ns`."""

    users: int
    ramp_ns: int

    @property
    def open_loop(self) -> bool:
        return False

    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """As many connections as users, but at most one per request."""
        total = length.total
        at_once = self.users if total is None else min(self.users, total)
        return LoadPlan(
            at_once=at_once,
            requests=length.requests,
            total=total,
            shares=lambda workers: divide(at_once, workers, self._ended_together(length, workers)),
        )

    def _ended_together(self, length: RunLength, workers: int) -> RunLength:
        """A duration becomes an end that all workers know: during a ramp the first user of a worker may come late."""
        known = not (length.finds_warmup or length.warmup_requests)
        if length.duration_ns is None or not (known and self.ramp_ns and workers > 1):
            return length
        return replace(length, duration_ns=None, ends_ns=length.warmup_ns + length.duration_ns)

    def expected(self, share: WorkerShare, most: int) -> Expected:
        """With a time limit this is a guess: one request per second and user."""
        if share.total is not None:
            return Expected(share.total, exact=True)
        lasts_ns = share.duration_ns if share.ends_ns is None else share.ends_ns
        seconds = 0.0 if lasts_ns is None else lasts_ns / NS_PER_S
        return Expected(round(self._users_of(share) * seconds) + share.warmup_requests, exact=False)

    def worker_load(
        self, source: Source[Any], encode: Callable[[Sample], Encoded], numbering: Numbering, share: WorkerShare
    ) -> WorkerLoad:
        supply = numbering.supply(source, encode)
        # Without this, all users would send at once, and the warm-up requests would be among the measured ones.
        ends_first = share.warmup_requests if self.all_at_once else 0
        return WorkerLoad(
            supply,
            lambda sending: ClosedLoop(supply, sending, changes=self.user_changes(share), ends_first=ends_first),
        )

    def user_changes(self, share: WorkerShare) -> Iterator[tuple[int, int]]:
        """When users of the share start and stop: offsets in ns from the start, and the number of users from then on."""
        return divided(user_changes.coming_in(self.users, self.ramp_ns), share)

    def _users_of(self, share: WorkerShare) -> int:
        return self.users if share.users is None else share.users


class OpenLoopMode(Mode):
    """An open loop: a schedule decides when to send. Subclasses have `drop_late`, and `cap`, the most requests in flight."""

    cap: int | None
    drop_late: bool

    @property
    def open_loop(self) -> bool:
        return True

    @abstractmethod
    def arrivals_of(self, share: WorkerShare) -> Iterator[int]:
        """When a worker sends its share, in ns from the start."""

    def worker_load(
        self, source: Source[Any], encode: Callable[[Sample], Encoded], numbering: Numbering, share: WorkerShare
    ) -> WorkerLoad:
        supply = numbering.supply(source, encode)
        offsets = self.arrivals_of(share)
        return WorkerLoad(
            supply,
            lambda sending: OpenLoop(supply, sending, offsets=offsets, cap=share.cap, drop_late=self.drop_late),
        )


def open_loop_problems(mode: str, settings: Settings) -> list[str]:
    """Settings that do not fit any open loop."""
    problems = []
    if settings.drop_late and settings.max_concurrency is None:
        problems.append("--drop-late needs --max-concurrency: without a cap no arrival is ever late for a slot")
    if settings.ramp_up:
        hint = ": a rate that rises is --ramp 1..50:10m" if mode == "rate" else ""
        problems.append(f"--ramp-up is for users, and mode {mode} has none{hint}")
    return problems


def prompts_or_rows(settings: Settings, *, by_time: bool = False) -> SourceSpec:
    """The rows of the `--dataset` file, in the order of their times or of the file; without a file, simulated prompts."""
    recipe = None if settings.recipe is None else recipes.load(settings.recipe)
    path = None if settings.dataset is None else Path(settings.dataset)
    inputs_are, endpoint = inputs_of(settings), endpoint_of(settings)
    if not endpoint.counts_tokens:
        return HttpSpec(
            method=endpoint.method,
            path=path,
            rows=settings.rows,
            body=settings.body,
            template=settings.body_template,
            by_time=by_time,
        )
    if endpoint.takes_audio:
        return AudioSpec(
            path=path,
            plan=DEFAULT_AUDIO if settings.audio is None else settings.audio,
            rate=endpoint.audio_rate,
            by_time=by_time,
        )
    if path is not None and recipe is None:
        from bench.sources.rows import RowsSpec

        return RowsSpec(
            path=path,
            output_tokens=settings.output_tokens,
            columns=settings.columns,
            bad_rows=settings.bad_rows,
            by_time=by_time,
            endpoints=endpoints_of_rows(settings),
            inputs_are=inputs_are if inputs_are in DEFAULT_BATCH_INPUTS else None,
        )
    lengths = settings if recipe is None else recipe
    if inputs_are in DEFAULT_BATCH_INPUTS:
        return InputSpec(
            batch_inputs=DEFAULT_BATCH_INPUTS[inputs_are] if settings.batch_inputs is None else settings.batch_inputs,
            input_tokens=lengths.input_tokens,
            query=inputs_are == "documents",
            prefix=lengths.prefix,
            text=settings.text,
            repeat=settings.repeated_text,
            recipe=settings.recipe,
        )
    output_tokens = DEFAULT_OUTPUT_TOKENS if recipe is None else recipe.output_tokens
    return PromptSpec(
        input_tokens=lengths.input_tokens,
        output_tokens=output_tokens if settings.output_tokens is None else settings.output_tokens,
        prefix=lengths.prefix,
        text=settings.text,
        repeat=settings.repeated_text,
        tools=settings.tools,
        recipe=settings.recipe,
    )


def endpoints_of_rows(settings: Settings) -> tuple[tuple[str, bool], ...]:
    """The endpoints that rows may name, and whether each takes chats: the run's endpoint and those with the same
    numbers. Replies with generated text have other numbers than the rest, so the two are not mixed. Over a WebSocket
    there is only the run's endpoint."""
    endpoint, name = endpoint_of(settings), name_of(settings)
    if settings.websocket or endpoint.only_socket:
        return ((name, endpoint.takes_messages),)
    inputs_are, generates = endpoint.inputs_are, endpoint.generates
    same = {
        name: at
        for name, at in ENDPOINTS.items()
        if at.generates == generates and at.inputs_are == inputs_are and not (at.takes_audio or at.only_socket)
    }
    return tuple((name, at.takes_messages) for name, at in same.items())


def inputs_of(settings: Settings) -> str | None:
    """The input type of the requests, if the endpoint does not generate text; None if it does."""
    return endpoint_of(settings).inputs_are


def measures_of(settings: Settings) -> tuple[str, ...]:
    """The metrics of the run that only a few endpoints have."""
    return endpoint_of(settings).measures


def ramp_ns(settings: Settings) -> int:
    """The time during which users start."""
    return round(settings.ramp_up * NS_PER_S)


def segment_problems(settings: Settings, *, unit: str, whole: bool) -> list[str]:
    """Settings that cannot be combined with a load that changes over time. `unit` is the unit of the load."""
    flag_of_it, segments = settings.segments_flag, settings.segments
    if not segments:
        return []
    exclusive = {"concurrency": "says how many users there are", "rate": "sets the rate (with --mode rate)",
                 "requests": "says when the load ends", "duration": "says when the load ends"}  # fmt: skip
    problems = [
        f"{flag_of_it} and {flag(key)} cannot be combined: {flag_of_it} {says}"
        for key, says in exclusive.items()
        if getattr(settings, key) is not None
    ]
    loads = [load for segment in segments for load in (segment.first, segment.last)]
    if whole and (broken := [load for load in loads if not load.is_integer()]):
        problems.append(f"{flag_of_it}: there is no {broken[0]:g}th of {unit}: for requests per second add --mode rate")
    if settings.warmup_requests or settings.finds_warmup:
        problems.append(f"{flag_of_it} needs a --warmup in time, such as 20s: the first segment begins when it is over")
    elif settings.warmup_s and segments[0].first == 0:
        problems.append(f"--warmup sends at the first load, and {flag_of_it} begins at 0: leave --warmup out")
    return problems


def divided(changes: Iterator[tuple[int, int]], share: WorkerShare) -> Iterator[tuple[int, int]]:
    """The users of one worker: at every instant, the workers together have as many as the whole load. But no worker has
    more than its share, which is smaller if there are fewer requests than users."""
    for at_ns, users in changes:
        mine = part(users, share.worker, share.workers)
        yield at_ns, mine if share.users is None else min(mine, share.users)


def flag(key: str) -> str:
    """The flag of a setting: `--max-idle` for `max_idle`."""
    return f"--{key.replace('_', '-')}"
