"""How a process of ours ended, in words."""

from __future__ import annotations

import pytest

from bench.process.child_process import death


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (70, "ended with status 70"),
        (-15, "was killed by SIGTERM"),
        (-11, "was killed by SIGSEGV"),
        (-9, "was killed by SIGKILL (which the system does when memory runs out)"),
    ],
)
def test_a_death_is_told_and_sigkill_with_its_likely_cause(status: int, words: str) -> None:
    assert death(status) == words
