"""Sessions: N users, each of whom holds one session after the other; or new sessions at a rate."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.clock import NS_PER_S
from bench.endpoints.choice import endpoint_of
from bench.errors import UsageError
from bench.modes.concurrency import DEFAULT_USERS, coming_in_by, default_users
from bench.modes.interface import (
    DEFAULT_OUTPUT_TOKENS,
    Expected,
    LoadPlan,
    Numbering,
    UsersMode,
    WorkerLoad,
    endpoints_of_rows,
    ramp_ns,
)
from bench.modes.rate import Rate, default_arrivals
from bench.modes.session_problems import (
    flag_for_answers,
    is_recording,
    problems_of_http_sessions,
    problems_of_sessions,
)
from bench.modes.share import BUSIEST_S, RunLength, WorkerShare, divide, part
from bench.rng import stream
from bench.schedule import trace
from bench.schedule.changing import ChangingArrivals, RateChange

if TYPE_CHECKING:
    from bench.modes.settings import Settings
    from bench.sources.interface import Source, SourceSpec
    from bench.workload import Encoded
    from promptset.samples import Sample

DEFAULT_TURNS = "4"
DEFAULT_THINK_TIME = "0s"

LOOKED_AT = 2
"""Sessions per user, from which the session to begin in its middle is drawn. All are generated before the load."""
LOOKED_AT_IN_FILE = 8
"""The same for a file, whose sessions need not be generated."""
READY_ARRIVALS = 8
"""For sessions at a rate, how many have their first bodies encoded before the load."""
_GUESSED_TURNS = 4
"""Turns of a session at a rate, for a first guess of how many requests are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions(UsersMode):
    """Users, or sessions that arrive by the `schedule`. `real_history`: conversations carry the server's own answers,
    else planned ones. `reasoning`: they also carry the server's reasoning. `stored`: the server keeps the history.
    `in_middle`: the first session of each user begins in its middle."""

    name = "sessions"
    load_units = ("sessions", "sessions/s")
    summary = "N users who hold conversations, or R new conversations a second"
    own_settings = (
        "turns",
        "think_time",
        "history",
        "reasoning_in_history",
        "context_limit",
        "trace_speed",
        "sessions_begin",
        "arrivals",
        "burstiness",
        "max_idle",
    )

    users: int
    ramp_ns: int
    real_history: bool
    reasoning: bool = False
    stored: bool = False
    schedule: Rate | None = None
    in_middle: bool = False
    recorded_speed: float | None = None
    """Sessions begin at the recorded times, this many times faster; None if they do not."""
    seed: int = 0

    @classmethod
    def unit_of(cls, settings: Settings) -> str | None:
        """Sessions held, or new sessions per second; a recording has neither."""
        if settings.sessions_begin == "recorded":
            return None
        return cls.load_units[0] if settings.rate is None else cls.load_units[1]

    @property
    def load_unit(self) -> str | None:
        if self.recorded_speed is not None:
            return None
        return self.load_units[0] if self.schedule is None else self.load_units[1]

    def load_at(self, since_start_ns: int) -> float | None:
        """Sessions held, or new sessions per second; None if sessions begin at recorded times."""
        if self.recorded_speed is not None:
            return None
        if self.schedule is not None:
            return self.schedule.load_at(since_start_ns)
        return coming_in_by(self.users, self.ramp_ns, since_start_ns)

    def part_of(self, load: float, share: WorkerShare) -> float:
        """Sessions held, divided like those at the start. A rate is the same for every worker."""
        return load if self.schedule is not None else part(round(load), share.worker, share.workers)

    def planned_sessions(self, changes: Sequence[RateChange] = ()) -> Iterator[int] | None:
        """They follow from the settings and the changes."""
        return None if self.schedule is None else self.schedule.planned_arrivals(changes)

    @property
    def open_loop(self) -> bool:
        return self.schedule is not None or self.recorded_speed is not None

    @classmethod
    def problems(cls, settings: Settings, given: Collection[str]) -> list[str]:
        """Sessions are chats of English words, whose turns are defined by a file or by the flags, not both."""
        of_chats = endpoint_of(settings).counts_tokens
        return problems_of_sessions(settings, given) if of_chats else problems_of_http_sessions(settings, given)

    @classmethod
    def defaults(cls, settings: Settings) -> dict[str, Any]:
        """The users of fixed concurrency, or the arrivals of a rate; DEFAULT_REQUESTS requests if no length is given."""
        load = default_users(settings) if settings.rate is None else default_arrivals(settings)
        return {**UsersMode.defaults(settings), **load}

    @classmethod
    def of(cls, settings: Settings) -> Sessions:
        users = DEFAULT_USERS if settings.concurrency is None else settings.concurrency
        return cls(
            users=users if settings.rate is None and settings.sessions_begin != "recorded" else 0,
            ramp_ns=ramp_ns(settings),
            real_history=settings.history != "planned" and endpoint_of(settings).counts_tokens,
            stored=settings.history == "stored",
            reasoning=settings.reasoning_in_history == "echo",
            schedule=None if settings.rate is None else Rate.of(settings),
            in_middle=settings.sessions_begin == "middle",
            recorded_speed=settings.trace_speed if settings.sessions_begin == "recorded" else None,
            seed=settings.seed,
        )

    @classmethod
    def data(cls, settings: Settings) -> SourceSpec:
        """The sessions of a file or a recipe, or simulated ones."""
        if settings.dataset is not None and not endpoint_of(settings).counts_tokens:
            from bench.sources.http_sessions import HttpSessionSpec

            return HttpSessionSpec(path=Path(settings.dataset), rows=settings.rows)
        if settings.recipe is not None:
            from bench.sources.agents import AgentSpec

            return AgentSpec(recipe=settings.recipe, context_limit=settings.context_limit, speed=settings.trace_speed)
        if settings.dataset is not None and is_recording(settings):
            from bench.sources.recorded import RecordingSpec

            return RecordingSpec(
                path=Path(settings.dataset),
                max_idle_s=settings.max_idle,
                speed=settings.trace_speed,
                bad_rows=settings.bad_rows,
                by_start=settings.sessions_begin == "recorded",
            )
        if settings.dataset is not None:
            from bench.sources.sessions import SessionFileSpec

            return SessionFileSpec(
                path=Path(settings.dataset),
                endpoints=("responses",)
                if settings.history == "stored"
                else tuple(name for name, chats in endpoints_of_rows(settings) if chats),
                answers_for=flag_for_answers(settings),
            )
        from bench.sources.sessions import SessionSpec

        return SessionSpec(
            turns=DEFAULT_TURNS if settings.turns is None else settings.turns,
            think_time=DEFAULT_THINK_TIME if settings.think_time is None else settings.think_time,
            input_tokens=settings.input_tokens,
            output_tokens=DEFAULT_OUTPUT_TOKENS if settings.output_tokens is None else settings.output_tokens,
            prefix=settings.prefix,
            tools=None if settings.tools is None else Path(settings.tools),
        )

    def plan(self, length: RunLength, source: Source[object]) -> LoadPlan:
        """Enough connections for all concurrent requests of each user's session. At a rate this is an estimate, because
        the length of a session is not known."""
        if self.recorded_speed is not None and (untimed := source.untimed()) is not None:
            raise UsageError(
                f"--sessions-begin recorded needs the time at which each session began, and {untimed}: use --concurrency or "
                "--rate"
            )
        if not self.open_loop:
            whole = UsersMode.plan(self, length, source)
            at_once = whole.at_once * source.at_once
            return LoadPlan(
                at_once=at_once if length.total is None else min(at_once, length.total),
                bounded=source.at_once == 1,
                users=whole.at_once,
                requests=whole.requests,
                total=whole.total,
                shares=whole.shares,
            )
        at_once = max(1, self._busiest(source)) * source.at_once
        return LoadPlan(
            at_once=at_once if length.total is None else min(at_once, length.total),
            bounded=False,
            requests=length.requests,
            total=length.total,
            shares=lambda workers: self._divided(workers, length),
        )

    def _busiest(self, source: Source[object]) -> int:
        """About how many sessions begin in the busiest seconds."""
        if self.schedule is not None:
            return round(self.schedule.rate * BUSIEST_S)
        offsets = [*islice(self._arrivals(source), source.size)]
        window_ns = BUSIEST_S * NS_PER_S
        return max(at + 1 - bisect_left(offsets, offset - window_ns) for at, offset in enumerate(offsets))

    def _arrivals(self, source: Source[object]) -> Iterator[int]:
        """When sessions begin, in ns from the start, without end."""
        if self.schedule is not None:
            return self.schedule.offsets()
        return trace.offsets(source.times_s(), 1.0 if self.recorded_speed is None else self.recorded_speed)

    def _divided(self, workers: int, length: RunLength) -> list[WorkerShare]:
        """Each worker gets a part of the requests, and all stop at the same instant: a worker's first session may come
        late. After a warm-up of requests that instant is not known, and the first worker stops the others."""
        ends_ns = length.ends_ns
        if workers > 1 and length.duration_ns is not None and not length.warmup_requests:
            first_ns = 0 if self.schedule is None else next(self.schedule.offsets())  # A recording begins at once.
            ends_ns = max(length.warmup_ns, first_ns) + length.duration_ns
        duration_ns = length.duration_ns if ends_ns is None else None
        until = replace(length, duration_ns=duration_ns, ends_ns=ends_ns, finds_warmup=False)
        return [replace(share, users=None) for share in divide(0, workers, until)]

    def expected(self, share: WorkerShare, most: int) -> Expected:
        """A guess in an open loop, because the number of turns per session depends on the data."""
        if not self.open_loop:
            return UsersMode.expected(self, share, most)
        if share.total is not None:
            return Expected(share.total, exact=False)
        lasts_ns = share.duration_ns if share.ends_ns is None else share.ends_ns
        seconds = 0.0 if lasts_ns is None else lasts_ns / NS_PER_S
        rate = 1.0 if self.schedule is None else self.schedule.rate  # A guess for a recording.
        turns = rate * seconds * _GUESSED_TURNS / share.workers
        return Expected(min(round(turns), most) + share.warmup_requests, exact=False)

    def worker_load(
        self, source: Source[Any], encode: Callable[[Sample], Encoded], numbering: Numbering, share: WorkerShare
    ) -> WorkerLoad:
        """A loop over the share's users, each in a session, or over the share's arrivals."""
        from bench.dispatch.session_arrivals import SessionArrivals
        from bench.dispatch.session_users import SessionUsers
        from bench.workload.turns import Conversations, History

        conversations = Conversations(
            source,
            encode,
            numbering.run_id,
            History(self.real_history, self.reasoning, self.stored),
            first=numbering.first,
            step=numbering.step,
            cancel=numbering.cancel,
            in_memory=source.in_memory,
        )
        conversations.tracing = numbering.tracing
        if self.open_loop:
            mine = islice(self._arrivals(source), share.worker, None, share.workers)
            arrivals = mine if self.schedule is None else ChangingArrivals(mine, self.schedule.rate)
            return WorkerLoad(
                conversations,
                lambda sending: SessionArrivals(conversations, sending, offsets=arrivals),
                get_ready=lambda: conversations.get_ready(READY_ARRIVALS),
            )
        users = self._users_of(share)
        looked_at = users * (LOOKED_AT_IN_FILE if source.in_memory else LOOKED_AT)
        if source.size is not None:
            looked_at = min(looked_at, max(source.size // share.workers, 1))

        def get_ready() -> None:
            if self.in_middle:
                conversations.begin_in_middle(users, stream(self.seed, "sessions begin", share.worker), looked_at)
            conversations.get_ready(users)

        return WorkerLoad(
            conversations,
            lambda sending: SessionUsers(conversations, sending, changes=self.user_changes(share)),
            begun=max(users, looked_at) if self.in_middle else users,
            get_ready=get_ready,
        )
