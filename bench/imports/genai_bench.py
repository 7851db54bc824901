"""genai-bench: one JSON file for each scenario and concurrency, with a metrics object for each request.

The model and the version are in experiment_metadata.json in the same folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from bench.imports.foreign import (
    ONE_GAP,
    SPREAD,
    ForeignRequest,
    ForeignRun,
    ResultFile,
    Tool,
    http_status,
    read_file,
    spread,
)
from bench.records import Outcome

EXPERIMENT = "experiment_metadata.json"
_SECONDS = {"ms": 1e-3, "s": 1.0}


class _Request(msgspec.Struct):
    ttft: float | None = None
    e2e_latency: float | None = None
    num_input_tokens: float | None = None
    num_output_tokens: float | None = None
    error_code: int | None = None
    error_message: str | None = None


class _Totals(msgspec.Struct):
    run_duration: float
    """In seconds, whatever the unit."""
    num_concurrency: int | None = None


class _Result(msgspec.Struct):
    aggregated_metrics: _Totals
    individual_request_metrics: Sequence[_Request]
    unit: Literal["ms", "s"] = msgspec.field(name="_time_unit", default="s")


class _Experiment(msgspec.Struct):
    benchmark_version: str | None = None
    model: str | None = None


def _recognizes(file: ResultFile) -> bool:
    return "individual_request_metrics" in file.first


def _read(file: ResultFile) -> Iterator[ForeignRun]:
    result, experiment = file.convert(file.first, _Result), _experiment(file.path.parent / EXPERIMENT)
    totals, seconds = result.aggregated_metrics, _SECONDS[result.unit]
    yield ForeignRun(
        requests=spread([_request(row, seconds) for row in result.individual_request_metrics], totals.run_duration),
        duration_s=totals.run_duration,
        version=experiment.benchmark_version,
        model=experiment.model,
        concurrency=totals.num_concurrency,
        lacks=(SPREAD, ONE_GAP),
    )


def _experiment(path: Path) -> _Experiment:
    if not path.is_file():
        return _Experiment()
    file = read_file(path)
    return file.convert(file.first, _Experiment)


def _request(row: _Request, seconds: float) -> ForeignRequest:
    failed, status = row.error_code is not None, http_status(row.error_code)
    latency, ttft = (None if value is None else value * seconds for value in (row.e2e_latency, row.ttft))
    return ForeignRequest(
        latency_s=latency,
        ttft_s=None if failed else ttft,
        input_tokens=row.num_input_tokens,
        output_tokens=None if failed else row.num_output_tokens,
        outcome=Outcome.OK if not failed else Outcome.STREAM_ERROR if status is None else Outcome.HTTP_ERROR,
        status=status,
        error=row.error_message,
    )


TOOL = Tool("genai-bench", _recognizes, _read)
