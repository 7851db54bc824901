"""Memory, descriptors and processor time of all processes of a load, sampled into a file and summarised."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hard_parts.place import Place, state_of

COLUMNS = ("at_s", "state", "role", "processes", "rss_mb", "own_mb", "descriptors", "cpu_s")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """The processes of one role together, at an instant."""

    at_s: float
    state: str
    """Of the run: preparing, running, draining, evaluating, ended."""
    role: str
    processes: int
    rss_mb: float
    """Resident memory, including file pages, which the kernel takes back when it needs them."""
    own_mb: float
    """Anonymous resident memory: heaps and stacks."""
    descriptors: int
    cpu_s: float


@contextmanager
def watched(place: Place, file: Path, every_s: float) -> Iterator[None]:
    """Sample all processes started in the place, and its mock, until the block ends."""
    stop = threading.Event()

    def watch() -> None:
        begun = time.monotonic()
        with file.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(COLUMNS)
            while not stop.wait(every_s):
                at_s, state = time.monotonic() - begun, state_of(place.folder / "run")
                by_role: dict[str, list[tuple[float, float, int, float]]] = {}
                for number, role in place.processes(with_mock=True).items():
                    if (one := _of_process(number)) is not None:
                        by_role.setdefault(role, []).append(one)
                for role, ones in by_role.items():
                    rss, own, descriptors, cpu = (sum(column) for column in zip(*ones, strict=True))
                    writer.writerow(
                        (f"{at_s:.1f}", state, role, len(ones), f"{rss:.2f}", f"{own:.2f}", descriptors, f"{cpu:.2f}")
                    )
                out.flush()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _of_process(number: int) -> tuple[float, float, int, float] | None:
    path = Path(f"/proc/{number}")
    try:
        status = dict(line.split(":", 1) for line in (path / "status").read_text().splitlines())
        times = (path / "stat").read_text().rpartition(")")[2].split()
        descriptors = sum(1 for _ in (path / "fd").iterdir())
    except (OSError, ValueError):
        return None
    if "VmRSS" not in status:  # It is ending.
        return None
    rss, own = (int(status[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "RssAnon"))
    return rss, own, descriptors, (int(times[11]) + int(times[12])) / _TICKS


def samples_in(file: Path) -> list[Sample]:
    """The samples in a file."""
    with file.open(newline="") as lines:
        return [
            Sample(float(at), state, role, int(n), float(rss), float(own), int(descriptors), float(cpu))
            for at, state, role, n, rss, own, descriptors, cpu in list(csv.reader(lines))[1:]
        ]


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a role: while the load was steady, and its maximum until the end of the report."""

    role: str
    processes: int
    least_mb: float
    most_mb: float
    slope_mb_per_hour: float
    grown_mb: float
    """By the slope, over the steady part of the load."""
    until_the_end_mb: float
    cpu_share: float
    """Of one processor, while the load was steady."""
    descriptors: tuple[int, int]

    def __str__(self) -> str:
        many = f"{self.processes} {self.role}s" if self.processes > 1 else self.role
        return (
            f"{many} {self.least_mb:.0f} to {self.most_mb:.0f} MB ({self.grown_mb:+.1f} MB by the slope, "
            f"{self.slope_mb_per_hour:+.1f} MB/h; until the end at most {self.until_the_end_mb:.0f}), "
            f"{self.descriptors[0]} to {self.descriptors[1]} descriptors, {self.cpu_share:.0%} of a processor"
        )


def memory_of(samples: Sequence[Sample]) -> list[Memory]:
    """The memory of each role while the load was steady: the running phase without its first fifth."""
    running = [one.at_s for one in samples if one.state == "running"]
    if not running:
        return []
    begin = running[0] + (running[-1] - running[0]) / 5
    found = []
    for role in dict.fromkeys(one.role for one in samples):
        steady = [one for one in samples if one.role == role and one.state == "running" and one.at_s >= begin]
        # A process that begins or ends meanwhile is not growth: the usual number counts.
        usual = max((n.processes for n in steady), key=[n.processes for n in steady].count, default=0)
        steady = [one for one in steady if one.processes == usual]
        if len(steady) < 3:
            continue
        slope = _slope([one.at_s for one in steady], [one.rss_mb for one in steady])
        lasted_s = steady[-1].at_s - steady[0].at_s
        found.append(
            Memory(
                role,
                usual,
                min(one.rss_mb for one in steady),
                max(one.rss_mb for one in steady),
                slope * 3600,
                slope * lasted_s,
                max(one.rss_mb for one in samples if one.role == role),
                (steady[-1].cpu_s - steady[0].cpu_s) / lasted_s,
                (min(one.descriptors for one in steady), max(one.descriptors for one in steady)),
            )
        )
    return found


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The slope of the least-squares line."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    square = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / square if square else 0.0
