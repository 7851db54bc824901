"""How the tests are shared out among the processes that run them side by side (pytest-xdist).

The files are the units, so that what a module shares (a mock, a browser, a console) is started once. Two kinds of test are
one unit each, and so never run beside a test of their own kind: those that hold times of this machine to something, and
those that drive a browser. A process that has nothing left to do takes the next unit; those of `FIRST` stand in front, so
that times are measured while the other processes only compute.
"""

from __future__ import annotations

import os

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

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


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Units(LoadScopeScheduling):
    """Hands out unit after unit, in the order in which the tests were collected.

    There may be more processes than processors, since most tests wait for half of their time. While times are measured,
    those beyond the processors get nothing to do.
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if self.nodes.index(node) < processors() or not self._times_are_measured():
            super()._assign_work_unit(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        for other, units in self.assigned_work.items():
            if not units and not self._times_are_measured():
                self._reschedule(other)

    def _times_are_measured(self) -> bool:
        everywhere = (self.workqueue, *self.assigned_work.values())
        return any(False in units.get(TIMES, {}).values() for units in everywhere)
