"""Merges the files of several workers into one, line by line in order of time.

Until then the shards are the record: if a run is killed before the merge, they are read instead.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.run_files.run_directory import REQUESTS, SAMPLES, RunDirectory, whole_lines

_TIMES = {REQUESTS: re.compile(rb'"end_ns":(-?[0-9]+)'), SAMPLES: re.compile(rb'"t_ns":(-?[0-9]+)')}


def merge(directory: RunDirectory) -> None:
    """Merge the shards of a run and remove them. If the disk is full they stay, and are read as they are."""
    for name, pattern in _TIMES.items():
        shards = directory.shards(name)
        if not shards:
            continue
        try:
            directory.write_parts(name, merged(shards, pattern))
        except OSError:
            continue
        for shard in shards:
            shard.unlink()


def merged(paths: Iterable[Path], pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    """The complete lines of the files in order of time. Within a file, a line may be slightly earlier than the previous
    one."""
    timed = [_timed(whole_lines(path), pattern) for path in paths]
    yield from (line for _, line in heapq.merge(*timed, key=lambda row: row[0]))


def _timed(lines: Iterator[tuple[int, bytes]], pattern: re.Pattern[bytes]) -> Iterator[tuple[float, bytes]]:
    latest = -math.inf
    for _, line in lines:
        if match := pattern.search(line):
            latest = max(latest, int(match[1]))
        yield latest, line
