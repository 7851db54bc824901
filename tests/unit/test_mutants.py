"""scripts/mutants: its changes, the tests it uses for them, and that its list of equivalents is up to date."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
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
    Covered = importlib.import_module("mutated.covered").Covered
    tests = {7: {"tests/test_b.py::test_x", "tests/test_a.py::test_y", "tests/test_a.py::test_z"}, 9: {""}}
    seconds = {"tests/test_b.py::test_x": 1.0, "tests/test_a.py::test_y": 12.0, "tests/test_a.py::test_z": 7.5}
    (mutant, *_) = script.mutants_of("bench/a.py", SOURCE)
    covered = Covered({"bench/a.py": tests}, seconds)
    assert covered.of(replace(mutant, first=6, line=8)) == ["tests/test_a.py::test_z", "tests/test_a.py::test_y"]
    assert covered.of(replace(mutant, first=1, line=6)) == []
    # Code that runs on import may be noticed by every test that uses the module, or has its name.
    assert len(covered.of(replace(mutant, first=9, line=9))) == 2
    named = Covered({"bench/facts.py": {9: {""}}}, seconds | {"tests/test_facts.py::test_v": 1.0})
    assert named.of(replace(mutant, path="bench/facts.py", first=9, line=9)) == ["tests/test_facts.py::test_v"]
    # A file with only declarations is tried with the tests of the files next to it.
    declares = Covered(
        {"bench/words.py": {9: {""}}, "bench/a.py": tests, "bench/b/c.py": {7: {"tests/test_c.py::test_w"}}}, seconds
    )
    assert len(declares.of(replace(mutant, path="bench/words.py", first=9, line=9))) == 2


def test_a_fork_that_waits_for_a_processor_keeps_its_time_and_one_that_hangs_does_not(script: ModuleType) -> None:
    left = importlib.import_module("mutated.trial").TimeLeft()
    left.of = {1: 3.0, 2: 3.0}
    for now_s, waited, late in (
        (100.0, {1: 0.0, 2: 5.0}, []),
        (101.0, {1: 0.0, 2: 6.0}, []),
        (101.2, {1: 9.0, 2: 9.0}, []),  # No tick has passed, so no process is checked.
        (102.0, {1: 0.0, 2: 6.75}, []),
        (
            202.0,
            {1: 0.0, 2: 1.0},
            [1],
        ),  # All processes were suspended for 99 s. A process of the second ended.
    ):
        assert left.spend(now_s, lambda pids, of=waited: {pid: of[pid] for pid in pids}) == late, now_s
    assert left.of == {1: 0.0, 2: 1.75}


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
    listed = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    # If two sections have the same name, YAML silently takes the last.
    assert sorted(re.findall(r"^([^\s#].*):$", text, re.MULTILINE)) == sorted(listed)
    for file, ones in listed.items():
        known = {(mutant.statement, mutant.change) for mutant in script.mutants_of(file, (ROOT / file).read_text())}
        for one in ones:
            assert one.keys() == {"line", "mutant", "why"}
            assert (" ".join(one["line"].split()), " ".join(one["mutant"].split())) in known, (file, one)
            assert one["why"]


PLANTED = {
    "shape.py": """
from dataclasses import dataclass
from functools import cache


@dataclass
class Box:
    width: int = 2  # killed
    height: int = 3  # survived

    def area(self):
        return self.width * self.height  # killed

    @property
    def edge(self):
        return self.width + self.height  # killed

    @staticmethod
    def sides():
        return 4  # survived


def grown(by=1):  # killed
    def grow(value):
        return value + by  # killed
    return grow


def both(a, b):
    return lambda: a and b  # killed


def early(value):
    return -value  # killed


@cache
def double(value):
    return value * 2  # killed


def steps(end):
    for each in range(end):
        yield each + 5  # killed


async def later(value):
    return value - 1  # killed


def unused(value):
    return value + 1  # not run


ADD, EARLY = grown(), early(3)  # killed
BOTH = both("a", "b"), both("", "b")
SEVEN, EIGHT = (lambda: 7), (lambda: 8)  # killed
""",
    "late.py": "SIZE = 6  # killed",
    "test_shape.py": """
import asyncio
from pathlib import Path

import shape

def test_boxes():
    assert (shape.Box(height=1).width, shape.Box(2, 3).area(), shape.Box(2, 3).edge) == (2, 6, 5)
    shape.Box.sides()

def test_functions():
    assert (shape.ADD(1), [both() for both in shape.BOTH], shape.EARLY, shape.double(3)) == (2, ["b", ""], -3, 6)
    assert (list(shape.steps(2)), asyncio.run(shape.later(3))) == ([5, 6], 2)
    assert (shape.SEVEN(), shape.EIGHT()) == (7, 8)

def test_a_module_that_is_imported_late():
    from late import SIZE
    assert SIZE == int(Path("six").read_text())
""",
    "test_slow.py": "import pytest\n\n@pytest.mark.slow\ndef test_elsewhere():\n    pass\n",
    "pytest.ini": "[pytest]\npythonpath = .\nmarkers = slow\n  processes\n",
    "six": "6",
}
TRY_ALL = """
import json
import sys
from pathlib import Path
from mutants import tried
from mutated.changes import mutants_of
from mutated.covered import Kept
from mutated.trial import warm

warm()
sources = ["shape.py", "late.py"]
mutants = [mutant for path in sys.argv[1:] for mutant in mutants_of(path, Path(path).read_text())]
kept = Kept(sources, ["test_shape.py", "test_slow.py"])
print(json.dumps([len(kept.missing()), [[one.of.path, one.of.line, one.outcome] for one in tried(kept, mutants, 2)]]))
"""


@pytest.mark.processes
@pytest.mark.long
def test_each_kind_of_change_is_noticed_where_a_test_looks_and_only_there(script: ModuleType, tmp_path: Path) -> None:
    for name, text in PLANTED.items():
        (tmp_path / name).write_text(text)
    words = {(name, n): line.split("  # ")[1] for name in ("shape.py", "late.py")
             for n, line in enumerate(PLANTED[name].splitlines(), 1) if "  # " in line}  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def tries(*files: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", TRY_ALL, *files], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    for files, measured in ((["shape.py", "late.py"], 2), (["late.py"], 0)):
        ran = tries(*files)
        assert ran.returncode == 0, ran.stderr
        missing, outcomes = json.loads(ran.stdout)
        assert missing == measured
        assert {(name, line) for name, line, _ in outcomes} == {place for place in words if place[0] in files}
        assert [one for one in outcomes if one[2] != words[one[0], one[1]]] == []
    # A test that fails with the unchanged code notices nothing.
    (tmp_path / "six").write_text("8")
    assert "a test that noticed changes fails with the code as it is, too" in tries("late.py").stderr
