"""Lists of loads as users write them: `5,10,20`, or `1..256x2`, a ladder that grows by a factor.

The caller knows the unit of the loads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

LoadName = Literal["rate", "concurrency", "sessions"]


@dataclass(frozen=True, slots=True)
class LoadKind:
    """What a load counts: `unit` is its plural, `one` its singular. `whole`: only whole numbers."""

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
        """The flags to give for this load. The others imply the mode, except for sessions."""
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
"""What a search or a sweep may vary; each is a mode of its runs. rate: requests per second. concurrency: users of a
closed loop, who each send their next request when the last is answered. sessions: sessions open at once (agents, for
example)."""


def steady_from_the_start(kind: str, *, rows: bool) -> dict[str, object]:
    """Settings that make a load of this kind steady from the start, as defaults. Without them every session would begin
    with its first turn. `rows`: the sessions come from a file, which may lack the answers that this needs."""
    return {"sessions_begin": "middle"} if kind == "sessions" and not rows else {}


MOST_LOAD = 1_000_000.0
"""A higher number of users or requests per second is taken for a typo."""
MOST_LOADS = 1_000

_NUMBER = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_LADDER = re.compile(rf"({_NUMBER})\.\.({_NUMBER})x({_NUMBER})")


def parse(text: str, *, whole: bool = False, unit: str = "users") -> tuple[float, ...]:
    """The loads of a list, in order. A ladder ends with its upper end. `whole`: only whole numbers are valid.

    Raises ValueError with what is wrong, and what to write.
    """
    loads: list[float] = []
    for word in (word.strip() for word in text.split(",")):
        if (match := _LADDER.fullmatch(word)) is not None:
            loads += _ladder(*(float(part) for part in match.groups()), word=word, whole=whole)
        elif re.fullmatch(_NUMBER, word):
            loads.append(float(word))
        else:
            raise ValueError(f"{word!r} is not a load: write numbers (5,10,20), or a ladder with its factor (1..256x2)")
    for load in loads:
        if not 0 < load <= MOST_LOAD:
            raise ValueError(f"{load:g} is not a load: give more than 0 and at most {MOST_LOAD:,.0f}")
        if whole and not load.is_integer():
            raise ValueError(f"{load:g} {unit} do not exist: give whole numbers, or a rate")
    if len(loads) > MOST_LOADS:
        raise ValueError(f"these are {len(loads):,} loads: give at most {MOST_LOADS:,}")
    return tuple(loads)


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
