"""How the tests are shared out among the processes that run them side by side (pytest-xdist).

The files are the units, so that what a module shares (a mock, a browser, a console) is started once. Two kinds of test are
one unit each, and so never run beside a test of their own kind: those that hold times of this machine to something, and
those that drive a browser. A process that has nothing left to do takes the next unit; those of `FIRST` stand in front, so
that times are measured while the other processes only compute.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

TIMES, BROWSER = "times of this machine", "a browser"
UNITS: dict[str, str] = {
    "tests/calibration/": TIMES,
    "tests/sockets/test_calibrate_command.py": TIMES,
    "tests/sockets/test_ci_workflows.py": TIMES,
    "tests/sockets/test_clock.py": TIMES,
    "tests/sockets/test_limits_command.py": TIMES,
    "tests/sockets/test_planted_defects_over_sockets.py": TIMES,
    "tests/browser/": BROWSER,
}
"""How a path begins, and the unit that its tests belong to. Other files are units of their own."""
APART = ("tests/sockets/test_documentation_examples.py",)
"""Files whose tests are units of their own: each is long, and shares nothing that is dear."""
FIRST = (TIMES, "tests/unit/", "tests/virtual/", BROWSER, "tests/sockets/")


def unit_of(node_id: str) -> str:
    """The unit that a test belongs to."""
    file = node_id.partition("::")[0]
    if file in APART:
        return node_id
    return next((unit for start, unit in UNITS.items() if file.startswith(start)), file)


def place_of(node_id: str) -> int:
    """Where in the order a test stands; those with the same place keep their own order."""
    unit = unit_of(node_id)
    return next((place for place, start in enumerate(FIRST) if unit.startswith(start)), len(FIRST))


class Units(LoadScopeScheduling):
    """Hands out unit after unit, in the order in which the tests were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
