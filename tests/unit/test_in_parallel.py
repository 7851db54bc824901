"""How the tests are shared out among processes, and what --quick may rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.in_parallel import APART, BROWSER, TIMES, UNITS, place_of, unit_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("node_id", "unit"),
    [
        ("tests/unit/test_skips.py::test_a[x::y]", "tests/unit/test_skips.py"),
        ("tests/sockets/test_clock.py::test_a", TIMES),
        ("tests/calibration/test_mock_timing.py::test_b", TIMES),
        ("tests/browser/test_console.py::test_c", BROWSER),
        (f"{APART[0]}::test_d[README.md]", f"{APART[0]}::test_d[README.md]"),
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
