"""kill -9 of every process of a run, a calibration, a search and a console, at random moments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

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
    suppress_gone,
)

_OUTCOMES = "outcomes"
_NO = "no-"
MERGING = "merging"
"""The phase in which a run merges the files of its workers."""
LONGEST_S = 40.0
SEEN_NS = 500_000_000
"""A request whose last byte was written this long before the kill has a record."""
_QUIET = ("--quiet", "--server-metrics", "auto")
_SMALL = ("--input-tokens", "20", "--output-tokens", "8")
_MOCK = ("--ttft", "20ms", "--tpot", "5ms")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, which of its processes are killed, and whether its requests go to its own mock."""

    words: Callable[[str], Sequence[str]]
    victims: tuple[str, ...]
    own_mock: bool = False
    mock: tuple[str, ...] = ()
    """Flags of our mock."""
    command: str = "run"
    merges: bool = False
    """Whether the run merges files of several workers: so briefly that practice may not see it."""

    def called(self, victim: str) -> str:
        """The name of this victim in a row."""
        if victim == "mock":
            return "mock of calibrate" if self.own_mock else "server (mock)"
        return victim.replace("parent", self.command)


def _run(*more: str) -> Callable[[str], Sequence[str]]:
    return lambda url: ("run", "--url", url, "--out", "run", *_SMALL, *_QUIET, *more)


def _calibrate(url: str) -> Sequence[str]:
    mock = ("--mock", "--ttft 20ms --tpot 5ms", "--no-store")
    return ("calibrate", *mock, "--rate", "40", "--duration", "2s", "--out", "run", *_SMALL, *_QUIET)


def _search(url: str) -> Sequence[str]:
    what = ("--slo", "ttft:p90<500ms", "--load", "concurrency", "--start", "2", "--budget", "15s")
    return ("search", "--url", url, *what, "--out", "search", "--input-tokens", "20", "--output-tokens", "4", "--quiet")


def _console(url: str) -> Sequence[str]:
    return ("console", "--port", "0", "--runs", "runs", "--no-browser")


SCENARIOS: dict[str, Scenario] = {
    "one worker": Scenario(_run("--rate", "40", "--duration", "2s", "--warmup", "1s"), ("parent", "scrape", "mock")),
    "two workers": Scenario(
        _run("--concurrency", "200", "--workers", "2", "--duration", "3s", "--warmup", "1s"),
        ("parent", "worker", "mock"),
        mock=("--workers", "2"),
        merges=True,
    ),
    # Enough long records that merging them takes a while.
    "many records": Scenario(
        _run("--concurrency", "300", "--workers", "2", "--requests", "5000", "--output-tokens", "64"),
        ("parent", "mock"),
        mock=("--ttft", "2ms", "--tpot", "0.2ms"),
        merges=True,
    ),
    "a feed": Scenario(_run("--rate", "800", "--requests", "5600", "--max-concurrency", "400"), ("parent", "feed")),
    "--until": Scenario(_run("--rate", "40", "--duration", "3s", "--until", "ttft:p50=1%"), ("parent", "precision")),
    "calibrate": Scenario(_calibrate, ("parent", "mock"), own_mock=True, command="calibrate"),
    "search": Scenario(_search, ("parent",), command="search"),
    "console": Scenario(_console, ("console", "parent"), command="task of the console"),
}


def kills(asked: Asked) -> list[Row]:
    """kill -9 of each process in each phase: what had ended is there, the report renders, nothing is left behind"""
    if not asked.again:
        _kill(asked)
    return [_row_of(sorted(asked.folder.glob(f"{_OUTCOMES}*")))]


