"""kill -9 of every process of a run, a calibration, a search and a console, at random moments."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from hard_parts.place import (
    Asked,
    Place,
    Row,
    ended_before,
    records_in,
    report_problem,
    row,
    run_directories,
    suppress_gone,
)

PHASES = ("start", "preparing", "probing", "warming up", "running", "running", "draining", "evaluating", "report")
LONGEST_S = 40.0
SEEN_NS = 500_000_000
"""A request whose last byte was written so long before the kill has a record."""
_QUIET = ("--quiet", "--server-metrics", "auto")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, how long it takes about, and whether its requests go to a mock of ours, whose ledger can be asked."""

    words: Callable[[str], Sequence[str]]
    lasts_s: float
    victims: tuple[str, ...]
    module: str = "bench"
    own_mock: bool = False


def _run(*more: str) -> Callable[[str], Sequence[str]]:
    return lambda url: (
        "run",
        "--url",
        url,
        "--out",
        "run",
        "--input-tokens",
        "20",
        "--output-tokens",
        "8",
        *_QUIET,
        *more,
    )


SCENARIOS: dict[str, Scenario] = {
    "one worker": Scenario(_run("--rate", "40", "--duration", "3s", "--warmup", "1s"), 6, ("parent", "scrape")),
    "two workers": Scenario(
        _run("--concurrency", "20", "--workers", "2", "--duration", "3s", "--warmup", "1s"), 7, ("parent", "worker")
    ),
    "a feed": Scenario(_run("--rate", "300", "--requests", "6000", "--max-concurrency", "200"), 8, ("parent", "feed")),
    "--until": Scenario(_run("--rate", "40", "--duration", "4s", "--until", "ttft:p50=1%"), 7, ("parent", "precision")),
    "calibrate": Scenario(
        lambda url: (
            "calibrate",
            "--mock",
            "--ttft 20ms --tpot 5ms",
            "--rate",
            "40",
            "--duration",
            "3s",
            "--out",
            "run",
            "--input-tokens",
            "20",
            "--output-tokens",
            "8",
            *_QUIET,
            "--no-store",
        ),
        7,
        ("parent", "mock"),
        own_mock=True,
    ),
    "search": Scenario(
        lambda url: (
            "search",
            "--url",
            url,
            "--slo",
            "ttft:p90<500ms",
            "--load",
            "concurrency",
            "--start",
            "2",
            "--budget",
            "20s",
            "--out",
            "search",
            "--input-tokens",
            "20",
            "--output-tokens",
            "4",
            "--quiet",
        ),
        8,
        ("parent",),
    ),
    "console": Scenario(
        lambda url: ("console", "--port", "0", "--runs", "runs", "--no-browser"), 6, ("console", "parent")
    ),
}


def kills(asked: Asked) -> list[Row]:
    """kill -9 of each process at random moments: what had ended is there, the report renders, nothing is left behind"""
    chance = random.Random(asked.seed)
    done: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    problems: list[str] = []
    for number in range(asked.times):
        name = chance.choice(list(SCENARIOS))
        scenario = SCENARIOS[name]
        place = Place(asked.folder / f"{number}")
        with place.mock("--ttft", "20ms", "--tpot", "5ms") as (url, ledger):
            victim, phase, wrong = kill_once(place, scenario, url, ledger, chance, chance.choice(PHASES))
        done[f"{victim} of {name}"] += 1
        phases[phase] += 1
        problems += [f"{number} ({victim} of {name}, {phase}): {problem}" for problem in wrong]
        print(f"{number}: {victim} of {name} while {phase}{': ' + '; '.join(wrong) if wrong else ''}", flush=True)
    often = f"{asked.times} ({', '.join(f'{what} {n}' for what, n in sorted(done.items()))})"
    often += f"; phases: {', '.join(f'{what} {n}' for what, n in phases.most_common())}"
    return [row("kill -9 of a process at a random moment", often, problems)]


def kill_once(
    place: Place, scenario: Scenario, url: str, ledger: Path, chance: random.Random, wanted: str
) -> tuple[str, str, list[str]]:
    """Kill one process once, soon after this phase has begun. Returns which it was, the phase that it was in, and what is
    wrong afterwards."""
    started = place.start(scenario.module, *scenario.words(url))
    is_console = "console" in scenario.victims
    if is_console:
        _start_task(place.folder / "runs", url)
    victim = chance.choice(scenario.victims)
    until = time.monotonic() + LONGEST_S
    while wanted != "start" and started.poll() is None and time.monotonic() < until:
        if _phase(place.folder) == wanted or (wanted == "report" and _phase(place.folder) == "after the end"):
            break
        time.sleep(0.01)
    time.sleep(chance.uniform(0.0, scenario.lasts_s / 8))
    numbers = [number for number, role in place.processes().items() if role == victim]
    phase = _phase(place.folder)
    killed_ns = time.monotonic_ns()
    if numbers:
        with suppress_gone():
            os.kill(chance.choice(numbers), signal.SIGKILL)
    else:
        victim = f"no {victim}"
    wrong: list[str] = []
    if is_console and victim != "console":  # It goes on until somebody ends it.
        until = time.monotonic() + LONGEST_S
        while "parent" in place.processes().values() and time.monotonic() < until:
            time.sleep(0.1)
        started.terminate()
    left = place.wait_for_all(60)
    wrong += [f"{role} still runs" for role in left.values()]
    place.end_all()
    started.wait()
    wrong += [f"{found} is left behind" for found in place.left_behind()]
    kept: dict[str, dict[str, object]] = {}
    for run in run_directories(place.folder):
        kept |= records_in(run)
        if (problem := report_problem(run)) is not None:
            wrong.append(problem)
    if not scenario.own_mock:
        missing = ended_before(ledger, killed_ns - SEEN_NS) - kept.keys()
        wrong += [f"{len(missing)} requests that had ended have no record"] if missing else []
    return victim, phase, wrong


def _start_task(runs: Path, url: str) -> None:
    """Have the console start a run, as a browser would."""
    from bench.console.address import read
    from bench.errors import UsageError

    settings = {"url": url, "rate": 40, "duration": "2s", "input_tokens": "20", "output_tokens": "8"}
    until = time.monotonic() + LONGEST_S
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
        try:
            manifest = yaml.safe_load((run / "run.yaml").read_bytes())["manifest"]
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            return "unknown"
        state = manifest.get("state") or "unknown"
        if state == "ended":
            return "after the end" if (run / "summary.json").exists() else "report"
        return str(state)
    return "start"
