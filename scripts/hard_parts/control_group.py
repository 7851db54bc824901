"""A control group that runs out of memory: the kernel's OOM killer takes a process of a load, of a mock, or a report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from hard_parts.kills import SEEN_NS
from hard_parts.place import (
    Asked,
    Place,
    Row,
    ended_before,
    records_in,
    report_problem,
    row,
    run_directories,
    state_of,
)

SAID = re.compile(r"[\w ]* was killed by SIGKILL \(which the system does when memory runs out\)")
"""The message about a process that was killed this way."""
_GROWS = "import time\nheld = []\nwhile True:\n    held.append(bytearray(1000000))\n    time.sleep(0.005)"
_MB = 1_000_000
_WITHIN_S = 300.0
_NUMBERS = count()
_SMALL = ("--input-tokens", "20", "--output-tokens", "8", "--quiet")
_MOCK = ("--ttft", "20ms", "--tpot", "5ms")


@dataclass(frozen=True, slots=True)
class Version:
    """File names in control groups of version 1 or 2."""

    limit: str
    usage: str
    peak: str
    kills: str
    swap: str
    no_swap: str


VERSIONS = {
    "cgroup": Version(
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "memory.max_usage_in_bytes",
        "memory.oom_control",
        "memory.swappiness",
        "0",
    ),
    "cgroup2": Version("memory.max", "memory.current", "memory.peak", "memory.events", "memory.swap.max", "0"),
}
"""By the type of their file system."""


class Group:
    """A control group of ours. It counts processes that called `joined`, and their children."""

    def __init__(self, path: Path, version: Version) -> None:
        self.path = path
        self._version = version

    def joined(self) -> None:
        """Move this process into the group: for a process that has just been started."""
        (self.path / "cgroup.procs").write_text("0")

    def limit(self, size: int) -> bool:
        """Limit the memory to this many bytes. False if version 1 refuses: more is in use and cannot be reclaimed."""
        try:
            (self.path / self._version.limit).write_text(str(size))
        except OSError:
            return False
        return True

    @property
    def usage(self) -> int:
        return int((self.path / self._version.usage).read_text())

    @property
    def peak(self) -> int:
        return int((self.path / self._version.peak).read_text())

    @property
    def kills(self) -> int:
        """How many of its processes the kernel has killed for lack of memory."""
        found = re.search(r"(?m)^oom_kill (\d+)$", (self.path / self._version.kills).read_text())
        return int(found[1]) if found else 0

    def tighten(self, room: int) -> int:
        """Leave this many bytes beyond what is in use. Returns the limit."""
        while not self.limit(size := self.usage + room):
            time.sleep(0.001)
        return size

    def free(self) -> None:
        """Remove the limit."""
        self.limit(1 << 50)


@contextmanager
def group() -> Iterator[Group | None]:
    """A new control group with a memory limit and no swap; None if none can be made here."""
    found = next(_groups(), None)
    try:
        yield found
    finally:
        if found is not None:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with suppress(OSError):  # Something in it is still ending.
                    found.path.rmdir()
                    break
                time.sleep(0.05)


def _groups() -> Iterator[Group]:
    """Groups that can be made: in the root of a hierarchy that limits memory."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind not in VERSIONS or (kind == "cgroup" and "memory" not in options.split(",")):
            continue
        path, version = Path(where) / f"trueload-hard-{os.getpid()}-{next(_NUMBERS)}", VERSIONS[kind]
        try:
            path.mkdir()
        except OSError:
            continue
        found = Group(path, version)
        # The limit counts only if there is no swap.
        with suppress(OSError):
            (path / version.swap).write_text(version.no_swap)
        if (path / version.limit).exists() and found.limit(1 << 50):
            yield found
        path.rmdir()


def memory(asked: Asked) -> list[Row]:
    """a control group whose memory runs out: the OOM killer takes a worker, a feed, the run, the mock, a report"""
    with group() as tried:
        if tried is None:
            return [row("memory of a control group runs out", "0: no control group may be made here", [])]
    rows = [_load(asked, victim) for victim in _LOADS]
    rows += [_mock(asked, first=first) for first in (False, True)]
    return [*rows, _report(asked)]


def _take_first(numbers: list[int]) -> None:
    """Make the OOM killer prefer these processes."""
    for number in numbers:
        with suppress(OSError):
            Path(f"/proc/{number}/oom_score_adj").write_text("1000")


