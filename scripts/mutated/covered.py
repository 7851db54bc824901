"""Which tests run which line, measured once with the code as it is; also the plugin of pytest that tells them apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parents[2]
ONLY = "not processes and not slow"
MOST_SECONDS = 20.0
"""Processor time of the tests that a mutant is tried with, at most."""


@dataclass(frozen=True)
class Covered:
    """`tests[file][line]`: the test functions that run a line; `seconds[test]`: the processor time of all its cases."""

    tests: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]
    lines: dict[str, tuple[int, int, int, int]]
    """Of a file: statements, of which run, ways out of branches, of which taken."""

    def of(self, path: str, first: int, last: int) -> list[str]:
        """The tests that run one of these lines: of the nearest file, then the cheapest; at most MOST_SECONDS of them."""
        lines, stem = self.tests.get(path, {}), Path(path).stem
        found = {test for line in range(first, last + 1) for test in lines.get(line, ()) if test}
        if not found and any("" in lines.get(line, ()) for line in range(first, last + 1)):
            # It runs when the module is imported: whoever uses the module may notice.
            found = {test for tests in lines.values() for test in tests if test}
            # So may tests that are named after it: what makes a value of its classes is no line of its text.
            found |= {test for test in self.seconds if stem in test.partition("::")[0]}
        far = {test: (stem not in test.partition("::")[0], self.seconds.get(test, 0.0)) for test in found}
        chosen: dict[str, list[str]] = defaultdict(list)
        spent = 0.0
        # A dear test that does not fit leaves room for those behind it: what notices a change is mostly a cheap one.
        for test in sorted(far, key=lambda test: (far[test], test)):
            if not chosen or spent + far[test][1] <= MOST_SECONDS:
                spent += far[test][1]
                chosen[test.partition("::")[0]].append(test)
        return [test for tests in chosen.values() for test in tests]


def measured(sources: Sequence[str], tests: Sequence[str], folder: Path) -> Covered:
    """Run the tests once, under coverage. Raises SystemExit where one fails: nothing could be learnt from mutants then."""
    data = folder / "coverage"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "MUTANTS_SECONDS": str(folder / "seconds.json")}
    ran = subprocess.run(
        [
            sys.executable, "-m", "coverage", "run", "--branch", "--rcfile=/dev/null", f"--data-file={data}",
            f"--include={','.join(sources)}",
            "-m", "pytest", "-n", "0", "-q", "-m", ONLY, "-p", "no:cacheprovider", "-p", "mutated.covered", *tests,
        ],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"error: the tests fail with the code as it is:\n{ran.stdout[-3000:]}{ran.stderr[-1000:]}")
    read = coverage.CoverageData(str(data))
    read.read()
    analysis = coverage.Coverage(data_file=str(data), config_file=False, branch=True)
    analysis.load()
    found: dict[str, dict[int, list[str]]] = {}
    lines = {}
    for source in sources:
        path = str(ROOT / source)
        found[source] = read.contexts_by_lineno(path)
        numbers = analysis._analyze(path).numbers
        lines[source] = (
            numbers.n_statements,
            numbers.n_statements - numbers.n_missing,
            numbers.n_branches,
            numbers.n_branches - numbers.n_missing_branches,
        )
    return Covered(found, json.loads((folder / "seconds.json").read_text()), lines)


_SECONDS: dict[str, float] = defaultdict(float)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """What runs from here on is run by this test."""
    test = item.nodeid.partition("[")[0]
    current = coverage.Coverage.current()
    if current is not None:
        current.switch_context(test)
    began = time.process_time()
    try:
        return (yield)
    finally:
        _SECONDS[test] += time.process_time() - began
        if current is not None:
            current.switch_context("")


def pytest_sessionfinish() -> None:
    """Write down how long each test took."""
    if where := os.environ.get("MUTANTS_SECONDS"):
        Path(where).write_text(json.dumps(_SECONDS))
