"""Long and large loads: memory stays flat, and nothing is lost. Each load runs first and is then judged by the files it
left."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hard_parts.place import Asked, Place, Row, report_problem, row
from hard_parts.watch import memory_of, samples_in, watched

_TOKENS = ("--input-tokens", "20")
_NORMAL = ("--cpu-priority", "normal")
"""No claim on a processor: other programs keep running, and a process that has to wait is hard use too."""
_FEW_MB = 30.0
"""What the allocator may take on top."""
_BYTES_A_REQUEST = 0
"""What a process may keep per request: nothing."""


def _load(asked: Asked, what: str, mock: tuple[str, ...], words: tuple[str, ...], within_s: float) -> Row:
    """One run against a mock of ours; every request that the mock served has a record, and memory is flat."""
    place = Place(asked.folder / what.replace(" ", "-").replace(",", ""))
    done = place.folder / "done.json"
    words, mock = (*words, *_NORMAL), (*mock, *_NORMAL)
    if not asked.again:
        every_s = 1.0 if within_s < 3600 else 2.0
        with place.mock(*mock) as (url, ledger), watched(place, place.folder / "memory.csv", every_s):
            started = place.start("bench", "run", "--url", url, "--out", "run", "--quiet", *_TOKENS, *words)
            status = started.wait(timeout=within_s)
            ended_ns = time.monotonic_ns()
            left = list(place.wait_for_all(30).values())
            place.end_all()
        done.write_text(json.dumps({"status": status, "ended_ns": ended_ns, "ledger": ledger.name, "left": left}))
    elif not done.exists():
        return row(what, "0", [f"{place.folder} has nothing of an earlier time"])
    told = json.loads(done.read_bytes())
    return judged(place, what, told, (words, mock))


def judged(place: Place, what: str, told: dict[str, Any], flags: tuple[tuple[str, ...], tuple[str, ...]]) -> Row:
    """The row of a finished load; `flags` of the run and of the mock."""
    problems = [] if told["status"] in (0, 3) else [f"exit status {told['status']}"]
    problems += [f"{role} still runs" for role in told["left"]]
    run = place.folder / "run"
    n = tokens = 0
    verdict = ""
    if (run / "summary.json").exists():
        summary = json.loads((run / "summary.json").read_bytes())
        counts = summary["counts"]
        verdict = summary["verdict"]["status"]
        tokens = sum(record.get("output_tokens", 0) for record in _lines(run / "requests.jsonl"))
        ids = {record["id"] for record in _lines(run / "requests.jsonl")}
        n = len(ids)
        served = {
            entry["id"]
            for entry in _lines(place.folder / told["ledger"])
            if entry["id"] and not entry["id"].startswith("probe-") and _ended(entry, told["ended_ns"])
        }
        if missing := served - ids:
            problems.append(f"{len(missing)} requests of the ledger have no record")
        if counts["failed"]:
            problems.append(f"{counts['failed']} requests failed: {counts.get('by_outcome')}")
    if (problem := report_problem(run)) is not None:
        problems.append(problem)
    problems += [f"{found} is left behind" for found in place.left_behind()]
    memory = memory_of(samples_in(place.folder / "memory.csv"))
    for one in memory:
        if one.grown_mb > _FEW_MB + n * _BYTES_A_REQUEST / 1e6:
            problems.append(f"memory of {one.role} grew by {one.grown_mb:.0f} MB during the load")
    (words, mock) = (" ".join(given) for given in flags)
    often = f"{n:,} requests, {tokens:,} tokens ({words}; mock: {mock}); verdict {verdict}"
    return row(f"{what}. Memory: {'; '.join(map(str, memory))}", often, problems)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of a file that may be large."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _ended(entry: dict[str, Any], at_ns: int) -> bool:
    return bool(entry["end_ns"] < at_ns and "cut" not in entry["engine"])


def streams(asked: Asked) -> list[Row]:
    """an hour at 500 streams (--minutes): memory is flat, nothing is lost"""
    minutes = 60.0 if asked.minutes is None else asked.minutes
    # Two workers, so that the memory of the command and of the measuring processes can be told apart.
    words = ("--concurrency", "500", "--duration", f"{minutes:g}m", "--ramp-up", "10s")
    more = ("--output-tokens", "100", "--workers", "2")
    mock = ("--ttft", "200ms", "--tpot", "100ms", "--workers", "1")
    return [_load(asked, f"{minutes:g} minutes at 500 streams", mock, (*words, *more), minutes * 60 + 900)]


def many(asked: Asked) -> list[Row]:
    """10,000 streams for five minutes (--minutes)"""
    minutes = 5.0 if asked.minutes is None else asked.minutes
    what = f"{minutes:g} minutes at 10,000 streams"
    # Mock and client each hold a socket per stream.
    needed = 10_500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        return [row(what, f"0: {hard} files may be open, it needs {needed}: ulimit -Hn {needed} (as root)", [])]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    words = ("--concurrency", "10000", "--duration", f"{minutes:g}m", "--output-tokens", "50", "--ramp-up", "20s")
    mock = ("--ttft", "5s", "--tpot", "1s", "--workers", "2")
    return [_load(asked, what, mock, words, minutes * 60 + 900)]


def requests(asked: Asked) -> list[Row]:
    """a million short requests (--requests)"""
    words = ("--concurrency", "100", "--requests", str(asked.requests), "--output-tokens", "1", "--workers", "2")
    mock = ("--ttft", "1ms", "--tpot", "1ms", "--workers", "2")
    return [_load(asked, f"{asked.requests:,} short requests", mock, words, 7200)]
