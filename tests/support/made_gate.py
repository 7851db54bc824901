"""Runs and entries of a gate as plain values: the content of a summary and a baseline, without files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.comparison.sides import MeasuredRun
from bench.config import resolve
from bench.manifest import Manifest
from bench.metrics.catalog import METRICS, REQUEST_METRICS
from bench.results.baseline import BaselineRun
from bench.results.summary import RunSummary
from tests.support.results import filled

SETTINGS: Mapping[str, Any] = resolve({}, {"url": "http://127.0.0.1:8000", "rate": 10.0, "requests": 60}).public()


def row(n: int, ci95: Mapping[str, tuple[float, float]] | None = None, **stats: float | None) -> dict[str, Any]:
    """The statistics of a latency. Statistics that are not given do not exist."""
    names = ("mean", "min", "max", "p50", "p75", "p90", "p95", "p99", "p999")
    return {**dict.fromkeys(names), **stats, "n": n, "ci95": dict(ci95 or {})}


def run_of(
    latency: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    run_id: str = "run",
    started: str = "2026-11-01T12:00:00+00:00",
    status: str = "VALID",
    reasons: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    **summary: Any,
) -> MeasuredRun:
    """A run with these latencies by metric key; `settings`, `manifest` and `summary` change the rest."""
    told: dict[str, Any] = {
        "run_id": run_id, "started": started, "command": (), "model": "made", "exact_lengths": False, "start_ns": 0,
        "versions": {"trueload": "0.1.0"}, "host": {"processors": 2},
    }  # fmt: skip
    content: dict[str, Any] = {
        "verdict": {"status": status, "reasons": list(reasons)},
        "latency": {metric.key: row(0) for metric in METRICS.values()} | dict(latency or {}),
        "throughput": {"duration_s": 6.0, "output_tokens_per_s": 40.0, "ci95": {}},
        "counts": {"succeeded": 60, "failed": 0},
        "calibration": None,
    }
    return MeasuredRun(
        directory or Path("runs") / run_id,
        {**SETTINGS, **(settings or {})},
        Manifest.stored({**told, **(manifest or {})}),
        filled(RunSummary, {**content, **summary}),
    )


def entry_with(
    requests: int = 60,
    independent: float = 60.0,
    error_rate: float | None = 0.0,
    stats: Mapping[str, Mapping[str, Any]] | None = None,
    **fields: Any,
) -> BaselineRun:
    """A baseline's entry for a run: each metric has one value per request, all independent."""
    whole = {"p50": 50.0, "p90": 60.0, "p99": 80.0, "n": requests, "act": 1.0}
    entry = {
        "id": "run", "started": "2026-11-01T12:00:00+00:00", "requests": requests, "independent_requests": independent,
        "error_rate": error_rate, "output_tokens_per_s": 40.0,
        "stats": {metric.key: {**whole, **(stats or {}).get(metric.key, {})} for metric in REQUEST_METRICS.values()},
        **fields,
    }  # fmt: skip
    return filled(BaselineRun, entry)
