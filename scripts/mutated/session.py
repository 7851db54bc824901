"""One pytest session that has collected all tests. Each change is tried in a fork of it, which replaces the code of the
changed functions."""

from __future__ import annotations

import gc
import pickle
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from mutated.changes import Mutant
from mutated.covered import Around, Covered, Kept, function_of
from mutated.trial import (
    COLD,
    FLAGS,
    NOT_RUN,
    STATUS_COLD,
    SURVIVED,
    Ended,
    Noticed,
    Trial,
    compiled,
    ended,
    import_changed,
    module_of,
)  # fmt: skip

Functions = dict[tuple[str, str, int], list[FunctionType]]
"""By file, qualified name and first line."""


@dataclass(frozen=True)
class Session:
    """A pytest plugin that measures what the tests run, if that is unknown, and tries mutants."""

    kept: Kept
    mutants: Sequence[Mutant]
    processes: int
    folder: Path

    def answer(self) -> list[Ended] | None:
        """The outcome of each mutant: COLD if it takes effect at import. None if there was no session."""
        file = self.folder / "answer"
        return pickle.loads(file.read_bytes()) if file.exists() else None

    def run(self) -> int:
        """Collect the tests and begin. Returns pytest's status."""
        self.kept.begin()
        return int(pytest.main([*FLAGS, *self.kept.files], [self, Noticed()]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Instead of running all tests."""
        if session.testsfailed:
            return None
        files, tests = defaultdict[str, list[pytest.Item]](list), defaultdict[str, list[pytest.Item]](list)
        for item in session.items:
            files[item.nodeid.partition("::")[0]].append(item)
            tests[function_of(item)].append(item)
        measured = [
            Trial(file, partial(self.kept.measure, file, partial(_run, files[file]))) for file in self.kept.missing()
        ]
        for end in ended(measured, self.processes, self.folder):
            if end.outcome != SURVIVED:
                pytest.exit(f"{end.of}: {end.output}", 1)
        self.kept.end()
        (self.folder / "answer").write_bytes(pickle.dumps(list(self._tried(tests, self.kept.read()))))
        return True

    def _tried(self, cases: dict[str, list[pytest.Item]], covered: Covered) -> Iterator[Ended]:
        functions, trials = _functions(), []
        for mutant in self.mutants:
            tests = covered.of(mutant)
            items = [case for test in tests for case in cases[test]]
            trials.append(Trial(mutant, partial(_changed, mutant, functions, items), covered.cost(tests)))
            if not tests:
                yield Ended(trials.pop().of, NOT_RUN)
        for end in ended(trials, self.processes, self.folder):
            again = end.outcome == SURVIVED and covered.before_tests(end.of)
            yield Ended(end.of, COLD) if again else end


def _run(items: Sequence[pytest.Item], around: Around = lambda _: nullcontext()) -> int:
    for item, following in zip(items, [*items[1:], None], strict=False):
        with around(item):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.shouldfail:
            return 1
    return 0


def _functions() -> Functions:
    gc.unfreeze()  # tests/conftest.py hides them from the collector.
    found: Functions = defaultdict(list)
    for one in gc.get_objects():
        if type(one) is FunctionType:
            found[_key(one.__code__)].append(one)
    gc.freeze()
    return found


def _changed(mutant: Mutant, functions: Functions, items: Sequence[pytest.Item]) -> int:
    if module_of(mutant.path) not in sys.modules:
        import_changed(mutant)
    elif not mutant.inside or not _replaced(mutant, functions):
        return STATUS_COLD
    return _run(items)


def _replaced(mutant: Mutant, functions: Functions) -> bool:
    """Give each function whose code differs, and the functions around it, the new code. False if that is impossible: no
    such function is known, two cannot be told apart, or the new code uses other variables of its enclosing function."""
    old, new = ([(_key(code), code) for code in _codes(compiled(mutant, changed))] for changed in (False, True))
    before, alike = dict(old), Counter(key for key, _ in old)
    pairs = [(each, code, key) for key, code in new if code != before.get(key) for each in functions.get(key, ())]
    if not pairs or any(alike[key] > 1 for *_, key in pairs):
        return False
    try:
        for function, code, _ in pairs:
            function.__code__ = code
    except ValueError:
        return False
    return True


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno
