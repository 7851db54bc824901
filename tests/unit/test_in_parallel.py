"""How the tests are distributed among processes, and what --quick may rely on."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.collected_once import Later
from tests.support.in_parallel import (
    APART,
    BROWSER,
    HEAVY,
    LONG,
    SCIPY,
    SENTENCES,
    TEXTS,
    UNITS,
    Units,
    tell_less,
    unit_of,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("node_id", "unit"),
    [
        ("tests/unit/test_timing.py::test_a[x::y]", "tests/unit/test_timing.py"),
        ("tests/browser/test_console.py::test_c", BROWSER),
        ("tests/unit/promptset/test_kinds.py::test_e", TEXTS),
        ("tests/unit/promptset/test_sentences.py::test_f", SENTENCES),
        (f"{APART[0]}::test_d[docs/usage.md]", f"{APART[0]}::test_d[docs/usage.md]"),
    ],
)
def test_a_file_is_a_unit_but_for_those_that_would_disturb_each_other(node_id: str, unit: str) -> None:
    assert unit_of(node_id) == unit


def test_the_files_that_are_named_exist() -> None:
    files = [name.partition("::")[0] for name in (*UNITS, *APART, *LONG, *HEAVY) if name != BROWSER]
    assert [path for path in files if not (ROOT / path).exists()] == []


def test_each_unit_of_several_files_that_compute_is_that_of_a_file_of_its_own() -> None:
    assert [unit_of(unit) for unit in (TEXTS, SENTENCES, SCIPY)] == [TEXTS, SENTENCES, SCIPY]
    assert {TEXTS, SENTENCES, SCIPY} <= set(HEAVY)
    assert [path for path in HEAVY if unit_of(path) != path] == []


def test_one_process_imports_scipy() -> None:
    imports = re.compile(r"^ *(from|import) (scipy|tests\.support(\.| import )scipy_stats)\b", re.MULTILINE)
    paths = {
        path.relative_to(ROOT).as_posix()
        for folder in ("unit", "virtual", "sockets")
        for path in (ROOT / "tests" / folder).rglob("test_*.py")
        if imports.search(path.read_text(encoding="utf-8"))
    }
    assert len(paths) > 10
    assert {unit_of(path) for path in paths} == {SCIPY}


def test_a_process_that_no_mark_announces_is_refused() -> None:
    with pytest.raises(AssertionError, match="marked `processes`"):
        subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.processes
def test_a_process_that_a_mark_announces_is_started() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0


class Node:
    """A process that runs tests, as the scheduler sees it: a test runs once the process has the next one, or knows that
    there is none."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[int] = []
        self.ran: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    def runs_one(self) -> int | None:
        """Run its next test, if it can."""
        if len(self.given) < 1 + (not self.shutting_down):
            return None
        self.ran.append(self.given.pop(0))
        return self.ran[-1]


def ids_in(*files: str, each: int = 3) -> list[str]:
    return [f"tests/{file}.py::test_{i}" for file in files for i in range(each)]


def shared_out(tests: list[str], processes: int) -> tuple[Units, list[Node]]:
    option = SimpleNamespace(maxprocesses=None, tx=["popen"] * processes)
    units = Units(cast(pytest.Config, SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name))))
    nodes = [Node(f"gw{i}") for i in range(processes)]
    for node in nodes:
        join(units, node, tests)
    return units, nodes


def join(units: Units, node: Node, tests: list[str]) -> None:
    """A process starts and reports its tests. The controller continues when all processes have."""
    units.add_node(node)
    units.add_node_collection(node, tests)
    if units.collection_is_completed:
        units.schedule()


def run_to_the_end(units: Units, nodes: list[Node], chance: random.Random) -> None:
    """Let the processes run tests in any order, until none can continue."""
    while able := [node for node in nodes if len(node.given) > (not node.shutting_down)]:
        node = chance.choice(able)
        index = node.runs_one()
        assert index is not None
        units.mark_test_complete(node, index)


def test_what_is_long_comes_first_and_what_only_computes_last_the_heavy_before_the_others() -> None:
    heavy = HEAVY[1].removeprefix("tests/").removesuffix(".py")
    tests = ids_in("unit/test_a", heavy, "sockets/test_a", "sockets/test_first_run", "browser/test_a", each=1)
    units, (node,) = shared_out(tests, 1)
    run_to_the_end(units, [node], random.Random(0))
    assert node.ran == [4, 3, 2, 1, 0]


