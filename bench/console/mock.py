"""The built-in target: our mock, started and stopped from the console, so that a first test needs nothing else."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from bench.console.errors import Conflict, Refused
from bench.console.language import tr
from bench.errors import BenchError, UsageError
from bench.process.mock_process import Mock, running_mock

DEFAULT_FLAGS = "--ttft lognormal:mean=80ms,cv=0.3 --tpot 10ms"
"""As in scripts/demo. With constant latencies users would stay in step, and a distribution of one value shows nothing."""
NAME = "mock"
"""The name of the built-in target."""


class BuiltInMock:
    """Runs at most one mock at a time, and ends it with the console."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._mock: Mock | None = None
        self.flags = DEFAULT_FLAGS

    @property
    def url(self) -> str | None:
        """The mock's URL, or None if it does not run."""
        if self._mock is not None and self._mock.process.poll() is not None:
            self._mock = None
        return None if self._mock is None else self._mock.url

    def start(self, flags: str = DEFAULT_FLAGS) -> str:
        """Start the mock and return its URL. Raises Conflict if one runs, Refused for flags that the mock refuses."""
        with self._lock:
            if self.url is not None:
                raise Conflict(tr("the mock is already running: stop it first"))
            try:
                self._mock = self._stack.enter_context(running_mock(flags, seed=0, tokenizer=None))
            except UsageError as e:
                sentences = [problem.removeprefix("--mock: ") for problem in e.problems]
                raise Refused([("flags", sentence) for sentence in sentences]) from e
            except BenchError as e:
                raise Conflict(str(e)) from e
            self.flags = flags
            return self._mock.url

    def stop(self) -> None:
        with self._lock:
            self._mock = None
            self._stack.close()
            self._stack = ExitStack()
