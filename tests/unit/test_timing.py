"""How timing tests are retried and reported, and that nothing else in the suite is retried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.last_lines import LEFT_OUT, Ended, both, skips
from tests.support.timing import last_words, passed_again, timing

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PYTEST = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
OF_TIMES = """
import io
import pytest
from tests.support.timing import timing

tried, folders = [], []

@timing(tries=4, why="counts")
def test_passes_at_last(tmp_path):
    folders.append(tmp_path)
    tried.append(open(__file__))  # Left open: nothing may warn of it later.
    assert len(tried) == 3, f"only {len(tried)} tried"
    assert len(set(folders)) == 3
    for file in tried:
        file.close()

@timing(tries=2, why="leaves a file open, and fails")
def test_never_passes():
    left = open(__file__)
    assert left.name == "42 ms"

def test_right_at_once():
    pass

def test_wrong_at_once():
    assert "7 ms" == "8 ms"

@timing(tries=2, why="not here")
def test_skipped():
    pytest.skip("needs chromium")
"""


def run(folder: Path, *flags: str) -> tuple[int, str]:
    """Run the tests of OF_TIMES. Returns the status and the output."""
    (folder / "test_of_times.py").write_text(OF_TIMES)
    words = [*PYTEST, "-n", "0", *flags, str(folder)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout


@pytest.mark.processes
def test_of_its_tries_one_has_to_pass_and_those_that_failed_are_printed(tmp_path: Path) -> None:
    status, printed = run(tmp_path)
    assert status == 1
    first, second = (printed.index(f"{number}: E       AssertionError: only {number} tried") for number in (1, 2))
    assert first < second
    assert "3: E " not in printed
    assert "7 ms" in printed
    lines = printed.splitlines()[-3:]
    assert re.fullmatch(r"passed at the 3rd try: \S+::test_passes_at_last", lines[0])
    assert lines[1:] == ["skipped: 1 (needs chromium): run scripts/browser", "2 passed, 2 failed, 1 skipped"]


@pytest.mark.processes
def test_those_of_times_are_run_apart_and_the_last_lines_are_of_both_runs(tmp_path: Path) -> None:
    ended = ["--ended", str(tmp_path / "ended.json")]
    status, printed = run(tmp_path, *ended, "--timing", "none")
    assert status == 1
    assert printed.splitlines()[-1] == "1 passed, 1 failed"
    status, printed = run(tmp_path, *ended, "--timing", "only")
    assert status == 1
    assert "test_wrong_at_once" not in printed
    assert printed.splitlines()[-1] == "2 passed, 2 failed, 1 skipped"


@pytest.mark.processes
@pytest.mark.parametrize("processes", ["0", "1"])
def test_quick_says_how_many_it_left_out_and_how_to_run_them(tmp_path: Path, processes: str) -> None:
    marked = [
        f"@pytest.mark.{name}\ndef test_{name}(): assert False\n" for name in ("slow", "long", "heavy", "processes")
    ]
    (tmp_path / "test_of_times.py").write_text("import pytest\ndef test_light(): pass\n" + "".join(marked))
    ended = subprocess.run(
        [*PYTEST, "-n", processes, "--quick", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines()[-2:] == [LEFT_OUT.format(4), "1 passed"]


def test_what_would_pass_at_each_try_is_no_test_of_times() -> None:
    with pytest.raises(AssertionError, match="is not a timing test"):
        timing(tries=1, why="the lateness of a timer")
    with pytest.raises(AssertionError):
        timing(tries=3, why=" ")


@pytest.mark.parametrize(("failed", "nth"), [(1, "2nd"), (2, "3rd"), (3, "4th"), (9, "10th")])
def test_the_try_that_passed_is_told(failed: int, nth: str) -> None:
    assert passed_again(failed, "tests/test_a.py::test_b") == f"passed at the {nth} try: tests/test_a.py::test_b"


def test_of_a_failure_its_figures_are_kept_and_of_one_without_them_all() -> None:
    assert last_words("    assert late < 2\nE   assert 3.5 < 2\nE    + where\n\ntest_a.py:7: Error") == (
        "E   assert 3.5 < 2\nE    + where"
    )
    assert last_words("Failed: Timeout >600.0s") == "Failed: Timeout >600.0s"


def test_runs_are_counted_together(tmp_path: Path) -> None:
    kept = tmp_path / "ended.json"
    first = both(kept, Ended({"passed": 1200, "failed": 0}, ["passed at the 2nd try: b"], ["Skipped: needs chromium"]))
    assert first.lines()[-1] == "1,200 passed"
    then = both(kept, Ended({"passed": 34, "failed": 1}, ["passed at the 2nd try: a"], ["needs chromium"]))
    assert then.lines() == [
        "passed at the 2nd try: a",
        "passed at the 2nd try: b",
        "skipped: 2 (needs chromium): run scripts/browser",
        "1,234 passed, 1 failed",
    ]


def test_each_reason_has_its_count_and_the_command_that_helps() -> None:
    assert skips([]) == []
    reasons = ["Skipped: needs chromium"] * 12 + ["kernel stamps are Linux's", "vLLM is not installed here"]
    assert skips(reasons) == [
        "skipped: 12 (needs chromium): run scripts/browser; 1 (kernel stamps are Linux's); "
        "1 (vLLM is not installed here): run TRUELOAD_VLLM_PYTHON=/path/to/python scripts/test"
    ]


def test_each_extra_that_a_test_may_lack_has_the_command_that_installs_it() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(TESTS.glob("*/test_*.py")))
    named = re.finditer(r"(?:the extra `(\w+)` is not installed|install the extra (\w+))(?=\")", text)
    reasons = {match[0]: match[1] or match[2] for match in named}
    assert set(reasons.values()) >= {"dev", "real", "ray"}
    for reason, extra in reasons.items():
        remedy = re.search(r"run scripts/environment (\S+)", "".join(skips([reason])))
        assert remedy is not None, reason
        assert extra in remedy[1].split(",")


@pytest.mark.parametrize(
    "other", [r"mark\.flaky", r"mark\.timing", r"\breruns?=", r"\b[Tt]ries\b.*\brange|range\(TRIES"]
)
def test_nothing_else_in_the_suite_is_tried_again(other: str) -> None:
    ours = {TESTS / "support" / "timing.py", Path(__file__)}
    files = [path for path in TESTS.rglob("*.py") if path not in ours]
    assert [str(path) for path in files if re.search(other, path.read_text(encoding="utf-8"))] == []


def test_what_only_computes_measures_no_times() -> None:
    computing = [path for folder in ("unit", "virtual") for path in (TESTS / folder).rglob("test_*.py")]
    marked = [path for path in computing if "@timing(" in path.read_text(encoding="utf-8")]
    assert marked == [Path(__file__)]
