"""The result of a limits measurement: every ladder, climbed against every server, and the ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.limits.ladder import Climb

CEILINGS = {"chunks": "chunks_per_s", "requests": "requests_per_s", "streams": "streams"}
"""The key of each ladder's ceiling in a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """What one worker of a machine can measure. `climbs`: by ladder, then by server."""

    host: Mapping[str, str | int]
    version: str
    date: str
    quick: bool
    climbs: Mapping[str, Mapping[str, Climb]]

    @property
    def disturbed(self) -> bool:
        """Whether other programs kept the machine busy during any step."""
        return any(step.disturbed for by in self.climbs.values() for climb in by.values() for step in climb.steps)

    @property
    def ceiling(self) -> dict[str, float | None]:
        """The highest load that held on each ladder, by the values of CEILINGS; None if not even the first step held."""
        by_key = {CEILINGS[name]: [climb.held for climb in by.values()] for name, by in self.climbs.items()}
        return {key: max((load for load in loads if load is not None), default=None) for key, loads in by_key.items()}

    def to_json(self) -> dict[str, Any]:
        """The JSON of `--format json`, which the cache also stores."""
        return {
            "host": self.host,
            "version": self.version,
            "date": self.date,
            "quick": self.quick,
            "disturbed": self.disturbed,
            "ceiling": self.ceiling,
            "ladders": {
                name: {
                    server: {"held": climb.held, "client_limited": climb.client_limited, **asdict(climb)}
                    for server, climb in by.items()
                }
                for name, by in self.climbs.items()
            },
        }
