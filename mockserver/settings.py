"""The current configuration and its versions, which `/admin` changes while the mock serves.

Rules:
- A configuration is frozen. A change makes a new version for requests that arrive later. A request keeps the version that
  it began with.
- Version 0 is the initial one. A ledger line names its version in `engine.config`, unless it is 0.
- The current configuration is text in the memory that all workers share (workers/shared_state.py). The worker that
  receives a change publishes it, and each worker applies it (`sync`) before it handles its next request.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from mockserver.config import Flag, MockConfig, overridden
from mockserver.config_parts.sentences import sentences_of
from mockserver.errors import UsageError
from mockserver.plans.latencies import latencies_of
from mockserver.plans.plan import Latencies
from mockserver.replies.choice import ReplyStyle
from mockserver.workers.shared_state import MAX_TEXT_BYTES, SharedState

_REMEMBERED = 100

LIVE = tuple(
    name
    for name, field in MockConfig.model_fields.items()
    if any(isinstance(extra, Flag) and extra.live for extra in field.metadata)
)
"""The fields that can change while the mock serves."""


def changed(config: MockConfig, values: Mapping[str, object], of: str = "") -> MockConfig:
    """The configuration with some of its `LIVE` fields changed, written as in the YAML file.

    Raises UsageError with every problem, each prefixed with `of`.
    """
    problems = []
    for name in values:
        if name in MockConfig.model_fields and name not in LIVE:
            problems.append(f"{name}: cannot change while the mock serves; these fields can: {', '.join(LIVE)}")
        elif name not in MockConfig.model_fields:
            close = difflib.get_close_matches(str(name).replace("-", "_"), LIVE, n=1)
            hint = f"did you mean {close[0]}?" if close else f"these fields can change: {', '.join(LIVE)}"
            problems.append(f"{name}: no such key; {hint}")
    known = {name: value for name, value in values.items() if name in LIVE}
    try:
        new = MockConfig(**overridden({name: getattr(config, name) for name in MockConfig.model_fields}, known))
    except ValidationError as e:
        problems += [sentence for error in e.errors() for sentence in sentences_of(error, None, {})]
        raise UsageError([of + problem for problem in problems]) from e
    if problems:
        raise UsageError([of + problem for problem in problems])
    return new


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """A configuration and when it took effect."""

    number: int
    config: MockConfig
    latencies: Latencies
    """The distributions that plans are drawn from."""
    style: ReplyStyle
    """The style of replies."""
    since_ns: int
    """Requests handled after this instant use the version. CLOCK_MONOTONIC."""
    from_line: int
    """The number of ledger lines at that instant. Earlier lines have an earlier version."""

    def to_json(self) -> dict[str, Any]:
        """The fields that can change, as written in the YAML file."""
        values = self.config.model_dump(mode="json")
        return {
            "version": self.number,
            "since_ns": self.since_ns,
            "from_line": self.from_line,
            "config": {name: values[name] for name in LIVE},
        }


def _version(number: int, config: MockConfig, since_ns: int, from_line: int) -> ConfigVersion:
    return ConfigVersion(number, config, latencies_of(config), ReplyStyle.of(config), since_ns, from_line)


class Settings:
    """The current version in this process, and the history that all workers share."""

    def __init__(self, config: MockConfig, shared: SharedState, since_ns: int) -> None:
        self._first = config
        self._shared = shared
        self.current = _version(0, config, since_ns, 0)
        self._history = [self.current.to_json()]
        self._restarts = 0

    def sync(self) -> bool:
        """Apply the published version. Returns whether the mock was reset since the last call."""
        if self._shared.version == self.current.number:
            return False
        number, text = self._shared.text()
        published = orjson.loads(text)
        self._history = published["history"]
        newest = self._history[-1]
        config = changed(self._first, newest["config"])
        self.current = _version(number, config, newest["since_ns"], newest["from_line"])
        restarted: bool = published["restarts"] != self._restarts
        self._restarts = published["restarts"]
        return restarted

    def change(self, values: Mapping[str, object], since_ns: int, from_line: int) -> None:
        """Publish a new version with these fields changed. Raises UsageError with every problem."""
        self._publish(changed(self.current.config, values), since_ns, from_line, self._restarts)

    def restart(self, since_ns: int, from_line: int) -> None:
        """Publish the initial configuration again, and reset counters and attempts."""
        self._shared.forget()
        self._publish(self._first, since_ns, from_line, self._restarts + 1)

    def _publish(self, config: MockConfig, since_ns: int, from_line: int, restarts: int) -> None:
        version = _version(self.current.number + 1, config, since_ns, from_line).to_json()
        history = [*self._history, version][-_REMEMBERED:]
        while len(text := orjson.dumps({"history": history, "restarts": restarts})) > MAX_TEXT_BYTES:
            if len(history) == 1:
                raise UsageError(f"the settings take {len(text)} bytes: write fewer faults (at most {MAX_TEXT_BYTES})")
            history = history[-(len(history) // 2) :]
        self._shared.publish(text)

    def history(self) -> list[dict[str, Any]]:
        """The latest 100 versions as JSON, oldest first; fewer if they are long."""
        return self._history
