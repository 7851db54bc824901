"""Run directories made by hand, without a load: records, a configuration and a manifest, as a run would leave them."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from bench import manifest
from bench.config import resolve
from bench.manifest import Manifest
from bench.metrics.facts import RunFacts
from bench.metrics.summary import Summary
from bench.modes.interface import inputs_of
from bench.records import Outcome, RequestRecord, to_line
from bench.results.base import to_plain
from bench.run_files.run_directory import REQUESTS, SUMMARY, RunDirectory
from tests.support.made_records import START_NS, made_record
from tests.support.results import origin
from tests.support.tables import table_of

TOKENS = 4
FIRST = datetime(2026, 11, 1, 12, tzinfo=UTC)
_MADE: dict[str, dict[str, bytes]] = {}
"""The files of each run made so far: many tests make the same one."""


def made_run(
    path: Path,
    *,
    at: int = 0,
    seed: int = 0,
    ttft_ms: float = 50.0,
    tpot_ms: float = 5.0,
    spread: float = 0.02,
    requests: int = 60,
    failed: int = 0,
    settings: Mapping[str, Any] | None = None,
    **told: Any,
) -> Path:
    """A run of `requests` requests, one every 100 ms. TTFT varies by `spread`; `failed` requests, evenly spaced, are
    refused.

    `at` is its time in minutes; `settings` go into its configuration, `told` into its manifest.
    """
    key = repr((path.name, at, seed, ttft_ms, tpot_ms, spread, requests, failed, settings, told))
    if key in _MADE:
        RunDirectory.create(path)
        for name, content in _MADE[key].items():
            (path / name).write_bytes(content)
        return path
    chance = random.Random(seed)
    records = []
    for i in range(requests):
        first = ttft_ms * chance.lognormvariate(0, spread)
        chunks = [first + k * tpot_ms for k in range(TOKENS)]
        outcome = Outcome.HTTP_ERROR if (i + 1) * failed // requests > i * failed // requests else Outcome.OK
        records.append(
            made_record(i, sent_ms=100.0 * i, chunks_ms=chunks if outcome is Outcome.OK else (), outcome=outcome)
        )
    write_run(path, records, at=at, settings=settings, **told)
    _MADE[key] = {file.name: file.read_bytes() for file in path.iterdir()}
    return path


def write_run(
    path: Path, records: Sequence[RequestRecord], *, at: int = 0, settings: Mapping[str, Any] | None = None, **told: Any
) -> Path:
    """The directory of these records, with their summary. The verdict is VALID: hand-made times confuse its signs."""
    given = {"url": "http://127.0.0.1:8000", "rate": 10.0, "requests": len(records), "output_tokens": str(TOKENS)}
    config = resolve({}, {**given, **(settings or {})})
    directory = RunDirectory.create(path)
    (path / REQUESTS).write_bytes(b"".join(map(to_line, records)))
    facts: dict[str, Any] = {
        "run_id": path.name,
        "started": (FIRST + timedelta(minutes=at)).isoformat(timespec="seconds"),
        "command": ["python", "-m", "bench", "run"],
        "model": "made",
        "exact_lengths": False,
        "versions": {"trueload": "0.1.0", "python": "3.11"},
        "host": {"name": "somewhere", "processors": 2},
        "start_ns": START_NS + at,
        "run_start_ns": START_NS,
        "stop_reason": "requests",
        "ended": (FIRST + timedelta(minutes=at + 1)).isoformat(timespec="seconds"),
    }
    stored = Manifest.stored(facts | told)
    manifest.write(directory, config, stored)
    facts_of_load = RunFacts(
        mode=config.mode, open_loop=config.load.open_loop, endpoint=config.endpoint, start_ns=START_NS, seed=config.seed,
        planned=len(records), offered_rps=config.rate, concurrency=config.concurrency,
        classes=tuple(one.name for one in config.classes), inputs_are=inputs_of(config),
    )  # fmt: skip
    whole = to_plain(_numbers(facts_of_load, tuple(records))) | {
        "run": origin(stop_reason=stored.stop_reason),
        "verdict": {"status": "VALID", "reasons": []},
        "calibration": None,
        "prefix_cache": None,
        "server": None,
        "gpu": None,
    }
    directory.write(SUMMARY, orjson.dumps(whole))
    return path


def made_side(
    path: Path, n: int, *, first: int = 0, step: int = 1, seed: int = 0, drift: float = 1.0, **run: Any
) -> Path:
    """Repeats: `n` runs of one thing, `step` minutes apart. Each run is `drift` times as slow as the one before."""
    tpot_ms = run.pop("tpot_ms", 5.0)
    noise = random.Random(f"{seed}-{path.name}")
    for i in range(n):
        made_run(
            path / f"{i + 1}", at=first + i * step, seed=seed * 1000 + i,
            tpot_ms=tpot_ms * drift**i * noise.lognormvariate(0, 0.004), **{"run_id": f"{path.name}-{i + 1}", **run},
        )  # fmt: skip
    return path


@functools.cache
def _numbers(facts: RunFacts, records: tuple[RequestRecord, ...]) -> Any:
    """The summary of these records; many tests make the same run."""
    summary = Summary(facts)
    summary.add(table_of(*records))
    return summary.close()