def test_one_of_three_processes_begins_with_what_computes_and_goes_on_with_what_waits() -> None:
    heavy = HEAVY[1].removeprefix("tests/").removesuffix(".py")
    waiting = [f"sockets/test_{i}" for i in range(6)]
    tests = ids_in("unit/test_a", *waiting, heavy, "sockets/test_first_run", each=1)
    units, nodes = shared_out(tests, 3)
    assert [node.given for node in nodes] == [[8, 1], [2, 3], [7, 0]]
    run_to_the_end(units, [nodes[2]], random.Random(0))
    assert nodes[2].ran == [7, 0, 4, 5, 6]


@pytest.mark.parametrize("each", [1, 2, 5])
def test_every_test_runs_once_whenever_a_process_crashes(each: int) -> None:
    for seed in range(20):
        crash_at_times_of(seed, each)


def crash_at_times_of(seed: int, each: int) -> None:
    chance = random.Random(seed)
    tests = ids_in("sockets/test_clock", *(f"sockets/test_{i}" for i in range(12)), "unit/test_a", each=each)
    units, nodes = shared_out(tests, 3)
    alive, crashed = list(nodes), []
    for crash in range(3):
        for _ in range(chance.randrange(len(tests))):
            able = [node for node in alive if len(node.given) > (not node.shutting_down)]
            if able:
                node = chance.choice(able)
                units.mark_test_complete(node, node.runs_one() or 0)
        at_work = [node for node in alive if len(node.given) > (not node.shutting_down)]
        if not at_work:
            break
        lost = chance.choice(at_work)
        crashed.append(tests.index(units.remove_node(lost) or ""))
        assert crashed[-1] == lost.given[0]
        alive.remove(lost)
        # Processes that know that no tests are left end before another one starts.
        for node in [node for node in alive if node.shutting_down]:
            run_to_the_end(units, [node], chance)
            assert units.remove_node(node) is None
            alive.remove(node)
        nodes.append(Node(f"gw{3 + crash}"))
        alive.append(nodes[-1])
        join(units, nodes[-1], tests)
    run_to_the_end(units, alive, chance)
    assert units.tests_finished
    assert sorted([index for node in nodes for index in node.ran] + crashed) == list(range(len(tests)))


def test_a_process_that_finds_other_tests_ends_the_run() -> None:
    units, _ = shared_out(ids_in("unit/test_a", "unit/test_b"), 1)
    with pytest.raises(RuntimeError, match="Different tests were collected"):
        join(units, Node("gw1"), ids_in("unit/test_a"))


def test_a_process_tells_how_a_test_ended_and_what_failed_or_was_slow_around_it() -> None:
    told: list[tuple[str, str | None]] = []

    def sendevent(name: str, **event: Any) -> None:
        told.append((name, event.get("data", {}).get("when")))

    sender = SimpleNamespace(sendevent=sendevent)
    tell_less(sender)
    for when, outcome, duration in (
        ("setup", "passed", 0.1), ("setup", "passed", 2.0), ("call", "passed", 0.1), ("teardown", "failed", 0.1)
    ):  # fmt: skip
        sender.sendevent("testreport", data={"when": when, "outcome": outcome, "duration": duration})
    for name in ("logstart", "logfinish", "workerfinished"):
        sender.sendevent(name)
    assert told == [
        ("testreport", "setup"),
        ("testreport", "call"),
        ("testreport", "teardown"),
        ("workerfinished", None),
    ]


IMPORTED = """
import os
from pathlib import Path
import pytest

assert "LEFT" not in os.environ
with (Path(__file__).parent / "imported").open("a") as file:
    print(os.getpid(), file=file)

@pytest.fixture(scope="module", autouse=True)
def left():
    os.environ["LEFT"] = "until this file is done"
    yield
    del os.environ["LEFT"]

def test_it():
    pass

def test_it_too():
    pass
"""


@pytest.mark.processes
def test_a_process_imports_the_files_that_it_runs_and_each_once_the_one_before_is_taken_down(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(IMPORTED)
    words = ["-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "2", str(tmp_path)]
    ended = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines()[-1] == "8 passed", ended.stdout
    # The process that hands out the tests imports all four files, and each file is imported once more by one of the
    # others.
    assert len((tmp_path / "imported").read_text().split()) == 8


def test_what_comes_next_is_not_collected_for_the_test_before_it() -> None:
    sender = SimpleNamespace(item_index=0)
    later = Later([("a.py", "a.py::test_one"), ("b.py", "b.py::test_two")], sender)
    session = cast("pytest.Session", SimpleNamespace())
    later.take_the_place_of(session)
    assert session.items is later
    assert (len(later), [item.nodeid for item in later]) == (2, ["a.py::test_one", "b.py::test_two"])
    assert later[1] is session
