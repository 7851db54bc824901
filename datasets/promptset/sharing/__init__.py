"""Beginnings that prompts share on purpose, so that a server's prefix cache can be measured.

    tokens=512,groups=4                  groups, in turn, each with its own 512 tokens
    tree:depth=3,fanout=4,tokens=256     three levels; prompts share as many as their ways have in common
    hit_rate=0.6,groups=8                as much as makes 60 % of the prompt tokens hits of a warm cache
    system=300                           a system prompt of 300 tokens that all share; also beside one of the others

Shared text stands behind what the tokenizer or the chat template puts first, which is the same for all. A new way is one
file with a `SYNTAX`, and one line in `SCHEMES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from promptset.distributions.family import split_pairs
from promptset.errors import SpecError
from promptset.sharing import groups, hit_rate, tree
from promptset.sharing.scheme import BLOCK, COUNT, Path, Room, Scheme, SchemeSyntax, Segment
from promptset.sharing.tally import SharingTally

__all__ = ["BLOCK", "SCHEMES", "Path", "Prefix", "Room", "Scheme", "Segment", "SharingTally", "parse_prefix"]

SCHEMES: dict[str, SchemeSyntax] = {"groups": groups.SYNTAX, "tree": tree.SYNTAX, "hit_rate": hit_rate.SYNTAX}

_SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Prefix:
    """What prompts share: a system prompt of `system_tokens` (0: none), and beginnings in one way (None: none)."""

    scheme: Scheme | None = None
    system_tokens: int = 0

    def __str__(self) -> str:
        system = [f"{_SYSTEM}={self.system_tokens}"] if self.system_tokens else []
        return ",".join(([] if self.scheme is None else [str(self.scheme)]) + system)

    @property
    def least(self) -> int:
        """Tokens of shared text that every prompt must have room for, the system prompt left out."""
        return 0 if self.scheme is None else self.scheme.least

    def path(self, index: int, seed: int, room: Room) -> Path:
        """What the prompt with this index begins with, the system prompt left out."""
        return () if self.scheme is None else self.scheme.path(index, seed, room)


def parse_prefix(text: str) -> Prefix:
    """The sharing that a text describes. Raises SpecError, which names every problem."""
    name, colon, arguments = text.partition(":")
    if not colon:
        name, arguments = "", text
    try:
        pairs = split_pairs(arguments)
    except SpecError as e:
        raise _refusal(text, e.problems, None) from e
    syntax, problems = _syntax(name.strip(), pairs)
    system, wrong = COUNT.read(_SYSTEM, pairs.pop(_SYSTEM)) if _SYSTEM in pairs else (0, None)
    problems += [] if wrong is None else [wrong]
    values: dict[str, float] = {}
    known = {} if syntax is None else syntax.keys
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
        raise _refusal(text, problems, syntax)
    try:
        return Prefix(None if syntax is None else syntax.build(values), int(system or 0))
    except SpecError as e:
        raise _refusal(text, e.problems, syntax) from e


def _syntax(name: str, pairs: dict[str, str]) -> tuple[SchemeSyntax | None, list[str]]:
    """The way that is meant, None where there is a system prompt alone; and what is wrong with its name."""
    if name:
        named = [known for known, syntax in SCHEMES.items() if syntax.named]
        if name in named:
            return SCHEMES[name], []
        return None, [f"no way of sharing is called {name!r}: there is {', '.join(named)}"]
    if pairs.keys() == {_SYSTEM}:
        return None, []
    if "hit_rate" in pairs:
        return SCHEMES["hit_rate"], []
    return SCHEMES["groups"], []


def _refusal(text: str, problems: list[str], syntax: SchemeSyntax | None) -> SpecError:
    example = (SCHEMES["groups"] if syntax is None else syntax).example
    return SpecError([f"{text!r}: {problem} (example: {example})" for problem in problems])
