"""Runs that a fit has read, made of streams."""

from __future__ import annotations

from collections.abc import Sequence

from bench.fit.read import FittedRun
from bench.fit.streams import Stream


def made_runs(runs: Sequence[Sequence[Stream]]) -> list[FittedRun]:
    return [
        FittedRun(
            name=f"run-{place}", run_id=f"id-{place}", started="2026-11-01T12:00:00+00:00", url="http://127.0.0.1:8000",
            endpoint="chat", model="m", load={"concurrency": 1}, streams=tuple(streams), server=None, kv_blocks=None,
            version="0.1.0",
        )
        for place, streams in enumerate(runs)
    ]  # fmt: skip
