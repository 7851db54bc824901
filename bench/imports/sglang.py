"""SGLang's `bench_serving --output-file FILE --output-details`: JSON Lines, one line per run, with arrays in seconds."""

from __future__ import annotations

from collections.abc import Iterator

from bench.imports.foreign import SPREAD, ForeignRun, ResultFile, Tool, spread, without_requests
from bench.imports.vllm import Detailed, rate_of, requests_of


def _recognizes(file: ResultFile) -> bool:
    return {"total_output_tokens_retokenized", "request_throughput"} <= file.first.keys()


def _read(file: ResultFile) -> Iterator[ForeignRun]:
    for number, document in enumerate(file.documents, 1):
        if not isinstance(document, dict) or "ttfts" not in document:
            raise without_requests(file, "sglang.bench_serving", "--output-details")
        result = file.convert(document, Detailed, f", line {number}")
        yield ForeignRun(
            requests=spread(requests_of(file, result), result.duration),
            duration_s=result.duration,
            endpoint="chat" if result.backend.endswith("chat") else "completions",
            concurrency=result.max_concurrency,
            rate=rate_of(result),
            lacks=(SPREAD,),
        )


TOOL = Tool("SGLang bench_serving", _recognizes, _read)
