"""Which tests run which line: measured once per test file, and kept in a cache outside the tree."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

from mutated.changes import Mutant

MOST_SECONDS = 20.0
"""Maximum processor time of the tests that a mutant is tried with."""
KEPT_S = 14 * 86400
Around = Callable[[pytest.Item], AbstractContextManager[None]]
"""A context around each case of a test."""
SHARED = ("tests/conftest.py", "tests/*/conftest.py", "tests/support/*.py")


@dataclass(frozen=True)
class Covered:
    """`tests[file][line]`: the test functions that run a line, "" if it runs before any; `seconds[test]`: the processor
    time of all its cases."""

    tests: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that run the mutant's lines: the nearest file first, then the cheapest; at most MOST_SECONDS in
        all."""
        lines, stem = self.tests.get(mutant.path, {}), Path(mutant.path).stem
        found = {test for line in mutant.lines for test in lines.get(line, ()) if test}
        if not found and self.before_tests(mutant):
            # It runs when the module is imported: any test that uses the module may notice.
            found = {test for tests in lines.values() for test in tests if test}
            # Tests named after the module may notice too: no line of the module runs when a value of its classes is
            # made.
            found |= {test for test in self.seconds if stem in test.partition("::")[0]}
            if not found:  # A file that only declares: tests of the files beside it may notice.
                beside = [of for path, of in self.tests.items() if Path(path).parent == Path(mutant.path).parent]
                found = {test for of in beside for tests in of.values() for test in tests if test}
        far = {test: (stem not in test.partition("::")[0], self.seconds.get(test, 0.0)) for test in found}
        chosen: dict[str, list[str]] = defaultdict(list)
        spent = 0.0
        # An expensive test that does not fit leaves room for cheaper ones: a cheap test notices most changes.
        for test in sorted(far, key=lambda test: (far[test], test)):
            if not chosen or spent + far[test][1] <= MOST_SECONDS:
                spent += far[test][1]
                chosen[test.partition("::")[0]].append(test)
        return [test for tests in chosen.values() for test in tests]

    def cost(self, tests: Sequence[str]) -> float:
        """Their processor time in seconds."""
        return sum(self.seconds.get(test, 0.0) for test in tests)

    def before_tests(self, mutant: Mutant) -> bool:
        """Whether one of its lines runs when the code or the tests are imported."""
        return any("" in self.tests.get(mutant.path, {}).get(line, ()) for line in mutant.lines)


class Kept:
    """Cached coverage per test file; each cache file is named after the text of the tests and the sources."""

    def __init__(self, sources: Sequence[str], tests: Sequence[str]) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trueload-mutants"
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.iterdir():
            if old.stat().st_mtime < time.time() - KEPT_S:
                old.unlink(missing_ok=True)
        self.sources = sources
        shared = [*sources, *(str(path) for pattern in SHARED for path in sorted(Path().glob(pattern)))]
        texts = {path: hashlib.sha256(path.encode() + Path(path).read_bytes()).digest() for path in [*shared, *tests]}
        common = b"".join(texts[path] for path in shared)
        self.files = {test: cache / hashlib.sha256(common + texts[test]).hexdigest() for test in tests}

    def begin(self) -> None:
        """Start coverage before the code is imported, if a file has to be measured."""
        if self.missing():
            paths = [str(Path(source).resolve()) for source in self.sources]
            coverage.Coverage(data_file=None, config_file=False, include=paths).start()

    def end(self) -> None:
        """Stop coverage."""
        if (current := coverage.Coverage.current()) is not None:
            current.stop()

    def missing(self) -> list[str]:
        """The test files that have to be measured."""
        return [test for test, file in self.files.items() if not file.exists()]

    def read(self) -> Covered:
        """Read the whole cache."""
        covered = Covered({}, {})
        for file in self.files.values():
            seconds, tests = json.loads(file.read_text())
            os.utime(file)
            covered.seconds.update(seconds)
            for source, lines in tests.items():
                of = covered.tests.setdefault(source, {})
                for line, names in lines.items():
                    of.setdefault(int(line), set()).update(names)
        return covered

    def measure(self, test_file: str, run: Callable[[Around], int]) -> int:
        """Run the tests of a file under the coverage started before the import of the code, and cache the lines they
        ran."""
        current = coverage.Coverage.current()
        assert current is not None
        seconds: dict[str, float] = defaultdict(float)

        @contextmanager
        def around(item: pytest.Item) -> Iterator[None]:
            current.switch_context(function_of(item))
            began = time.process_time()
            yield
            seconds[function_of(item)] += time.process_time() - began
            current.switch_context("")

        if failed := run(around):
            return failed
        data = current.get_data()
        paths = {source: str(Path(source).resolve()) for source in self.sources}
        tests = {source: data.contexts_by_lineno(path) for source, path in paths.items()}
        unfinished = self.files[test_file].with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps([seconds, tests]))
        unfinished.rename(self.files[test_file])
        return 0


def function_of(item: pytest.Item) -> str:
    """The test function of a case."""
    return item.nodeid.partition("[")[0]
