"""What this machine can measure: its ceiling, the file that stores it, and warnings about loads beyond it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.machine import machine_cache
from bench.metrics.arrays import known
from bench.metrics.request_metrics import tpot_ms, ttft_ms
from bench.records import RequestRecord
from bench.records.record_table import RecordTable
from promptset import distributions

KEYS = ("chunks_per_s", "requests_per_s", "streams")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The highest loads that one worker sustained; None if it sustained none. `date` is the day of the measurement."""

    chunks_per_s: float | None
    requests_per_s: float | None
    streams: float | None
    date: str


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file with the results: trueload/limits.json in the user's cache."""
    return machine_cache.default_path("limits.json", environment)


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Store the result of this machine (`result["host"]`) in place of the last. Raises UsageError if that fails."""
    machine_cache.write_entry(path, result["host"], dict(result))


def read(path: Path, host: Mapping[str, Any]) -> Ceiling | None:
    """The ceiling of this machine; None if the file has none or cannot be understood."""
    result = machine_cache.read_entry(path, host)
    if not isinstance(result, dict):
        return None
    try:
        values = {key: result["ceiling"][key] for key in KEYS}
        date = str(result["date"])[:10]
    except (TypeError, KeyError):
        return None
    numbers = {key: float(value) if isinstance(value, int | float) else None for key, value in values.items()}
    return Ceiling(**numbers, date=date)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLoad:
    """The load that a run will put on the client, all workers together. None: not known in advance."""

    chunks_per_s: float | None
    requests_per_s: float | None
    streams: float | None


def planned_load(config: RunConfig, probe: RequestRecord | None) -> PlannedLoad:
    """The load that a configuration plans. `probe` is one answer of the target; its times stand for every answer.

    With R requests per second of n tokens: R n chunks per second, and by Little's law R E streams, E = TTFT + (n - 1)
    TPOT. With C users: C / TPOT chunks and C / E requests per second. If the target is slower under load, these are too
    high.
    """
    tokens = None if config.output_tokens is None else distributions.parse(config.output_tokens, "tokens").mean()
    table = None if probe is None else RecordTable([probe])
    first = None if table is None else known(ttft_ms(table)).tolist()
    each = None if table is None else known(tpot_ms(table)).tolist()
    answer_s = None
    if tokens is not None and first and each:
        answer_s = (first[0] + (tokens - 1) * each[0]) / 1000
    if (rate := config.most_per_s) is not None:
        streams = rate * answer_s if answer_s is not None else None
        if config.max_concurrency is not None:
            streams = min(config.max_concurrency, streams) if streams is not None else None
        chunks = rate * tokens if tokens is not None else None
        return PlannedLoad(chunks_per_s=chunks if config.stream else None, requests_per_s=rate, streams=streams)
    users = _users(config)
    chunks = users * 1000 / each[0] if users is not None and each and each[0] and config.stream else None
    requests = users / answer_s if users is not None and answer_s else None
    return PlannedLoad(chunks_per_s=chunks, requests_per_s=requests, streams=None if users is None else float(users))


def _users(config: RunConfig) -> int | None:
    at_once = config.most_users if config.most_users is not None else config.max_concurrency
    known = [n for n in (at_once, config.requests) if n is not None]
    return min(known) if known else None


_UNITS = {"chunks_per_s": "chunks/s", "requests_per_s": "requests/s", "streams": "streams at once"}


def warnings(
    config: RunConfig, ceiling: Ceiling | None, *, workers: int = 1, probe: RequestRecord | None = None
) -> list[str]:
    """A sentence for each part of a planned load that exceeds the ceiling of one worker on this machine.

    Empty if no ceiling is known. The workers share the load evenly.
    """
    if ceiling is None:
        return []
    load = planned_load(config, probe)
    sentences = []
    for key, unit in _UNITS.items():
        asked, limit = getattr(load, key), getattr(ceiling, key)
        if asked is None or limit is None or asked / workers <= limit:
            continue
        sentences.append(
            f"the plan needs about {asked / workers:,.0f} {unit}{' per worker' if workers > 1 else ''}, and this machine "
            f"held {limit:,.0f} when it was measured ({ceiling.date}, python -m bench limits): the client may be the "
            "bottleneck; use more --workers or a larger machine, or measure the limits again"
        )
    return sentences
