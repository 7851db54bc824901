"""Long and large loads: memory stays flat, and nothing is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hard_parts.place import Asked, Place, Row, ended_before, row

_TOKENS = ("--input-tokens", "20")
_LEAST_MB = 60.0
"""A process may grow by so much: arrays of columns, and what the allocator keeps."""


@contextmanager
def _watched(place: Place) -> Iterator[list[tuple[float, float]]]:
    """(seconds, MB in memory of all processes that were started here together), once a second, until the report is made."""
    seen: list[tuple[float, float]] = []
    stop = threading.Event()

    def watch() -> None:
        begun = time.monotonic()
        while not stop.wait(1.0) and b"state: evaluating" not in _manifest(place.folder):
            pages = 0
            for number in place.processes():
                try:
                    pages += int(Path(f"/proc/{number}/statm").read_text().split()[1])
                except OSError:
                    continue
            seen.append((time.monotonic() - begun, pages * 4096 / 1e6))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _manifest(folder: Path) -> bytes:
    try:
        return (folder / "run" / "run.yaml").read_bytes()
    except OSError:
        return b""


def _load(asked: Asked, what: str, mock: tuple[str, ...], words: tuple[str, ...], within_s: float) -> Row:
    """One run against a mock of ours; everything that the mock served has a record, and memory is flat."""
    place = Place(asked.folder / what.replace(" ", "-").replace(",", ""))
    with place.mock(*mock) as (url, ledger), _watched(place) as memory:
        started = place.start("bench", "run", "--url", url, "--out", "run", "--quiet", *_TOKENS, *words)
        status = started.wait(timeout=within_s)
        ended_ns = time.monotonic_ns()
    problems = [] if status in (0, 3) else [f"exit status {status}"]
    counts, n = {}, 0
    if (place.folder / "run" / "summary.json").exists():
        counts = json.loads((place.folder / "run" / "summary.json").read_bytes())["counts"]
        ids = set()
        with (place.folder / "run" / "requests.jsonl").open("rb") as file:
            for line in file:
                ids.add(json.loads(line)["id"])
        n = len(ids)
        if missing := ended_before(ledger, ended_ns) - ids:
            problems.append(f"{len(missing)} requests of the ledger have no record")
        if counts["failed"]:
            problems.append(f"{counts['failed']} requests failed: {counts.get('by_outcome')}")
    # Without its beginning, and without its drain: what is in between is the load.
    load = [mb for at, mb in memory[len(memory) // 5 : -max(1, len(memory) // 10)]]
    third = max(1, len(load) // 3)
    growth = max(load[-third:], default=0.0) - max(load[:third], default=0.0)
    # 100 bytes a request are columns that a live view needs; all else must not grow.
    if growth > _LEAST_MB + n * 2e-4:
        problems.append(f"memory grew by {growth:.0f} MB during the load")
    problems += [f"{found} is left behind" for found in place.left_behind()]
    most = max((mb for _, mb in memory), default=0.0)
    return row(f"{what}; {most:.0f} MB at most, {growth:+.0f} MB over the load", f"{n:,} requests", problems)


def streams(asked: Asked) -> list[Row]:
    """an hour at 500 streams (--minutes): memory is flat, nothing is lost"""
    minutes = 60.0 if asked.minutes is None else asked.minutes
    words = ("--concurrency", "500", "--duration", f"{minutes:g}m", "--output-tokens", "100")
    mock = ("--ttft", "200ms", "--tpot", "50ms", "--workers", "1")
    return [_load(asked, f"{minutes:g} minutes at 500 streams", mock, words, minutes * 60 + 600)]


def many(asked: Asked) -> list[Row]:
    """10,000 streams for five minutes (--minutes)"""
    minutes = 5.0 if asked.minutes is None else asked.minutes
    words = ("--concurrency", "10000", "--duration", f"{minutes:g}m", "--output-tokens", "50", "--ramp", "20s")
    mock = ("--ttft", "5s", "--tpot", "1s", "--workers", "2")
    return [_load(asked, f"{minutes:g} minutes at 10,000 streams", mock, words, minutes * 60 + 900)]


def requests(asked: Asked) -> list[Row]:
    """a million short requests (--requests)"""
    words = ("--concurrency", "100", "--requests", str(asked.requests), "--output-tokens", "1", "--workers", "2")
    mock = ("--ttft", "1ms", "--tpot", "1ms", "--workers", "2")
    return [_load(asked, f"{asked.requests:,} short requests", mock, words, 7200)]
