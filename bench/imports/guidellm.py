"""guidellm's benchmarks.json: one object with a benchmark for each load, and its requests grouped by outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bench.imports.foreign import ONE_GAP, ForeignRequest, ForeignRun, ResultFile, Tool, iso_time
from bench.records import Outcome

_NO_LIMIT = 10_240
"""guidellm's default of the most requests in flight, which it writes as if it were asked for."""


class _Timings(msgspec.Struct):
    """Unix times in seconds."""

    targeted_start: float | None = None
    request_start: float | None = None
    first_token_iteration: float | None = None
    last_token_iteration: float | None = None
    request_end: float | None = None


class _Info(msgspec.Struct):
    timings: _Timings = msgspec.field(default_factory=_Timings)
    error: str | None = None


class _Request(msgspec.Struct):
    info: _Info
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class _Requests(msgspec.Struct):
    successful: Sequence[_Request] = ()
    errored: Sequence[_Request] = ()
    incomplete: Sequence[_Request] = ()


class _Strategy(msgspec.Struct):
    """`max_concurrency`: 1 if requests were sent one after another."""

    rate: float | None = None
    streams: int | None = None
    max_concurrency: int | None = None


class _Backend(msgspec.Struct):
    target: str | None = None
    model: str | None = None
    request_format: str = ""


class _Config(msgspec.Struct):
    strategy: _Strategy = msgspec.field(default_factory=_Strategy)
    backend: _Backend = msgspec.field(default_factory=_Backend)


class _Benchmark(msgspec.Struct):
    requests: _Requests
    start_time: float
    duration: float
    config: _Config = msgspec.field(default_factory=_Config)


class _Metadata(msgspec.Struct):
    guidellm_version: str | None = None


class _Report(msgspec.Struct):
    metadata: _Metadata
    benchmarks: Sequence[_Benchmark]


def _recognizes(file: ResultFile) -> bool:
    return {"metadata", "benchmarks"} <= file.first.keys()


def _read(file: ResultFile) -> Iterator[ForeignRun]:
    report = file.convert(file.first, _Report)
    for benchmark in report.benchmarks:
        strategy, backend = benchmark.config.strategy, benchmark.config.backend
        requests = benchmark.requests
        most = None if strategy.max_concurrency == _NO_LIMIT else strategy.max_concurrency
        by_outcome = (
            (Outcome.OK, requests.successful),
            (Outcome.STREAM_ERROR, requests.errored),
            (Outcome.INTERRUPTED, requests.incomplete),
        )
        yield ForeignRun(
            requests=[
                _request(row, outcome, scheduled=strategy.rate is not None)
                for outcome, rows in by_outcome
                for row in rows
                if row.info.timings.request_start is not None or outcome is not Outcome.INTERRUPTED
            ],
            started=iso_time(benchmark.start_time),
            duration_s=benchmark.duration,
            version=report.metadata.guidellm_version,
            model=backend.model,
            url=backend.target,
            endpoint="completions" if backend.request_format == "/v1/completions" else "chat",
            concurrency=strategy.streams if strategy.rate is None and strategy.streams is not None else most,
            rate=strategy.rate,
            lacks=(ONE_GAP,),
        )


def _request(row: _Request, outcome: Outcome, *, scheduled: bool) -> ForeignRequest:
    """`scheduled`: a rate decides when requests are due; otherwise they are due when a user becomes free."""
    times = row.info.timings
    sent, first, end = times.request_start, times.first_token_iteration, times.request_end
    if sent is None:
        sent = times.targeted_start
    is_good = outcome is Outcome.OK
    if is_good and times.last_token_iteration is not None:
        end = times.last_token_iteration  # The stream ends later, after its usage.
    return ForeignRequest(
        sent_s=sent,
        due_s=times.targeted_start if scheduled else None,
        latency_s=None if sent is None or end is None else end - sent,
        ttft_s=None if sent is None or first is None or not is_good else first - sent,
        input_tokens=row.prompt_tokens,
        output_tokens=row.output_tokens if is_good else None,
        outcome=outcome,
        error=row.info.error,
    )


TOOL = Tool("guidellm", _recognizes, _read)
