"""How the tests are shared out among processes, and what --quick may rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.in_parallel import APART, BROWSER, TIMES, UNITS, Units, place_of, processors, unit_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("node_id", "unit"),
    [
        ("tests/unit/test_skips.py::test_a[x::y]", "tests/unit/test_skips.py"),
        ("tests/sockets/test_clock.py::test_a", TIMES),
        ("tests/calibration/test_mock_timing.py::test_b", TIMES),
        ("tests/browser/test_console.py::test_c", BROWSER),
        (f"{APART[0]}::test_d[docs/usage.md]", f"{APART[0]}::test_d[docs/usage.md]"),
    ],
)
def test_a_file_is_a_unit_but_for_those_that_would_disturb_each_other(node_id: str, unit: str) -> None:
    assert unit_of(node_id) == unit


def test_times_are_measured_first_beside_tests_that_only_compute() -> None:
    files = ["sockets/test_wire.py", "browser/test_console.py", "unit/test_skips.py", "calibration/test_mock_timing.py"]
    ordered = sorted((f"tests/{file}::test_a" for file in files), key=place_of)
    assert [node_id.split("/")[1] for node_id in ordered] == ["calibration", "unit", "browser", "sockets"]


def test_the_files_that_are_named_exist() -> None:
    assert [path for path in (*UNITS, *APART) if not (ROOT / path).exists()] == []


def test_what_is_marked_as_timing_measures_apart_from_others() -> None:
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.timing" in path.read_text(encoding="utf-8")]
    files = [str(path.relative_to(ROOT)) for path in marked if path != Path(__file__)]
    assert files != []
    assert [file for file in files if unit_of(file) != TIMES] == []


def test_a_process_that_no_mark_announces_is_refused() -> None:
    with pytest.raises(AssertionError, match="marked `processes`"):
        subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.processes
def test_a_process_that_a_mark_announces_is_started() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0


class Node:
    """A process that runs tests, as far as the sharing out looks at it."""

    shutting_down = False
    gateway = SimpleNamespace(id="gw")

    def __init__(self) -> None:
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def test_a_process_too_many_gets_nothing_while_times_are_measured() -> None:
    tests = [f"tests/sockets/test_clock.py::test_{i}" for i in range(3)]
    tests += [f"tests/unit/test_{file}.py::test_{i}" for file in range(2 * processors() + 3) for i in range(3)]
    nodes = [Node() for _ in range(processors() + 1)]
    option = SimpleNamespace(loadscopereorder=False, maxprocesses=None, tx=["popen"] * len(nodes))
    units = Units(SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name)))
    for node in nodes:
        units.add_node(node)
        units.add_node_collection(node, tests)
    units.schedule()
    assert nodes[0].given[:3] == [0, 1, 2]
    assert all(node.given for node in nodes[:-1])
    for index in (0, 1):
        units.mark_test_complete(nodes[0], index)
        assert nodes[-1].given == []
    units.mark_test_complete(nodes[0], 2)
    assert len(nodes[-1].given) >= 3
