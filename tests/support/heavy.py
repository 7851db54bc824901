"""Test functions that need much processor time: `tests/heavy.txt` lists them, and `scripts/test --quick` leaves them
out.

`scripts/heavy-tests` writes the list. It loads this module as a pytest plugin that measures each test.
"""

from __future__ import annotations

import json
import os
import resource
from collections import defaultdict
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / "heavy.txt"
HEAD = "# Written by scripts/heavy-tests: the test functions whose tests need much processor time. --quick leaves them out.\n"
MOST_S = 0.05
"""A function whose tests need more than this on average joins the list."""
LEAST_S = 0.025
"""A listed function leaves the list below this: between the two, chance and the machine do not change the list."""
MEASURED = "TRUELOAD_MEASURED_TESTS"
"""The environment variable that names the plugin's output file."""


def function_of(node_id: str) -> str:
    """The test's function: its id without the parameters."""
    return node_id.partition("[")[0]


def listed() -> frozenset[str]:
    """The functions on the list."""
    return frozenset(line for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))


def heavy(measured: Iterable[tuple[str, float]], before: frozenset[str]) -> list[str]:
    """The new list, from the measured tests (id, seconds) and the old list. Unmeasured functions stay as they were."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for node_id, used in measured:
        seconds[function_of(node_id)].append(used)
    means = {name: sum(each) / len(each) for name, each in seconds.items()}
    kept = {name for name in before if means.get(name, MOST_S) >= LEAST_S}
    return sorted(kept | {name for name, mean in means.items() if mean > MOST_S})


def _used_s() -> float:
    """The processor time of this process and its children so far, in seconds."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Write one line for each test; several processes append to one file."""
    before = _used_s()
    result = yield
    line = json.dumps([item.nodeid, round(_used_s() - before, 4)]) + "\n"
    with Path(os.environ[MEASURED]).open("a", encoding="utf-8") as file:
        file.write(line)
    return result
