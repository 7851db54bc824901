"""Changes the code a little, one change at a time, and lists the changes that no test notices (docs/dev/testing.md)."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml
from mutated.changes import Mutant, mutants_of, source_of
from mutated.covered import Kept
from mutated.groups import GROUPS
from mutated.session import Session
from mutated.trial import COLD, KILLED, NOT_RUN, SURVIVED, TIMED_OUT, Ended, Trial, ended, run_anew, warm

ROOT = Path(__file__).parents[1]
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.yaml"


@dataclass(frozen=True)
class Result:
    """The outcome of a mutant, and, if no test noticed it, why none can."""

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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every mutant and its outcome")
    args = parser.parse_args(words)
    os.chdir(ROOT)
    warm()
    results: dict[str, list[Result]] = {}
    known = _equivalents()
    for name, files in _asked(args.group):
        kept = Kept(_files(GROUPS[name].files), _test_files(GROUPS[name].tests))
        chosen = _sample(files, args.sample, args.seed)
        print(f"== {name}: {len(kept.missing())} files of tests to measure, {len(chosen)} mutants", file=sys.stderr)
        results[name] = []
        for one in tried(kept, chosen, args.processes):
            why = known.get((one.of.path, one.of.statement, one.of.change))
            result = Result(one.of, one.outcome, why if one.outcome in (SURVIVED, NOT_RUN) else None)
            results[name].append(result)
            if unnoticed(result):
                print(_line(result), flush=True)
    print("\n".join(_table(results)))
    if args.json is not None:
        rows = [
            {**vars(r.mutant), "outcome": r.outcome, "why": r.why_equivalent} for rs in results.values() for r in rs
        ]
        args.json.write_text(json.dumps(rows, indent=1))
    return int(any(unnoticed(result) for rs in results.values() for result in rs))


def tried(kept: Kept, mutants: Sequence[Mutant], processes: int) -> Iterator[Ended]:
    """Try each mutant. Raises SystemExit if a test that noticed one also fails with the unchanged code."""
    noticed: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        session = Session(kept, mutants, processes, Path(name))
        (end,) = ended([Trial(None, session.run)], 1, session.folder)
        if (answer := session.answer()) is None:
            raise SystemExit(f"error: the tests could not be run with the code as it is:\n{end.output}")
        covered = kept.read()
        anew = []
        for one in answer:
            noticed.add(one.failed or "")
            if one.outcome == COLD:
                tests = covered.of(one.of)
                anew.append(Trial(one.of, partial(run_anew, one.of, tests), covered.cost(tests)))
            else:
                yield one
        for end in ended(anew, processes, session.folder):
            noticed.add(end.failed or "")
            yield end
        if of := sorted(noticed - {""}):
            (end,) = ended([Trial(None, partial(run_anew, None, of))], 1, session.folder)
            if end.outcome != SURVIVED:
                raise SystemExit(f"error: a test that noticed changes fails with the code as it is, too:\n{end.output}")


def _asked(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for name, group in GROUPS.items():
        files = _files(group.files)
        mine = files if not words or name in words else [file for file in files if file in words]
        if mine:
            yield name, mine


def _files(patterns: Sequence[str]) -> list[str]:
    found = [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return list(dict.fromkeys(found))


def _test_files(patterns: Sequence[str]) -> list[str]:
    return _files([each for one in patterns for each in ([f"{one}/**/test_*.py"] if (ROOT / one).is_dir() else [one])])


def _sample(files: Sequence[str], size: int, seed: int) -> list[Mutant]:
    every = [mutant for file in files for mutant in mutants_of(file, source_of(file))]
    return every if size == 0 or size >= len(every) else random.Random(seed).sample(every, size)


def unnoticed(result: Result) -> bool:
    """Whether a test is missing."""
    return result.outcome in (SURVIVED, NOT_RUN) and result.why_equivalent is None


def _equivalents() -> dict[tuple[str, str, str], str]:
    listed = yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) if EQUIVALENT.exists() else {}
    return {
        (file, " ".join(one["line"].split()), " ".join(one["mutant"].split())): one["why"]
        for file, ones in listed.items() for one in ones
    }  # fmt: skip


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
