"""Whole runs of the tests in a row, each in another order, quiet and under stress: does one fail by chance?

    scripts/test-steadiness                             20 runs: 8 quiet, 6 beside busy loops, 6 with processes stopped
    scripts/test-steadiness --plan stops=1 -- FILE      one run of some files (no line in the log)
    scripts/test-steadiness --show                      the state of the log

  quiet  nothing beside the tests
  busy   a loop that computes on each core
  stops  each second a third of the tests' processes is stopped for 50 to 600 ms (SIGSTOP)
  pauses the code of tests with sockets stands still at random lines (tests/support/pauses.py); not among the 20

Each run has a line in the log, a file of the project (JSON: when, commit, condition, seed, what failed, what passed
only on a retry, minutes, and whether the tests marked `long` were included: TRUELOAD_WITHOUT_LONG=1 leaves them out, as
.ci/run does). A later call makes the missing runs: runs since the last failure count, whatever day they were made on. A
failure is printed with its seed, and ends the row: `scripts/test --shuffle SEED` repeats its order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOG = ROOT / "tests" / "steadiness.jsonl"
WANTED = {"quiet": 8, "busy": 6, "stops": 6}
CONDITIONS = (*WANTED, "pauses")
PAUSES = "TRUELOAD_TEST_PAUSES"
"""The seed of `pauses`, in the environment of the tests."""
MARK = "TRUELOAD_TEST_STEADINESS"
"""Set in the environment of the tests, and inherited by what they start: it identifies the processes to stop."""
LEFT_ALONE = "TRUELOAD_TEST_STEADINESS_LEAVES"
"""Names the folder in which tests note processes they have stopped themselves (tests/support/stopped.py)."""
SHARE, SHORTEST_S, LONGEST_S = 1 / 3, 0.05, 0.6


def main(words: Sequence[str] | None = None) -> int:
    """The command; 1 if a test failed."""
    parser = argparse.ArgumentParser(
        prog="scripts/test-steadiness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=plan_of, default=WANTED, metavar="CONDITION=N,...")
    parser.add_argument("--log", type=Path, default=LOG, metavar="FILE", help=f"default {LOG.relative_to(ROOT)}")
    parser.add_argument("--seed", type=int, help="of the first run's order (default: drawn)")
    parser.add_argument("--show", action="store_true", help="only say what the log knows")
    parser.add_argument("tests", nargs="*", metavar="FILE", help="only these tests; no line in the log")
    args = parser.parse_args(words)
    log = None if args.tests else args.log
    lines = [] if log is None or not log.exists() else log.read_text(encoding="utf-8").splitlines()
    known = in_a_row([json.loads(line) for line in lines])
    seed = random.SystemRandom().randrange(1, 10**6) if args.seed is None else args.seed
    for condition, n in {} if args.show else missing(args.plan, known):
        for _ in range(n):
            print(f"{time.strftime('%H:%M')} {condition}, seed {seed} ...", file=sys.stderr, flush=True)
            line = one_run(condition, seed, args.tests)
            known = in_a_row([*known, line])
            print(sentence(line), flush=True)
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                with log.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if line["failed"]:
                return 1
            seed += 1
    for condition, n in args.plan.items():
        had = [line for line in known if line["condition"] == condition]
        late = sum(len(line["again"]) for line in had)
        print(f"{condition:<6} {len(had)} of {n} in a row without a failure; {late} passed only when tried again")
    return 0


def plan_of(text: str) -> dict[str, int]:
    """How many runs under which condition: quiet=8,busy=6."""
    plan = {}
    for part in text.split(","):
        condition, _, n = part.partition("=")
        if condition not in CONDITIONS or not n.isdigit():
            raise argparse.ArgumentTypeError(f"{part!r} is not CONDITION=N with one of {', '.join(CONDITIONS)}")
        plan[condition] = int(n)
    return plan


def in_a_row(lines: Sequence[dict]) -> list[dict]:  # type: ignore[type-arg]
    """The runs since the last failure."""
    failed = [place for place, line in enumerate(lines) if line["failed"]]
    return list(lines[failed[-1] + 1 if failed else 0 :])


def missing(plan: Mapping[str, int], known: Sequence[dict]) -> list[tuple[str, int]]:  # type: ignore[type-arg]
    """The runs of the plan that are not among these."""
    had = Counter(line["condition"] for line in known)
    return [(condition, n - had[condition]) for condition, n in plan.items() if n > had[condition]]


def one_run(condition: str, seed: int, tests: Sequence[str]) -> dict:  # type: ignore[type-arg]
    """Run the tests once. Returns the line of the log."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryDirectory() as stopped:
        environment = {**os.environ, MARK: str(os.getpid()), LEFT_ALONE: stopped}
        if condition == "pauses":
            environment[PAUSES] = str(seed)
        command = ["scripts/test", "--shuffle", str(seed), *tests]
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        with run, stress(condition, seed, Path(stopped)):
            status = run.wait()
        out.seek(0)
        text = out.read().replace(f"{ROOT}/", "")
    failed = sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", text, re.M)))
    if status and not failed:
        failed = [f"status {status}: {text[-2000:]}"]
    return {
        "at": time.strftime("%Y-%m-%d %H:%M"),
        "commit": commit(),
        "condition": condition,
        "long": "TRUELOAD_WITHOUT_LONG" not in os.environ,
        "seed": seed,
        "passed": int((re.findall(r"^([\d,]+) passed", text, re.M) or ["0"])[-1].replace(",", "")),
        "failed": failed,
        "again": sorted(set(re.findall(r"^(passed at the .*)$", text, re.M))),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "said": said(text) if failed else "",
    }


