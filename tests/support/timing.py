"""Tests that hold times of this machine to something: how they are marked, tried again, and told about.

`scripts/test` runs them one after another with nothing beside them, once the others are done. pytest-rerunfailures tries
again: the fixtures of the function are set up anew for each try.
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
    """The mark of a test whose outcome hangs on how fast this machine is at the moment: one of its tries has to pass.

    `why` says what is measured, and the noise that it is held against. A defect fails every try. Whatever can be decided in
    virtual time, or by waiting for an event, does not belong here.
    """
    assert tries > 1, "what is right at each try is no test of times"
    assert why.strip()

    def marked(test: Test) -> Test:
        pytest.mark.flaky(reruns=tries - 1)(test)
        pytest.mark.timing(tries=tries, why=why)(test)
        return test

    return marked


def forget_the_last_try(item: pytest.Item) -> None:
    """Let go of what a failed try has left open: warned of later, it would fail a test that has nothing to do with it."""
    if getattr(item, "execution_count", 1) < 2:
        return
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def failed_tries(reports: Iterable[pytest.TestReport]) -> dict[str, list[str]]:
    """For each test that was tried again, what each failed try said."""
    found: dict[str, list[str]] = {}
    for report in reports:
        found.setdefault(report.nodeid, []).append(report.longreprtext)
    return found


def last_words(longrepr: str) -> str:
    """The lines of a failure that say what was wrong, with its figures."""
    return "\n".join(line for line in longrepr.splitlines() if line.startswith("E ")) or longrepr


def passed_again(failed: int, node_id: str) -> str:
    """A line about a test that passed once it had failed so many times."""
    nth = {2: "2nd", 3: "3rd"}.get(failed + 1, f"{failed + 1}th")
    return f"passed at the {nth} try: {node_id}"