def _kill(asked: Asked) -> None:
    """Kill, and write a line per kill."""
    lengths = _practised(asked)
    # Every process in every phase in which it was present, repeated until there are enough kills.
    every = [
        (name, victim, phase)
        for name, (phases, there) in lengths.items()
        for phase in phases
        for victim in there[phase]
        for _ in range(4 if phase == MERGING else 1)  # It is short, and files replace others in it.
    ]
    random.Random(asked.seed).shuffle(every)

    def one(number: int) -> str:
        name, victim, wanted = every[number % len(every)]
        place = Place(asked.folder / f"{number}")
        chance = random.Random(f"{asked.seed} {number}")
        with place.mock(*_MOCK, *SCENARIOS[name].mock) as (url, ledger):
            # All scenarios practised at the same time; most of the delay is likely to fall into the same phase still.
            delay_s = chance.uniform(0.0, 0.8 * lengths[name][0][wanted])
            try:
                victim, phase, wrong = kill_once(place, SCENARIOS[name], url, ledger, chance, victim, wanted, delay_s)
            except Exception as e:  # A failed attempt must not end the others.
                victim, phase, wrong = f"{_NO}{victim}", wanted, [f"{type(e).__name__}: {e}"]
                place.end_all()
        if not wrong:
            shutil.rmtree(place.folder, ignore_errors=True)
        return f"{number}: {SCENARIOS[name].called(victim)}, {phase}{': ' + '; '.join(wrong) if wrong else ''}\n"

    path = asked.folder / f"{_OUTCOMES}-{asked.seed}.txt"
    with path.open("a") as lines, ThreadPoolExecutor(asked.at_once) as pool:
        for line in pool.map(one, range(asked.times)):
            print(line, end="", flush=True)
            lines.write(line)
            lines.flush()


def _row_of(files: Sequence[Path]) -> Row:
    """The row of the kills listed in these files. A process that ended before it could be killed does not count."""
    done: dict[str, Counter[str]] = {}
    problems: list[str] = []
    for line in "".join(file.read_text() for file in files).splitlines():
        _, _, told = line.partition(": ")
        killed, _, wrong = told.partition(": ")
        victim, _, phase = killed.partition(", ")
        if wrong:
            problems.append(line)
        if not victim.startswith(_NO):
            done.setdefault(victim, Counter())[phase] += 1
    told_of = [
        f"{victim} {ns.total()} ({', '.join(f'{phase} {n}' for phase, n in sorted(ns.items()))})"
        for victim, ns in sorted(done.items())
    ]
    often = f"{sum(ns.total() for ns in done.values())}: {'; '.join(told_of)}"
    return row("kill -9 of a process at a random moment of a phase", often, problems)


Practised = dict[str, tuple[dict[str, float], dict[str, set[str]]]]
"""By scenario: how long each phase lasts in s, and which victims are present in it."""


def _practised(asked: Asked) -> Practised:
    """Run each scenario once, without a kill."""

    def one(name: str) -> tuple[dict[str, float], dict[str, set[str]]]:
        scenario = SCENARIOS[name]
        place = Place(asked.folder / f"practice of {name}")
        lengths: dict[str, float] = {}
        there: dict[str, set[str]] = {}
        with place.mock(*_MOCK, *scenario.mock) as (url, _):
            started = _begin(place, scenario, url)
            last, until = time.monotonic(), time.monotonic() + LONGEST_S * 6
            while started.poll() is None and time.monotonic() < until:
                phase, now = _phase(place.folder), time.monotonic()
                lengths[phase] = lengths.get(phase, 0.0) + now - last
                last = now
                time.sleep(0.002)
                there.setdefault(phase, set()).update(
                    set(place.processes(with_mock=not scenario.own_mock).values()) & set(scenario.victims)
                )
                if phase == "after the end" and _is_console(scenario):
                    break
            place.end_all()
            started.wait()
        # Runs of a search end quickly, and the next begins: the length of one counts.
        runs = max(1, len(run_directories(place.folder)))
        shutil.rmtree(place.folder, ignore_errors=True)
        if scenario.merges:
            lengths.setdefault(MERGING, 0.03)
            there.setdefault(MERGING, set()).update({"parent", "mock"})
        return {phase: length_s / runs for phase, length_s in lengths.items()}, there

    with ThreadPoolExecutor(asked.at_once) as pool:
        return dict(zip(SCENARIOS, pool.map(one, SCENARIOS), strict=True))


def _is_console(scenario: Scenario) -> bool:
    return "console" in scenario.victims


def _begin(place: Place, scenario: Scenario, url: str) -> subprocess.Popen[bytes]:
    started = place.start("bench", *scenario.words(url))
    if _is_console(scenario):
        _start_task(place.folder / "runs", url)
    return started


