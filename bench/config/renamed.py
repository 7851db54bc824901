"""Settings that had another name in 0.1.0, whose files can still be read.

`ramp` had two meanings: a time over which users start, now `ramp_up`, and a load that rises along a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.config import values
from bench.traffic.classes import FORMER_SETTINGS, renewed_classes

RENAMED = {**FORMER_SETTINGS, "priority": "cpu_priority"}
"""The current name of a setting, by its old name."""


def _is_time(ramp: object) -> bool:
    try:
        values.seconds(ramp)
    except ValueError:
        return False
    return True


def renewed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Given settings with their current names."""
    settings = {RENAMED.get(name, name): value for name, value in given.items() if RENAMED.get(name) not in given}
    if _is_time(given.get("ramp")):
        del settings["ramp"]
        settings.setdefault("ramp_up", given["ramp"])
    if isinstance(settings.get("mix"), Mapping):
        settings["mix"] = renewed_classes(settings["mix"])
    return settings


def renewed_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration from a run directory, with current names. A damaged value stays as it is."""
    settings = renewed(config)
    if "ramp" in config and "ramp" not in settings:
        settings |= {"ramp": None, "ramp_up": values.seconds(settings["ramp_up"])}
    return settings
