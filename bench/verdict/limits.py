"""The bands of all signs: configuration (`limits:` in the YAML file). The site's reference lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from bench.verdict.finding import Status

Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""No value exceeds nan or infinity, and every value exceeds a negative number: neither is a limit."""


class Band(BaseModel):
    """Above which value a sign is SUSPECT, INVALID or FAILED (None: never)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suspect: Limit
    invalid: Limit | None = None
    failed: Limit | None = None

    def of(self, value: float) -> Status:
        """The status of a value."""
        if self.failed is not None and value > self.failed:
            return Status.FAILED
        if self.invalid is not None and value > self.invalid:
            return Status.INVALID
        return Status.SUSPECT if value > self.suspect else Status.VALID


def _of(value: str) -> FieldInfo:
    """The description in the site's reference: which value a band limits."""
    field = Field(description=value)
    assert isinstance(field, FieldInfo)
    return field


def _band(suspect: float, invalid: float | None = None, failed: float | None = None) -> Band:
    return Band(suspect=suspect, invalid=invalid, failed=failed)


class Limits(BaseModel):
    """The bands of all signs. If a sign has an absolute and a relative band, both must be passed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    send_lateness_p99_ms: Annotated[Band, _of("p99 of the send lateness at a rate, ms")] = _band(1.0, 10.0)
    send_lateness_p99_of_ttft: Annotated[Band, _of("the same as a share of the median TTFT")] = _band(0.01, 0.10)
    ready_not_sent: Annotated[
        Band, _of("share of the users' time in which a user was ready and its request not sent, at a fixed concurrency")
    ] = _band(0.01, 0.05)
    ready_not_sent_ms: Annotated[Band, _of("typical length of these waits, ms")] = _band(1.0, 10.0)
    never_sent: Annotated[
        Band,
        _of(
            "requests that were due and that the client had not made when the sending stopped: share of the users' time "
            "(fixed concurrency), or of all that were due"
        ),
    ] = _band(0.01, 0.05)
    cut_requests: Annotated[Band, _of("share of the requests that were cut when the run was stopped")] = _band(0.01)
    pause_of_run: Annotated[Band, _of("longest pause of a worker, as a share of the run")] = _band(0.01, 0.05)
    pause_ms: Annotated[Band, _of("the same, ms")] = _band(100.0, 100.0)
    sent_rate_off: Annotated[
        Band, _of("difference between the sent rate and the rate of the drawn plan, as a share")
    ] = _band(0.01, 0.05)
    sent_rate_off_ms: Annotated[Band, _of("the same as a time at the end of the run, ms")] = _band(10.0, 50.0)
    sent_dispersion_off: Annotated[
        Band,
        _of(
            "difference in dispersion between sends and plan, as a share; twice that for 500 requests, as it is noisier"
        ),
    ] = _band(0.05, 0.25)
    off_plan: Annotated[
        Band, _of("arrivals that settings and changes do not explain, or missing and extra users, as a share")
    ] = _band(0.01, 0.05)
    waited_at_cap: Annotated[Band, _of("share of the arrivals that waited under --max-concurrency")] = _band(0.01)
    user_stamps: Annotated[
        Band, _of("share of the requests with stamps that are not the kernel's; the event loop counts only above it")
    ] = _band(0.01, 0.01)
    loop_lag_p99_ms: Annotated[Band, _of("p99 of the lag of the event loop, ms")] = _band(1.0, 10.0)
    loop_lag_p99_of_gap: Annotated[Band, _of("the same as a share of the median gap between chunks")] = _band(
        0.05, 0.50
    )
    cpu_busy_seconds: Annotated[Band, _of("share of the seconds in which a worker used over 90% of a processor")] = (
        _band(0.10, 0.50)
    )
    workers_died: Annotated[Band, _of("workers that died")] = _band(0.0, 0.0)
    clock_drift_ms: Annotated[Band, _of("drift of a node's clock during the load, ms")] = _band(5.0, 100.0)
    run_queue_wait: Annotated[
        Band,
        _of("share of the time in which a worker was ready and had no processor, if that can have harmed a number"),
    ] = _band(0.02, 0.10)
    wide_stamps: Annotated[Band, _of("width of the bounds of a p50 or p90, as a share of it")] = _band(0.05)
    wide_stamps_ms: Annotated[Band, _of("the same, ms")] = _band(0.2)
    wide_stamps_p99: Annotated[Band, _of("width of the bounds of an average or p99, as a share of it")] = _band(0.25)
    wide_stamps_p99_ms: Annotated[Band, _of("the same, ms")] = _band(0.5)
    littles_law_off: Annotated[Band, _of("difference between the two counts of requests in flight, as a share")] = (
        _band(0.005, 0.05)
    )
    records_missing: Annotated[Band, _of("share of the sent requests that have no record")] = _band(0.0, 0.01)
    files_lost: Annotated[Band, _of("files of the run that are missing or shorter than the run left them")] = _band(0.0)
    errors: Annotated[Band, _of("share of failed requests")] = _band(0.01, failed=0.5)
    sent_again: Annotated[
        Band, _of("share of the requests that were sent again after the server kept them for over 10 ms")
    ] = _band(0.01)
    late_ends: Annotated[
        Band, _of("mean time that replies stayed open after their last token, as a share of the time to that token")
    ] = _band(0.10)
    late_ends_ms: Annotated[Band, _of("the same, ms")] = _band(100.0)
    slow_connects: Annotated[
        Band, _of("mean time that requests waited for new connections, as a share of their mean E2EL")
    ] = _band(0.10)
    slow_connects_ms: Annotated[Band, _of("the same, ms")] = _band(100.0)
    target_gone: Annotated[
        Band,
        _of("share of the requests, at least 5, that were lost from the server's last answer to the end of the run"),
    ] = _band(0.01, failed=0.01)
    replica_gone: Annotated[Band, _of("replicas that stopped answering while others went on")] = _band(0.0)
    replica_errors: Annotated[
        Band, _of("share of failed requests of a replica, less that of the others, if beyond chance")
    ] = _band(0.01)
    replica_slower: Annotated[
        Band, _of("by how much a replica is slower than the others, as a share, if beyond chance")
    ] = _band(0.10)
    replica_share: Annotated[
        Band, _of("by how much a replica's share of requests is above an equal one, as a share, if beyond chance")
    ] = _band(0.25)
    cache_hits_unplanned: Annotated[
        Band, _of("share of the prompt tokens that came from the server's cache, beyond the planned share")
    ] = _band(0.02)
    cache_hits_off_plan: Annotated[
        Band, _of("difference from the plan of each request (sessions), beyond the rounding to blocks")
    ] = _band(0.02)
    server_counts_off: Annotated[
        Band,
        _of("difference between the server's own counts of requests and tokens and the client's, if nothing failed"),
    ] = _band(0.0)
    input_tokens_missing: Annotated[
        Band, _of("share of the input tokens sent that are not in the usage, if every reply says it")
    ] = _band(0.5)
    input_tokens_missing_each: Annotated[Band, _of("the same, tokens of a prompt")] = _band(256.0)
    output_tokens_off: Annotated[
        Band,
        _of(
            "share of the replies that do not have the requested length, if exact lengths were requested (--ignore-eos)"
        ),
    ] = _band(0.02)
    usage_off: Annotated[Band, _of("share of the replies whose usage differs from Trueload's count")] = _band(0.01)
    usage_contradicted: Annotated[Band, _of("share of the replies whose usage cannot be true")] = _band(0.0, 0.05)
    usage_over_counted: Annotated[
        Band,
        _of("one count over the other, if the counts of all prompts agree: the reply may only tokenize differently"),
    ] = _band(2.0)
    tokens_doubted: Annotated[Band, _of("share of the replies whose output tokens are in doubt")] = _band(0.01)
    calibration_p50_p90_share: Annotated[Band, _of("error of a p50 or p90 by a calibration, as a share")] = _band(
        0.01, 0.05
    )
    calibration_p50_p90_ms: Annotated[Band, _of("the same, ms")] = _band(0.2, 1.0)
    calibration_p99_share: Annotated[Band, _of("error of a p99 by a calibration, as a share")] = _band(0.02, 0.10)
    calibration_p99_ms: Annotated[Band, _of("the same, ms")] = _band(0.5, 2.0)
    calibration_throughput_share: Annotated[Band, _of("error of a rate per second by a calibration, as a share")] = (
        _band(0.01, 0.05)
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: object) -> object:
        """A file may give one limit of a band: the others keep their defaults."""
        if not isinstance(content, Mapping):
            return content
        bands = {name: field.default.model_dump() for name, field in cls.model_fields.items()}
        return {
            name: {**bands[name], **band} if name in bands and isinstance(band, Mapping) else band
            for name, band in content.items()
        }
