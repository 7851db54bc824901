"""How much load to send, when, and for how long."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator

from bench.config import fields, values
from bench.config.fields import Many, Seconds, Users, checked, parsed
from bench.config.segments import checked_ramp, checked_steps
from bench.modes import MODES
from bench.modes.concurrency import DEFAULT_USERS
from bench.modes.interface import DEFAULT_DURATION_S, DEFAULT_REQUESTS, MOST_AUTO_WARMUP_S
from bench.modes.rate import ARRIVALS_OF_BURSTS, DEFAULT_ARRIVALS
from bench.schedule import ARRIVALS
from bench.traffic.classes import read

option = partial(fields.option, group="load")


class Load(BaseModel):
    """The settings of the group `load`."""

    mode: Annotated[str | None, checked(lambda v: values.one_of(v, MODES))] = option(
        None,
        "; ".join(f"{mode.name}: {mode.summary}" for mode in MODES.values()),
        metavar="|".join(MODES),
        otherwise="what the other flags imply",
    )
    concurrency: Users = option(
        None,
        "users in mode concurrency, sessions at the same time in mode sessions",
        metavar="N",
        otherwise=f"{DEFAULT_USERS}",
        ge=1,
    )
    rate: Annotated[float | None, checked(values.requests_per_s)] = option(
        None, "requests per second in mode rate, new sessions per second in mode sessions", metavar="R", gt=0
    )
    arrivals: Annotated[str | None, checked(lambda v: values.one_of(v, ARRIVALS))] = option(
        None,
        f"arrival process of a rate: {', '.join(ARRIVALS)}",
        metavar="NAME",
        otherwise=f"{DEFAULT_ARRIVALS}, {ARRIVALS_OF_BURSTS} with --burstiness",
    )
    burstiness: float = option(
        1.0,
        "shape of the gaps between arrivals: 1 is Poisson, below 1 is burstier, above 1 is more regular",
        metavar="B",
        ge=0.001,
        le=1e6,
    )
    trace_speed: float = option(
        1.0, "replay a recording this many times faster (modes trace and sessions)", metavar="X", ge=1e-6, le=1e6
    )
    max_idle: Seconds | None = option(
        None,
        "recorded sessions: the longest pause; longer ones are cut to it",
        metavar="S",
        otherwise="as the format's users do: 10s for Weka, 60s for TraceLab and spans",
    )
    max_concurrency: Users = option(
        None, "maximum requests in flight (modes rate, throughput and trace)", metavar="N", ge=1
    )
    drop_late: bool = option(False, "drop arrivals that find no free slot, instead of letting them wait")
    ramp_up: Annotated[float, BeforeValidator(values.seconds)] = option(
        0.0, "start the users one by one over this time: 30s", metavar="S"
    )
    ramp: Annotated[str | None, parsed(checked_ramp)] = option(
        None,
        "a load that rises or falls along a line, in users or (--mode rate) requests per second: 1..50:10m",
        metavar="A..B:T",
    )
    steps: Annotated[str | None, parsed(checked_steps)] = option(
        None,
        "loads one after the other, each for a time: 5,10,20:60s, in users or (--mode rate) requests per second",
        metavar="LOADS:T",
    )
    requests: Annotated[
        int | None,
        AfterValidator(values.no_more_than(values.MOST_REQUESTS, "requests take weeks and terabytes of records")),
    ] = option(
        None,
        "stop sending after this many requests",
        metavar="N",
        otherwise=f"{DEFAULT_REQUESTS} for sessions and files if no length is given",
        ge=1,
    )
    duration: Seconds | None = option(
        None,
        "stop sending after this time",
        metavar="S",
        otherwise=f"{DEFAULT_DURATION_S:g}s in modes concurrency and rate if no length is given",
    )
    until: Annotated[Many, AfterValidator(values.precision_goals)] = option(
        (),
        "stop sending once half of this number's 95%% interval is at most that share of it: ttft:p90=10%%; "
        "--duration (10m, without it or --requests) is the cap; may be repeated",
        metavar="NUMBER=P%",
    )
    cancel: Annotated[str | None, parsed(values.cancellation)] = option(
        None,
        "users who give up: this share of them closes the connection this long after the send: share=10%%,after=exp:mean=2s",
        metavar="SPEC",
    )
    mix: Annotated[dict[str, Any] | None, BeforeValidator(read)] = option(
        None, "a YAML file of traffic classes: each with a share or a rate, and its own settings", metavar="FILE"
    )
    warmup: Annotated[str, BeforeValidator(values.warmup)] = option(
        "0",
        "requests (20) or time (20s) to send first, left out of every number; auto: until there are as many replies as "
        f"requests were sent before the first reply, at most {MOST_AUTO_WARMUP_S}s",
        metavar="N|S|auto",
        otherwise="0; auto if no length is given",
    )
    sessions_begin: Literal["first", "middle", "recorded"] = option(
        "first",
        "mode sessions with --concurrency: begin the first session of each user with its first turn, or in its "
        "middle, as in a service that has run for long; recorded: begin each when its recording says, in place "
        "of --concurrency",
    )
