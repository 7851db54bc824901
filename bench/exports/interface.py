"""The interface of export formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError
from bench.metrics.bounds import shown
from bench.results.summary import RunSummary
from bench.run_files.run_directory import REPORT, SUMMARY

LATENCIES = ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")
STATISTICS = ("mean", "std", "min", "p50", "p75", "p90", "p95", "p99", "p999", "max")
RATES = ("requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "total_tokens_per_s")


@dataclass(frozen=True, slots=True)
class Export:
    """The run to export. `out`: a file to write (None: stdout). `project`: an experiment or a project of a tracker."""

    path: Path
    summary: RunSummary
    out: Path | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """An export format. `write` returns the text to print. `takes`: which of the flags `out` and `project` it accepts."""

    about: str
    write: Callable[[Export], str]
    takes: frozenset[str]


def numbers_of(summary: RunSummary) -> dict[str, float]:
    """The numbers of a run that may be shown, each under one name: `ttft_ms.p99`, `output_tokens_per_s`."""
    numbers: dict[str, float | None] = {
        f"{metric}.{stat}": shown(row, stat)
        for metric in LATENCIES
        if (row := summary.latency.get(metric)) is not None
        for stat in STATISTICS
    }
    numbers |= {name: summary.throughput.of(name) for name in RATES}
    numbers |= {name: getattr(summary.counts, name) for name in ("sent", "succeeded", "failed")}
    return {name: float(value) for name, value in numbers.items() if value is not None}


def settings_of(summary: RunSummary) -> dict[str, str]:
    """The settings and the verdict of a run: texts, each under one name."""
    run = summary.run
    settings: dict[str, object] = {
        "model": run.model,
        "url": run.url,
        "endpoint": run.endpoint,
        "mode": run.mode,
        "verdict": summary.verdict.status,
    }
    settings |= {name: value for name, value in run.changed.items() if name not in ("url", "out", "name")}
    return {name: str(value) for name, value in settings.items() if value is not None}


def files_of(export: Export) -> list[Path]:
    """The files of the run that accompany its numbers, if they exist."""
    return [path for name in (SUMMARY, REPORT) if (path := export.path / name).is_file()]


def needs(form: str, package: str) -> UsageError:
    """The error of a format whose package is missing."""
    return UsageError(f"--format {form} needs a package that is not installed: pip install {package}")
