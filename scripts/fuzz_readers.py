"""Fuzzing with atheris: one target after the other, each in a process of its own.

    scripts/fuzz                      every target, a minute each
    scripts/fuzz sse http --seconds 600
    scripts/fuzz --list               the targets, and what they read
    scripts/fuzz sse --input FILE     run one input, as it is
    scripts/fuzz --seconds 60 --keep DIR      the inputs that reached new code stay in DIR/TARGET
    scripts/fuzz core_reads --mutations       without atheris: mutations of the corpus, as the tests run them
    scripts/fuzz run_yaml --values            without atheris: each value of JSON or YAML, once as each odd value there is

An input that breaks a reader is written to fuzz/found/, with the exception beside it; each kind once. The exit status
is then 1. Nothing is sent, and nothing is written elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import fuzz  # noqa: E402
from fuzz import mutate  # noqa: E402
from fuzz.scratch import WITHIN, memory  # noqa: E402
from fuzz.target import Target  # noqa: E402

FOUND = ROOT / "fuzz" / "found"
LONGEST_S = 10
"""An input that takes more of this process's CPU time is a hang. Other programs on a busy machine do not count."""
STUCK_S = 900
"""An input that takes this long in wall time is waiting for something."""
_INSTRUMENTED = ["bench", "mockserver", "promptset", "prometheus_client", "wsproto"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep inputs that reached new code, and begin with them")
    parser.add_argument("--input", type=Path, help="run this input alone")
    parser.add_argument("--mutations", action="store_true", help="mutations of the corpus alone, without atheris")
    parser.add_argument(
        "--values", action="store_true", help="each value of JSON or YAML once as each odd value, alone"
    )
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.targets or [*fuzz.TARGETS]
    if unknown := [name for name in names if name not in fuzz.TARGETS]:
        parser.error(f"no target is called {', '.join(unknown)}: --list names them")
    if given.list:
        for name, what in fuzz.TARGETS.items():
            print(f"{name:22}{what}")
        return 0
    if given.input is not None:
        for name in names:
            fuzz.load(name).read(given.input.read_bytes())
        return 0
    if given.mutations or given.values:
        return max(_mutations(name, given) for name in names)
    if given.one:
        _fuzz(names[0], given)
        return 0
    return max(_in_a_process(name, given) for name in names)


def _in_a_process(name: str, given: argparse.Namespace) -> int:
    if missing := fuzz.load(name).missing:
        print(f"{name:22}left out: {missing}")
        return 0
    before = {path.name for path in FOUND.glob(f"{name}-*")}
    with (
        tempfile.TemporaryDirectory(prefix="trueload-fuzz-") as scratch,
        tempfile.TemporaryDirectory(prefix="trueload-fuzz-", dir=memory()) as files,
    ):
        corpus = Path(scratch) / name if given.keep is None else given.keep / name
        corpus.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(fuzz.corpus(name)):
            (corpus / f"seed-{number}").write_bytes(data)
        command = [sys.executable, __file__, name, "--one", "--seconds", str(given.seconds), "--seed", str(given.seed)]
        environment = os.environ | {"TRUELOAD_FUZZ_CORPUS": str(corpus), WITHIN: files}
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=scratch, check=False)
        for artefact in Path(scratch).glob("*-*"):  # libFuzzer's own: timeouts, memory.
            if artefact.is_file():
                FOUND.mkdir(exist_ok=True)
                artefact.replace(FOUND / f"{name}-{artefact.name}")
    last = [line for line in done.stderr.splitlines() if line.startswith("#") or line.startswith("Done")]
    new = sorted(path.name for path in FOUND.glob(f"{name}-*") if path.name not in before)
    said = f"exit {done.returncode}" if done.returncode else last[-1] if last else "no inputs"
    print(f"{name:22}{said}", *(f"  found {one}" for one in new), sep="\n", flush=True)
    if done.returncode and not new:
        print(done.stderr[-2000:])
    return 1 if new or done.returncode else 0


def _mutations(name: str, given: argparse.Namespace) -> int:
    """Unguided mutations of the corpus in this process."""
    target, seeds, found = fuzz.load(name), fuzz.corpus(name), _Found(name)
    until_s = time.monotonic() + given.seconds
    runs, over = 0, "time was over" if given.values else ""
    inputs = (
        mutate.every_value(target, seeds)
        if given.values
        else mutate.mutations(target, seeds, random.Random(given.seed))
    )
    for data in inputs:
        found.read(target, data)
        runs += 1
        if runs % 100 == 0 and time.monotonic() > until_s:
            break
    else:
        over = ""
    print(f"{name:22}{runs} runs {over}".rstrip(), *(f"  found {one}" for one in found.kinds), sep="\n", flush=True)
    return 1 if found.kinds else 0


class Hang(Exception):
    """An input keeps a reader busy."""


def _hang(_: int, __: FrameType | None) -> None:
    raise Hang(f"more than {LONGEST_S} s")


class _Found:
    """What breaks a target: each kind once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.kinds: set[str] = set()
        signal.signal(signal.SIGPROF, _hang)

    def read(self, target: Target, data: bytes) -> None:
        """Run one input."""
        signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
        try:
            target.read(data)
        except Exception as e:
            frame = traceback.extract_tb(e.__traceback__)[-1]
            kind = f"{type(e).__name__} {frame.filename}:{frame.lineno}"
            if kind in self.kinds:
                return
            self.kinds.add(kind)
            FOUND.mkdir(exist_ok=True)
            path = FOUND / f"{self._name}-{hashlib.sha1(kind.encode()).hexdigest()[:8]}"
            path.write_bytes(data)
            path.with_suffix(".txt").write_text(traceback.format_exc())
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _fuzz(name: str, given: argparse.Namespace) -> None:
    """Fuzz one target in this process."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = fuzz.load(name)
    seeds = fuzz.corpus(name) or [b""]
    found = _Found(name)

    def read(data: bytes) -> None:
        found.read(target, data)

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return mutate.mutated(target, data, seeds, chance)[:most]
        return bytes(atheris.Mutate(data, most))

    corpus = os.environ["TRUELOAD_FUZZ_CORPUS"]
    options = [
        f"-max_total_time={given.seconds}",
        f"-seed={given.seed}",
        f"-timeout={STUCK_S}",
        f"-report_slow_units={STUCK_S}",
        "-rss_limit_mb=3072",
        "-max_len=20000",
    ]
    atheris.Setup([sys.argv[0], corpus, *options], read, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