def kill_once(
    place: Place,
    scenario: Scenario,
    url: str,
    ledger: Path,
    chance: random.Random,
    victim: str,
    wanted: str,
    delay_s: float,
) -> tuple[str, str, list[str]]:
    """Kill one process once, `delay_s` after this phase has begun. Returns the victim, the phase it was in, and the
    problems afterwards."""
    started = _begin(place, scenario, url)
    numbers = _await(place, scenario, started, victim, wanted)
    time.sleep(delay_s)
    # If it is not running yet, or has just ended, wait for the next one: the phase may be another then.
    until = time.monotonic() + LONGEST_S
    while not numbers and started.poll() is None and time.monotonic() < until:
        numbers = _numbers(place, scenario, victim)
    number = chance.choice(numbers) if numbers else 0
    # A stopped process cannot enter another phase while we read the phase.
    if not numbers or not _stopped(number):
        victim = f"{_NO}{victim}"
    phase = _phase(place.folder)
    killed_ns = time.monotonic_ns()
    if numbers:
        with suppress_gone():
            os.kill(number, signal.SIGKILL)
    wrong: list[str] = []
    if _is_console(scenario) and victim != "console":  # It runs until somebody ends it.
        until = time.monotonic() + LONGEST_S * 6
        while "parent" in place.processes().values() and time.monotonic() < until:
            time.sleep(0.1)
        started.terminate()
    # Without the command everything else ends soon; with it the command goes on to its report.
    left = place.wait_for_all(60 if victim in ("parent", "console") else LONGEST_S * 6)
    wrong += [f"{role} still runs" for role in left.values()]
    place.end_all()
    started.wait()
    if victim == "mock" and not scenario.own_mock:
        # Whichever of its processes it was, the others end too.
        gone_too = place.wait_for_all(30, with_mock=True)
        wrong += [f"{role} still runs" for role in gone_too.values()]
    kept: dict[str, dict[str, object]] = {}
    for run in run_directories(place.folder):
        kept |= records_in(run)
        if (problem := report_problem(run)) is not None:
            wrong.append(problem)
    wrong += [f"{found} is left behind" for found in place.left_behind(with_mock=victim == "mock")]
    if not scenario.own_mock:
        missing = ended_before(ledger, killed_ns - SEEN_NS) - kept.keys()
        wrong += [f"{len(missing)} requests that had ended have no record"] if missing else []
    return victim, phase, wrong


def _await(place: Place, scenario: Scenario, started: subprocess.Popen[bytes], victim: str, wanted: str) -> list[int]:
    """Wait for a phase. Returns the victims' process ids if the phase is too short to look for them then, else none."""
    numbers: list[int] = []
    until = time.monotonic() + (3 * LONGEST_S if wanted == MERGING else LONGEST_S)
    while wanted != "start" and started.poll() is None and time.monotonic() < until:
        phase = _phase(place.folder)
        if phase == wanted:
            break
        if wanted == MERGING and not numbers and phase in ("running", "draining"):
            numbers = _numbers(place, scenario, victim)
        time.sleep(0.001)
    return numbers


def _numbers(place: Place, scenario: Scenario, victim: str) -> list[int]:
    everyone = place.processes(with_mock=not scenario.own_mock)
    return [number for number, role in everyone.items() if role == victim]


def _stopped(number: int) -> bool:
    """Stop a process, and wait until it has stopped. False if it has ended."""
    try:
        os.kill(number, signal.SIGSTOP)
        until = time.monotonic() + LONGEST_S
        while time.monotonic() < until:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
            if state in ("T", "t"):
                return True
            if state in ("Z", "X"):
                return False
            time.sleep(0.0005)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return True  # It waits for a disk: it is as good as stopped.


def _start_task(runs: Path, url: str) -> None:
    """Start a run through the console, as a browser would."""
    from bench.console.address import read
    from bench.errors import UsageError

    settings = {"url": url, "rate": 40, "duration": "2s", "input_tokens": "20", "output_tokens": "8"}
    until = time.monotonic() + LONGEST_S * 6
    while time.monotonic() < until:
        try:
            base, token = read(runs)
            told = httpx.post(
                f"{base}/api/tasks",
                json={"settings": settings},
                headers={"authorization": f"Bearer {token}"},
                timeout=30,
            )
            told.raise_for_status()
            return
        except (UsageError, httpx.TransportError):
            time.sleep(0.05)
    raise RuntimeError("the console did not start")


def _phase(folder: Path) -> str:
    for run in run_directories(folder)[-1:]:
        if any((run / f".{kind}.jsonl.new").exists() for kind in ("requests", "samples")):
            return MERGING
        state = state_of(run)
        if state == "evaluating" and not any(run.glob("requests-*.jsonl")):
            return "report"
        return "after the end" if state == "ended" else state
    return "start"