@contextmanager
def _filled(held: Group, room: int) -> Iterator[int]:
    """Leave the group only this much room, and let another process in it grow until the kernel kills. Yields the limit."""
    size = held.tighten(room)
    joins = f"echo 0 > {held.path}/cgroup.procs && exec {sys.executable} -c '{_GROWS}'"
    with subprocess.Popen(["sh", "-c", joins]) as other:
        try:
            yield size
        finally:
            other.kill()


def _until_killed(held: Group, started: subprocess.Popen[bytes]) -> int:
    """Wait for the OOM killer, then lift the limit: the system has memory again. Returns how many processes it killed."""
    until = time.monotonic() + _WITHIN_S
    while not held.kills and started.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    kills = held.kills
    held.free()
    return kills


def _load(asked: Asked, victim: str) -> Row:
    """A load in a small group, in which the killer takes this process."""
    place = Place(asked.folder / victim)
    with group() as held, place.mock(*_MOCK) as (url, ledger):
        assert held is not None
        words = ("run", "--url", url, "--out", "run", *_LOADS[victim], *_SMALL)
        started = place.start("bench", *words, preexec_fn=held.joined)
        _wait(place, started, "running")
        time.sleep(1.0)
        tight_ns = time.monotonic_ns()
        numbers: list[int] = []
        if victim == "any":  # The load itself grows.
            size = held.tighten(8 * _MB)
            kills = _until_killed(held, started)
        else:
            numbers = [number for number, role in place.processes().items() if role == victim]
            _take_first(numbers)
            with _filled(held, 40 * _MB) as size:
                kills = _until_killed(held, started)
        status = started.wait(timeout=_WITHIN_S)
        wrong = _after(place, ledger, tight_ns)
    wrong += [] if victim == "any" or numbers else [f"there was no {victim}"]
    wrong += [] if kills else ["the OOM killer has taken nothing"]
    log = "".join(path.read_text(errors="replace") for path in place.folder.glob("bench-*.log"))
    wrong += ["it ended with a traceback"] if "Traceback" in log else []
    said = SAID.findall(log + _told(place))
    if status != -9 and not said:
        wrong.append(f"nothing says that memory ran out: {log[-300:]}")
    if victim == "parent" and status != -9:
        wrong.append(f"exit status {status}")
    done = len({key for run in run_directories(place.folder) for key in records_in(run)})
    told = f"; it says: {said[0].strip()}" if said else ""
    what = f"memory of a control group runs out during a load, and the OOM killer takes {_NAMES[victim]}"
    return row(what, f"{kills} at {size / _MB:.0f} MB; {done} requests had ended; exit status {status}{told}", wrong)


_USERS = ("--concurrency", "100", "--duration", "15s", "--workers", "2")
_LOADS = {
    "any": ("--concurrency", "1500", "--ramp-up", "15s", "--duration", "20s", "--workers", "2"),
    "worker": _USERS,
    "feed": ("--rate", "800", "--requests", "16000", "--max-concurrency", "400"),
    "parent": _USERS,
}
"""By victim; any: the kernel's choice."""
_NAMES = {"any": "the largest", "worker": "a worker", "feed": "the process that makes prompts", "parent": "the run"}


def _mock(asked: Asked, *, first: bool) -> Row:
    """A load against a mock of two processes in a small group."""
    which = "its first process" if first else "one of its workers"
    what = f"memory of a control group runs out under a mock, and the OOM killer takes {which}"
    place = Place(asked.folder / f"mock-{first}")
    with group() as held:
        assert held is not None
        with place.mock(*_MOCK, "--workers", "2", preexec_fn=held.joined) as (url, ledger):
            words = ("run", "--url", url, "--out", "run", "--concurrency", "100", "--duration", "15s", *_SMALL)
            started = place.start("bench", *words)
            _wait(place, started, "running")
            time.sleep(1.0)
            mocks = {number for number, role in place.processes(with_mock=True).items() if role == "mock"}
            _take_first([number for number in mocks if (_parent(number) == os.getpid()) is first])
            tight_ns = time.monotonic_ns()
            with _filled(held, 40 * _MB) as size:
                kills = _until_killed(held, started)
            started.wait(timeout=_WITHIN_S)
            wrong = [f"{role} still runs" for role in place.wait_for_all(30, with_mock=True).values()]
            wrong += _after(place, ledger, tight_ns, with_mock=True)
    said = (place.folder / "mock.log").read_text()
    wrong += [] if kills else ["the OOM killer has taken nothing"]
    wrong += [] if first or SAID.search(said) else [f"the mock does not say that memory ran out: {said[-300:]}"]
    wrong += ["it ended with a traceback"] if "Traceback" in said else []
    done = len(records_in(place.folder / "run"))
    return row(what, f"{kills} at {size / _MB:.0f} MB; {done} requests had ended", wrong)


