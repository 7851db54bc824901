"""Runs of streams: as a fit has read them, and as directories that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.fit.read import FittedRun
from bench.fit.streams import Stream
from tests.support.made_records import made_record
from tests.support.made_runs import write_run


def made_runs(runs: Sequence[Sequence[Stream]]) -> list[FittedRun]:
    return [
        FittedRun(
            name=f"run-{place}", run_id=f"id-{place}", started="2026-11-01T12:00:00+00:00", url="http://127.0.0.1:8000",
            endpoint="chat", model="m", load={"concurrency": 1}, streams=tuple(streams), server=None, stated={},
            version="0.1.0",
        )
        for place, streams in enumerate(runs)
    ]  # fmt: skip


def written_run(path: Path, streams: Sequence[Stream], *, settings: Mapping[str, Any]) -> Path:
    """A run directory with these streams as replies; `settings` go into its configuration."""
    records = [
        made_record(
            index,
            sent_ms=stream.sent_us / 1000,
            chunks_ms=[(at - stream.sent_us) / 1000 for at in stream.arrivals_us],
            tokens=stream.tokens,
            input_tokens=stream.prompt_tokens,
            cached_tokens=stream.cached_tokens,
        )
        for index, stream in enumerate(streams)
    ]
    return write_run(path, records, settings=settings)
