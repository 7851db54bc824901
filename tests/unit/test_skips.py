"""The last line of a test run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.skips import last_line

TESTS = Path(__file__).parents[1]


def test_nothing_is_said_where_no_test_was_skipped() -> None:
    assert last_line([]) == ""


def test_each_reason_has_its_count_and_the_command_that_helps() -> None:
    reasons = ["Skipped: needs chromium"] * 12 + ["kernel stamps are Linux's", "vLLM is not installed here"]
    assert last_line(reasons) == (
        "skipped: 12 (needs chromium): run scripts/browser; 1 (kernel stamps are Linux's); "
        "1 (vLLM is not installed here): run TRUELOAD_VLLM_PYTHON=/path/to/python scripts/test"
    )


def test_each_extra_that_a_test_may_lack_has_the_command_that_installs_it() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(TESTS.glob("*/test_*.py")))
    named = re.finditer(r"(?:the extra `(\w+)` is not installed|install the extra (\w+))(?=\")", text)
    reasons = {match[0]: match[1] or match[2] for match in named}
    assert set(reasons.values()) >= {"dev", "real", "ray"}
    for reason, extra in reasons.items():
        remedy = re.search(r"run scripts/environment (\S+)", last_line([reason]))
        assert remedy is not None, reason
        assert extra in remedy[1].split(",")
