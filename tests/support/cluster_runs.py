"""Runs whose load comes from a Ray cluster on this machine: their worker processes, and the dispersion of their
arrivals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.worker_processes import PROGRAM


def programs(run_id: str) -> dict[int, str]:
    """Worker processes with open files in this run's directory, and their copies that make prompts: names by process
    id."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and PROGRAM in (entry / "cmdline").read_bytes().split(b"\0"):
                links = [str(link.readlink()) for link in (entry / "fd").iterdir()]
                if any(run_id in link for link in links):
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue
    return found


def dispersion(offsets_ns: Sequence[int], window_ns: int) -> float:
    """Variance over mean of the arrivals in each window: 1 for Poisson."""
    windows = Counter(at // window_ns for at in offsets_ns)
    counts = [windows[k] for k in range(max(offsets_ns) // window_ns)]
    mean = sum(counts) / len(counts)
    return sum((n - mean) ** 2 for n in counts) / (len(counts) - 1) / mean


def whole_lines(content: bytes) -> list[bytes]:
    """The complete lines: the last line of a file being written may be partial."""
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
