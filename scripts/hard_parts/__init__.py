"""The parts of hard use. Each is a function that runs it and returns rows of a table, and a line in PARTS."""

from __future__ import annotations

from collections.abc import Callable

from hard_parts.control_group import memory
from hard_parts.kills import kills
from hard_parts.loads import many, requests, streams
from hard_parts.place import Asked, Row
from hard_parts.surroundings import clock, disk, limits, names, proxy, sleep

PARTS: dict[str, Callable[[Asked], list[Row]]] = {
    "streams": streams,
    "many": many,
    "requests": requests,
    "kills": kills,
    "disk": disk,
    "clock": clock,
    "sleep": sleep,
    "limits": limits,
    "memory": memory,
    "names": names,
    "proxy": proxy,
}
