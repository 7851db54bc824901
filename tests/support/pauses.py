"""Random pauses between the lines of the tests' own code, while servers, clients and the kernel go on.

`scripts/test-steadiness --plan pauses=1` sets the seed in the environment. Pauses reveal races whose usual winner hides
them: for example, a test's server closes a connection while the client sends its answer. Only tests with sockets,
browsers or calibrations pause. Tests marked `timing` do not, nor does code in an event loop: it may be the client whose
punctuality is tested.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

PAUSES = "TRUELOAD_TEST_PAUSES"
"""The environment variable with the seed."""
SHARE, SHORTEST_S, LONGEST_S, MOST_S = 0.08, 0.001, 0.12, 3.0
"""The share of lines with a pause before them, the bounds of one pause, and the limit on all pauses of a test."""
TESTS = Path(__file__).parents[1]
PAUSING = tuple(f"{TESTS / folder}/" for folder in ("sockets", "browser", "calibration", "support"))


class Pauses:
    """A plugin of pytest."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._chance = random.Random(seed)
        self._left_s = 0.0
        self._last: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        if not str(item.path).startswith(PAUSING):
            return (yield)
        self._chance.seed(f"{self._seed} {item.nodeid}")
        self._left_s, self._last = MOST_S, []
        before = sys.gettrace()
        threading.settrace(self._of_calls)
        sys.settrace(self._of_calls)
        try:
            return (yield)
        finally:
            sys.settrace(before)
            threading.settrace(before)
            self._left_s = 0.0
            item.add_report_section("call", "pauses", "\n".join(self._last[-30:]))

    def _of_calls(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._of_lines if frame.f_code.co_filename.startswith(PAUSING) else None

    def _of_lines(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and self._left_s > 0 and self._chance.random() < SHARE and not in_event_loop():
            pause_s = self._chance.uniform(SHORTEST_S, LONGEST_S)
            self._left_s -= pause_s
            self._last.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {pause_s * 1e3:.0f} ms")
            time.sleep(pause_s)
        return self._of_lines


def in_event_loop() -> bool:
    """Whether this thread runs an event loop at the moment."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