def _report(asked: Asked) -> Row:
    """The report of many requests in a group with too little memory for it, and again with enough."""
    requests = 100_000
    what = f"memory of a control group runs out while the report of {requests:,} requests is made, and again without a limit"
    place = Place(asked.folder / "report")
    with place.mock(*_MOCK) as (url, _):
        small = ("--concurrency", "50", "--requests", "1000", "--workers", "1")
        started = place.start("bench", "run", "--url", url, "--out", "run", *small, *_SMALL)
        wrong = [] if started.wait(timeout=_WITHIN_S) in (0, 3) else ["the run failed"]
    _repeat(place.folder / "run" / "requests.jsonl", requests)
    (place.folder / "run" / "summary.json").unlink(missing_ok=True)
    with group() as held:
        assert held is not None
        status = place.start("bench", "report", "run", preexec_fn=held.joined).wait(timeout=_WITHIN_S * 2)
        wrong += [] if status in (0, 3) else [f"the report without a limit: exit status {status}"]
        needed = held.peak
    (place.folder / "run" / "summary.json").unlink(missing_ok=True)
    kills, size = 0, needed
    for share in (0.7, 0.6, 0.5, 0.4, 0.3):
        with group() as held:
            assert held is not None
            size = int(needed * share)
            held.limit(size)
            status = place.start("bench", "report", "run", preexec_fn=held.joined).wait(timeout=_WITHIN_S * 2)
            kills = held.kills
        if kills:
            break
    wrong += [] if kills else ["the OOM killer has taken nothing"]
    wrong += [] if status == -9 else [f"the report with a limit: exit status {status}"]
    wrong += _after(place, None, 0)
    counted = json.loads((place.folder / "run" / "summary.json").read_bytes())["counts"]["succeeded"]
    wrong += [] if counted == requests else [f"the report afterwards has {counted} requests"]
    return row(what, f"{kills} at {size / _MB:.0f} MB, where it takes {needed / _MB:.0f} MB", wrong)


def _repeat(file: Path, requests: int) -> None:
    """Make this many records from a run's records: each copy with another id and number."""
    lines = file.read_bytes().splitlines(keepends=True)
    draft = file.with_suffix(".more")
    with draft.open("wb") as more:
        for number in range(requests):
            record = lines[number % len(lines)]
            record = re.sub(rb'"id":"[^"]*"', b'"id":"many-%d"' % number, record, count=1)
            more.write(re.sub(rb'"index":\d+', b'"index":%d' % number, record, count=1))
    draft.replace(file)


def _wait(place: Place, started: subprocess.Popen[bytes], state: str) -> None:
    until = time.monotonic() + _WITHIN_S
    while state_of(place.folder / "run") != state and started.poll() is None and time.monotonic() < until:
        time.sleep(0.01)


def _parent(number: int) -> int:
    try:
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _told(place: Place) -> str:
    """The run's summary.json."""
    path = place.folder / "run" / "summary.json"
    return path.read_text() if path.exists() else ""


def _after(place: Place, ledger: Path | None, tight_ns: int, *, with_mock: bool = False) -> list[str]:
    """Problems afterwards: processes that still run, leftover files, missing records, or a report that fails."""
    wrong = [f"{role} still runs" for role in place.wait_for_all(60).values()]
    place.end_all()
    kept: dict[str, dict[str, object]] = {}
    for run in run_directories(place.folder):
        kept |= records_in(run)
        if (problem := report_problem(run)) is not None:
            wrong.append(problem)
    wrong += [f"{found} is left behind" for found in place.left_behind(with_mock=with_mock)]
    if ledger is not None and (missing := ended_before(ledger, tight_ns - SEEN_NS) - kept.keys()):
        wrong.append(f"{len(missing)} requests that had ended have no record")
    return wrong
