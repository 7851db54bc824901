"""Tests that compare measured times on this machine: how they are marked, retried, and reported.

`scripts/test` runs them after all other tests, one at a time. pytest-rerunfailures retries them: the function's
fixtures are set up again for each try.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])


def timing(*, tries: int, why: str) -> Callable[[Test], Test]:
    """The mark of a test whose outcome depends on the current speed of this machine: one of its tries has to pass.

    `why` states what is measured, and the noise that it is compared with. A defect fails every try. Anything that can
    be decided in virtual time, or by waiting for an event, does not belong here.
    """
    assert tries > 1, "a test that must pass at the first try is not a timing test"
    assert why.strip()

    def marked(test: Test) -> Test:
        pytest.mark.flaky(reruns=tries - 1)(test)
        pytest.mark.timing(tries=tries, why=why)(test)
        return test

    return marked


def forget_the_last_try(item: pytest.Item) -> None:
    """Release what a failed try left open. A later warning about it would fail an unrelated test."""
    if getattr(item, "execution_count", 1) < 2:
        return
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def failed_tries(reports: Iterable[pytest.TestReport]) -> dict[str, list[str]]:
    """For each retried test, the message of each failed try."""
    found: dict[str, list[str]] = {}
    for report in reports:
        found.setdefault(report.nodeid, []).append(report.longreprtext)
    return found


def last_words(longrepr: str) -> str:
    """The lines of a failure that explain it, with its figures."""
    return "\n".join(line for line in longrepr.splitlines() if line.startswith("E ")) or longrepr


def passed_again(failed: int, node_id: str) -> str:
    """A line about a test that passed after this many failures."""
    nth = {2: "2nd", 3: "3rd"}.get(failed + 1, f"{failed + 1}th")
    return f"passed at the {nth} try: {node_id}"
