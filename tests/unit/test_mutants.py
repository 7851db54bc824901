"""scripts/mutants: which changes it makes, which tests it tries them with, and that its list of equivalents is up to date."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCE = '''"""A docstring with 1 in it."""
LIMIT: int = 3


def share(a: int, b: int, least: bool = True) -> float:
    """Of a and b."""
    if a < LIMIT and not least:
        raise ValueError(f"{a + 1} is too few")
    a += 1
    return min(a, b) / max(a, b, 1)


class Share(float, frozen=True):
    pass
'''


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    pytest.importorskip("coverage")
    before = set(sys.modules)
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        yield importlib.import_module("mutants")
    finally:
        sys.path.remove(str(ROOT / "scripts"))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("mutants", "mutated"):
                del sys.modules[name]


def test_numbers_comparisons_and_flow_are_changed_and_texts_are_not(script: ModuleType) -> None:
    assert [(mutant.line, mutant.change) for mutant in script.mutants_of("a.py", SOURCE)] == [
        (2, "3 -> 4"),
        (5, "True -> False"),
        (7, "if a < LIMIT and (not least): ... -> if False: ..."),
        (7, "a < LIMIT and (not least) -> a < LIMIT or not least"),
        (7, "a < LIMIT and (not least) -> not least"),
        (7, "a < LIMIT and (not least) -> a < LIMIT"),
        (7, "a < LIMIT -> a <= LIMIT"),
        (7, "not least -> least"),
        (9, "a += 1 -> a = 1"),
        (9, "a += 1 -> a -= 1"),
        (9, "1 -> 2"),
        (10, "min(a, b) / max(a, b, 1) -> min(a, b) * max(a, b, 1)"),
        (10, "min(a, b) -> max(a, b)"),
        (10, "max(a, b, 1) -> min(a, b, 1)"),
        (10, "1 -> 2"),
    ]


def test_a_mutant_differs_from_the_file_in_its_change_alone(script: ModuleType) -> None:
    changes = importlib.import_module("mutated.changes")
    whole = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in script.mutants_of("a.py", SOURCE):
        changed = ast.unparse(changes.mutated(SOURCE, mutant.index)).splitlines()
        assert len(changed) == len(whole)
        assert [old != new for old, new in zip(whole, changed, strict=True)].count(True) == 1
    with pytest.raises(IndexError, match="has no change 15"):
        changes.mutated(SOURCE, 15)


def test_tests_of_the_same_name_come_first_and_dear_ones_are_left_out(script: ModuleType) -> None:
    tests = {7: ["tests/test_b.py::test_x", "tests/test_a.py::test_y", "tests/test_a.py::test_z"], 9: [""]}
    seconds = {"tests/test_b.py::test_x": 1.0, "tests/test_a.py::test_y": 12.0, "tests/test_a.py::test_z": 7.5}
    covered = script.Covered({"bench/a.py": tests}, seconds, {})
    assert covered.of("bench/a.py", 6, 8) == ["tests/test_a.py::test_z", "tests/test_a.py::test_y"]
    assert covered.of("bench/a.py", 1, 6) == []
    # What runs when the module is imported may be noticed by each test that uses the module, or has its name.
    assert len(covered.of("bench/a.py", 9, 9)) == 2
    named = script.Covered({"bench/facts.py": {9: [""]}}, seconds | {"tests/test_facts.py::test_v": 1.0}, {})
    assert named.of("bench/facts.py", 9, 9) == ["tests/test_facts.py::test_v"]


def test_the_table_counts_those_that_a_test_could_notice(script: ModuleType) -> None:
    (mutant, *_) = script.mutants_of("a.py", SOURCE)
    outcomes = [("killed", None)] * 6 + [
        ("timed out", None),
        ("survived", None),
        ("survived", "the same"),
        ("not run", None),
    ]
    results = {"metrics": [script.Result(mutant, outcome, why) for outcome, why in outcomes]}
    *_, row, _ = script._table(results)
    assert row.split() == ["metrics", "10", "6", "1", "1", "2", "78%"]


def test_every_file_is_in_a_group_and_every_group_has_files_and_tests(script: ModuleType) -> None:
    for name, group in script.GROUPS.items():
        for pattern in (*group.files, *group.tests):
            assert script._files([pattern]), (name, pattern)
    known = {file for group in script.GROUPS.values() for file in script._files(group.files)}
    code = [path for room in ("bench", "mockserver", "datasets/promptset") for path in (ROOT / room).rglob("*.py")]
    assert not {str(path.relative_to(ROOT)) for path in code} - known


def test_every_equivalent_mutant_is_one_of_its_file_and_has_a_reason(script: ModuleType) -> None:
    text = script.EQUIVALENT.read_text(encoding="utf-8")
    listed = yaml.safe_load(text)
    # YAML takes the last of two sections with one name, without a word.
    assert sorted(re.findall(r"^([^\s#].*):$", text, re.MULTILINE)) == sorted(listed)
    for file, ones in listed.items():
        known = {(mutant.statement, mutant.change) for mutant in script.mutants_of(file, (ROOT / file).read_text())}
        for one in ones:
            assert one.keys() == {"line", "mutant", "why"}
            assert (" ".join(one["line"].split()), " ".join(one["mutant"].split())) in known, (file, one)
            assert one["why"]
