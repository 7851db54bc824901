"""Time limits, objectives, and how many requests may fail."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel

from bench.config import fields, values
from bench.config.fields import Many, Seconds, parsed
from bench.verdict.limits import Limits

option = partial(fields.option, group="limits")


class LimitsOfRun(BaseModel):
    """The settings of the group `limits`, and the limits of the verdict, which can only come from a file."""

    timeout: Seconds | None = option(600.0, "time limit for a whole request", metavar="S")
    connect_timeout: Seconds | None = option(10.0, "time limit for a connection", metavar="S")
    first_byte_timeout: Seconds | None = option(None, "time limit until a response begins", metavar="S")
    idle_timeout: Seconds | None = option(None, "time limit for a pause within a response", metavar="S")
    probe_timeout: Seconds = option(30.0, "time limit for the probe, the one request before the load", metavar="S")
    wait_for_server: Seconds | None = option(
        None, "before the load, wait at most this long for a server that is starting", metavar="S"
    )
    slo: Annotated[Many, AfterValidator(values.slos)] = option(
        (), 'an objective, for example "ttft:p99<500ms"; exit 1 if it fails; may be repeated', metavar="SLO"
    )
    max_errors: Annotated[str | None, parsed(values.error_limit)] = option(
        None,
        "fail the run if more requests than this fail (10, or 5%%); a number also ends the run at once",
        metavar="N|P%",
    )
    limits: Limits = option(Limits(), "limits of the verdict", group="file")
