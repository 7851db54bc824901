"""`vllm bench serve --save-result --save-detailed`: one JSON object, with arrays in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

import msgspec

from bench.errors import UsageError
from bench.imports.foreign import SPREAD, ForeignRequest, ForeignRun, ResultFile, Tool, spread, without_requests
from bench.records import Outcome

NEEDS = "--save-result --save-detailed"


class Detailed(msgspec.Struct):
    """Arrays with one entry per request, from vLLM and from SGLang, which copied the format."""

    ttfts: Sequence[float]
    itls: Sequence[Sequence[float]]
    input_lens: Sequence[int]
    output_lens: Sequence[int]
    errors: Sequence[str]
    duration: float
    request_rate: float | Literal["inf"] = "inf"
    max_concurrency: int | None = None
    backend: str = ""


class _Result(Detailed):
    date: str = ""
    endpoint_type: str | None = None
    model_id: str | None = None
    start_times: Sequence[float] | None = None
    latencies: Sequence[float] | None = None


def requests_of(file: ResultFile, arrays: Detailed, latencies: Sequence[float] | None = None) -> list[ForeignRequest]:
    """The requests of such arrays. A failed request has an error, which is empty if the reply's status line had no
    reason."""
    lengths = {len(arrays.ttfts), len(arrays.itls), len(arrays.input_lens), len(arrays.output_lens), len(arrays.errors)}
    if len(lengths) > 1 or (latencies is not None and len(latencies) not in lengths):
        raise UsageError(f"{file.path} is damaged: its arrays have different lengths")
    requests = []
    for at, error in enumerate(arrays.errors):
        gaps, ttft = arrays.itls[at], arrays.ttfts[at]
        latency = ttft + sum(gaps) if latencies is None else latencies[at]
        failed = bool(error) or not (ttft or arrays.output_lens[at])
        requests.append(
            ForeignRequest(
                latency_s=latency,
                ttft_s=None if failed else ttft,
                gaps_s=None if failed else gaps,
                input_tokens=arrays.input_lens[at],
                output_tokens=None if failed else arrays.output_lens[at],
                outcome=Outcome.STREAM_ERROR if failed else Outcome.OK,
                error=(error or "an error without words") if failed else None,
            )
        )
    return requests


def rate_of(arrays: Detailed) -> float | None:
    """The requests per second. Returns None if all were sent at once, within any concurrency limit."""
    rate = float(arrays.request_rate)
    return rate if rate != float("inf") else None


def _recognizes(file: ResultFile) -> bool:
    return {"tokenizer_id", "request_throughput"} <= file.first.keys()


def _read(file: ResultFile) -> Iterator[ForeignRun]:
    for document in file.documents:
        if not isinstance(document, dict) or "ttfts" not in document:
            raise without_requests(file, "vllm bench serve", NEEDS)
        result = file.convert(document, _Result)
        requests = requests_of(file, result, result.latencies)
        starts = result.start_times
        if starts is not None and len(starts) != len(requests):
            raise UsageError(f"{file.path} is damaged: its arrays have different lengths")
        kind = result.endpoint_type or result.backend
        yield ForeignRun(
            requests=spread(requests, result.duration)
            if starts is None
            else [replace(request, sent_s=at) for request, at in zip(requests, starts, strict=True)],
            started=_started(result.date),
            duration_s=result.duration,
            model=result.model_id,
            endpoint="chat" if kind.endswith("chat") else "completions",
            concurrency=result.max_concurrency,
            rate=rate_of(result),
            lacks=(SPREAD,) if starts is None else (),
        )


def _started(date: str) -> str | None:
    """`20261129-160109`, the local time at which the file was written, in ISO 8601."""
    try:
        return datetime.strptime(date, "%Y%m%d-%H%M%S").isoformat()
    except ValueError:
        return None


TOOL = Tool("vllm bench serve", _recognizes, _read)
