"""The configuration in force and its versions: what `/admin` changes while the mock serves.

Rules:
- A configuration is frozen. A change makes the next version, which holds for requests that arrive from then on; what is
  under way keeps the plan that it has.
- Version 0 is that of the start. The ledger names the version of a line in `engine.config`, unless it is 0.
- What is in force is kept in the memory that all workers share, as text (shared_state.py): the one that is told to change
  something publishes it, and each puts it in force (`sync`) before it answers its next request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mockserver.config import LIVE, MockConfig, changed
from mockserver.plans.latencies import latencies_of
from mockserver.plans.plan import Latencies
from mockserver.replies.shaped.choice import Form
from mockserver.workers.shared_state import SharedState

_REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration and since when it holds."""

    number: int
    config: MockConfig
    latencies: Latencies
    """What plans are drawn from."""
    form: Form
    """How replies look."""
    since_ns: int
    """CLOCK_MONOTONIC; requests handled from then on have it."""
    from_line: int
    """Lines that the ledger had by then: none before has this version."""

    def facts(self) -> dict[str, Any]:
        """What may change, as it is written."""
        values = self.config.model_dump(mode="json")
        return {
            "version": self.number,
            "since_ns": self.since_ns,
            "from_line": self.from_line,
            "config": {name: values[name] for name in LIVE},
        }


def _version(number: int, config: MockConfig, since_ns: int, from_line: int) -> Version:
    return Version(number, config, latencies_of(config), Form.of(config), since_ns, from_line)


class Settings:
    """The version in force in this process, and the history that all share."""

    def __init__(self, config: MockConfig, shared: SharedState, since_ns: int) -> None:
        self._first = config
        self._shared = shared
        self.now = _version(0, config, since_ns, 0)
        self._history = [self.now.facts()]
        self._restarts = 0

    def sync(self) -> bool:
        """Put in force what was published; whether the mock was started anew meanwhile."""
        if self._shared.version == self.now.number:
            return False
        number, text = self._shared.text()
        published = orjson.loads(text)
        self._history = published["history"]
        newest = self._history[-1]
        config = changed(self._first, newest["config"])
        self.now = _version(number, config, newest["since_ns"], newest["from_line"])
        restarted: bool = published["restarts"] != self._restarts
        self._restarts = published["restarts"]
        return restarted

    def change(self, values: Mapping[str, object], since_ns: int, from_line: int) -> None:
        """Publish the next version, with these fields changed. Raises UsageError with every problem."""
        self._publish(changed(self.now.config, values), since_ns, from_line, self._restarts)

    def restart(self, since_ns: int, from_line: int) -> None:
        """Publish the configuration of the start again, and that counters and attempts begin anew."""
        self._shared.forget()
        self._publish(self._first, since_ns, from_line, self._restarts + 1)

    def _publish(self, config: MockConfig, since_ns: int, from_line: int, restarts: int) -> None:
        facts = _version(self.now.number + 1, config, since_ns, from_line).facts()
        history = [*self._history, facts][-_REMEMBERED:]
        self._shared.publish(orjson.dumps({"history": history, "restarts": restarts}))

    def history(self) -> list[dict[str, Any]]:
        """The facts of each version (of the latest hundred), oldest first."""
        return self._history
