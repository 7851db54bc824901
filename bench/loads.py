"""Loads as people list them.

`5,10,20`, or `1..256x2`, a ladder that grows by a factor. What each is a number of, the user of the list knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

LoadName = Literal["rate", "concurrency", "sessions"]


@dataclass(frozen=True, slots=True)
class LoadKind:
    """What a load is a number of: `unit` for many, `one` for one of them. `whole`: there are no halves."""

    name: LoadName
    unit: str
    one: str
    whole: bool

    def settings(self, load: float) -> dict[str, Any]:
        return {
            "mode": self.name,
            "rate": None if self.whole else load,
            "concurrency": int(load) if self.whole else None,
        }

    def flags(self, load: float) -> dict[str, Any]:
        """What of them must be given: the mode is implied by the others, but that of sessions."""
        implied = "" if self.name == "sessions" else "mode"
        return {name: value for name, value in self.settings(load).items() if value is not None and name != implied}


KINDS: dict[str, LoadKind] = {
    kind.name: kind
    for kind in (
        LoadKind("rate", "requests/s", "request/s", whole=False),
        LoadKind("concurrency", "users", "user", whole=True),
        LoadKind("sessions", "sessions", "session", whole=True),
    )
}
"""What a search or a sweep may vary, each a mode of its runs: requests per second; users of a closed loop, who each send
their next request when they have an answer; sessions that are live at once, each of which is an agent, say."""


def steady_from_the_start(kind: str, *, rows: bool) -> dict[str, object]:
    """The settings that make a load of this kind steady at once, where nothing else is said: else all sessions would begin
    with a first turn. `rows`: they are those of a file, which need not have the answers that this takes."""
    return {"sessions_begin": "middle"} if kind == "sessions" and not rows else {}


MOST_LOAD = 1_000_000.0
"""More users, or requests per second, are a slip of the pen."""
MOST_LOADS = 1_000

_NUMBER = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_LADDER = re.compile(rf"({_NUMBER})\.\.({_NUMBER})x({_NUMBER})")


def parse(text: str, *, whole: bool = False, unit: str = "users") -> tuple[float, ...]:
    """The loads of a list, in its order; those of a ladder end with its upper end. `whole`: loads that have no halves.

    Raises ValueError with what is wrong, and what to write.
    """
    found: list[float] = []
    for word in (word.strip() for word in text.split(",")):
        if (match := _LADDER.fullmatch(word)) is not None:
            found += _ladder(*(float(part) for part in match.groups()), word=word, whole=whole)
        elif re.fullmatch(_NUMBER, word):
            found.append(float(word))
        else:
            raise ValueError(f"{word!r} is not a load: write numbers (5,10,20), or a ladder with its factor (1..256x2)")
    for load in found:
        if not 0 < load <= MOST_LOAD:
            raise ValueError(f"{load:g} is not a load: give more than 0 and at most {MOST_LOAD:,.0f}")
        if whole and not load.is_integer():
            raise ValueError(f"{load:g} {unit} do not exist: give whole numbers, or a rate")
    if len(found) > MOST_LOADS:
        raise ValueError(f"these are {len(found):,} loads: give at most {MOST_LOADS:,}")
    return tuple(found)


def _ladder(first: float, last: float, factor: float, *, word: str, whole: bool) -> Sequence[float]:
    if not 0 < first < last or factor <= 1:
        raise ValueError(
            f"{word!r} does not rise: a ladder is written 1..256x2, from the least load, by a factor over 1"
        )
    rungs: list[float] = []
    load = first
    while load < last * (1 - 1e-9) and len(rungs) <= MOST_LOADS:
        rungs.append(float(round(load)) if whole else float(f"{load:.6g}"))
        load *= factor
    if len(rungs) > MOST_LOADS:
        raise ValueError(f"{word!r} has more than {MOST_LOADS:,} loads: give a greater factor")
    return tuple(dict.fromkeys([*rungs, last]))
