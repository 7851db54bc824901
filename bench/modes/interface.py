"""What every mode is: the kinds of load behind `--mode`, each complete in its file.

A mode says which flags belong to it, what they are where nobody gave them, how much load it plans and how that is divided
among workers, and what loop sends it. An instance is the resolved load of one run: every value that the mode needs is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bench.clock import NS_PER_S
from bench.dispatch.closed_loop import ClosedLoop
from bench.dispatch.open_loop import OpenLoop
from bench.endpoints import ENDPOINTS
from bench.endpoints.choice import endpoint_of, name_of
from bench.modes.share import RunLength, WorkerShare, divide, part
from bench.schedule import users as user_changes
from bench.schedule.segments import Segment, after_warmup
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
"""Of sessions, recipes with times and files of rows, where no length is given."""
DEFAULT_DURATION_S = 60.0
"""Of a load without an end of its own, behind a warm-up that the run finds itself."""
AUTO_WARMUP = "auto"
MOST_AUTO_WARMUP_S = 60
"""The longest warm-up that a run finds."""
DEFAULT_OUTPUT_TOKENS = "128"
DEFAULT_BATCH_INPUTS = {"texts": "1", "documents": "10"}
"""Inputs of a request, by what they are."""


def has_length(settings: Settings) -> bool:
    """Whether the settings say when the load ends."""
    return settings.requests is not None or settings.duration is not None or bool(settings.segments)


def default_length(settings: Settings) -> dict[str, Any]:
    """The length of a load without an end of its own, where none is given: a time in which more than the median of the
    latency can be given. Prompts are made as long as it lasts; the rows of a file come again, so they are counted."""
    if has_length(settings):
        return {}
    if settings.dataset is not None and settings.recipe is None:
        return {"requests": DEFAULT_REQUESTS}
    warmup = {} if "warmup" in settings.model_fields_set else {"warmup": AUTO_WARMUP}
    return {"duration": DEFAULT_DURATION_S, **warmup}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is known of a load before it begins.

    `at_once`: connections that it may need, an estimate where not `bounded`: then the server decides how many are in flight.
    `users`: those of a closed loop whose connections are an estimate, since their sessions have sub-agents.
    `rate`: requests per second, where the mode sets them. `requests`: after the warm-up; `total`: with it; None: not known.
    `shares` divides the load among so many workers.
    """

    at_once: int
    bounded: bool = True
    users: int | None = None
    rate: float | None = None
    requests: int | None
    total: int | None
    shares: Callable[[int], list[WorkerShare]]