def said(text: str) -> str:
    """What failed and why, from pytest's output: headings, lines and explanations. Other output is left out."""
    failures = text[max(text.find("= FAILURES ="), 0) :]
    return "\n".join(re.findall(r"^(?:_{3,} .*|[>E] .*|tests/\S+:\d+: .*)$", failures, re.M))[:4_000]


def commit() -> str:
    """The tested commit, with "-dirty" if a file differs from it; the log is ignored, since it always differs after a
    run."""
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    files = ["git", "diff", "--quiet", "HEAD", "--", ".", f":!{LOG.relative_to(ROOT)}"]
    return head + ("-dirty" if subprocess.run(files, cwd=ROOT).returncode else "")


def sentence(line: Mapping) -> str:  # type: ignore[type-arg]
    """The result of a run."""
    how = "failed" if line["failed"] else "passed"
    head = f"{line['condition']:<6} seed {line['seed']:<7} {how}: {line['passed']:,} in {line['minutes']} min"
    return "\n".join([head, *(f"  FAILED {one}" for one in line["failed"]), *(f"  {one}" for one in line["again"])])


@contextlib.contextmanager
def stress(condition: str, seed: int, left_alone: Path) -> Iterator[None]:
    """Stress beside the tests."""
    if condition == "busy":
        loops = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in os.sched_getaffinity(0)]
        try:
            yield
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
    elif condition == "stops":
        over = threading.Event()
        stopper = threading.Thread(target=stop_some, args=(over, random.Random(seed), left_alone))
        stopper.start()
        try:
            yield
        finally:
            over.set()
            stopper.join()
    else:
        yield


def stop_some(over: threading.Event, chance: random.Random, left_alone: Path) -> None:
    """Each second, stop a third of the processes, each for a random time, until `over` is set; but not processes named
    by a file in `left_alone`."""
    while not over.wait(1.0 - LONGEST_S):
        running = processes()
        asleep = [
            (time.monotonic() + chance.uniform(SHORTEST_S, LONGEST_S), pid)
            for pid in chance.sample(running, round(SHARE * len(running)))
            if not (left_alone / str(pid)).exists() and signalled(pid, signal.SIGSTOP)
        ]
        for wakes, pid in sorted(asleep):
            time.sleep(max(0.0, wakes - time.monotonic()))
            if not (left_alone / str(pid)).exists():
                signalled(pid, signal.SIGCONT)


def processes() -> list[int]:
    """The processes of the tests that are not stopped already, in numerical order."""
    mark, found = f"{MARK}={os.getpid()}".encode(), []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "TtZX":
                    found.append(int(entry.name))
    return sorted(found)


def signalled(pid: int, number: signal.Signals) -> bool:
    """Send a signal. Returns whether the process still existed."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
