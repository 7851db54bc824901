"""A small fixed calibration: sixty streamed replies, a few of them refused, the last three chunks of some in one read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from bench.config import resolve
from bench.evaluate import evaluate
from bench.records import Outcome, RequestRecord, to_line
from bench.rng import stream
from bench.run_files.run_directory import RunDirectory
from tests.support.changed import replace
from tests.support.made_ledger import made_line
from tests.support.made_records import START_NS, made_record

MANIFEST: dict[str, Any] = {
    "run_id": "golden-1",
    "started": "2026-01-01T00:00:00+00:00",
    "ended": "2026-01-01T00:00:02+00:00",
    "command": ["python", "-m", "bench", "calibrate"],
    "model": "mock-model",
    "notes": [],
    "exact_lengths": False,
    "versions": {"trueload": "0.1.0", "python": "3.11"},
    "host": {"name": "somewhere", "cpu": "A Processor", "processors": 2},
    "workers": 1,
    "start_ns": START_NS,
    "run_start_ns": START_NS,
    "stop_reason": "requests",
}

TRUTH = {"expected": {"ttft_ms": {"mean": 50.0, "p50": 50.0}, "tpot_ms": {"mean": 20.0}}}


def _record(i: int) -> RequestRecord:
    chance = stream(11, "golden", i)
    times = [50 + chance.uniform(-8, 8)]
    for _ in range(11):
        times.append(times[-1] + 20 + chance.uniform(-2, 2))
    times += [times[-1] + 0.02, times[-1] + 0.04]
    record = made_record(i, sent_ms=25 * i, chunks_ms=times, kinds="c" * 12 + "uo", clock="kernel")
    if i % 4 == 0:
        last, before = record.chunk_ns[-1], record.chunk_ns[-4]
        stamps = (*record.chunk_ns[:-3], last, last, last)
        bounds = (*[None] * 11, before, before, None)
        return replace(record, chunk_ns=stamps, chunk_bound_ns=bounds, coalesced=2)
    return record


def golden_calibration(folder: Path, **manifest: Any) -> RunDirectory:
    """The evaluated run directory. Both sides are identical in every test."""
    directory = RunDirectory.create(folder)
    records, lines = [], []
    for i in range(60):
        record = _record(i)
        # The write times are the stamps before some of them were merged into one read.
        line = made_line(replace(record, chunk_bound_ns=None))
        if record.chunk_bound_ns is not None:
            line["write_ns"][-3] -= 40_000
            line["write_ns"][-2] -= 20_000
        if i % 20 == 7:
            record = replace(record, outcome=Outcome.HTTP_ERROR, status=429, chunk_ns=(), chunk_kind="", chunk_tokens=None,
                             output_tokens=None, error="busy", bytes_received=60)  # fmt: skip
            line = made_line(record, fault="429")
        records.append(record)
        lines.append(line)
    (directory.path / "requests.jsonl").write_bytes(b"".join(map(to_line, records)))
    (directory.path / "ledger.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    directory.write("mock.json", orjson.dumps({"clock": "shared", "truth": TRUTH}))
    config = resolve({"url": "http://127.0.0.1:1", "requests": 60, "name": "golden"})
    directory.write_manifest({"config": config.public(), "manifest": MANIFEST | manifest})
    evaluate(directory)
    return directory
