"""Changes the code a little, a change at a time, and says which changes no test notices (docs/dev/testing.md)."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from mutated.changes import Mutant, mutants_of
from mutated.covered import ROOT, Covered, measured
from mutated.groups import GROUPS
from mutated.trial import KILLED, NOT_RUN, SURVIVED, TIMED_OUT, Trial, begin, warm

EQUIVALENT = ROOT / "tests" / "equivalent_mutants.yaml"


@dataclass(frozen=True)
class Result:
    """What became of a mutant, and, where no test noticed it, why none can."""

    mutant: Mutant
    outcome: str
    why_equivalent: str | None


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("group", nargs="*", help=f"{', '.join(GROUPS)}, or a file of one; all without")
    parser.add_argument(
        "--sample", type=int, default=40, metavar="N", help="mutants of each group; 0: all (default 40)"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed is another sample (default 1)")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--coverage", action="store_true", help="only which lines and branches the tests run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every mutant and its outcome")
    args = parser.parse_args(words)
    os.chdir(ROOT)
    warm()
    results: dict[str, list[Result]] = {}
    for name, files in _asked(args.group):
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            print(f"== {name}: coverage", file=sys.stderr, flush=True)
            covered = measured(_files(GROUPS[name].files), _files(GROUPS[name].tests), Path(folder))
            print(_coverage(name, covered), flush=True)
            if not args.coverage:
                chosen = _sample(files, args.sample, args.seed)
                print(f"== {name}: {len(chosen)} mutants", file=sys.stderr, flush=True)
                results[name] = list(_tried(chosen, covered, args.processes, Path(folder)))
    if results:
        print("\n".join(_table(results)))
    if args.json is not None:
        rows = [
            {**vars(r.mutant), "outcome": r.outcome, "why": r.why_equivalent} for rs in results.values() for r in rs
        ]
        args.json.write_text(json.dumps(rows, indent=1))
    return int(any(unnoticed(result) for rs in results.values() for result in rs))


def _asked(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for name, group in GROUPS.items():
        files = _files(group.files)
        mine = files if not words or name in words else [file for file in files if file in words]
        if mine:
            yield name, mine


def _files(patterns: Sequence[str]) -> list[str]:
    found = [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return list(dict.fromkeys(found))


def _sample(files: Sequence[str], size: int, seed: int) -> list[Mutant]:
    every = [mutant for file in files for mutant in mutants_of(file, (ROOT / file).read_text(encoding="utf-8"))]
    return every if size == 0 or size >= len(every) else random.Random(seed).sample(every, size)


def _tried(chosen: Sequence[Mutant], covered: Covered, processes: int, folder: Path) -> Iterator[Result]:
    known = _equivalents()
    running: list[Trial] = []
    waiting = list(chosen)
    checked = False
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            tests = covered.of(mutant.path, mutant.first, mutant.line)
            if not tests:
                result = Result(mutant, NOT_RUN, known.get((mutant.path, mutant.statement, mutant.change)))
                if unnoticed(result):
                    print(_line(result), flush=True)
                yield result
                continue
            seconds = sum(covered.seconds.get(test, 0.0) for test in tests)
            if not checked and begin(None, tests, seconds, folder / "unchanged.log").outcome(wait=True) != SURVIVED:
                raise SystemExit(f"error: with the code as it is:\n{(folder / 'unchanged.log').read_text()[-2000:]}")
            checked = True
            running.append(begin(mutant, tests, seconds, folder / f"{mutant.index}-{len(waiting)}.log"))
        for trial in list(running):
            if (outcome := trial.outcome()) is not None:
                running.remove(trial)
                why = known.get((trial.mutant.path, trial.mutant.statement, trial.mutant.change))
                result = Result(trial.mutant, outcome, why if outcome == SURVIVED else None)
                if unnoticed(result):
                    print(_line(result), flush=True)
                yield result
        time.sleep(0.02)


def unnoticed(result: Result) -> bool:
    """Whether a test is missing."""
    return result.outcome in (SURVIVED, NOT_RUN) and result.why_equivalent is None


def _equivalents() -> dict[tuple[str, str, str], str]:
    listed = yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) if EQUIVALENT.exists() else {}
    return {
        (file, " ".join(one["line"].split()), " ".join(one["mutant"].split())): one["why"]
        for file, ones in listed.items() for one in ones
    }  # fmt: skip


def _coverage(name: str, covered: Covered) -> str:
    statements, run, ways, taken = (sum(column) for column in zip(*covered.lines.values(), strict=True))
    rows = [f"{name}: {100 * (run + taken) / (statements + ways):.1f}% of statements and branches are run"]
    for file, (n, has, b, took) in covered.lines.items():
        if has + took < n + b:
            rows.append(f"  {file}: {has} of {n} statements, {took} of {b} branches")
    return "\n".join(rows)


def _line(result: Result) -> str:
    mutant = result.mutant
    return f"{mutant.path}:{mutant.line}: {mutant.change}   | {mutant.statement}   ({result.outcome})"


def _table(results: dict[str, list[Result]]) -> Iterator[str]:
    yield f"{'group':<15}{'mutants':>8}{'killed':>8}{'timed out':>11}{'equivalent':>12}{'unnoticed':>11}{'noticed':>9}"
    every = [result for some in results.values() for result in some]
    for name, of in [*results.items(), ("all", every)]:
        killed, late = (sum(r.outcome == outcome for r in of) for outcome in (KILLED, TIMED_OUT))
        missed = sum(map(unnoticed, of))
        real = killed + late + missed
        share = f"{100 * (killed + late) / real:.0f}%" if real else "-"
        yield f"{name:<15}{len(of):>8}{killed:>8}{late:>11}{len(of) - real:>12}{missed:>11}{share:>9}"


if __name__ == "__main__":
    sys.exit(main())
