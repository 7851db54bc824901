"""Beginnings that prompts share on purpose, so that a server's prefix cache can be measured.

    tokens=512,groups=4                  groups, in turn, each with its own 512 tokens
    tree:depth=3,fanout=4,tokens=256     three levels; prompts share as many as their ways have in common
    hit_rate=0.6,groups=8                as much as makes 60 % of the prompt tokens hits of a warm cache
    system=300                           a system prompt of 300 tokens that all share; also beside one of the others

Shared text stands behind what the tokenizer or the chat template puts first, which is the same for all. A new way is one
file with a `KIND`, and one line in `WAYS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from promptset.distributions.kind import split_pairs
from promptset.errors import SpecError
from promptset.sharing import groups, hit_rate, tree
from promptset.sharing.path import BLOCK, COUNT, Kind, Path, Room, Segment, Way
from promptset.sharing.tally import SharingTally

__all__ = ["BLOCK", "WAYS", "Path", "Prefix", "Room", "Segment", "SharingTally", "Way", "parse_prefix"]

WAYS: dict[str, Kind] = {"groups": groups.KIND, "tree": tree.KIND, "hit_rate": hit_rate.KIND}

_SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Prefix:
    """What prompts share: a system prompt of `system_tokens` (0: none), and beginnings in one way (None: none)."""

    way: Way | None = None
    system_tokens: int = 0

    def __str__(self) -> str:
        system = [f"{_SYSTEM}={self.system_tokens}"] if self.system_tokens else []
        return ",".join(([] if self.way is None else [str(self.way)]) + system)

    @property
    def least(self) -> int:
        """Tokens of shared text that every prompt must have room for, the system prompt left out."""
        return 0 if self.way is None else self.way.least

    def path(self, index: int, seed: int, room: Room) -> Path:
        """What the prompt with this index begins with, the system prompt left out."""
        return () if self.way is None else self.way.path(index, seed, room)


def parse_prefix(text: str) -> Prefix:
    """The sharing that a text describes. Raises SpecError, which names every problem."""
    name, colon, arguments = text.partition(":")
    if not colon:
        name, arguments = "", text
    try:
        pairs = split_pairs(arguments)
    except SpecError as e:
        raise _refused(text, e.problems, None) from e
    kind, problems = _kind(name.strip(), pairs)
    system, wrong = COUNT.read(_SYSTEM, pairs.pop(_SYSTEM)) if _SYSTEM in pairs else (0, None)
    problems += [] if wrong is None else [wrong]
    values: dict[str, float] = {}
    known = {} if kind is None else kind.keys
    for key, value in pairs.items():
        if key not in known:
            close = get_close_matches(key, [*known, _SYSTEM], n=1, cutoff=0.5)
            problems.append(f"a prefix has no {key!r}" + (f": did you mean {close[0]!r}?" if close else ""))
            continue
        read, wrong = known[key].read(key, value)
        if wrong is not None:
            problems.append(wrong)
        elif read is not None:
            values[key] = read
    for key, says in known.items():
        if key not in pairs and says.default is None:
            problems.append(f"{key}= is missing")
        elif key not in pairs and says.default is not None:
            values[key] = says.default
    if problems:
        raise _refused(text, problems, kind)
    try:
        return Prefix(None if kind is None else kind.build(values), int(system or 0))
    except SpecError as e:
        raise _refused(text, e.problems, kind) from e


def _kind(name: str, pairs: dict[str, str]) -> tuple[Kind | None, list[str]]:
    """The way that is meant, None where there is a system prompt alone; and what is wrong with its name."""
    if name:
        named = [known for known, kind in WAYS.items() if kind.named]
        if name in named:
            return WAYS[name], []
        return None, [f"no way of sharing is called {name!r}: there is {', '.join(named)}"]
    if pairs.keys() == {_SYSTEM}:
        return None, []
    if "hit_rate" in pairs:
        return WAYS["hit_rate"], []
    return WAYS["groups"], []


def _refused(text: str, problems: list[str], kind: Kind | None) -> SpecError:
    example = (WAYS["groups"] if kind is None else kind).example
    return SpecError([f"{text!r}: {problem} (example: {example})" for problem in problems])