@dataclass(frozen=True, slots=True)
class Expected:
    """How many requests a worker will send, with the warm-up, and whether that is known or a guess."""

    requests: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Numbering:
    """The numbers of a worker's requests: `first`, `first` + `step`, and so on, behind the id of the run.

    `cancel` says of a number how long after its send the user leaves; None where all stay. `class_of` says its class; None
    where there are none. `probe_of` says which of the probes it is; None where no answer is checked. `tracing`: which are
    traced.
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
    """What one worker sends from, and the loop that sends it.

    `begun`: items that users have begun and not finished when the load ends: they are needed besides those that are sent
    whole. `get_ready` makes what can be made before the load, once the backlog has been stocked.
    """

    backlog: Backlog
    dispatcher: Callable[[Sending], Dispatcher]
    begun: int = 0
    get_ready: Callable[[], None] = lambda: None


class Mode(ABC):
    """The resolved load of one run. A class of it, not an instance, is what MODES holds."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What `--help` says of it."""
    own_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that other modes do not have."""
    all_at_once: ClassVar[bool] = False
    """Whether every request is needed at the start."""
    load_units: ClassVar[tuple[str, ...]] = ()
    """What its load is a number of, where it can be changed while it runs: users, or requests/s. Of several, the settings say
    which."""

    @property
    @abstractmethod
    def open_loop(self) -> bool:
        """Whether a schedule, not a response, decides when a request is sent, or the first one of a session."""

    @classmethod
    def unit_of(cls, settings: Settings) -> str | None:
        """What the load of these settings is a number of; None where it cannot be changed while it runs."""
        return cls.load_units[0] if cls.load_units else None

    @property
    def load_unit(self) -> str | None:
        """The same, of this load."""
        return self.load_units[0] if self.load_units else None

    @classmethod
    @abstractmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """A sentence for each setting that does not go with the mode. `given` names those that were asked for."""

    @classmethod
    def implied_by(cls, settings: Settings) -> bool:
        """Whether the settings ask for this mode without naming it."""
        return False

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, Any]:
        """Settings that were not given, and are needed."""
        return {} if has_length(settings) else {"requests": DEFAULT_REQUESTS}

    @classmethod
    @abstractmethod
    def of(cls, settings: Settings) -> Self:
        """The load that complete settings ask for. Raises UsageError where something is missing."""

    @classmethod
    def data(cls, settings: Settings) -> SourceSpec:
        return prompts_or_rows(settings)

    @abstractmethod
    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """How much load there will be. Raises UsageError where the data does not allow it."""

    @abstractmethod
    def expected(self, share: WorkerShare, most: int) -> Expected:
        """How many requests a share will need; more than `most` need not be told apart."""

    @abstractmethod
    def worker_load(
        self, source: Source[Any], encode: Callable[[Sample], Encoded], numbering: Numbering, share: WorkerShare
    ) -> WorkerLoad:
        """What a worker needs to send its share."""

    def planned_arrivals(self, changes: Sequence[RateChange] = ()) -> Iterator[int] | None:
        """The arrivals, in ns from the start, where they come from the settings alone, and from the changes that were made
        while they came; None where they do not."""
        return None

    def planned_sessions(self, changes: Sequence[RateChange] = ()) -> Iterator[int] | None:
        """The arrivals of sessions, as `planned_arrivals`; None where none arrive by a schedule."""
        return None

    def load_at(self, since_start_ns: int) -> float | None:
        """The load that was planned for this long after the start; None where the mode plans no number."""
        return None

    def part_of(self, load: float, share: WorkerShare) -> float:
        """What a load that is changed while it runs is to one worker."""
        return load


class UsersMode(Mode):
    """A closed loop: users who wait for each response. Subclasses have `users` and `ramp_ns`."""

    users: int
    ramp_ns: int

    @property
    def open_loop(self) -> bool:
        return False

    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """As many connections as users, and never more than there are requests."""
        total = length.total
        at_once = self.users if total is None else min(self.users, total)
        return LoadPlan(
            at_once=at_once,
            requests=length.requests,
            total=total,
            shares=lambda workers: divide(at_once, workers, length),
        )

    def expected(self, share: WorkerShare, most: int) -> Expected:
        """By time this is a guess: a request a second for each user."""
        if share.total is not None:
            return Expected(share.total, exact=True)
        lasts_ns = share.duration_ns if share.ends_ns is None else share.ends_ns
        seconds = 0.0 if lasts_ns is None else lasts_ns / NS_PER_S
        return Expected(round(self._users_of(share) * seconds) + share.warmup_requests, exact=False)

    def worker_load(
        self, source: Source[Any], encode: Callable[[Sample], Encoded], numbering: Numbering, share: WorkerShare
    ) -> WorkerLoad:
        supply = numbering.supply(source, encode)
        return WorkerLoad(supply, lambda sending: ClosedLoop(supply, sending, changes=self.user_changes(share)))

    def user_changes(self, share: WorkerShare) -> Iterator[tuple[int, int]]:
        """When users of the share come and go: offsets in ns from the start, and how many there are from then on."""
        return user_changes.coming_in(self._users_of(share), self.ramp_ns)

    def _users_of(self, share: WorkerShare) -> int:
        return self.users if share.users is None else share.users


class OpenLoopMode(Mode):
    """An open loop: a schedule decides. Subclasses have a `cap` on what is in flight, and `drop_late`."""

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
    """What no open loop has."""
    problems = []
    if settings.drop_late and settings.max_concurrency is None:
        problems.append("--drop-late needs --max-concurrency: without a cap no arrival is ever late for a slot")
    if settings.ramp_up:
        hint = ": a rate that rises is --ramp 1..50:10m" if mode == "rate" else ""
        problems.append(f"--ramp-up is for users, and mode {mode} has none{hint}")
    return problems


def prompts_or_rows(settings: Settings, *, by_time: bool = False) -> SourceSpec:
    """The rows of the file of `--dataset`, in the order of their times or as they stand; else simulated prompts."""
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
    """The endpoints that rows may name beside that of the run, and whether each takes chats: replies with generated text and
    others have different numbers, and are not mixed. Over a WebSocket there is no other endpoint."""
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
    """What the requests of a run are made of, where its endpoint generates no text; None where it does."""
    return endpoint_of(settings).inputs_are


def measures_of(settings: Settings) -> tuple[str, ...]:
    """Of the metrics that few endpoints have, those of a run."""
    return endpoint_of(settings).measures


def ramp_ns(settings: Settings) -> int:
    """Over how long users come in."""
    return round(settings.ramp_up * NS_PER_S)


def segment_problems(settings: Settings, *, unit: str, whole: bool) -> list[str]:
    """What cannot be combined with a load that changes over time; `unit`: of the load."""
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


def divided_changes(segments: Sequence[Segment], share: WorkerShare) -> Iterator[tuple[int, int]]:
    """The users of one worker: at every instant the workers together have as many as the segments say."""
    whole = after_warmup(segments, share.warmup_ns)
    return ((at_ns, part(n, share.worker, share.workers)) for at_ns, n in user_changes.of_segments(whole))


def flag(key: str) -> str:
    """The flag of a setting."""
    return f"--{key.replace('_', '-')}"
