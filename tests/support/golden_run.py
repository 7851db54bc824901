"""The small fixed run behind the golden files: 42 requests after a warm-up of three, each kind of end among them."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import orjson

from bench.metrics.facts import RunFacts
from bench.metrics.objectives import parse
from bench.metrics.summary import Summary
from bench.records import from_line
from tests.support.made_records import START_NS

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


def golden_page_data() -> dict[str, Any]:
    """What its page needs beyond the summary."""
    return copy.deepcopy(_folded().page_data())


def golden_summary() -> dict[str, Any]:
    """The content of summary.json, with the keys that a run adds: a copy of one's own."""
    return copy.deepcopy(_summary())


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
    for line in (_FOLDER / "requests.jsonl").read_bytes().splitlines():
        summary.add(from_line(line))
    for line in (_FOLDER / "samples.jsonl").read_bytes().splitlines():
        summary.add_sample(orjson.loads(line))
    return summary


@functools.cache
def _summary() -> dict[str, Any]:
    reasons = ["7.1% of the requests failed: the latencies are those of the others"]
    return _folded().close() | {
        "run": RUN,
        "verdict": {"status": "SUSPECT", "reasons": reasons},
        "calibration": None,
        "prefix_cache": None,
    }
