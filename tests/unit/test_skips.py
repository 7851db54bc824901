"""The last line of a test run."""

from __future__ import annotations

from tests.support.skips import last_line


def test_nothing_is_said_where_no_test_was_skipped() -> None:
    assert last_line([]) == ""


def test_each_reason_has_its_count_and_the_command_that_helps() -> None:
    reasons = ["Skipped: needs chromium"] * 12 + ["kernel stamps are Linux's", "vLLM is not installed here"]
    assert last_line(reasons) == (
        "skipped: 12 (needs chromium): run scripts/browser; 1 (kernel stamps are Linux's); "
        "1 (vLLM is not installed here): run TRUELOAD_VLLM_PYTHON=/path/to/python scripts/test"
    )
