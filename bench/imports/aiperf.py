"""aiperf's profile_export.jsonl has a line per request; profile_export_aiperf.json in the same folder describes the load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from bench.clock import NS_PER_S
from bench.errors import UsageError
from bench.imports.foreign import (
    ONE_GAP,
    ForeignRequest,
    ForeignRun,
    ResultFile,
    Tool,
    http_status,
    read_file,
    without_requests,
)
from bench.records import Outcome

TOTALS = "profile_export_aiperf.json"
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}


class _Metadata(msgspec.Struct):
    """Unix times in ns."""

    request_start_ns: int
    request_end_ns: int | None = None
    credit_issued_ns: int | None = None
    benchmark_phase: str = "profiling"
    was_cancelled: bool = False


class _Metric(msgspec.Struct):
    value: float | Sequence[float]
    unit: str = ""


class _Error(msgspec.Struct):
    code: int | None = None
    type: str | None = None
    message: str | None = None


class _Request(msgspec.Struct):
    metadata: _Metadata
    metrics: Mapping[str, _Metric]
    error: _Error | None = None

    def seconds(self, name: str) -> list[float] | None:
        """The values of a time metric, or None if the file has no such metric."""
        metric = self.metrics.get(name)
        if metric is None:
            return None
        values = [metric.value] if isinstance(metric.value, int | float) else metric.value
        unit = metric.unit or "ms"
        if unit not in _SECONDS:
            raise UsageError(f"{name} is in {unit!r}: the known units of time are {', '.join(_SECONDS)}")
        return [value * _SECONDS[unit] for value in values]

    def second(self, name: str) -> float | None:
        """The value of a time metric."""
        values = self.seconds(name)
        return values[0] if values else None

    def tokens(self, *names: str) -> float | None:
        """The first of these counts that is present."""
        values = (metric.value for name in names if (metric := self.metrics.get(name)) is not None)
        return next((value for value in values if isinstance(value, int | float)), None)


class _Phase(msgspec.Struct):
    kind: str = "profiling"
    rate: float | None = None
    concurrency: int | None = None


class _Name(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    items: Sequence[_Name] = ()


class _Endpoint(msgspec.Struct):
    urls: Sequence[str] = ()
    type: str = "chat"


class _InputConfig(msgspec.Struct):
    models: _Models = msgspec.field(default_factory=_Models)
    endpoint: _Endpoint = msgspec.field(default_factory=_Endpoint)
    phases: Sequence[_Phase] = ()


class _Totals(msgspec.Struct):
    aiperf_version: str | None = None
    start_time: str | None = None
    input_config: _InputConfig = msgspec.field(default_factory=_InputConfig)


def _recognizes(file: ResultFile) -> bool:
    return {"metadata", "metrics"} <= file.first.keys() or "aiperf_version" in file.first


def _read(file: ResultFile) -> Iterator[ForeignRun]:
    if "aiperf_version" in file.first:
        raise without_requests(file, "aiperf", "--export-level records, which writes profile_export.jsonl")
    rows = [file.convert(row, _Request, f", line {number}") for number, row in enumerate(file.documents, 1)]
    totals = _totals(file.path.parent / TOTALS)
    load = next((phase for phase in totals.input_config.phases if phase.kind == "profiling"), _Phase())
    first_ns = min(row.metadata.request_start_ns for row in rows)
    endpoint, models = totals.input_config.endpoint, totals.input_config.models.items
    requests = [_request(row, first_ns, scheduled=load.rate is not None) for row in rows]
    whole = all(request.gaps_s is not None for request in requests if request.ttft_s is not None)
    yield ForeignRun(
        requests=requests,
        started=_started(totals.start_time),
        version=totals.aiperf_version,
        model=models[0].name if models else None,
        url=endpoint.urls[0] if endpoint.urls else None,
        endpoint="completions" if endpoint.type == "completions" else "chat",
        concurrency=load.concurrency,
        rate=load.rate,
        lacks=() if whole else (ONE_GAP,),
    )


def _totals(path: Path) -> _Totals:
    if not path.is_file():
        return _Totals()
    file = read_file(path)
    return file.convert(file.first, _Totals)


def _started(text: str | None) -> str | None:
    """The time if it is valid, since an export parses it again."""
    try:
        return None if text is None else datetime.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _request(row: _Request, first_ns: int, *, scheduled: bool) -> ForeignRequest:
    times, error = row.metadata, row.error
    outcome = Outcome.CANCELLED if times.was_cancelled else Outcome.OK if error is None else Outcome.STREAM_ERROR
    status = None if error is None else http_status(error.code)
    if outcome is Outcome.STREAM_ERROR and status is not None:
        outcome = Outcome.HTTP_ERROR
    is_good, latency_s = outcome is Outcome.OK, row.second("request_latency")
    if latency_s is None and times.request_end_ns is not None:
        latency_s = (times.request_end_ns - times.request_start_ns) / NS_PER_S
    due_ns = times.credit_issued_ns if scheduled else None
    return ForeignRequest(
        sent_s=(times.request_start_ns - first_ns) / NS_PER_S,
        due_s=None if due_ns is None else (due_ns - first_ns) / NS_PER_S,
        latency_s=latency_s,
        ttft_s=row.second("time_to_first_token") if is_good else None,
        gaps_s=row.seconds("inter_chunk_latency") if is_good else None,
        input_tokens=row.tokens("usage_prompt_tokens", "input_sequence_length"),
        output_tokens=row.tokens("usage_completion_tokens", "output_sequence_length") if is_good else None,
        outcome=outcome,
        status=status,
        error=None if error is None else error.message or error.type or "an error without words",
        warmup=times.benchmark_phase == "warmup",
    )


TOOL = Tool("aiperf", _recognizes, _read)
