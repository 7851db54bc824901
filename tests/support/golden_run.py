"""The small fixed run behind the golden files: 42 requests after a warm-up of three, including every kind of end."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from msgspec.structs import replace

from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse
from bench.metrics.page_data import PageData
from bench.metrics.summary import Summary
from bench.records import RequestRecord, from_line
from bench.results.base import rounded, to_plain
from bench.server_metrics import block, gpu_block
from bench.server_metrics.client_totals import ClientTotals
from tests.support.made_records import START_NS
from tests.support.made_scrapes import made_gpu, made_server
from tests.support.tables import table_of

SECONDS = 4
"""How long the run sends."""
_FOLDER = Path(__file__).parents[1] / "golden"

RUN = {
    "name": "golden",
    "url": "http://127.0.0.1:8000/v1",
    "model": "made <by> hand & small",
    "mode": "rate",
    "started": "2026-01-01T00:00:00+00:00",
    "seed": 7,
    "command": "python -m bench run --rate 10 --api-key ***",
    "versions": {"trueload": "0.1.0", "python": "3.11"},
    "host": {"name": "somewhere", "cpus": 2},
    "config": {"rate": 10.0, "requests": 42, "output_tokens": "uniform:8..16", "headers": [], "timeout": 600.0},
    "changed": {"url": "http://127.0.0.1:8000/v1", "rate": 10.0, "requests": 42, "output_tokens": "uniform:8..16"},
}


def golden_page_data() -> PageData:
    """The data that its page needs beyond the summary."""
    page = _folded().page_data()
    series = page.series
    server = made_server(START_NS, SECONDS)
    gpu = gpu_block.over_steps(made_gpu(START_NS, SECONDS), series.t_s, series.step_s, START_NS)
    inside = block.over_steps(server, series.t_s, series.step_s, START_NS)
    return replace(page, gpu=rounded(gpu), server=rounded(inside))


def golden_summary() -> Any:
    """A fresh copy of the content of summary.json, with the keys that a run adds."""
    return copy.deepcopy(_summary())


def _records() -> Iterator[RequestRecord]:
    yield from map(from_line, (_FOLDER / "requests.jsonl").read_bytes().splitlines())


@functools.cache
def _folded() -> Summary:
    summary = Summary(
        RunFacts(
            mode="rate",
            open_loop=True,
            endpoint="chat",
            start_ns=START_NS,
            seed=7,
            planned=42,
            offered_rps=10.0,
            max_concurrency=64,
            objectives=parse(["ttft:p90<100ms", "error_rate<5%"]),
        )
    )
    summary.add(table_of(*_records()))
    for line in (_FOLDER / "samples.jsonl").read_bytes().splitlines():
        summary.add_sample(orjson.loads(line))
    return summary


@functools.cache
def _summary() -> dict[str, Any]:
    reasons = ["7.1% of the requests failed: the latencies are those of the others"]
    numbers = _folded().close()
    totals = ClientTotals()
    totals.add(table_of(*_records()))
    server = block.describe(
        made_server(START_NS, SECONDS), ["http://127.0.0.1:8000/metrics"], totals, numbers, START_NS
    )
    gpu = gpu_block.describe(made_gpu(START_NS, SECONDS), numbers, START_NS, gpus=2, hour_cost=2.5)
    assert gpu is not None
    return to_plain(numbers) | {
        "run": RUN,
        "verdict": {"status": "SUSPECT", "reasons": reasons},
        "calibration": None,
        "prefix_cache": None,
        "server": to_plain(rounded(server)),
        "gpu": to_plain(rounded(gpu)),
    }
